"""Which clips of a folder of videos really decode: found by decoding them once, remembered in a cache."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from components import index_cache
from components.contracts import Reader, ReadError
from zoo.errors import UserError

EDITION = 1
"""Raise when entries change their meaning; older caches are then not read."""
SUFFIXES = frozenset({
    ".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".3gp", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".flv", ".wmv",
    ".ogv", ".gif", ".mjpeg", ".y4m",
})  # fmt: skip
PIXELS_AT_ONCE = 1 << 24
"""Decoded pixels held at full size at a time."""
EDGE = 1 << 16
"""Bytes at either end of a file that enter its digest."""


@dataclass(frozen=True)
class Cut:
    """How clips are cut from a file: clip k is frames k·span, k·span + stride, …; clips do not overlap."""

    frames: int
    stride: int
    clips_per_file: int

    @property
    def span(self) -> int:
        return (self.frames - 1) * self.stride + 1


@dataclass(frozen=True)
class Entry:
    """What was found in one file."""

    name: str
    digest: str = ""
    """Hash of its size and both ends: the same file anywhere."""
    clips: int = 0
    reason: str = ""
    """Why there is no clip."""
    height: int = 0
    width: int = 0
    fps: float = 0.0


def find_videos(root: Path) -> list[str]:
    """Video files under the root by suffix, as sorted relative names; hidden files and folders are left out.

    Raises:
        UserError: the folder cannot be listed.
    """
    names: list[str] = []

    def refuse(error: OSError) -> None:
        raise UserError(f"Cannot list the folder {error.filename}: {error.strerror}; check its permissions.") from error

    for folder, below, files in os.walk(root, onerror=refuse):
        below[:] = sorted(name for name in below if not name.startswith("."))
        for file in files:
            if Path(file).suffix.lower() in SUFFIXES and not file.startswith("."):
                names.append((Path(folder) / file).relative_to(root).as_posix())
    return sorted(names)


def build_index(root: Path, names: Iterable[str], reader: Reader, cut: Cut, cache: Path) -> list[Entry]:
    """An entry per name, from the cache where size and modification time are unchanged, else by decoding."""
    key = json.dumps([EDITION, str(root.resolve()), reader.version, asdict(cut)])
    store = cache / "video_folder" / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.json"
    known, entries, fresh = index_cache.load(store, Entry), {}, False
    for name in names:
        stamp = _stamp(root / name)
        entry = known.get(f"{name}|{stamp}")
        if entry is None:
            entry, fresh = inspect(root, name, reader, cut), True
        entries[f"{name}|{stamp}"] = entry
    if fresh:
        index_cache.save(store, known | entries)
    return list(entries.values())


def inspect(root: Path, name: str, reader: Reader, cut: Cut) -> Entry:
    """Decode as many clips of the file as are wanted, to see how many there are."""
    path = root / name
    try:
        digest = content_digest(path)
        info = reader.probe(path)
        clips = found = 0
        while clips < cut.clips_per_file:
            found = sum(len(f) for f, _ in read_blocks(reader, path, cut, clips, info.height * info.width))
            if found < cut.frames:
                break
            clips += 1
    except ReadError as error:
        return Entry(name, reason=str(error))
    except OSError as error:
        return Entry(name, reason=f"cannot open: {error.strerror}")
    reason = "" if clips else f"too short: {found} of the {cut.frames} frames asked for decode at stride {cut.stride}"
    return Entry(name, digest, clips, reason, info.height, info.width, info.fps)


def read_blocks(
    reader: Reader, path: Path, cut: Cut, clip: int, pixels: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Frames and times of clip number `clip`, a few at a time so that large pictures fit; ends early with the file.

    Raises:
        ReadError: not even frame 0 of clip 0 decodes.
    """
    block = max(1, min(cut.frames, PIXELS_AT_ONCE // max(pixels, 1)))
    begin = clip * cut.span
    for done in range(0, cut.frames, block):
        count = min(block, cut.frames - done)
        try:
            frames, times = reader.read(path, start=begin + done * cut.stride, count=count, stride=cut.stride)
        except ReadError:
            if begin + done == 0:
                raise
            return
        yield frames, times
        if len(frames) < count:
            return


def content_digest(path: Path) -> str:
    """Hash of the size and the first and last 64 KiB."""
    size = path.stat().st_size
    said = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        said.update(file.read(EDGE))
        file.seek(max(0, size - EDGE))
        said.update(file.read(EDGE))
    return said.hexdigest()


def _stamp(path: Path) -> str:
    try:
        state = path.stat()
    except OSError:
        return "missing"
    return f"{state.st_size}|{state.st_mtime_ns}"
