"""Which trajectory files can be used: found by reading each once, remembered in a cache by size and time of change."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from components import index_cache
from components.contracts import Reader, ReadError
from components.trajectory_file import FILMS, Lead, film_of, read_actions, read_frames
from components.video_index import content_digest

EDITION = 1
"""Raise when entries change their meaning; older caches are then not read."""

Asked = tuple[int, int, Lead]
"""Frames, size of an action (0: none is read), and which frame an action belongs to."""


@dataclass(frozen=True)
class Entry:
    """What was found in one file."""

    name: str
    digest: str = ""
    """Of the file, and of the film beside it."""
    film: bool = False
    reason: str = ""
    """Why it cannot be used; empty where it can."""


def find_trajectories(root: Path, folder: str) -> list[str]:
    """The .npz files below a folder of the root, as sorted names relative to the root; hidden ones are left out."""
    found = [path.relative_to(root) for path in (root / folder).rglob("*.npz") if path.is_file()]
    return sorted(path.as_posix() for path in found if not any(part.startswith(".") for part in path.parts))


def build_index(root: Path, names: Iterable[str], reader: Reader, asked: Asked, cache: Path) -> list[Entry]:
    """An entry per name, from the cache where neither the file nor its film has changed, else by reading them."""
    key = json.dumps([EDITION, str(root.resolve()), reader.version, asked])
    store = cache / "trajectory_npz" / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.json"
    known, entries, fresh = index_cache.load(store, Entry), {}, False
    for name in names:
        stamp = "|".join([name, *(_stamp((root / name).with_suffix(suffix)) for suffix in (".npz", *FILMS))])
        entry = known.get(stamp)
        if entry is None:
            entry, fresh = inspect(root, name, reader, asked), True
        entries[stamp] = entry
    if fresh:
        index_cache.save(store, known | entries)
    return list(entries.values())


def inspect(root: Path, name: str, reader: Reader, asked: Asked) -> Entry:
    """Read the file as a clip of it will be read."""
    frames, actions, lead = asked
    path = root / name
    try:
        film = film_of(path)
        found = len(read_frames(path, reader, frames))
        if found < frames:
            return Entry(name, reason=f"too short: {found} of the {frames} frames asked for")
        if actions:
            read_actions(path, found, actions, lead)
        digest = "".join(content_digest(file) for file in (path, film) if file is not None)
    except ReadError as error:
        return Entry(name, reason=str(error))
    except OSError as error:
        return Entry(name, reason=f"cannot open: {error.strerror}")
    return Entry(name, digest, film is not None)


def _stamp(path: Path) -> str:
    try:
        state = path.stat()
    except OSError:
        return f"{path.suffix} missing"
    return f"{path.suffix} {state.st_size} {state.st_mtime_ns}"
