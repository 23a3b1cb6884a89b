"""Boards as a terminal table, as Markdown and as CSV. Every string of a record is escaped for where it goes."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from benchmarks.leaderboard import Board, Cell, Column, Row, clean

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

LEGEND = "Bold: best of the models. ≈: cannot be told apart from the best (95 %). Floors and ceilings are not ranked."
CSV_HEADER = (
    "suite", "version", "dataset", "row", "kind", "role", "metric", "part", "value", "low", "high", "n",
    "unit", "higher_is_better", "rank", "key", "recipe_hash", "git_commit", "created",
)  # fmt: skip
CSV_SEEDS = ("seeds", "seed_deviation")
"""Further columns where any row is pooled over training seeds."""


def cost_columns(row: Row) -> dict[str, str]:
    """What stands beside every score: parameters, FLOPs, network calls and seconds per frame, memory, training time.

    Of pooled rows also what the figures rest on, and the FLOPs of a generated frame.
    """
    cost = row.record.cost
    videos = max((cell.part.n for cell in row.cells.values()), default=0)
    pooled = {"videos × seeds": f"{videos} × {row.seeds}"} if row.seeds else {}
    flops = cost.flops.get("generated_frame")
    counted = {"GFLOP/frame": "–" if flops is None else f"{flops / 1e9:.3g}"} if row.seeds else {}
    trained = sum(cost.trained_seconds.values())
    parameters = cost.parameters.get("total", sum(cost.parameters.values()))
    return {
        **pooled,
        "parameters": f"{parameters / 1e6:.2f} M" if parameters else "–",
        "calls/frame": "–" if cost.network_calls_per_frame is None else f"{cost.network_calls_per_frame:.3g}",
        **counted,
        "s/frame": "–" if cost.seconds_per_frame is None else f"{cost.seconds_per_frame:.3g}",
        "peak MiB": "–" if cost.peak_memory_bytes is None else f"{cost.peak_memory_bytes / 2**20:.0f}",
        "trained s": f"{trained:.0f}" if trained else "–",
    }


def tables(boards: Sequence[Board], broken: Mapping[str, str], width: int = 120) -> list[RenderableType]:
    """Rich tables of at most `width` characters: a board with more columns than fit becomes several, none cut."""
    from rich.text import Text

    shown: list[RenderableType] = []
    for board in boards:
        title = f"{board.title}: {board.subtitle}"
        columns = [
            (column.title, [_terminal(row.cells.get(column)) for row in board.rows]) for column in board.columns
        ] + [(name, [Text(cost_columns(row)[name]) for row in board.rows]) for name in cost_columns(board.rows[0])]
        for group in _fitting(columns, width - 4 - max(len(row_label(row)) for row in board.rows)):
            shown.append(_table(title, board.rows, group))
            title = f"{board.title}, continued"
        shown.append(Text("\n".join((LEGEND, *board.notes)) + "\n", style="dim"))
    shown += [Text(f"not a record: {clean(name)}: {clean(reason)}", style="yellow") for name, reason in broken.items()]
    return shown


def _fitting(columns: list[tuple[str, list[Text]]], width: int) -> list[list[tuple[str, list[Text]]]]:
    """Columns in groups whose widths, borders included, add up to at most `width`; at least one a group."""
    groups: list[list[tuple[str, list[Text]]]] = []
    left = 0
    for title, cells in columns:
        need = 3 + max(len(line) for text in (title, *(cell.plain for cell in cells)) for line in text.split("\n"))
        if not groups or need > left:
            groups.append([])
            left = width
        groups[-1].append((title, cells))
        left -= need
    return groups


def _table(title: str, rows: Sequence[Row], columns: list[tuple[str, list[Text]]]) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title, style="bold"), title_justify="left")
    table.add_column("row", overflow="fold")
    for name, _ in columns:
        table.add_column(Text(name), justify="right", no_wrap=True)
    for place, row in enumerate(rows):
        table.add_row(
            Text(row_label(row)), *(cells[place] for _, cells in columns), style="" if row.is_model else "italic dim"
        )
    return table


def row_label(row: Row) -> str:
    """The row's name, with its role when it is a control."""
    role = row.record.role or row.record.kind
    return row.label if row.is_model else f"{row.label} ({role})"


