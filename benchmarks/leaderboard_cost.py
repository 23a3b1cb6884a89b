"""Cost against quality as inline SVG: one dot a strategy, its interval as a whisker, labels that do not overlap.

Costs are what the records counted and timed; a row without the cost or the metric is no dot. Floors and ceilings cost
nothing to make and are lines across the picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from benchmarks.leaderboard import Column, clean
from benchmarks.leaderboard_curves import scale, short, ticks
from benchmarks.pooled import PooledBoard, PooledRow
from benchmarks.pooled_figures import PooledFigure

WIDTH, HEIGHT = 600, 340
LEFT, RIGHT, TOP, BOTTOM = 50, 14, 16, 34
COSTS = {
    "network_calls_per_frame": "network calls per frame",
    "bits_per_pixel": "bits per pixel",
    "seconds_per_frame": "seconds per frame",
}
"""What may lie along x: key of ``PooledRow.cost`` → axis title."""
LOGARITHMIC = 5
"""An axis is logarithmic where its largest cost is this many times its smallest."""
LETTER, LINE = 6.3, 13.0
"""Pixels that a letter is taken to be wide, and a line of text high."""
HEIGHTS = (0.0, 10.0, 18.0, 28.0, 40.0, 54.0, 70.0, 90.0, 115.0)
"""Pixels above or below its dot at which a name may stand."""
SHIFT = 11.0
"""Pixels by which dots of equal cost and quality stand apart."""

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels."""


@dataclass(frozen=True)
class Dot:
    """One strategy: where it lies, its whisker, and where its name stands."""

    row: str
    style: str
    label: str
    x: float
    y: float
    low: float
    high: float
    text_x: float
    text_y: float
    leader: str
    """A thin line from the dot to its name where that is not beside it; else empty."""
    said: str
    """What stands in the tooltip."""


@dataclass(frozen=True)
class Point:
    """One strategy before its place is found: ``x`` in pixels by its cost alone."""

    row: str
    style: str
    label: str
    cost: float
    x: float
    figure: PooledFigure


@dataclass(frozen=True)
class Level:
    """A floor or ceiling as a line across, its name in the right margin."""

    row: str
    style: str
    label: str
    y: float
    text_y: float


@dataclass(frozen=True)
class Scatter:
    """One metric against one cost."""

    cost: str
    cost_title: str
    metric: str
    title: str
    dots: list[Dot]
    levels: list[Level]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    right: float
    """Where the plot ends; names of levels stand beyond."""


def scatters(board: PooledBoard, ids: dict[int, str], styles: dict[int, str]) -> list[Scatter]:
    """One picture per headline metric and cost; none where fewer than two models have both."""
    wanted = board.headline or tuple(c.metric for c in board.columns if c.higher_is_better is not None)[:1]
    columns = [column for column in board.columns if column.metric in wanted]
    found = [_scatter(board.rows, column, cost, ids, styles) for column in columns for cost in COSTS]
    return [scatter for scatter in found if scatter is not None]


def _scatter(
    rows: Sequence[PooledRow], column: Column, cost: str, ids: dict[int, str], styles: dict[int, str]
) -> Scatter | None:
    figures = {id(row): figure for row in rows if (figure := _known(row.figure(column))) is not None}
    models = [row for row in rows if row.is_model and id(row) in figures and row.cost.get(cost, -1.0) >= 0]
    if len(models) < 2:
        return None
    ends = [end for row in models for end in _ends(figures[id(row)])]
    y_ticks = ticks(min(ends), max(ends), 6)
    y = scale(y_ticks[0], y_ticks[-1], HEIGHT - BOTTOM, TOP)
    across = [row for row in rows if not row.is_model and id(row) in figures]
    inside = [row for row in across if y_ticks[0] <= _value(figures[id(row)]) <= y_ticks[-1]]
    right = WIDTH - max([RIGHT, *(LETTER * len(row.label) + 10 for row in inside)])
    x, x_ticks = _across([row.cost[cost] for row in models], right)
    lines = [(ids[id(row)], styles[id(row)], row.label, y(_value(figures[id(row)]))) for row in inside]
    names = short_labels([row.label for row in models])
    points = [
        Point(ids[id(row)], styles[id(row)], name, row.cost[cost], x(row.cost[cost]), figures[id(row)])
        for row, name in zip(models, names, strict=True)
    ]
    return Scatter(
        cost, COSTS[cost], column.metric, column.title, dots_of(points, y, right), levels_of(lines), x_ticks,
        [(y(v), short(v)) for v in y_ticks], right,
    )  # fmt: skip


def _known(figure: PooledFigure | None) -> PooledFigure | None:
    return figure if figure is not None and figure.value is not None else None


def _value(figure: PooledFigure) -> float:
    return math.nan if figure.value is None else figure.value


def _ends(figure: PooledFigure) -> tuple[float, ...]:
    return (_value(figure), *(figure.interval or ()))


def short_labels(labels: Sequence[str]) -> list[str]:
    """Labels without what all of them begin with, up to the first ``=``: ``rollout=full`` becomes ``full``."""
    starts = {label.partition("=")[0] for label in labels}
    if len(labels) < 2 or len(starts) != 1 or not all("=" in label for label in labels):
        return [clean(label) for label in labels]
    return [clean(label.partition("=")[2]) or clean(label) for label in labels]


