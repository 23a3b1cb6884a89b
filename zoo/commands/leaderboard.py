"""``zoo leaderboard [results=DIR] [suite=NAME] [format=table|markdown|csv|html] [out=PATH] [committed=true]
                     [pool=seeds|none]``

Shows the records of ./runs/records (or of results=DIR) as a table; Markdown and CSV go to the screen or to out=PATH,
HTML to out=PATH (leaderboard.html by default): one file with curves, videos and the provenance of every row. With
committed=true the records that come with the project are shown too. Rows of one strategy that differ in their training
seeds become one row, with intervals over videos and seeds and a paragraph of findings, wherever there are several seeds
or headline metrics; pool=seeds does so everywhere and pool=none nowhere. Where a folder holds a claims.yaml (what an
article claims, and which rows it is about) its claims are judged by its records, above the boards; CSV has rows alone.
No record is changed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import BadValue, UserError, nearest
from zoo.overrides import keywords, split

if TYPE_CHECKING:
    from rich.console import RenderableType

    from benchmarks.claims import JudgedClaim
    from benchmarks.leaderboard import Collection

KEYS = ("results", "suite", "format", "out", "committed", "pool")
FORMATS = ("table", "markdown", "csv", "html")
POOLS = ("seeds", "none")


def main(arguments: list[str]) -> int:
    """Run the command; returns the exit code."""
    options = _options(arguments)
    from benchmarks.claims import judged_claims
    from benchmarks.leaderboard import collect
    from benchmarks.pooled_table import chosen

    folders = _folders(options)
    collection = collect(folders)
    if not collection.entries and not collection.broken:
        places = ", ".join(map(str, folders))
        raise UserError(f"no records in {places}; make some with: python -m zoo.run recipe=quickstart")
    style = options.get("format", "table")
    claims = [] if style == "csv" else judged_claims(folders, options.get("suite"))
    if style == "html":
        text = _page(collection, options, claims)
    else:
        from benchmarks import claims_text, leaderboard_text

        found = chosen(collection.entries, options.get("suite"), options.get("pool", ""))
        if style == "table":
            _print_tables(found, collection.broken, claims_text.tables(claims))
            return 0
        if style == "csv":
            text = leaderboard_text.as_csv(found)
        else:
            text = leaderboard_text.markdown(found, collection.broken, claims_text.markdown(claims))
    out = options.get("out", "leaderboard.html" if style == "html" else "")
    if out:
        _write(Path(out), text)
    else:
        sys.stdout.write(text)
    _name_broken(collection.broken, style)
    return 0


def _page(collection: Collection, options: Mapping[str, str], claims: Sequence[JudgedClaim]) -> str:
    """The HTML page; it shows single rows below the pooled ones, so that pool=none only leaves the latter out."""
    from benchmarks import leaderboard_page
    from benchmarks.leaderboard import boards
    from benchmarks.pooled import pool
    from zoo import citations

    suite = options.get("suite")
    pooled = [] if options.get("pool") == "none" else pool(collection.entries, suite)
    folder = Path(options.get("out", "leaderboard.html")).resolve().parent
    found = boards(collection.entries, suite)
    bibtex = citations.entries()
    return leaderboard_page.render(found, collection, bibtex, pooled=pooled, claims=claims, folder=folder)


def show(folder: Path, only: Sequence[Path]) -> None:
    """Print the table of some records of a folder, beside whatever could not be read there."""
    from benchmarks.leaderboard import collect
    from benchmarks.pooled_table import chosen

    collection = collect([folder])
    wanted = {path.resolve() for path in only}
    kept = [entry for entry in collection.entries if entry.path.resolve() in wanted]
    _print_tables(chosen(kept), collection.broken)


def _options(arguments: list[str]) -> dict[str, str]:
    keywords(arguments, KEYS)  # refuses what is unknown; the values stay text, since a folder may be called 2026
    options = dict(split(arguments))
    if options.get("format", "table") not in FORMATS:
        raise BadValue(f"format={options['format']} is not known." + nearest(options["format"], FORMATS))
    if options.get("pool", "seeds") not in POOLS:
        raise BadValue(f"pool={options['pool']} is not known." + nearest(options["pool"], POOLS))
    if options.get("committed", "false") not in ("true", "false"):
        raise BadValue(f"committed={options['committed']} must be true or false.")
    if options.get("format", "table") == "table" and "out" in options:
        raise BadValue("out=PATH needs a format: add format=markdown, format=csv or format=html.")
    return options


def _folders(options: Mapping[str, str]) -> list[Path]:
    """Where to look: results=DIR, or the run folder's records; and the committed ones when asked for."""
    if "results" in options and not Path(options["results"]).is_dir():
        raise UserError(f"results={options['results']} is no folder; give one that holds records (*.json).")
    default = Path(os.environ.get("ZOO_RUNS", "runs")) / "records"
    folders = [Path(options["results"])] if "results" in options else [default] if default.is_dir() else []
    if options.get("committed") == "true" or not folders:
        import benchmarks

        folders.append(Path(benchmarks.__file__).parent / "results")
    return folders


def _print_tables(found: list, broken: Mapping[str, str], above: Sequence[RenderableType] = ()) -> None:
    from rich.console import Console

    from benchmarks.leaderboard_text import tables

    console = Console() if sys.stdout.isatty() else Console(width=140)
    for table in (*above, *tables(found, broken, console.width)):
        console.print(table)


def _write(out: Path, text: str) -> None:
    """Whole or not at all, so that two builds at once leave one good page."""
    from zoo.store import atomic_file

    if out.is_dir():
        raise BadValue(f"out={out} is a folder; give the path of a file.")
    with atomic_file(out) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
    print(f"wrote {out} ({len(text.encode()) / 2**20:.1f} MiB)")


def _name_broken(broken: Mapping[str, str], style: str) -> None:
    """CSV has no place for remarks, and nobody reads the end of a page: say it on the error channel as well."""
    from benchmarks.leaderboard import clean

    for name, reason in broken.items():
        print(clean(f"not a record, left out of the {style}: {name}: {reason}"), file=sys.stderr)
