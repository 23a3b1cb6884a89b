"""One choice against another by one metric: the paired difference, in how many seeds, and what would decide a tie."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.pooled_figures import PooledFigure, difference, pool_metric, seed_of
from benchmarks.record import Record
from benchmarks.stats import PairedDifference
from zoo.errors import BadValue, UnknownName, nearest

WITHIN_REACH = 200
"""Training seeds; a tie that would take more is said to have no difference within reach."""


@dataclass(frozen=True)
class Reach:
    """What would tell two tied rows apart; see `reach_of`."""

    seeds: int | None
    """Training seeds of both rows, in all; None where it is more than `WITHIN_REACH`."""
    hours: float | None = None
    """Of training and generating for so many seeds on one machine like that of the records; None where unknown."""


@dataclass(frozen=True)
class Gap:
    """The article's choice less the alternative by one metric, on the training seeds and videos that both have."""

    ours: PooledFigure
    theirs: PooledFigure
    value: float | None
    """None where one of them could not be measured."""
    interval: tuple[float, float] | None
    outcome: Literal["better", "worse", "tie"]
    """Of the article's choice."""
    better_seeds: int = 0
    seeds: int = 0
    """Training seeds in which both were measured; 0 where seeds cannot be paired."""
    paired: bool = True
    """False where the interval only says whether two intervals overlap."""
    reach: Reach | None = None
    """Of a tie that has an interval."""


def figure_of(records: Sequence[Record], metric: str, whose: str) -> PooledFigure:
    """A metric of one strategy over its seeds.

    Raises UnknownName where it was not measured, BadValue where it does not say which way is better.
    """
    known = records[0].metrics
    if metric not in known:
        raise UnknownName(f"{whose}: no metric is named '{metric}'.{nearest(metric, list(known))}")
    if known[metric].higher_is_better is None:
        raise BadValue(f"{whose}: '{metric}' does not say which way is better; judge by a metric that does.")
    return pool_metric(records, metric)


def gap_of(article: Sequence[Record], other: Sequence[Record], metric: str, whose: str) -> Gap:
    """The comparison of two rows; ``whose`` begins the message of an error.

    Clear is what leaves zero out of its 95 % interval. What has no interval is a tie, unless packing is judged: its
    fillers are counted, not sampled, so any difference is one; and of what it measures no more seeds would tell more.

    Raises UnknownName and BadValue as `figure_of`, and BadValue where the two were measured in different ways.
    """
    article, other = _of_shared_seeds(article, other)
    ours, theirs = figure_of(article, metric, whose), figure_of(other, metric, whose)
    if ours.key != theirs.key:
        raise BadValue(
            f"{whose}: '{metric}' was measured in different ways ({ours.key} and {theirs.key}); judge both rows alike."
        )
    found, trained = difference(article, other, metric), not untrained(article[0])
    if found is None:
        return _plain(ours, theirs, counted=not trained)
    sign = 1 if ours.higher_is_better else -1
    low, high = found.interval or (0.0, 0.0)
    above, below = ("better", "worse") if ours.higher_is_better else ("worse", "better")
    outcome = above if low > 0 else below if high < 0 else "tie"
    reach = reach_of(found, min(ours.seeds, theirs.seeds), seconds_per_seed(article, other))
    return Gap(
        ours, theirs, found.value, found.interval, outcome,
        better_seeds=sum(sign * value > 0 for value in found.by_seed), seeds=len(found.by_seed), paired=found.paired,
        reach=reach if trained and not found.clear else None,
    )  # fmt: skip


def untrained(record: Record) -> bool:
    """Whether packing is judged, by a network with random weights."""
    return record.suite.options.get("judges") == "packing"


def _plain(ours: PooledFigure, theirs: PooledFigure, *, counted: bool) -> Gap:
    if ours.value is None or theirs.value is None:
        return Gap(ours, theirs, None, None, "tie")
    value = ours.value - theirs.value
    if not counted or value == 0:
        return Gap(ours, theirs, value, None, "tie")
    return Gap(ours, theirs, value, None, "better" if (value > 0) == ours.higher_is_better else "worse")


def _of_shared_seeds(left: Sequence[Record], right: Sequence[Record]) -> tuple[Sequence[Record], Sequence[Record]]:
    """Of both only the training seeds that both have, so that the two means are those of the difference."""
    shared = {seed_of(record) for record in left} & {seed_of(record) for record in right}
    if not shared:
        return left, right
    kept = [[record for record in side if seed_of(record) in shared] for side in (left, right)]
    return kept[0], kept[1]


def reach_of(found: PairedDifference, seeds: int, seconds: float | None) -> Reach | None:
    """About how many training seeds would put zero outside of an interval that now holds it.

    Assumed: the difference d is the real one, and the interval's half width h falls as one over the square root of the
    number of seeds, as where training again, on videos to match, is what makes it wide. Then (h/d)² times as many
    decide. h is taken on the side of zero. With few seeds both d and h are rough, and so is the number: a scale, no
    plan. Where the real difference is nil, no number of seeds decides.

    Args:
        seeds: that the interval rests on. seconds: that one seed of both rows takes.
    """
    if found.interval is None:
        return None
    half = found.value - found.interval[0] if found.value > 0 else found.interval[1] - found.value
    times = (half / found.value) ** 2 if found.value else math.inf
    if seeds * times > WITHIN_REACH:
        return Reach(None)
    needed = max(seeds + 1, math.ceil(seeds * times))
    return Reach(needed, None if seconds is None else needed * seconds / 3600)


def seconds_per_seed(left: Sequence[Record], right: Sequence[Record]) -> float | None:
    """Seconds that one more training seed of both rows takes, as their records were trained; None where none says.

    A stage that both rows share is counted once, and one that several seeds share (most often the tokenizer) not at
    all: it is there.
    """
    spent: dict[str, float] = {}
    users: dict[str, set[tuple]] = {}
    for side, records in enumerate((left, right)):
        for record in records:
            for stage, seconds in record.cost.trained_seconds.items():
                name = record.stages.get(stage, f"{stage} of {side} {seed_of(record)}")
                spent[name] = seconds
                users.setdefault(name, set()).add(seed_of(record))
    seeds = {seed for found in users.values() for seed in found}
    total = sum(seconds for name, seconds in spent.items() if len(users[name]) == 1)
    return total / len(seeds) if total else None
