"""Intervals by resampling videos, never frames: the frames of one video are not independent. Vectorised and seeded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

LEVEL = 0.95


@dataclass(frozen=True)
class PairedDifference:
    """Mean of left − right over the videos both rows have; ``clear`` when the interval leaves zero out."""

    value: float
    n: int
    interval: tuple[float, float] | None

    @property
    def clear(self) -> bool:
        return self.interval is not None and (self.interval[0] > 0 or self.interval[1] < 0)


def resample_counts(videos: int, resamples: int, seed: int) -> np.ndarray:
    """How often each video is drawn in each resample, with replacement: float64 [resamples, videos]."""
    draws = resample_indices(videos, resamples, seed)
    flat = draws + videos * np.arange(resamples)[:, None]
    return np.bincount(flat.ravel(), minlength=resamples * videos).reshape(resamples, videos).astype(np.float64)


def resample_indices(videos: int, resamples: int, seed: int) -> np.ndarray:
    """Indices of videos drawn with replacement: int64 [resamples, videos]."""
    return np.random.default_rng([seed, videos]).integers(0, videos, size=(resamples, videos))


def mean_interval(values_v: np.ndarray, resamples: int = 1000, seed: int = 0) -> tuple[float, float] | None:
    """95 % percentile bootstrap of the mean over videos; None for fewer than two videos."""
    values_v = np.asarray(values_v, dtype=np.float64)
    if values_v.size < 2:
        return None
    means = resample_counts(values_v.size, resamples, seed) @ values_v / values_v.size
    low, high = np.quantile(means, _tails())
    return float(low), float(high)


def curve_interval(
    values_vt: np.ndarray, resamples: int = 1000, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean over videos at each time and its percentile interval; NaN marks frames a video does not have.

    Returns:
        mean, low and high, each float64 [T]; NaN where no video has the frame, low and high also with one video.
    """
    values_vt = np.asarray(values_vt, dtype=np.float64)
    known = ~np.isnan(values_vt)
    filled = np.where(known, values_vt, 0.0)
    count = known.sum(0)
    mean = np.divide(filled.sum(0), count, out=np.full(count.shape, np.nan), where=count > 0)
    if len(values_vt) < 2:
        return mean, np.full_like(mean, np.nan), np.full_like(mean, np.nan)
    counts = resample_counts(len(values_vt), resamples, seed)
    weight = counts @ known
    means = np.divide(counts @ filled, weight, out=np.full(weight.shape, np.nan), where=weight > 0)
    enough = count > 1
    low, high = np.full_like(mean, np.nan), np.full_like(mean, np.nan)
    if enough.any():
        low[enough], high[enough] = np.nanquantile(means[:, enough], _tails(), axis=0)
    return mean, low, high


def basic_interval(estimate: float, replicates_b: np.ndarray) -> tuple[float, float]:
    """Basic bootstrap [2p − hi, 2p − lo], cut at zero, for distances whose resampling adds bias (Fréchet distances).

    Resampling biases a Fréchet distance upward just as sampling does; reflecting about the estimate takes both out,
    so the interval is about the distance of the distributions and may lie wholly below the (biased) estimate.
    """
    low, high = np.quantile(np.asarray(replicates_b, dtype=np.float64), _tails())
    return max(0.0, float(2 * estimate - high)), max(0.0, float(2 * estimate - low))


def paired_difference(
    left: Mapping[str, float], right: Mapping[str, float], resamples: int = 1000, seed: int = 0
) -> PairedDifference:
    """Difference of two rows, video by video, over the episodes both have: far sharper than two separate intervals.

    Raises ValueError when they share no episode.
    """
    shared = sorted(left.keys() & right.keys())
    if not shared:
        raise ValueError("the two rows have no episode in common, so they cannot be compared in pairs")
    gaps = np.array([left[episode] - right[episode] for episode in shared], dtype=np.float64)
    return PairedDifference(float(gaps.mean()), len(shared), mean_interval(gaps, resamples, seed))


def _tails() -> tuple[float, float]:
    return (1 - LEVEL) / 2, (1 + LEVEL) / 2
