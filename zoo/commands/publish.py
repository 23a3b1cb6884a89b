"""``zoo publish results=DIR out=DIR [crf=30] [controls=true]``

Copies the records of one folder to another, to be committed or put on the web: the newest of every row, unchanged.
Videos of the lowest training seed of a strategy come along, encoded again at quality `crf` (0 best to 51) so that a
repository can hold them; other seeds' videos, strips and, unless controls=true, those of floors and ceilings stay
behind, and pages made of the copy leave them out. Files that are there already are not written again.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import BadValue, UserError
from zoo.overrides import keywords

if TYPE_CHECKING:
    from benchmarks.leaderboard import Entry

KEYS = ("results", "out", "crf", "controls")
ROLES = ("video", "truth", "frames")
"""Artifact roles that a page of pooled boards shows."""


def main(arguments: list[str]) -> int:
    """Run the command; returns the exit code."""
    from benchmarks.leaderboard import collect
    from zoo.progress import Bar, say
    from zoo.store import writing

    given = keywords(arguments, KEYS)
    if not {"results", "out"} <= given.keys():
        raise BadValue("publish needs results=DIR (records to copy) and out=DIR (where to).")
    crf, source, target = given.get("crf", 30), Path(str(given["results"])), Path(str(given["out"]))
    if not isinstance(crf, int) or not 0 <= crf <= 51:
        raise BadValue(f"crf={crf} is no quality of H.264: give a whole number from 0 (best) to 51.")
    found = collect([source])
    if not found.entries:
        raise UserError(f"no records in {source}; make some with: python -m zoo.run recipe=ablations/long_range")
    rows = list(_newest(found.entries))
    shown = _shown(rows, bool(given.get("controls", False)))
    with writing(target), Bar("publishing", len(rows)) as bar:
        for entry in rows:
            place = target / entry.path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            if entry.path in shown:
                _copy_films(entry, place.parent, crf)
            shutil.copyfile(entry.path, place)
            bar.advance()
    filmed = sum(entry.path in shown and bool(entry.record.artifacts) for entry in rows)
    say(f"{len(rows)} records in {target}, {filmed} of them with videos")
    return 0


def _newest(entries: list[Entry]) -> Iterator[Entry]:
    """One entry a row: of the same strategy, protocol, test set and seeds, the one made last."""
    from benchmarks.board_heading import protocol_key
    from benchmarks.pooled_identity import strategy

    last: dict[tuple, Entry] = {}
    for entry in entries:  # oldest first
        record = entry.record
        seeds = tuple(sorted(record.seeds.items()))
        last[(protocol_key(record), record.dataset.fingerprint, strategy(record), seeds)] = entry
    yield from last.values()


def _shown(entries: list[Entry], controls: bool) -> set[Path]:
    """The records whose videos come along."""
    from benchmarks.board_heading import protocol_key
    from benchmarks.leaderboard_pooled_page import training_seed
    from benchmarks.pooled_identity import strategy

    first: dict[tuple, Entry] = {}
    for entry in entries:
        record = entry.record
        if record.kind == "control" and not controls:
            continue
        row = (protocol_key(record), record.dataset.fingerprint, strategy(record))
        known = first.get(row)
        if known is None or training_seed(record) < training_seed(known.record):
            first[row] = entry
    return {entry.path for entry in first.values()}


def _copy_films(entry: Entry, folder: Path, crf: int) -> None:
    """The artifacts that pages show, below `folder`; films encoded again."""
    for name, where in entry.record.artifacts.items():
        source, target = entry.path.parent / where, folder / where
        inside = target.resolve().is_relative_to(folder.resolve())
        if name.split("/")[0] not in ROLES or target.exists() or not inside or not source.is_file():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.suffix == ".mp4":
            _encode_again(source, target, crf)
        else:
            shutil.copyfile(source, target)


def _encode_again(source: Path, target: Path, crf: int) -> None:
    import av
    import numpy as np

    from components.video_file import write_mp4

    with av.open(str(source)) as container:
        stream = container.streams.video[0]
        rate = float(stream.average_rate or 15)
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(stream)])
    write_mp4(target, frames, rate, crf=crf)
