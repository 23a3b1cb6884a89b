"""Boards on which one strategy is one row, whatever the number of its training seeds: who is best, and who is tied.

Rows pool when suite, version, world, context, test content, metric keys and the recipe without its seeds agree. Reads
only; imports no torch. The figures themselves are in benchmarks/pooled_figures.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.board_heading import heading, protocol_text
from benchmarks.leaderboard import (
    ORDER,
    Column,
    Entry,
    by_protocol,
    columns_of,
    part_columns_of,
)
from benchmarks.pooled_figures import PooledCurve, PooledFigure, difference, pool_curve, pool_metric, seed_of
from benchmarks.pooled_identity import distinct, strategy
from benchmarks.record import Record
from benchmarks.stats import PairedDifference


@dataclass(frozen=True)
class PooledRow:
    """One strategy, or one control, over all its training seeds."""

    label: str
    """What tells the row from its neighbours, without seed, world and context: ``rollout=long_range``."""
    name: str
    kind: str
    """``model`` or ``control``."""
    role: str
    """Of controls: ``floor`` or ``ceiling``; empty for models."""
    entries: tuple[Entry, ...]
    """One record per training seed, by seed; ``entries[0]`` has the artifacts to show."""
    metrics: dict[str, PooledFigure] = field(default_factory=dict)
    """Metric → figure. A row has one key per metric, and it is the figure's ``key``."""
    ranks: dict[str, str] = field(default_factory=dict)
    """Metric, or ``metric/part`` → "best", "tie" (cannot be told apart from the best) or ""."""
    curves: dict[str, PooledCurve] = field(default_factory=dict)
    cost: dict[str, float] = field(default_factory=dict)
    """Means over the seeds of what the records know: ``parameters``, ``network_calls_per_frame``,
    ``seconds_per_frame``, ``flops_per_frame``, ``peak_memory_bytes``, ``trained_seconds``, ``trained_flops``,
    ``bits_per_pixel`` (of tokenizers judged alone)."""
    older: int = 0
    """How many earlier runs of the same recipe and seed stand behind the row."""

    @property
    def is_model(self) -> bool:
        return self.kind == "model"

    @property
    def seeds(self) -> int:
        """How many training seeds (records) the row pools; 1 for a control."""
        return len(self.entries)

    def figure(self, column: Column) -> PooledFigure | None:
        """The row's figure for a column (of ``board.columns`` or ``board.parts``); None where keys differ."""
        found = self.metrics.get(column.metric)
        if found is None or found.key != column.key:
            return None
        return found.parts.get(column.part) if column.part else found


@dataclass(frozen=True)
class PooledBoard:
    """Rows of one protocol on one test content: ceilings, models from best to worst, floors."""

    title: str
    """``long500 v1 · maze500 · 250 context frames``."""
    subtitle: str
    """The data set and its content, and what was modified."""
    protocol: str
    """``long500@1/maze500/c250``."""
    world: str
    """The suite's world, or the data set's name where the suite has no choice of worlds."""
    context: int
    rows: list[PooledRow]
    columns: list[Column]
    parts: list[Column]
    """The same metrics by frame type or bin."""
    headline: tuple[str, ...] = ()
    """Metrics that decide, by name; only those that the board has."""
    options: dict[str, Any] = field(default_factory=dict)
    """Of the suite, as the records have them."""
    truth: dict[str, Path] = field(default_factory=dict)
    """Episode → video of the ground truth, the first that a record of the board names."""


def pool(entries: Sequence[Entry], suite: str | None = None) -> list[PooledBoard]:
    """One board per suite, version, world, context and test content, in that order.

    Raises UserError when ``suite`` is asked for and no record has it.
    """
    return [_board(group) for group in by_protocol(entries, suite)]


def worth_pooling(board: PooledBoard) -> bool:
    """Whether a board says more than its single records: several training seeds, or headlines to draw findings from."""
    return bool(board.headline) or any(row.seeds > 1 for row in board.rows)


def compare(left: PooledRow, right: PooledRow, metric: str) -> PairedDifference | None:
    """Left − right of one metric, on the same videos and training seeds; see `pooled_figures.difference`.

    None where a row lacks the metric or a value, or where their keys differ.
    """
    ours, theirs = left.metrics.get(metric), right.metrics.get(metric)
    if ours is None or theirs is None or ours.key != theirs.key:
        return None
    return difference(records_of(left), records_of(right), metric)


def records_of(row: PooledRow) -> list[Record]:
    """The row's records, by seed."""
    return [entry.record for entry in row.entries]


