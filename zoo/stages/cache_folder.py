"""A folder of cached episodes with an index.

Every file is written atomically and a folder counts as complete once it has an ``index.json``, so a build that was cut
short goes on where it stopped.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from zoo.errors import BadValue
from zoo.progress import say
from zoo.store import atomic_file, process_rank, read_json, write_json, writing

FORMAT = 1
"""Enters the folder names: a new layout never reads an old one."""
INDEX = "index.json"


@dataclass(frozen=True)
class EpisodeFacts:
    """What the index knows of one cached clip without opening its arrays."""

    episode: str
    source: str
    licence: str
    caption: str | None
    fps: float
    shape: tuple[int, ...]
    """[T, H, W, 3] of frames, [F, C, H, W] of latents."""
    file: str
    """Number of the clip in its split, as a file name without ending."""


class CacheFolder:
    """A folder of episodes with an index. Subclasses fill it."""

    OPEN = 4096
    """Most maps kept open: opening one costs a millisecond, a map costs address space."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._maps: dict[int, np.ndarray] = {}

    @property
    def complete(self) -> bool:
        """True when every episode is on disk."""
        return (self.folder / INDEX).exists()

    @cached_property
    def _index(self) -> dict[str, Any]:
        value = read_json(self.folder / INDEX)
        if not isinstance(value, dict):
            raise BadValue(f"{self.folder} has no readable index: delete this folder and run again.")
        return value

    @cached_property
    def _facts(self) -> list[EpisodeFacts]:
        return [EpisodeFacts(**{**one, "shape": tuple(one["shape"])}) for one in self._index["episodes"]]

    def __len__(self) -> int:
        return len(self._facts)

    def __getstate__(self) -> dict[str, Any]:
        """Light to send to loader processes: indices and maps are opened again over there."""
        kept = {key: value for key, value in self.__dict__.items() if key not in {"dataset", "tokenizer"}}
        return kept | {"_maps": {}}

    def array(self, index: int) -> np.ndarray:
        """The clip's main array, memory-mapped and read-only. Maps stay open (they hold no file handle)."""
        if index not in self._maps:
            if len(self._maps) >= self.OPEN:
                self._maps.clear()
            self._maps[index] = np.load(self.folder / f"{self.facts(index).file}.npy", mmap_mode="r")
        return self._maps[index]

    def facts(self, index: int) -> EpisodeFacts:
        """Of clip `index`."""
        return self._facts[index]

    def shape(self, index: int) -> tuple[int, ...]:
        """Of the clip's main array."""
        return self._facts[index].shape

    @property
    def skipped(self) -> dict[str, str]:
        """Clips that could not be used → reason."""
        return self._index["skipped"]

    def _wait_or_build(self) -> None:
        """Rank 0 builds; the other ranks wait for the index."""
        while process_rank() != 0 and not self.complete:
            time.sleep(0.5)
        if not self.complete:
            with writing(self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
            for leftover in self.folder.glob(".*.tmp"):
                with suppress(FileNotFoundError):  # another process may be building, too: leave its young files
                    if time.time() - leftover.stat().st_mtime > 3600:
                        leftover.unlink()
            self._fill()

    def _fill(self) -> None:
        raise TypeError(f"{type(self).__name__} does not say how it is filled")

    def _finish(self, entries: Mapping[int, Mapping[str, Any]]) -> None:
        """Write the index, in the order of the split."""
        ordered = [entries[number] for number in sorted(entries)]
        good = [entry for entry in ordered if "error" not in entry]
        bad = {entry["file"]: entry["error"] for entry in ordered if "error" in entry}
        write_json(self.folder / INDEX, {"episodes": good, "skipped": bad})
        for name, reason in bad.items():
            say(f"skipped clip {name}: {reason}")


def save_array(path: Path, array: np.ndarray) -> None:
    """Write one .npy atomically."""
    with atomic_file(path) as temporary, open(temporary, "wb") as opened:
        np.save(opened, np.ascontiguousarray(array), allow_pickle=False)
