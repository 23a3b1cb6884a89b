"""Boards as one self-contained HTML page: nothing is fetched, every string is escaped, only our own script may run.

The script is allowed by its hash in the page's content security policy, so a string that slipped through the escaping
would still be inert.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FunctionLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from benchmarks import leaderboard_pooled_page as pooled_page
from benchmarks.claims import JudgedClaim
from benchmarks.claims_text import LEGEND as CLAIMS_LEGEND
from benchmarks.leaderboard import Board, Cell, Collection, Column, Row, clean
from benchmarks.leaderboard_claims_page import cards
from benchmarks.leaderboard_curves import Chart, charts, styles
from benchmarks.leaderboard_media import Gallery, Media, galleries
from benchmarks.leaderboard_rate import RatePlot, rate_plot
from benchmarks.leaderboard_text import LEGEND, cost_columns
from benchmarks.leaderboard_wall import KINDS
from benchmarks.pooled import PooledBoard, PooledRow, worth_pooling
from benchmarks.record import identity


@dataclass(frozen=True)
class Section:
    """One board, ready to be drawn."""

    board: Board
    ids: dict[int, str]
    styles: dict[int, str]
    charts: list[Chart]
    rate: RatePlot | None
    galleries: list[Gallery]
    facts: dict[int, list[tuple[str, dict[str, str]]]]


def render(
    boards: Sequence[Board],
    collection: Collection,
    bibtex: Mapping[str, str] | None = None,
    *,
    pooled: Sequence[PooledBoard] = (),
    claims: Sequence[JudgedClaim] = (),
    folder: Path | None = None,
) -> str:
    """The page. ``bibtex`` maps citation keys to entries; a key without an entry is shown by itself.

    Boards of ``pooled`` on which any strategy has several training seeds, or which have headline metrics, are shown
    pooled, with the rows of single seeds folded away; ``claims`` stand above all boards. ``folder`` is where the page
    will lie: videos of their walls that lie below it are linked to; without it every video is carried along, up to a
    budget.

    The same records give the same bytes: the page holds no time of its own.
    """
    media = Media(folder=folder)
    chosen = [board for board in pooled if worth_pooling(board)]
    pools = [
        (
            pooled_page.section(board, number, media),
            _section(pooled_page.single_seeds(board), f"s{number}", media, looks=False),
        )
        for number, board in enumerate(chosen)
    ]
    sections = [
        _section(board, f"b{number}", media) for number, board in enumerate(pooled_page.not_pooled(boards, chosen))
    ]
    script, style = (_text(f"leaderboard.{kind}") + _text(f"leaderboard_wall.{kind}") for kind in ("js", "css"))
    style += _text("leaderboard_claims.css") if claims else ""
    policy = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment = Environment(
        autoescape=select_autoescape(default=True), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        finalize=_printable, loader=FunctionLoader(_text),
    )  # fmt: skip
    return environment.get_template("leaderboard.html.j2").render(
        sections=sections,
        pools=pools,
        claims=cards(claims, _dialogs([pool for pool, _ in pools], sections)),
        claims_legend=CLAIMS_LEGEND,
        broken={clean(name): clean(reason) for name, reason in collection.broken.items()},
        omitted=media.omitted,
        linked=media.linked,
        records=len(collection.entries),
        newest=max((e.record.created for e in collection.entries), default=None),
        bibtex=bibtex or {},
        legend=LEGEND,
        kinds=KINDS,
        policy=policy,
        script=Markup(script),
        style=Markup(style),
        costs=cost_columns,
        whisker=whisker,
        behind=_behind,
        recipe=recipe_text,
        address=id,
    )


def _text(name: str) -> str:
    """A file that comes with the benchmarks."""
    return files("benchmarks").joinpath(name).read_text("utf-8")


def _printable(value: Any) -> Any:
    """What stands between {{ and }}: control characters other than line ends are shown as �; our own markup passes."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return "\n".join(clean(line) for line in value.replace("\t", "  ").splitlines())


