"""From one value per frame to a Score: mean over frames, then over videos; by frame type, tour, time, and as a curve.

The mean over frames is the area under the curve by time, per frame: videos of one suite are equally long, so a metric's
value and the area under its curve are one figure, and no second one is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torchmetrics

from benchmarks.contracts import Score, Scored, Setting
from benchmarks.frame_types import NAMES
from benchmarks.record import Curve, Metric, Part
from benchmarks.selection import Selection
from benchmarks.stats import curve_interval, mean_interval
from benchmarks.video_state import VideoValues, remember

BINS = ((1, 16), (17, 64), (65, 256), (257, None))
"""Frames after the context, counted from 1, both ends included."""


BIN = 8
"""Frames over which a video's own curve is averaged in a record."""


def measure(
    metric: torchmetrics.Metric,
    video: Scored,
    selection: Selection,
    distance: Callable[[np.ndarray, np.ndarray], np.ndarray],
    every: int = 1,
) -> None:
    """Remember ``distance(fake, real)``, float64 [n], of every n-th made frame that is chosen.

    NaN marks the frames not chosen; a video of another tour, or without such frames, does not count.
    """
    if not selection.keeps(video):
        return
    at = np.arange(video.context, video.stop, every)
    kinds = None if video.frame_type is None else video.frame_type[at]
    chosen = selection.chosen(kinds, len(at))
    if not chosen.any():
        return
    values = np.full(len(at), np.nan)
    values[chosen] = distance(video.fake[at[chosen]], video.real[at[chosen]])
    remember(metric, video, values, kinds)


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


def tour_parts(videos: Sequence[VideoValues], values_v: Sequence[float], setting: Setting) -> dict[str, Part]:
    """``loop``, ``wobbled_loop``, …: one value per video, by tour; {} where all videos are of one kind."""
    tours = sorted({video.tour for video in videos})
    if len(tours) < 2:
        return {}
    paired = list(zip(videos, values_v, strict=True))
    return {tour: part([value for video, value in paired if video.tour == tour], setting) for tour in tours if tour}


def by_tour(videos: Sequence[VideoValues], setting: Setting, column: int = 0) -> dict[str, Part]:
    """``wobbled_loop`` and ``wobbled_loop/revisit_context``, …: each video's mean over (such) frames."""
    found: dict[str, Part] = {}
    for tour, figure in tour_parts(videos, [mean_of(v.values[:, column]) for v in videos], setting).items():
        kinds = by_type([video for video in videos if video.tour == tour], setting, column)
        found |= {tour: figure} | {f"{tour}/{name}": inner for name, inner in kinds.items() if inner.n}
    return found


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


def curve(
    videos: Sequence[VideoValues], every: int, setting: Setting, unit: str, column: int = 0, first: int = 0
) -> Curve:
    """Mean over videos at each row (t = first, first + every, …) with its interval, and each video's own in bins."""
    longest = max(len(video.values) for video in videos)
    table = np.full((len(videos), longest), np.nan)
    for row, video in enumerate(videos):
        table[row, : len(video.values)] = video.values[:, column]
    mean, low, high = curve_interval(table, min(setting.resamples, 300), setting.seed)
    times = first + every * np.arange(longest)
    bins = (times - first) // BIN
    used = np.unique(bins)
    return Curve(
        t=times.astype(float).tolist(),
        mean=_plain(mean),
        lo=_plain(low),
        hi=_plain(high),
        unit=unit,
        videos_t=[float(first + BIN * number) for number in used],
        videos={
            video.episode: _plain(np.array([_rounded(mean_of(row[bins == number])) for number in used]))
            for video, row in zip(videos, table, strict=True)
        },
    )


def score(
    name: str,
    videos: Sequence[VideoValues],
    setting: Setting,
    selection: Selection,
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
    name = selection.named(name)
    means = {video.episode: mean_of(video.values[:, 0]) for video in videos}
    whole = part(list(means.values()), setting)
    shapes = [video.shape for video in videos]
    types = {} if len(selection.types) == 1 else by_type(videos, setting)
    if selection.types:
        types = {kind: figure for kind, figure in types.items() if kind in selection.types}
    metric = Metric(
        **whole.model_dump(),
        higher_is_better=higher_is_better,
        key=setting.key(name, version, shapes, every=every, **facts, **selection.facts()),
        unit=unit,
        parts={**types, **by_tour(videos, setting), **by_time(videos, every, setting)},
    )
    known = {episode: value for episode, value in means.items() if not np.isnan(value)}
    return [Score(name, metric, curve(videos, every, setting, unit), known)]


def _rounded(value: float) -> float:
    """Four significant decimals: enough for a band, and a quarter of the file."""
    return float(f"{value:.4g}")


def _plain(values: np.ndarray) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]
