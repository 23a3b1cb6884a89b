"""Figures and curves pooled over the training seeds of one strategy, and differences of two strategies."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.leaderboard import PAIRS_NEEDED
from benchmarks.record import Curve, Metric, Part, Record
from benchmarks.stats import (
    PairedDifference,
    crossed_difference,
    crossed_interval,
    seed_deviation,
    simultaneous_band,
)


@dataclass(frozen=True)
class PooledFigure:
    """A mean over videos and training seeds, with what it rests on."""

    value: float | None
    """None where nothing could be measured."""
    interval: tuple[float, float] | None
    """95 %, over videos and seeds."""
    videos: int
    """Videos that contributed, of each seed; the most that any seed has."""
    seeds: int
    """Training seeds that contributed."""
    seed_deviation: float | None
    """Plain standard deviation (n − 1) of the seeds' own means; None for one seed."""
    key: str = ""
    unit: str = ""
    higher_is_better: bool | None = None
    parts: dict[str, PooledFigure] = field(default_factory=dict)
    """The same by frame type or bin; a part has no parts."""


@dataclass(frozen=True)
class PooledCurve:
    """A metric by time: t counts frames after the context, from 0. NaN-free: None where nothing was measured."""

    t: list[float]
    mean: list[float | None]
    lo: list[float | None]
    hi: list[float | None]
    unit: str = ""
    band: str = ""
    """``simultaneous``: max-t over videos and seeds, covers the whole curve; ``pointwise``: as the one record has it;
    empty: no band (lo and hi hold None)."""


def seed_of(record: Record) -> tuple[tuple[str, int], ...]:
    """What tells the runs of one recipe apart: the seeds of its stages, the suite's own (of resampling) left out."""
    return tuple(sorted((stage, seed) for stage, seed in record.seeds.items() if stage != "suite"))


def pool_metric(records: Sequence[Record], name: str) -> PooledFigure:
    """One metric of one strategy; `records` are its training seeds, all with the same key for the metric.

    Where the records hold a value per video, seeds and videos are resampled together. Elsewhere (Fréchet distances,
    frame types and bins) see `spread_part`.
    """
    metrics = [record.metrics[name] for record in records]
    names = dict.fromkeys(part for metric in metrics for part in metric.parts)
    parts = {p: spread_part([metric.parts[p] for metric in metrics if p in metric.parts], metrics[0]) for p in names}
    whole = spread_part(metrics, metrics[0])
    known = [record for record in records if record.metrics[name].value is not None]
    if len(known) > 1 and all(_by_video(record, name) for record in known):
        values_sv = _table([record.per_video[name] for record in known])
        return PooledFigure(
            float(np.nanmean(values_sv)), crossed_interval(values_sv), int((~np.isnan(values_sv)).any(0).sum()),
            len(values_sv), seed_deviation(values_sv), whole.key, whole.unit, whole.higher_is_better, parts,
        )  # fmt: skip
    return PooledFigure(
        whole.value, whole.interval, whole.videos, whole.seeds, whole.seed_deviation,
        whole.key, whole.unit, whole.higher_is_better, parts,
    )  # fmt: skip


def spread_part(parts: Sequence[Part], metric: Metric) -> PooledFigure:
    """Mean over seeds of a figure that has no values per video, with the spread between seeds added to its interval.

    All seeds are judged on the same videos, so what the sample of videos adds to the error is common to them and does
    not average out: the mean of the records' intervals is kept whole. To its half width h the error of the mean over
    S seeds is added as to an independent one: sqrt(h² + (t · deviation / √S)²), with t of Student's distribution, which
    for three seeds is 4.3. One seed keeps its record's interval; without any interval the seeds' spread stands alone.
    """
    known = [part for part in parts if part.value is not None]
    tail = (metric.key, metric.unit, metric.higher_is_better)
    if not known:
        return PooledFigure(None, None, 0, 0, None, *tail)
    values = np.array([part.value for part in known], dtype=np.float64)
    videos, mean = max(part.n for part in known), float(values.mean())
    if len(known) == 1:
        return PooledFigure(known[0].value, known[0].interval, videos, 1, None, *tail)
    deviation = float(values.std(ddof=1))
    error = _student_quantile(len(known) - 1) * deviation / math.sqrt(len(known))
    ends = [part.interval for part in known if part.interval is not None]
    low, high = np.mean(ends, axis=0) if ends else (mean, mean)
    centre, half = (low + high) / 2, math.hypot((high - low) / 2, error)
    return PooledFigure(mean, (float(centre - half), float(centre + half)), videos, len(known), deviation, *tail)


def _student_quantile(freedom: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.975))


def _table(by_seed: Sequence[Mapping[str, float]], names: Sequence[str] | None = None) -> np.ndarray:
    """Values per video as [seeds, videos], NaN where there is none; all videos that some seed has, in sorted order."""
    names = names if names is not None else sorted({name for values in by_seed for name in values})
    return np.array([[values.get(name, math.nan) for name in names] for values in by_seed], dtype=np.float64)


