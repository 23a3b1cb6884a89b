"""Fréchet distances by position in the video: do generated windows leave the crowd of true ones with time?

d_p is the distance of all videos' windows at position p to the true windows at p; its trend is a slope (least squares)
and a ratio of last to first. Each d_p is biased upward by the few videos it rests on, about equally at every position:
hence the same two figures of true against true beside it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks import stats
from benchmarks.frechet import Resampler, frechet_distance, real_floor
from benchmarks.record import Part

FEWEST = 8
"""Videos below which halves of the true set say nothing."""


def distances(fake_vpd: np.ndarray, real_vpd: np.ndarray, ddof: int) -> list[float]:
    """One distance per position, float [P]; windows [V, P, D]."""
    return [frechet_distance(fake_vpd[:, p], real_vpd[:, p], ddof) for p in range(fake_vpd.shape[1])]


def slope(distances_p: Sequence[float] | np.ndarray, hop: int) -> float:
    """Least-squares rise per 100 video frames, of positions that lie ``hop`` frames apart."""
    return float(np.polyfit(np.arange(len(distances_p)) * hop, np.asarray(distances_p), 1)[0] * 100)


def trend(
    fake_vpd: np.ndarray, real_vpd: np.ndarray, ddof: int, hop: int, resamples: int, seed: int
) -> dict[str, Part]:
    """``slope_per_100`` with its interval, ``last_over_first``, and both ``…_real_vs_real`` from 8 videos on."""
    videos = len(fake_vpd)
    found = distances(fake_vpd, real_vpd, ddof)
    steep = slope(found, hop)
    interval = _slope_interval(steep, fake_vpd, real_vpd, ddof, hop, resamples, seed)
    parts = {"slope_per_100": Part(value=steep, n=videos, interval=interval)} | _ratio("last_over_first", found, videos)
    if videos < FEWEST:
        return parts
    floor = [real_floor(real_vpd[:, p], ddof, seed=seed) for p in range(real_vpd.shape[1])]
    parts["slope_per_100_real_vs_real"] = Part(value=slope(floor, hop), n=videos // 2)
    return parts | _ratio("last_over_first_real_vs_real", floor, videos // 2)


def _ratio(name: str, found: Sequence[float], videos: int) -> dict[str, Part]:
    """Empty where the first distance is zero, as it is for the truth."""
    return {name: Part(value=found[-1] / found[0], n=videos)} if found[0] > 1e-9 else {}


def _slope_interval(
    steep: float, fake_vpd: np.ndarray, real_vpd: np.ndarray, ddof: int, hop: int, resamples: int, seed: int
) -> tuple[float, float]:
    """Basic bootstrap over videos, a draw the same at all positions; not cut at zero, since a slope may be negative."""
    positions = fake_vpd.shape[1]
    resamplers = [Resampler(fake_vpd[:, p], real_vpd[:, p], ddof) for p in range(positions)]
    draws = stats.resample_indices(len(fake_vpd), resamples, seed)
    slopes = [slope([r.distance(draw, draw) for r in resamplers], hop) for draw in draws]
    low, high = np.quantile(slopes, ((1 - stats.LEVEL) / 2, (1 + stats.LEVEL) / 2))
    return float(2 * steep - high), float(2 * steep - low)
