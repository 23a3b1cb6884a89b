"""From one value per frame to a Score: mean over frames, then over videos; by frame type, by time, and as a curve."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.contracts import Score, Scored, Setting
from benchmarks.frame_types import NAMES
from benchmarks.record import Curve, Metric, Part
from benchmarks.stats import curve_interval, mean_interval
from benchmarks.video_state import VideoValues

BINS = ((1, 16), (17, 64), (65, 256), (257, None))
"""Frames after the context, counted from 1, both ends included."""


def scored_kinds(video: Scored) -> np.ndarray | None:
    """Frame types of the frames after the context, int8 [T - context]."""
    return None if video.frame_type is None else video.frame_type[video.context :]


def part(values_v: Sequence[float] | np.ndarray, setting: Setting) -> Part:
    """Mean over videos; NaN marks videos that have no such frames and do not count."""
    known = np.asarray(values_v, dtype=np.float64)
    known = known[~np.isnan(known)]
    if not known.size:
        return Part(value=None, n=0)
    return Part(value=float(known.mean()), n=known.size, interval=mean_interval(known, setting.resamples, setting.seed))


def mean_of(values: np.ndarray) -> float:
    """Mean of what is not NaN, or NaN where there is nothing."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def by_type(videos: Sequence[VideoValues], setting: Setting, column: int = 0) -> dict[str, Part]:
    """``unseen``, ``revisit_context``, ``revisit_generated``: each video's mean over such frames; {} without poses."""
    if not videos or any(video.kinds is None for video in videos):
        return {}
    return {
        name: part([mean_of(video.values[video.kinds == kind, column]) for video in videos], setting)
        for kind, name in NAMES.items()
    }


def by_time(videos: Sequence[VideoValues], every: int, setting: Setting, column: int = 0) -> dict[str, Part]:
    """``t1_16``, ``t17_64``, …: the bins that some video reaches."""
    found = {}
    for first, last in BINS:
        means = []
        for video in videos:
            t = np.arange(len(video.values)) * every + 1
            means.append(mean_of(video.values[(t >= first) & (t <= (last or np.inf)), column]))
        if not np.isnan(means).all():
            found[f"t{first}_{last or 'end'}"] = part(means, setting)
    return found


def curve(videos: Sequence[VideoValues], every: int, setting: Setting, unit: str, column: int = 0) -> Curve:
    """Mean over videos at each scored frame, with its interval."""
    longest = max(len(video.values) for video in videos)
    table = np.full((len(videos), longest), np.nan)
    for row, video in enumerate(videos):
        table[row, : len(video.values)] = video.values[:, column]
    mean, low, high = curve_interval(table, min(setting.resamples, 300), setting.seed)
    times = [float(t * every) for t in range(longest)]
    return Curve(t=times, mean=_plain(mean), lo=_plain(low), hi=_plain(high), unit=unit)


def score(
    name: str,
    videos: Sequence[VideoValues],
    setting: Setting,
    *,
    version: str,
    unit: str,
    higher_is_better: bool,
    every: int = 1,
    **facts: object,
) -> list[Score]:
    """The Score of a metric with one value per scored frame; [] where there were no videos."""
    if not videos:
        return []
    means = {video.episode: mean_of(video.values[:, 0]) for video in videos}
    whole = part(list(means.values()), setting)
    metric = Metric(
        **whole.model_dump(),
        higher_is_better=higher_is_better,
        key=setting.key(name, version, [video.shape for video in videos], every=every, **facts),
        unit=unit,
        parts={**by_type(videos, setting), **by_time(videos, every, setting)},
    )
    known = {episode: value for episode, value in means.items() if not np.isnan(value)}
    return [Score(name, metric, curve(videos, every, setting, unit), known)]


def _plain(values: np.ndarray) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]