def _board(entries: Sequence[Entry]) -> PooledBoard:
    rows = _rows(entries)
    records = [record for row in rows for record in records_of(row)]
    columns, parts = columns_of(records), part_columns_of(records)
    for column in (*columns, *parts):
        _rank(rows, column)
    newest = max((entry.record for entry in entries), key=lambda record: record.created.timestamp())
    title, subtitle = heading(newest)
    options, known = newest.suite.options, {column.metric for column in columns}
    wanted = options.get("headlines")
    headline = tuple(n for n in wanted if n in known) if isinstance(wanted, list | tuple) else ()
    context = options.get("context", 0)
    return PooledBoard(
        title, subtitle, protocol_text(newest), str(options.get("world") or newest.dataset.name),
        context if isinstance(context, int) else 0,
        rows=_sorted(rows, columns, headline), columns=columns, parts=parts, headline=headline,
        options=dict(options), truth=_truth(rows),
    )  # fmt: skip


def _rows(entries: Sequence[Entry]) -> list[PooledRow]:
    """Entries come oldest first, so the newest run of a seed replaces the ones before it."""
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        found.setdefault(strategy(entry.record), []).append(entry)
    labels = distinct([same[-1].record for same in found.values()])
    return [_row(label, same) for label, same in zip(labels, found.values(), strict=True)]


def _row(label: str, same: Sequence[Entry]) -> PooledRow:
    newest = {() if e.record.kind == "control" else seed_of(e.record): e for e in same}
    kept = tuple(newest[seed] for seed in sorted(newest))
    records, first = [entry.record for entry in kept], kept[0].record
    names = dict.fromkeys(name for record in records for name in record.curves)
    curves = {name: curve for name in names if (curve := pool_curve(records, name)) is not None}
    return PooledRow(
        label, first.name, first.kind, first.role, kept,
        metrics={name: pool_metric(records, name) for name in first.metrics},
        curves=curves, cost=_cost(records), older=len(same) - len(kept),
    )  # fmt: skip


def _cost(records: Sequence[Record]) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for cost, bits in ((record.cost, record.metrics.get("bits_per_pixel")) for record in records):
        stages = sum(flops for stage, flops in cost.flops.items() if stage != "generated_frame")
        said = {
            "parameters": cost.parameters.get("total", sum(cost.parameters.values())) or None,
            "network_calls_per_frame": cost.network_calls_per_frame,
            "seconds_per_frame": cost.seconds_per_frame,
            "flops_per_frame": cost.flops.get("generated_frame"),
            "peak_memory_bytes": cost.peak_memory_bytes,
            "trained_seconds": sum(cost.trained_seconds.values()) or None,
            "trained_flops": stages or None,
            "bits_per_pixel": bits.value if bits is not None else None,
        }
        for name, value in said.items():
            found.setdefault(name, []).extend(() if value is None else (float(value),))
    return {name: sum(values) / len(values) for name, values in found.items() if values}


def _truth(rows: Sequence[PooledRow]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for entry in (entry for row in rows for entry in row.entries):
        for name, path in entry.record.artifacts.items():
            kind, _, episode = name.partition("/")
            if kind == "truth" and episode not in found:
                found[episode] = entry.path.parent / path
    return found


def _rank(rows: Sequence[PooledRow], column: Column) -> None:
    """Mark the best of the models and all that cannot be told apart from it; nothing is best of one."""
    if column.higher_is_better is None or column.part == "chance":
        return
    sign = 1 if column.higher_is_better else -1
    values = {row.label: f.value for row in rows if row.is_model and (f := row.figure(column)) and f.value is not None}
    if len(values) < 2:
        return
    models = {row.label: row for row in rows if row.label in values and row.is_model}
    best = max(models.values(), key=lambda row: sign * values[row.label])
    tied = [row for row in models.values() if row is best or _alike(best, row, column)]
    for row in tied:
        row.ranks[place(column)] = "tie" if len(tied) > 1 else "best"


def place(column: Column) -> str:
    """The column's key in `PooledRow.ranks`: the metric, or ``metric/part``."""
    return f"{column.metric}/{column.part}" if column.part else column.metric


def _alike(best: PooledRow, row: PooledRow, column: Column) -> bool:
    """Zero inside the paired interval; parts have no values per video and go by overlap of their intervals."""
    a, b = best.figure(column), row.figure(column)
    if a is None or b is None:
        return False
    gap = None if column.part else compare(best, row, column.metric)
    if gap is not None and gap.interval is not None:
        return not gap.clear
    if a.interval is None or b.interval is None:
        return a.value == b.value
    return a.interval[0] <= b.interval[1] and b.interval[0] <= a.interval[1]


def _sorted(rows: list[PooledRow], columns: Sequence[Column], headline: Sequence[str]) -> list[PooledRow]:
    """Ceilings, models, floors; each from best to worst in the first headline, else in the first column that ranks."""
    ranking = [column for column in columns if column.higher_is_better is not None]
    first = next((c for name in headline for c in ranking if c.metric == name), ranking[0] if ranking else None)

    def order(row: PooledRow) -> tuple:
        role = ORDER[""] if row.is_model else ORDER[row.role]
        figure = row.figure(first) if first else None
        if first is None or figure is None or figure.value is None:
            return role, 1, 0.0, row.label
        return role, 0, -figure.value if first.higher_is_better else figure.value, row.label

    return sorted(rows, key=order)
