"""Bits a pixel against PSNR as inline SVG: a line for each continuous tokenizer, a dot for each discrete one.

A line runs over the precisions of a continuous latent; its dot, like every dot, stands where the tokenizer is judged,
with the interval of its PSNR as a whisker. Settings of one discrete tokenizer are joined by a dashed line.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from benchmarks.leaderboard import Row, clean
from benchmarks.leaderboard_cost import (
    BOTTOM,
    HEIGHT,
    LEFT,
    LETTER,
    RIGHT,
    TOP,
    WIDTH,
    Box,
    Dot,
    Level,
    Point,
    dots_of,
    levels_of,
)
from benchmarks.leaderboard_curves import scale, short, ticks
from benchmarks.pooled import PooledRow
from benchmarks.pooled_figures import PooledFigure
from benchmarks.pooled_identity import said_of
from benchmarks.rate import CURVE
from benchmarks.record import Record

SHORT = {"temporal_factor": "t", "spatial_factor": "s"}
"""Options of tokenizers by a letter: names must find room."""
BELOW = 0.6
"""How far lines are followed below the lowest dot, as a share of what dots and whiskers span."""

Place = tuple[float, float]
"""Bits a pixel, and dB."""


@dataclass(frozen=True)
class RateLine:
    """One row's line as SVG path data; ``marks`` are its points. A dashed one joins settings of one tokenizer."""

    row: str
    style: str
    path: str
    marks: str
    dashed: bool


@dataclass(frozen=True)
class RatePlot:
    """All tokenizers of a board."""

    lines: list[RateLine]
    dots: list[Dot]
    levels: list[Level]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    right: float
    """Where the plot ends; names of levels stand beyond."""


@dataclass(frozen=True)
class Tokenizer:
    """One row before its place is found."""

    row: str
    style: str
    label: str
    kind: str
    """Equal for settings of one tokenizer."""
    bits: float
    figure: PooledFigure
    points: list[Place]
    """Of the curve."""


def rate_plot(
    rows: Sequence[Row] | Sequence[PooledRow], ids: Mapping[int, str], styles: Mapping[int, str]
) -> RatePlot | None:
    """The picture of a board; None where no row says what its latents cost."""
    models = [row for row in rows if row.is_model and _figure(row, "bits_per_pixel") and _figure(row, "psnr")]
    if not models:
        return None
    labels = brief([_record(row) for row in models], [row.label for row in models])
    found = [_tokenizer(row, ids, styles, label) for row, label in zip(models, labels, strict=True)]
    low, high = _heights(found)
    y_ticks = [v for v in ticks(low, high, 6) if low <= v <= high] or [low, high]
    y = scale(low, high, HEIGHT - BOTTOM, TOP)
    levels = [(row, f) for row in rows if not row.is_model and (f := _figure(row, "psnr"))]
    inside = [(row, f) for row, f in levels if low <= _value(f) <= high]
    right = WIDTH - max([RIGHT, *(1.2 * LETTER * len(row.label) + 14 for row, _ in inside)])
    visible = [[place for part in _above(one.points, low) for place in part] for one in found]
    x, x_ticks = _axis([one.bits for one in found] + [bits for places in visible for bits, _ in places], right)
    lines = [*(_line(one, low, x, y) for one in found if len(one.points) > 1), *_joined(found, x, y)]
    taken = [box for one in found for box in _boxes(one.points, low, x, y)]
    points = [Point(one.row, one.style, one.label, one.bits, x(one.bits), one.figure) for one in found]
    across = [(ids[id(row)], styles[id(row)], row.label, y(_value(figure))) for row, figure in inside]
    return RatePlot(
        lines, dots_of(points, y, right, taken), levels_of(across), x_ticks, [(y(v), short(v)) for v in y_ticks], right
    )


# --------------------------------------------------------------------------------------------------------- reading


def _record(row: Row | PooledRow) -> Record:
    return row.record if isinstance(row, Row) else row.entries[0].record


def _figure(row: Row | PooledRow, name: str) -> PooledFigure | None:
    """The row's figure where it has a value."""
    if isinstance(row, PooledRow):
        found = row.metrics.get(name)
        return found if found is not None and found.value is not None else None
    metric = row.record.metrics.get(name)
    if metric is None or metric.value is None:
        return None
    return PooledFigure(metric.value, metric.interval, metric.n, 1, None, metric.key, metric.unit)


def _value(figure: PooledFigure) -> float:
    return math.nan if figure.value is None else figure.value


def _ends(figure: PooledFigure) -> tuple[float, ...]:
    return (_value(figure), *(figure.interval or ()))


def _tokenizer(row: Row | PooledRow, ids: Mapping[int, str], styles: Mapping[int, str], label: str) -> Tokenizer:
    record, bits, psnr = _record(row), _figure(row, "bits_per_pixel"), _figure(row, "psnr")
    assert bits is not None and psnr is not None
    curve = (record.curves if isinstance(row, Row) else row.curves).get(CURVE)
    points = [] if curve is None else [(t, v) for t, v in zip(curve.t, curve.mean, strict=True) if v is not None]
    kind = "/".join(record.components.get(axis, "") for axis in ("tokenizer", "quantizer"))
    return Tokenizer(ids[id(row)], styles[id(row)], label, kind, _value(bits), psnr, points)


