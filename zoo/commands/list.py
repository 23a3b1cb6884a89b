"""``zoo list [AXIS] [format=json]``: every alternative, one line each, with its paper.

Everything is read from file names and syntax trees, so nothing is imported and the answer is immediate.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from zoo import citations, registry
from zoo.errors import BadValue
from zoo.overrides import keywords


def main(arguments: list[str]) -> int:
    """Print the table: in colour on a terminal, tab-aligned text elsewhere, or JSON."""
    axes = [argument for argument in arguments if "=" not in argument]
    options = keywords([argument for argument in arguments if "=" in argument], ["format"])
    style = options.get("format", "table")
    if style not in ("table", "json"):
        raise BadValue(f"format: {style!r} is not one of 'table' or 'json'.")
    found = rows(axes)
    if style == "json":
        print(json.dumps(found, indent=2, ensure_ascii=False))
    elif sys.stdout.isatty():
        _table(found)
    else:
        _plain(found)
    return 0


def rows(axes: list[str]) -> list[dict[str, Any]]:
    """One row per alternative of the axes asked for (all if none): axis, name, note, cite, needs, gives."""
    found: list[dict[str, Any]] = []
    for axis in axes or registry.axes():
        for name in registry.names(axis):
            card = registry.card(axis, name)
            found.append(
                {
                    "axis": axis,
                    "name": name,
                    "note": card.note,
                    "cite": citations.keys(card),
                    "needs": sorted(card.needs),
                    "gives": sorted(card.gives),
                }
            )
    return found


def _paper(row: dict[str, Any]) -> str:
    return ", ".join(citations.short(key) for key in row["cite"]) or "—"


def _plain(found: list[dict[str, Any]]) -> None:
    cells = [(row["axis"], row["name"], row["note"], _paper(row)) for row in found]
    widths = [max((len(row[column]) for row in cells), default=0) for column in range(3)]
    for axis, name, note, paper in cells:
        print(f"{axis:<{widths[0]}}  {name:<{widths[1]}}  {note:<{widths[2]}}  {paper}")


def _table(found: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("axis", "name", "what", "paper"):
        table.add_column(column, no_wrap=column in ("axis", "name"))
    shown = ""
    for row in found:
        new = row["axis"] != shown
        shown = row["axis"]
        name = Text(row["name"], style="cyan")
        table.add_row(Text(shown if new else "", style="bold"), name, Text(row["note"]), Text(_paper(row), style="dim"))
    Console().print(table)
