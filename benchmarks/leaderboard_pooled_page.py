"""What the page shows of a pooled board: the findings, one row a strategy, curves, cost against quality, video wall."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from benchmarks import leaderboard
from benchmarks.findings import findings
from benchmarks.leaderboard import Board, Column, clean, decimals
from benchmarks.leaderboard_cost import Scatter, scatters, short_labels
from benchmarks.leaderboard_curves import Chart, charts, short, styles
from benchmarks.leaderboard_media import Media
from benchmarks.leaderboard_rate import RatePlot, rate_plot
from benchmarks.leaderboard_wall import Episode, episodes
from benchmarks.pooled import PooledBoard, PooledRow
from benchmarks.pooled_figures import PooledFigure
from benchmarks.record import Record

COSTS = {
    "parameters": ("parameters", 1e-6, "{:.2f} M"),
    "network_calls_per_frame": ("calls/frame", 1.0, "{:.3g}"),
    "flops_per_frame": ("GFLOPs/frame", 1e-9, "{:.3g}"),
    "seconds_per_frame": ("s/frame", 1.0, "{:.3g}"),
    "peak_memory_bytes": ("peak MiB", 2.0**-20, "{:.0f}"),
    "trained_seconds": ("trained s", 1.0, "{:.0f}"),
}
"""Cost → title of its column, factor, format."""


ALONE = ("psnr", "quantisation_loss", "bits_per_pixel")
"""What stands beside the headlines where tokenizers are judged alone."""


@dataclass(frozen=True)
class Shown:
    """One figure as the table has it."""

    value: str
    interval: str
    rank: str
    number: str
    """What the column is sorted by; empty where nothing was measured."""
    said: str
    """What stands in the tooltip."""
    mark: dict[str, float] | None
    """Where figure and interval lie among the column's, in per cent."""


@dataclass(frozen=True)
class PooledSection:
    """One pooled board, ready to be drawn."""

    board: PooledBoard
    ids: dict[int, str]
    styles: dict[int, str]
    names: dict[int, str]
    """``id(row)`` → its label without what all strategies' labels begin with."""
    findings: list[str]
    lead: list[Column]
    """The headline metrics, or all of them where none is named."""
    others: list[Column]
    parts: list[list[Column]]
    cells: dict[int, dict[Column, Shown]]
    rests: dict[Column, str]
    """Column → the most videos and seeds that any strategy's figure rests on."""
    costs: dict[int, dict[str, tuple[str, str]]]
    """``id(row)`` → column title → text and the number to sort by."""
    charts: list[Chart]
    banded: bool
    """Whether any curve has a simultaneous band."""
    scatters: list[Scatter]
    rate: RatePlot | None
    """Bits a pixel against PSNR, where tokenizers are judged."""
    episodes: list[Episode]


def section(board: PooledBoard, number: int, media: Media) -> PooledSection:
    """Everything the page shows of one pooled board; ``number`` tells its HTML ids from another's."""
    ids = {id(row): f"p{number}r{place}" for place, row in enumerate(board.rows)}
    style = styles(board.rows)
    leading = (*board.headline, *(ALONE if board.options.get("judges") == "tokenizer" else ()))
    lead = [column for name in leading for column in board.columns if column.metric == name] or board.columns
    return PooledSection(
        board=board, ids=ids, styles=style, names=names(board),
        findings=[clean(line) for line in findings(board)], lead=lead,
        others=[column for column in board.columns if column not in lead],
        parts=[list(group) for _, group in groupby(board.parts, key=lambda column: (column.metric, column.key))],
        cells=_cells(board), rests={c: _rests(board, c) for c in (*board.columns, *board.parts)},
        costs=_costs(board), charts=charts(board, ids),
        banded=any(curve.band == "simultaneous" for row in board.rows for curve in row.curves.values()),
        scatters=scatters(board, ids, style), rate=rate_plot(board.rows, ids, style),
        episodes=episodes(board, ids, style, names(board), media),
    )  # fmt: skip


def names(board: PooledBoard) -> dict[int, str]:
    """Labels as pictures have room for: ``rollout=full`` is ``full`` where every strategy begins with ``rollout=``."""
    models = [row for row in board.rows if row.is_model]
    brief = {id(row): name for row, name in zip(models, short_labels([row.label for row in models]), strict=True)}
    return {id(row): brief.get(id(row), clean(row.label)) for row in board.rows}


