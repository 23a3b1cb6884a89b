"""Curves over time as inline SVG: one chart per metric, one line per row, its interval as a band. No JavaScript needed.

The page's script adds the read-out under the pointer from ``Chart.data``; without it the picture is complete.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.leaderboard import Board, Row, clean
from benchmarks.pooled import PooledBoard, PooledRow
from benchmarks.pooled_figures import PooledCurve
from benchmarks.rate import CURVE
from benchmarks.record import Curve

WIDTH, HEIGHT = 600, 270
LEFT, RIGHT, TOP, BOTTOM = 50, 12, 12, 30
BEYOND = 0.4
"""How far controls may stretch a chart beyond the models, as a share of what these span."""


@dataclass(frozen=True)
class Line:
    """One row's curve as SVG path data."""

    style: str
    row: str
    path: str
    band: str


@dataclass(frozen=True)
class Chart:
    """One metric over time."""

    title: str
    lines: list[Line]
    x_ticks: list[tuple[float, str]]
    """Pixel and label."""
    y_ticks: list[tuple[float, str]]
    data: dict[str, Any]
    """What the read-out shows: times, and per row its values."""


@dataclass(frozen=True)
class Series:
    """One row's curve of one metric, of a single record or pooled over seeds."""

    row: str
    """HTML id."""
    style: str
    is_model: bool
    curve: Curve | PooledCurve


def styles(rows: Sequence[Row | PooledRow]) -> dict[int, str]:
    """``id(row)`` → CSS class of its colour: s0…s7 for models in their order, then again dashed; k0…k3 for controls."""
    models = [row for row in rows if row.is_model]
    controls = [row for row in rows if not row.is_model]
    found = {id(row): f"s{i % 8}" + (" again" if i >= 8 else "") for i, row in enumerate(models)}
    return found | {id(row): f"k{i % 4}" for i, row in enumerate(controls)}


def charts(board: Board | PooledBoard, ids: dict[int, str]) -> list[Chart]:
    """One chart for every curve name, in the order in which the rows name them. ``ids``: ``id(row)`` → HTML id."""
    style = styles(board.rows)
    named: dict[str, list[Series]] = {}
    for row in board.rows:
        for name, curve in (row.record.curves if isinstance(row, Row) else row.curves).items():
            if name == CURVE:
                continue  # its t is no time: benchmarks/leaderboard_rate.py
            named.setdefault(name, []).append(Series(ids[id(row)], style[id(row)], row.is_model, curve))
    return [chart for name, series in named.items() if (chart := _chart(name, series))]


def _chart(name: str, series: list[Series]) -> Chart | None:
    times = [t for one in series for t in one.curve.t]
    known = _values(series)
    if not times or not known:
        return None
    x_low, x_high = min(times), max(times)
    bottom, top = _visible(series, known)
    y_ticks = [v for v in ticks(bottom, top, 6) if bottom <= v <= top] if top > bottom else ticks(bottom, top, 6)
    y_low, y_high = min(y_ticks[0], bottom), max(y_ticks[-1], top)
    x = scale(x_low, x_high, LEFT, WIDTH - RIGHT)
    y = scale(y_low, y_high, HEIGHT - BOTTOM, TOP)
    unit = f" [{clean(series[0].curve.unit)}]" if series[0].curve.unit else ""
    return Chart(
        title=clean(name) + unit,
        lines=[_line(one, x, y) for one in series],
        x_ticks=[(x(t), short(t)) for t in ticks(x_low, x_high, 6) if x_low <= t <= x_high],
        y_ticks=[(y(v), short(v)) for v in y_ticks],
        data={
            "left": LEFT, "right": WIDTH - RIGHT, "low": x_low, "high": x_high,
            "rows": [_data(one) for one in series],
        },
    )  # fmt: skip


def _values(series: Iterable[Series]) -> list[float]:
    """Every measured value and end of a band."""
    curves = [one.curve for one in series]
    return [
        v
        for curve in curves
        for values in (curve.mean, curve.lo or [], curve.hi or [])
        for v in values
        if v is not None
    ]


def _visible(series: list[Series], known: list[float]) -> tuple[float, float]:
    """What the y axis shows: the models whole, and little beyond them of what they themselves span.

    A control that is perfect by construction (100 dB) would otherwise press all that matters into one line.
    """
    seen = _values(one for one in series if one.is_model)
    if not seen:
        return min(known), max(known)
    beyond = BEYOND * ((max(seen) - min(seen)) or 1.0)
    return max(min(known), min(seen) - beyond), min(max(known), max(seen) + beyond)


def _data(series: Series) -> dict[str, Any]:
    def rounded(values: Iterable[float | None] | None) -> list[float | None]:
        return [None if v is None else float(f"{v:.4g}") for v in values or []]

    curve = series.curve
    return {
        "id": series.row, "t": curve.t,
        "mean": rounded(curve.mean), "lo": rounded(curve.lo), "hi": rounded(curve.hi),
    }  # fmt: skip


def scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    """Value to pixel; a value outside rides along the edge."""
    span = (high - low) or 1.0
    return lambda value: round(start + (min(max(value, low), high) - low) / span * (end - start), 1)


def _line(series: Series, x: Callable[[float], float], y: Callable[[float], float]) -> Line:
    curve, band = series.curve, ""
    if curve.lo and curve.hi:
        for run in runs([low if high is not None else None for low, high in zip(curve.lo, curve.hi, strict=True)]):
            upper = [(x(curve.t[i]), y(_known(curve.hi[i]))) for i in run]
            lower = [(x(curve.t[i]), y(_known(curve.lo[i]))) for i in reversed(run)]
            band += _path(upper + lower) + "Z"
    path = "".join(_path([(x(curve.t[i]), y(_known(curve.mean[i]))) for i in run]) for run in runs(curve.mean))
    return Line(series.style, series.row, path, band)


def _known(value: float | None) -> float:
    return math.nan if value is None else value


def _path(points: Sequence[tuple[float, float]]) -> str:
    """A lone point becomes a short dash, which can be seen."""
    if len(points) == 1:
        ((px, py),) = points
        points = [(px - 3, py), (px + 3, py)]
    return "M" + "L".join(f"{px:g},{py:g}" for px, py in points)


def runs(values: Sequence[float | None]) -> list[list[int]]:
    """Indices of the stretches without a gap: where nothing was measured no line is drawn."""
    found: list[list[int]] = [[]]
    for i, value in enumerate(values):
        if value is not None:
            found[-1].append(i)
        elif found[-1]:
            found.append([])
    return [run for run in found if run]


def ticks(low: float, high: float, count: int) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) that cover [low, high], about ``count`` of them."""
    if not high > low:
        low, high = low - abs(low) * 0.1 - 1e-9, high + abs(high) * 0.1 + 1e-9
    raw = (high - low) / count
    power = 10 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * (1 - 1e-9))
    first, last = math.floor(low / step), math.ceil(high / step)
    return [float(f"{i * step:.10g}") for i in range(first, last + 1)]


def short(value: float) -> str:
    """Four figures at most."""
    return f"{value:.4g}"