def brief(records: Sequence[Record], labels: Sequence[str]) -> list[str]:
    """A tokenizer's name, with the options in which it differs from its namesakes; where they are many, the label.

    ``magvit2`` alone, ``vae t=2`` beside another vae with another factor in time. A label that is a name already (that
    of a recipe's case) stays as it is.
    """
    names = [record.components.get("tokenizer", "") for record in records]
    options = [_options(record) for record in records]
    found = []
    for name, own, label in zip(names, options, labels, strict=True):
        twins = [other for twin, other in zip(names, options, strict=True) if twin == name]
        keys = [key for key in own if any(twin.get(key) != own[key] for twin in twins)]
        said = " ".join([name, *(f"{SHORT.get(key, key)}={said_of(own[key])}" for key in keys)])
        found.append(clean(said if name and "=" in label and len(keys) <= 2 else label))
    return [label if found.count(said) > 1 else said for said, label in zip(found, map(clean, labels), strict=True)]


def _options(record: Record) -> dict[str, Any]:
    said = record.recipe.get("tokenizer")
    return {key: value for key, value in said.items() if key != "name"} if isinstance(said, Mapping) else {}


# --------------------------------------------------------------------------------------------------------- drawing


def _heights(found: Sequence[Tokenizer]) -> Place:
    """What the y axis shows: all dots with their whiskers, and a little of the lines below them."""
    ends = [end for one in found for end in _ends(one.figure)]
    drawn = [value for one in found for _, value in one.points]
    span = (max(ends) - min(ends)) or 1.0
    low = max(min([*ends, *drawn]), min(ends) - BELOW * span)
    return low - 0.03 * span, max([*ends, *drawn]) + 0.05 * span


def _axis(values: Iterable[float], right: float) -> tuple[Callable[[float], float], list[tuple[float, str]]]:
    """Bits a pixel to pixels of the picture, logarithmic, and the ticks."""
    known = [value for value in values if value > 0]
    low, high = min(known) / 1.25, max(known) * 1.25
    line = scale(math.log(low), math.log(high), LEFT, right)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    marks: list[float] = []
    for steps in ((1, 2, 5), range(1, 10), [1 + k / 4 for k in range(36)]):
        marks = [m * 10.0**p for p in powers for m in steps if low <= m * 10.0**p <= high]
        if len(marks) > 2:
            break
    return (lambda bits: line(math.log(max(bits, low)))), [(line(math.log(mark)), short(mark)) for mark in marks]


def _above(points: Sequence[Place], low: float) -> list[list[Place]]:
    """The stretches of a line that lie above `low`, cut where they cross it (straight in the logarithm of x)."""
    parts: list[list[Place]] = []
    for number, (bits, value) in enumerate(points):
        before = points[number - 1] if number else None
        if before is not None and (before[1] < low) != (value < low):
            share = (low - before[1]) / (value - before[1])
            crossing = (before[0] ** (1 - share) * bits**share, low)
            if value < low:
                parts[-1].append(crossing)
            else:
                parts.append([crossing])
        if value >= low:
            if before is None:
                parts.append([])
            parts[-1].append((bits, value))
    return parts


def _line(one: Tokenizer, low: float, x: Callable[[float], float], y: Callable[[float], float]) -> RateLine:
    path = "".join(_path([(x(bits), y(value)) for bits, value in part]) for part in _above(one.points, low))
    marks = "".join(f"M{x(bits):g},{y(value):g}h0.01" for bits, value in one.points if value >= low)
    return RateLine(one.row, one.style, path, marks, False)


def _path(points: Sequence[Place]) -> str:
    return "M" + "L".join(f"{px:g},{py:g}" for px, py in points)


def _joined(found: Sequence[Tokenizer], x: Callable[[float], float], y: Callable[[float], float]) -> Iterable[RateLine]:
    """Dashed lines between the dots of one discrete tokenizer at several settings."""
    kinds: dict[str, list[Tokenizer]] = {}
    for one in found:
        if len(one.points) == 1:
            kinds.setdefault(one.kind, []).append(one)
    for same in kinds.values():
        if len(same) > 1:
            places = [(x(one.bits), y(_value(one.figure))) for one in sorted(same, key=lambda one: one.bits)]
            yield RateLine(same[0].row, same[0].style, _path(places), "", True)


def _boxes(
    points: Sequence[Place], low: float, x: Callable[[float], float], y: Callable[[float], float]
) -> Iterable[Box]:
    """Small boxes along a line, so that no name is written over it."""
    for part in _above(points, low):
        places = [(x(bits), y(value)) for bits, value in part]
        for (ax, ay), (bx, by) in pairwise(places):
            steps = max(1, math.ceil(math.hypot(bx - ax, by - ay) / 8))
            for step in range(steps + 1):
                px, py = ax + (bx - ax) * step / steps, ay + (by - ay) * step / steps
                yield px - 1.5, py - 1.5, px + 1.5, py + 1.5
