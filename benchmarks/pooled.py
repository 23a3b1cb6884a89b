"""Boards on which one strategy is one row, whatever the number of its training seeds: who is best, and who is tied.

Rows pool when suite, version, world, context, test content, metric keys and the recipe without its seeds agree. Reads
only; imports no torch. The figures themselves are in benchmarks/pooled_figures.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.leaderboard import Column, Entry
from benchmarks.pooled_figures import PooledCurve, PooledFigure


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
    ``seconds_per_frame``, ``flops_per_frame``, ``peak_memory_bytes``, ``trained_seconds``, ``trained_flops``."""
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
