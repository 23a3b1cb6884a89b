"""Intervals by resampling videos and training seeds, never frames: the frames of one video are not independent.

Every seed is judged on the same videos, so seeds and videos are *crossed*: seed i and video j meet in one value. Both
are drawn with replacement, apart from each other, and a resample weighs value (i, j) by the product of the two counts
(McCullagh 2000; Owen 2007, "The pigeonhole bootstrap"). Vectorised and seeded; imports no torch.
"""

from __future__ import annotations

import math
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
    by_seed: tuple[float, ...] = ()
    """The difference of each training seed by itself, where seeds were paired; three of three say more than a band."""
    paired: bool = True
    """False where no values per video exist and the interval only says whether two intervals overlap."""

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


def crossed_weights(seeds: int, videos: int, resamples: int, seed: int, stream: int = 0) -> tuple[np.ndarray, ...]:
    """How often each seed and each video is drawn: float64 [resamples, seeds] and [resamples, videos].

    The videos' draws depend on `seed` alone, the seeds' also on `stream`: two strategies that share no training seed
    are compared on the same resampled videos with seeds drawn apart. One seed is always drawn once.
    """
    if seeds == 1:
        return np.ones((resamples, 1)), resample_counts(videos, resamples, seed)
    draws = np.random.default_rng([seed, seeds, 1 + stream]).multinomial(seeds, np.full(seeds, 1 / seeds), resamples)
    return draws.astype(np.float64), resample_counts(videos, resamples, seed)


def crossed_means(values_svt: np.ndarray, weights: tuple[np.ndarray, ...]) -> np.ndarray:
    """Weighted means over seeds and videos of [seeds, videos, T], NaN left out: [resamples, T], NaN where none."""
    seeds_bs, videos_bv = weights
    weight_bn = (seeds_bs[:, :, None] * videos_bv[:, None, :]).reshape(len(seeds_bs), -1)
    values_nt = values_svt.reshape(-1, values_svt.shape[2])
    known_nt = ~np.isnan(values_nt)
    total_bt, count_bt = weight_bn @ np.where(known_nt, values_nt, 0.0), weight_bn @ known_nt
    return np.divide(total_bt, count_bt, out=np.full(total_bt.shape, np.nan), where=count_bt > 0)


def crossed_interval(values_sv: np.ndarray, resamples: int = 1000, seed: int = 0) -> tuple[float, float] | None:
    """95 % percentile interval of the mean over seeds and videos, both resampled; None for fewer than two videos.

    With one seed this is `mean_interval`. With few seeds it is too short in what concerns seeds: three of them,
    resampled, show (3 − 1)/3 of their variance, and a normal quantile stands where Student's t of two degrees of
    freedom (4.3 for 1.96) belongs. Show `seed_deviation` beside it. What seed and video make together (the residual)
    is counted up to three times, so that part is on the safe side (Owen 2007).

    Args:
        values_sv: float64 [seeds, videos]; NaN where a seed has no value of a video.
    """
    values_sv = known_videos(values_sv)
    seeds, videos = values_sv.shape
    if videos < 2 or not seeds:
        return None
    means = crossed_means(values_sv[:, :, None], crossed_weights(seeds, videos, resamples, seed))[:, 0]
    low, high = np.nanquantile(means, _tails())
    return float(low), float(high)


def known_videos(values_sv: np.ndarray) -> np.ndarray:
    """Without the videos that no seed has, and without the seeds that have no video."""
    values_sv = np.asarray(values_sv, dtype=np.float64)
    known_sv = ~np.isnan(values_sv)
    return values_sv[known_sv.any(1)][:, known_sv.any(0)]


def seed_deviation(values_sv: np.ndarray) -> float | None:
    """Plain standard deviation (n − 1) of the seeds' means over their videos; None for fewer than two seeds."""
    means = seed_means(values_sv)
    return float(means.std(ddof=1)) if len(means) > 1 else None


def seed_means(values_sv: np.ndarray) -> np.ndarray:
    """Each seed's mean over its videos, float64 [seeds with a video]."""
    return np.array([row[~np.isnan(row)].mean() for row in known_videos(values_sv)], dtype=np.float64)