def _across(costs: Sequence[float], right: float) -> tuple[Callable[[float], float], list[tuple[float, str]]]:
    """Cost → pixel, and the ticks; logarithmic where costs lie far apart."""
    low, high = min(costs), max(costs)
    if low > 0 and high / low >= LOGARITHMIC:
        low, high = low / 1.3, high * 1.3
        line = scale(math.log(low), math.log(high), LEFT, right)
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        marks = [m * 10.0**p for p in powers for m in (1, 2, 5) if low <= m * 10.0**p <= high]
        return (lambda cost: line(math.log(cost))), [(line(math.log(mark)), short(mark)) for mark in marks]
    margin = 0.08 * (high - low) or 0.1 * abs(high) or 1.0
    line = scale(max(low - margin, 0.0), high + margin, LEFT, right)
    marks = [mark for mark in ticks(low, high, 5) if max(low - margin, 0.0) <= mark <= high + margin]
    return line, [(line(mark), short(mark)) for mark in marks]


def levels_of(lines: Iterable[tuple[str, str, str, float]]) -> list[Level]:
    """Lines across with their names beside the right end, pushed apart where they would lie on each other."""
    ordered = sorted(lines, key=lambda line: line[3])
    places: list[float] = []
    for *_, y in ordered:
        places.append(max(y + 4, places[-1] + LINE) if places else y + 4)
    floor = HEIGHT - BOTTOM + 4.0
    for index in reversed(range(len(places))):
        places[index] = min(places[index], floor)
        floor = places[index] - LINE
    return [Level(row, style, clean(name), y, at) for (row, style, name, y), at in zip(ordered, places, strict=True)]


def dots_of(points: Sequence[Point], y: Callable[[float], float], right: float, drawn: Sequence[Box] = ()) -> list[Dot]:
    """Every point with its whisker and a place for its name that covers no other, and nothing that is `drawn`."""
    ordered = sorted(points, key=lambda point: y(_value(point.figure)))
    places = _side_by_side([(point.x, y(_value(point.figure))) for point in ordered])
    taken: list[Box] = [*drawn]
    for point, (px, py) in zip(ordered, places, strict=True):
        ends = [y(end) for end in _ends(point.figure)]
        taken += [(px - 3, min(ends), px + 3, max(ends)), (px - 7, py - 7, px + 7, py + 7)]
    dots = []
    for point, (px, py) in zip(ordered, places, strict=True):
        text_x, text_y, leader = _place(px, py, point.label, taken, right)
        taken.append(_text_box(text_x, text_y, point.label))
        ends, interval = [y(end) for end in _ends(point.figure)], point.figure.interval
        said = f"{point.label}: {short(_value(point.figure))}"
        said += f" [{short(interval[0])}, {short(interval[1])}]" if interval else ""
        said += f" at {short(point.cost)}"
        dots.append(
            Dot(point.row, point.style, point.label, px, py, min(ends), max(ends), text_x, text_y, leader, said)
        )
    return dots


def _side_by_side(places: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The same places, shifted sideways by a few pixels where a dot would hide another."""
    found: list[tuple[float, float]] = []
    for x, y in places:
        shifts = [side * step * SHIFT for step in range(len(places) + 1) for side in (1, -1)]
        free = (x + s for s in shifts if x + s > LEFT + 5 and all(_apart((x + s, y), other) for other in found))
        found.append((round(next(free, x), 1), y))
    return found


def _apart(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return abs(one[0] - other[0]) >= SHIFT or abs(one[1] - other[1]) >= SHIFT


def _place(px: float, py: float, name: str, taken: Sequence[Box], right: float) -> tuple[float, float, str]:
    """Left end and baseline of a name, and the line that leads to it when it is not right beside its dot."""
    wide = LETTER * len(name)
    best: tuple[float, float, float, str] | None = None
    for dx, dy in _offsets():
        left = px + dx if dx > 0 else px + dx - wide if dx < 0 else px - wide / 2
        left, base = max(min(left, right - wide), LEFT + 2), py + dy + 4
        box = _text_box(left, base, name)
        outside = max(0.0, TOP - 10 - box[1]) + max(0.0, box[3] - (HEIGHT - BOTTOM))
        covered = sum(_overlap(box, other) for other in taken) + 100 * outside
        near = min(max(px, box[0]), box[2]), min(max(py, box[1]), box[3])
        away = math.hypot(near[0] - px, near[1] - py)
        leader = f"M{px:g},{py:g}L{near[0]:g},{near[1]:g}" if away > 14 else ""
        if best is None or covered < best[0]:
            best = (covered, left, base, leader)
        if covered == 0:
            break
    assert best is not None
    return round(best[1], 1), round(best[2], 1), best[3]


def _offsets() -> list[tuple[float, float]]:
    """Places around a dot, the nearest first; right before left before above and below."""
    beside = [(10.0, 0.0), (-10.0, 0.0), (0.0, -15.0), (0.0, 15.0)]
    around = [(sx * dx, sy * dy) for dx in (12.0, 36.0, 64.0) for sx in (1, -1) for dy in HEIGHTS for sy in (-1, 1)]
    return beside + sorted(around, key=lambda offset: math.hypot(*offset))


def _text_box(x: float, base: float, text: str) -> Box:
    return x, base - LINE + 3, x + LETTER * len(text), base + 3


def _overlap(one: Box, other: Box) -> float:
    """Common area in square pixels."""
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    return wide * high if wide > 0 and high > 0 else 0.0
