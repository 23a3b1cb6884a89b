"""Pooled boards in the shape of plain ones, so that the terminal, Markdown and CSV writers show both."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.findings import findings
from benchmarks.leaderboard import Board, Cell, Column, Entry, Row, boards, clean, decimals
from benchmarks.pooled import PooledBoard, PooledRow, place, pool, worth_pooling
from benchmarks.record import Cost, Part, Record

NOTE = "One row a strategy, over its training seeds; figures, intervals and costs are means over them."


def chosen(entries: Sequence[Entry], suite: str | None = None, how: str = "") -> list[Board]:
    """Boards to show: ``how`` is "seeds" (all pooled), "none" (a row a record) or "" (pooled where it says more).

    Raises UserError when ``suite`` is asked for and no record has it.
    """
    single = boards(entries, suite)
    if how == "none":
        return single
    pooled = pool(entries, suite)
    return [table(p) if how or worth_pooling(p) else s for p, s in zip(pooled, single, strict=True)]


def table(board: PooledBoard) -> Board:
    """The same board with headline columns first and its findings as notes."""
    columns = [*board.columns, *board.parts]
    digits = {column: _digits(board, column) for column in columns}
    rows = [_row(row, digits) for row in board.rows]
    lead = [column for name in board.headline for column in board.columns if column.metric == name]
    return Board(
        board.title, board.subtitle, lead + [column for column in board.columns if column not in lead], board.parts,
        rows, notes=(NOTE, *map(clean, findings(board))),
    )  # fmt: skip


def _digits(board: PooledBoard, column: Column) -> int:
    figures = [figure for row in board.rows if (figure := row.figure(column)) is not None]
    return decimals(figure.value for figure in figures if figure.value is not None)


def _row(row: PooledRow, digits: dict[Column, int]) -> Row:
    cells = {}
    for column, count in digits.items():
        figure = row.figure(column)
        if figure is not None:
            part = Part(value=figure.value, n=figure.videos, interval=figure.interval)
            cells[column] = Cell(part, row.ranks.get(place(column), ""), count, figure.seed_deviation)
    newest = max(row.entries, key=lambda entry: entry.record.created.timestamp())
    return Row(Entry(_spoken(row, newest.record), newest.path), row.label, row.older, cells, row.seeds)


def _spoken(row: PooledRow, newest: Record) -> Record:
    """The newest record with the row's mean costs and the recipe hashes of all its seeds."""
    mean = row.cost
    memory = mean.get("peak_memory_bytes")
    cost = Cost(
        trained_seconds={"total": mean["trained_seconds"]} if "trained_seconds" in mean else {},
        parameters={"total": round(mean["parameters"])} if "parameters" in mean else {},
        flops={"generated_frame": mean["flops_per_frame"]} if "flops_per_frame" in mean else {},
        seconds_per_frame=mean.get("seconds_per_frame"),
        network_calls_per_frame=mean.get("network_calls_per_frame"),
        peak_memory_bytes=None if memory is None else round(memory),
    )
    hashes = " ".join(entry.record.recipe_hash for entry in row.entries)
    return newest.model_copy(update={"cost": cost, "recipe_hash": hashes})
