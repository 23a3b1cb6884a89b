"""Figures and curves pooled over the training seeds of one strategy."""

from __future__ import annotations

from dataclasses import dataclass, field


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