def _terminal(cell: Cell | None) -> Text:
    from rich.text import Text

    if cell is None:
        return Text("")
    style, mark = {"best": ("bold green", ""), "tie": ("green", "≈")}.get(cell.rank, ("", ""))
    text = Text(mark + cell.value, style=style)
    return text.append("\n" + cell.interval, style="not bold dim") if cell.interval else text


def markdown(boards: Sequence[Board], broken: Mapping[str, str], above: Sequence[str] = ()) -> str:
    """GitHub tables, one per board, and a second one by frame type and bin where the records have them.

    ``above`` are lines of Markdown, such as judged claims, to stand before the boards.
    """
    lines = [*above]
    for board in boards:
        lines += [f"## {escape_markdown(board.title)}", "", escape_markdown(board.subtitle), ""]
        lines += _grid(board, board.columns, costs=True)
        for columns in board.parts_by_metric:
            title = escape_markdown(columns[0].name + columns[0].tail)
            lines += ["", f"{title}, by frame type and bin:", "", *_grid(board, columns, costs=False)]
        lines += ["", LEGEND, ""]
        lines += [*(f"- {escape_markdown(note)}" for note in board.notes), ""] if board.notes else []
    if broken:
        lines += ["Not read:", ""]
        lines += [f"- {escape_markdown(name)}: {escape_markdown(reason)}" for name, reason in broken.items()]
    return "\n".join(lines).rstrip() + "\n"


def _grid(board: Board, columns: Sequence[Column], *, costs: bool) -> list[str]:
    titles = ["row"] + [escape_markdown(c.part or c.title) for c in columns]
    titles += list(cost_columns(board.rows[0])) if costs else []
    lines = ["| " + " | ".join(titles) + " |", "|:--|" + "--:|" * (len(titles) - 1)]
    for row in board.rows:
        label = escape_markdown(row_label(row))
        cells = [label if row.is_model else f"*{label}*"] + [_markdown(row.cells.get(c)) for c in columns]
        cells += list(cost_columns(row).values()) if costs else []
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _markdown(cell: Cell | None) -> str:
    if cell is None:
        return ""
    value = {"best": f"**{cell.value}**", "tie": f"≈**{cell.value}**"}.get(cell.rank, cell.value)
    return f"{value} {cell.interval}".strip()


def escape_markdown(text: str) -> str:
    """No HTML, no link, no new column: what a record says stays text."""
    text = html.escape(clean(text), quote=False)
    for character in "\\`*[]|!":
        text = text.replace(character, "\\" + character)
    return text


def as_csv(boards: Sequence[Board]) -> str:
    """One line per row, metric and part, so that any tool can pivot it. Text cells never start a formula."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    pooled = any(row.seeds for board in boards for row in board.rows)
    writer.writerow(CSV_HEADER + (CSV_SEEDS if pooled else ()))
    for board in boards:
        for row in board.rows:
            for column in (*board.columns, *board.parts):
                if column in row.cells:
                    line = _csv_line(row, column, row.cells[column])
                    writer.writerow(line + _csv_seeds(row, row.cells[column]) if pooled else line)
    return out.getvalue()


def _csv_seeds(row: Row, cell: Cell) -> list[object]:
    return [row.seeds or 1, "" if cell.seed_deviation is None else repr(cell.seed_deviation)]


def _csv_line(row: Row, column: Column, cell: Cell) -> list[object]:
    record, part = row.record, cell.part
    low, high = part.interval or (None, None)
    better = {True: "true", False: "false", None: ""}[column.higher_is_better]
    texts = [record.suite.name, record.suite.version, record.dataset.name, row.label, record.kind, record.role]
    texts += [column.metric, column.part]
    tail = [column.unit, better, cell.rank, column.key, record.recipe_hash, record.environment.git_commit or ""]
    figures = ["" if value is None else repr(value) for value in (part.value, low, high)]
    return [*map(formula_safe, texts), *figures, part.n, *map(formula_safe, tail), record.created.isoformat()]


def formula_safe(text: object) -> object:
    """A quote before what a spreadsheet would run: ``=``, ``+``, ``-``, ``@``, tab, return. Numbers pass untouched."""
    if not isinstance(text, str):
        return text
    text = clean(text)
    return "'" + text if text.lstrip().startswith(("=", "+", "-", "@", "|", "%", "＝", "＋", "－", "＠")) else text