def _cells(board: PooledBoard) -> dict[int, dict[Column, Shown]]:
    cells: dict[int, dict[Column, Shown]] = {id(row): {} for row in board.rows}
    for column in (*board.columns, *board.parts):
        figures = {id(row): figure for row in board.rows if (figure := row.figure(column)) is not None}
        digits = decimals(figure.value for figure in figures.values() if figure.value is not None)
        ends = [end for row in board.rows if row.is_model and id(row) in figures for end in _ends(figures[id(row)])]
        for row in board.rows:
            if id(row) in figures:
                rank = row.ranks.get(f"{column.metric}/{column.part}" if column.part else column.metric, "")
                cells[id(row)][column] = _shown(figures[id(row)], column, rank, digits, ends)
    return cells


def _shown(figure: PooledFigure, column: Column, rank: str, digits: int, ends: Sequence[float]) -> Shown:
    if figure.value is None:
        return Shown("–", "", rank, "", f"{column.title}: not measured", None)
    interval, said = "", f"{column.title}: {figure.value:.6g}"
    if figure.interval is not None:
        interval = f"[{figure.interval[0]:.{digits}f}, {figure.interval[1]:.{digits}f}]"
        said += f", 95 % interval {figure.interval[0]:.6g} to {figure.interval[1]:.6g}"
    said += f"; {rests_on(figure.videos, figure.seeds)}"
    if figure.seed_deviation is not None:
        said += f"; standard deviation between seeds {figure.seed_deviation:.3g}"
    mark = place(_ends(figure), ends)
    return Shown(f"{figure.value:.{digits}f}", interval, rank, repr(figure.value), said, mark)


def _rests(board: PooledBoard, column: Column) -> str:
    figures = [f for row in board.rows if row.is_model and (f := row.figure(column)) is not None and f.videos]
    return rests_on(max(f.videos for f in figures), max(f.seeds for f in figures)) if figures else ""


def rests_on(videos: int, seeds: int) -> str:
    """``8 videos × 3 seeds``."""
    return f"{videos} video{'' if videos == 1 else 's'} × {seeds} seed{'' if seeds == 1 else 's'}"


def _ends(figure: PooledFigure) -> list[float]:
    return [] if figure.value is None else [figure.value, *(figure.interval or ())]


def place(own: Sequence[float], ends: Sequence[float]) -> dict[str, float] | None:
    """Where a figure ``own[0]`` and the ends of its interval lie within a column, in per cent; None if it has no span.

    ``ends`` holds the figures and ends that span the scale; what lies outside stands at its edge.
    """
    if not own or len(ends) < 2 or not max(ends) > min(ends):
        return None
    low, span = min(ends), max(ends) - min(ends)
    found = {"low": min(own), "value": own[0], "high": max(own)}
    return {name: round(min(max(100 * (value - low) / span, 0.0), 100.0), 1) for name, value in found.items()}


def _costs(board: PooledBoard) -> dict[int, dict[str, tuple[str, str]]]:
    """Of what is judged without generating, what is known alone."""
    found = {id(row): costs(row) for row in board.rows}
    if board.options.get("judges", "generator") == "generator":
        return found
    known = {title for said in found.values() for title, (_, number) in said.items() if number}
    return {row: {title: cost for title, cost in said.items() if title in known} for row, said in found.items()}


def costs(row: PooledRow) -> dict[str, tuple[str, str]]:
    """Column title → text and number of every cost; a dash where the records do not know it."""
    found = {}
    for name, (title, factor, form) in COSTS.items():
        value = row.cost.get(name)
        found[title] = ("–", "") if value is None else (form.format(value * factor), short(value))
    return found


def single_seeds(board: PooledBoard) -> Board:
    """The records behind a pooled board as a board of their own, one row a seed."""
    owners: Mapping[Path, str] = {
        entry.path: row.label + (f", seed {training_seed(entry.record, number)}" if row.seeds > 1 else "")
        for row in board.rows
        for number, entry in enumerate(row.entries)
    }
    (found,) = leaderboard.boards([entry for row in board.rows for entry in row.entries])
    rows = [replace(row, label=clean(owners[row.entry.path])) for row in found.rows]
    return replace(found, title=board.title, subtitle=board.subtitle, rows=rows)


def training_seed(record: Record, number: int = 0) -> int:
    """The generator's seed, else that of a tokenizer that was judged alone, else `number`."""
    return record.seeds.get("generator", record.seeds.get("tokenizer", number))


def not_pooled(boards: Sequence[Board], pooled: Sequence[PooledBoard]) -> list[Board]:
    """The boards without the rows that stand in a pooled one, or that are earlier runs of such a protocol."""
    shown = {entry.path for board in pooled for row in board.rows for entry in row.entries}
    keys = {column.key for board in pooled for column in board.columns}
    left: list[Board] = []
    for board in boards:
        if not any(row.entry.path in shown for row in board.rows):
            left.append(board)
            continue
        others = [row.entry for row in board.rows if not keys & {m.key for m in row.record.metrics.values()}]
        left += leaderboard.boards(others)
    return left