def crossed_difference(
    left_sv: np.ndarray, right_sv: np.ndarray, *, paired_seeds: bool, resamples: int = 1000, seed: int = 0
) -> PairedDifference:
    """Mean of left − right where every resample draws the same videos, and the same seeds, for both sides.

    Args:
        left_sv, right_sv: float64 [seeds, videos], the same videos in the same order; NaN where there is no value.
            One row is a strategy without seeds (a control), set against every seed of the other side.
        paired_seeds: row i of both is the same training seed; otherwise seeds are drawn apart for the two sides.

    Raises ValueError when no video has values on both sides.
    """
    left_sv, right_sv = (np.array(side, dtype=np.float64) for side in (left_sv, right_sv))
    alike = paired_seeds or 1 in (len(left_sv), len(right_sv))
    if alike:
        gap_sv = known_videos(left_sv - right_sv)
        if not gap_sv.size:
            raise ValueError("the two rows have no video in common, so they cannot be compared in pairs")
        interval = crossed_interval(gap_sv, resamples, seed)
        return PairedDifference(float(np.nanmean(gap_sv)), gap_sv.shape[1], interval, tuple(seed_means(gap_sv)))
    both_v = ~np.isnan(left_sv).all(0) & ~np.isnan(right_sv).all(0)
    videos = int(both_v.sum())
    if not videos:
        raise ValueError("the two rows have no video in common, so they cannot be compared in pairs")
    sides = [side[:, both_v, None] for side in (left_sv, right_sv)]
    value = float(np.nanmean(sides[0]) - np.nanmean(sides[1]))
    if videos < 2:
        return PairedDifference(value, videos, None)
    drawn = [
        crossed_means(side, crossed_weights(len(side), videos, resamples, seed, stream))[:, 0]
        for stream, side in enumerate(sides)
    ]
    low, high = np.nanquantile(drawn[0] - drawn[1], _tails())
    return PairedDifference(value, videos, (float(low), float(high)))


def simultaneous_band(
    values_svt: np.ndarray, resamples: int = 1000, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean curve and a band that covers the *whole* true curve with 95 %: the sup-t band.

    Montiel Olea & Plagborg-Møller 2019 (Journal of Applied Econometrics 34): mean_t ± c·se_t, where c is the 95 %
    quantile of max over t of |resampled mean − mean| / se, and se the spread of the resampled means. A pointwise band
    covers each time with 95 % and the curve far less often. Where we depart: c is a normal deviate and becomes the one
    of Student's t with videos − 1 degrees of freedom, without which 40 videos cover 89 % of the time (measured). Seeds
    and videos are resampled as in `crossed_interval`, with the same caution where seeds are few.

    Args:
        values_svt: float64 [seeds, videos, T]; NaN where there is no value.

    Returns:
        mean, low and high, each float64 [T]; NaN where nothing is known, low and high also with fewer than two videos.
    """
    values_svt = np.asarray(values_svt, dtype=np.float64)
    seeds, videos, times = values_svt.shape
    known_svt = ~np.isnan(values_svt)
    count_t = known_svt.sum((0, 1))
    total_t = np.where(known_svt, values_svt, 0.0).sum((0, 1))
    mean_t = np.divide(total_t, count_t, out=np.full(times, np.nan), where=count_t > 0)
    enough_t = known_svt.any(0).sum(0) > 1
    if not enough_t.any():
        return mean_t, np.full(times, np.nan), np.full(times, np.nan)
    means_bt = crossed_means(values_svt[:, :, enough_t], crossed_weights(seeds, videos, resamples, seed))
    error_t = np.nanstd(means_bt, axis=0, ddof=1)
    moving = error_t > 0
    gap_bt = np.abs(means_bt - mean_t[enough_t])[:, moving] / error_t[moving]
    critical = _student(float(np.quantile(np.nanmax(gap_bt, axis=1), LEVEL)), videos) if moving.any() else 0.0
    half_t = np.full(times, np.nan)
    half_t[enough_t] = critical * error_t
    return mean_t, mean_t - half_t, mean_t + half_t


def _student(deviate: float, videos: int) -> float:
    """The deviate of Student's t, videos − 1 degrees of freedom, with the same tail as this normal deviate."""
    from scipy.special import ndtr, stdtrit

    return -float(stdtrit(videos - 1, ndtr(-deviate))) * math.sqrt(videos / (videos - 1))


def _tails() -> tuple[float, float]:
    return (1 - LEVEL) / 2, (1 + LEVEL) / 2