def _section(board: Board, prefix: str, media: Media, *, looks: bool = True) -> Section:
    """``looks=False`` leaves curves and pictures to the pooled board above."""
    ids = {id(row): f"{prefix}r{identity(row.record)}" for row in board.rows}
    facts = {id(row): provenance(row) for row in board.rows}
    drawn, shown = (charts(board, ids), galleries(board, ids, media)) if looks else ([], [])
    style = styles(board.rows)
    return Section(board, ids, style, drawn, rate_plot(board.rows, ids, style) if looks else None, shown, facts)


def _dialogs(pools: Sequence[pooled_page.PooledSection], sections: Sequence[Section]) -> dict[Path, str]:
    """File of a record → id of the dialog of the row that it stands in, of the pooled one where there is one."""
    single = {row.entry.path: one.ids[id(row)] for one in sections for row in one.board.rows}
    many = {e.path: pool.ids[id(row)] for pool in pools for row in pool.board.rows for e in row.entries}
    return {path.resolve(): found for path, found in (single | many).items()}


def _behind(row: PooledRow, singles: Section) -> list[dict[str, str]]:
    """The single records of a pooled row: id of the dialog, label, name of the file."""
    own = {entry.path for entry in row.entries}
    rows = [single for single in singles.board.rows if single.entry.path in own]
    return [{"id": singles.ids[id(r)], "label": r.label, "file": r.entry.path.name} for r in rows]


def whisker(rows: Sequence[Row], column: Column, cell: Cell) -> dict[str, float] | None:
    """Where a figure and its interval lie among the column's, in per cent; None where there is nothing to compare."""
    return pooled_page.place(
        _ends(cell), [end for row in rows if column in row.cells for end in _ends(row.cells[column])]
    )


def _ends(cell: Cell) -> list[float]:
    return [] if cell.part.value is None else [cell.part.value, *(cell.part.interval or ())]


def recipe_text(row: Row) -> str:
    """The resolved recipe as YAML."""
    return yaml.safe_dump(row.record.recipe, sort_keys=False, allow_unicode=True) if row.record.recipe else ""


def provenance(row: Row) -> list[tuple[str, dict[str, str]]]:
    """Everything a row rests on, in titled groups of name → text; empty groups and values are left out."""
    record, env, cost = row.record, row.record.environment, row.record.cost
    run = {
        "name": record.name, "recipe hash": record.recipe_hash, "created": record.created.isoformat(" ", "seconds"),
        "earlier runs of it": row.older or "", "record": row.entry.path.name, "group": record.group,
        "stages reused although changed": ", ".join(record.stale),
    }  # fmt: skip
    data = {
        "data set": record.dataset.name, "fingerprint": record.dataset.fingerprint, "reader": record.reader,
        **_flat(record.dataset.options), **_flat(record.dataset.report),
    }  # fmt: skip
    spent = {
        **{f"{part} parameters": f"{count:,}" for part, count in cost.parameters.items()},
        **{f"{part} FLOPs": f"{count:.3g}" for part, count in cost.flops.items()},
        **{f"{stage}, trained in": f"{seconds:.1f} s" for stage, seconds in cost.trained_seconds.items()},
        **{f"{stage}, this run": f"{seconds:.1f} s" for stage, seconds in cost.wall_seconds.items()},
        "network calls per frame": _number(cost.network_calls_per_frame),
        "seconds per frame": _number(cost.seconds_per_frame),
        "peak memory": f"{cost.peak_memory_bytes / 2**20:,.0f} MiB" if cost.peak_memory_bytes else "",
    }
    made = {"git commit": env.git_commit, "uncommitted changes": env.git_dirty, "python": env.python}
    groups: list[tuple[str, Mapping[str, Any]]] = [
        ("Run", run), ("Parts", record.components), ("Stages", record.stages), ("Data", data), ("Seeds", record.seeds),
        ("Cost", spent), ("Made with", {**made, **env.packages}), ("Hardware", env.hardware),
        ("Versions", record.versions),
    ]  # fmt: skip
    shown = [(t, {clean(str(k)): clean(str(v)) for k, v in g.items() if v not in ("", None)}) for t, g in groups]
    return [(title, group) for title, group in shown if group]


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested options as dotted names."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _number(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.4g}"