def pool_curve(records: Sequence[Record], name: str) -> PooledCurve | None:
    """One curve of one strategy. Max-t bands where the records hold values per video, else no band for many seeds."""
    curves = [record.curves[name] for record in records if name in record.curves]
    if not curves:
        return None
    unit = curves[0].unit
    if all(curve.videos and curve.videos_t for curve in curves):
        times, values_svt = _curve_table(curves)
        mean, low, high = simultaneous_band(values_svt)
        return PooledCurve(times, _plain(mean), _plain(low), _plain(high), unit, "simultaneous")
    if len(curves) == 1:
        (curve,) = curves
        none: list[float | None] = [None] * len(curve.t)
        band = "pointwise" if curve.lo and curve.hi else ""
        return PooledCurve(list(curve.t), list(curve.mean), list(curve.lo or none), list(curve.hi or none), unit, band)
    found: dict[float, list[float]] = {}
    for curve in curves:
        for t, value in zip(curve.t, curve.mean, strict=True):
            found.setdefault(t, []).extend(() if value is None else (value,))
    times = sorted(found)
    none = [None] * len(times)
    return PooledCurve(times, [sum(found[t]) / len(found[t]) if found[t] else None for t in times], none, none, unit)


def _curve_table(curves: Sequence[Curve]) -> tuple[list[float], np.ndarray]:
    """All bins that some seed has, in order, and the values [seeds, videos, bins]; NaN where there is none."""
    times = sorted({t for curve in curves for t in curve.videos_t})
    episodes = sorted({episode for curve in curves for episode in curve.videos})
    place = {t: i for i, t in enumerate(times)}
    values_svt = np.full((len(curves), len(episodes), len(times)), np.nan)
    for values_vt, curve in zip(values_svt, curves, strict=True):
        for values_t, episode in zip(values_vt, episodes, strict=True):
            for t, value in zip(curve.videos_t, curve.videos.get(episode, ()), strict=False):
                values_t[place[t]] = math.nan if value is None else value
    return times, values_svt


def _plain(series: np.ndarray) -> list[float | None]:
    return [None if math.isnan(value) else float(value) for value in series]


def difference(left: Sequence[Record], right: Sequence[Record], metric: str) -> PairedDifference | None:
    """Left − right of one metric: on the same videos and, where both have them, the same training seeds.

    Seeds are paired by their numbers; two models that share none are compared with seeds drawn apart. Without values
    per video (or with fewer than five common videos) the interval is [l.low − r.high, l.high − r.low], which leaves
    zero out exactly when the two intervals do not overlap, and ``paired`` is False.

    Args:
        left, right: the records of two rows (their training seeds); each has the metric, with one key.

    Returns:
        None where one side has no value or no interval.
    """
    ours, theirs = ({seed_of(r): r.per_video[metric] for r in side if _by_video(r, metric)} for side in (left, right))
    common = sorted(_names(ours) & _names(theirs))
    shared = sorted(ours.keys() & theirs.keys())
    if len(common) >= PAIRS_NEEDED:
        several = len(ours) > 1 and len(theirs) > 1
        if several and shared:
            ours, theirs = {s: ours[s] for s in shared}, {s: theirs[s] for s in shared}
        tables = [_table(list(side.values()), common) for side in (ours, theirs)]
        return crossed_difference(*tables, paired_seeds=bool(shared) or not several)
    a, b = pool_metric(left, metric), pool_metric(right, metric)
    if a.value is None or b.value is None or a.interval is None or b.interval is None:
        return None
    interval = (a.interval[0] - b.interval[1], a.interval[1] - b.interval[0])
    by_seed = tuple(x - y for x, y in _seed_values(left, right, metric))
    return PairedDifference(a.value - b.value, min(a.videos, b.videos), interval, by_seed, paired=False)


def _by_video(record: Record, metric: str) -> bool:
    """Whether the figure is the mean of the record's values per video, so that resampling videos resamples it."""
    values, figure = record.per_video.get(metric), record.metrics[metric].value
    if not values or figure is None:
        return False
    return math.isclose(sum(values.values()) / len(values), figure, rel_tol=1e-6, abs_tol=1e-12)


def _names(side: Mapping[tuple, Mapping[str, float]]) -> set[str]:
    return {name for values in side.values() for name in values}


def _seed_values(left: Sequence[Record], right: Sequence[Record], metric: str) -> list[tuple[float, float]]:
    """Both sides' values of every training seed that both have; one record without seeds (a control) meets them all."""
    ours, theirs = ({seed_of(r): r.metrics[metric].value for r in side} for side in (left, right))
    if len(theirs) == 1 and () in theirs:
        theirs = dict.fromkeys(ours, theirs[()])
    pairs = [(value, theirs.get(seed)) for seed, value in ours.items()]
    return [(x, y) for x, y in pairs if x is not None and y is not None]
