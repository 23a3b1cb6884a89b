"""Folders of trajectories with actions, as TECO's DMLab and Minecraft are published: one .npz (and film) an episode."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections import OrderedDict
from functools import cached_property
from pathlib import Path
from typing import get_args

import numpy as np
from pydantic import Field

from components.contracts import Clip, DataReport, Reader, ReadError, Split
from components.frame_size import fit_to
from components.trajectory_file import Lead, read_actions, read_frames
from components.trajectory_index import Entry, build_index, find_trajectories
from zoo.component import Config, component
from zoo.errors import UserError

EDITION = 1
"""Part of the fingerprint: raise it when the same files would give other clips."""
FOLDERS: dict[Split, tuple[str, ...]] = {
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid"),
    "test": ("test",),
}
log = logging.getLogger(__name__)


@component(
    cite="yan2023teco",
    note="TECO-format folders (DMLab, Minecraft): .npz with video and actions, or actions beside an .mp4",
    needs={"reader"},
    gives={"actions"},
)
class TrajectoryNpz:
    """TECO's data (Yan et al. 2023): ``ROOT/{train,test}/…/*.npz`` with ``video`` uint8 [T, H, W, 3], ``actions`` [T].

    TECO's model reads actions[t] together with frame t - 1 to predict frame t; here row t leads from t to t + 1, so the
    first one is dropped (``lead=to``). Every file is read once; what is bad is left out and named.
    """

    action_dim = 6
    """As the default options have it; an instance says its own."""

    class Config(Config):
        """Options of the folder."""

        root: str = Field("", description="the folder that holds train and test, each with .npz files at any depth")
        frames: int = Field(300, ge=2, le=100_000, description="frames of an episode: the first ones of a file")
        size: int = Field(64, ge=8, le=1024, description="height and width in pixels, scaled and cropped where needed")
        actions: int = Field(6, ge=0, le=4096, description="how many actions there are, or numbers each; 0: none")
        lead: Lead = Field("to", description="row t of actions led to frame t (TECO's reading), or leads from it")
        train: int = Field(0, ge=0, description="at most so many files of train, by name; 0: all")
        validation: int = Field(16, ge=0, description="files; the last ones of train where there is no such folder")
        test: int = Field(0, ge=0, description="at most so many files of test, by name; 0: all")
        fps: float = Field(15.0, gt=0, description="frames a second, which the files do not say")
        cache: str = Field("", description="where the index is kept; default ~/.cache/spacetime-zoo")
        memory_mb: int = Field(256, ge=0, description="episodes kept in memory")

    def __init__(self, config: Config, reader: Reader) -> None:
        self.config = config
        self.reader = reader
        self.action_dim = config.actions
        if not config.root:
            raise UserError("dataset.root is not set: give the folder that holds train and test, dataset.root=FOLDER.")
        self.root = Path(config.root).expanduser()
        if not self.root.is_dir():
            raise UserError(f"dataset.root: there is no folder {self.root}; give the one that holds train and test.")
        self._kept: OrderedDict[tuple[Split, int], Clip] = OrderedDict()

    def fingerprint(self) -> str:
        """Hash of file contents, splits and options, and of the reader where it is used; not of the place."""
        files = {split: [(e.name, e.digest) for e in entries] for split, entries in self._splits.items()}
        films = any(entry.film for entries in self._splits.values() for entry in entries)
        options = self.config.model_dump(mode="json", exclude={"root", "cache", "memory_mb"})
        said = ["trajectory_npz", EDITION, options, self.reader.version if films else "", files]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode(errors="surrogateescape")).hexdigest()

    def size(self, split: Split) -> int:
        """Episodes of the split."""
        return len(self._splits[split])

    def report(self) -> DataReport:
        """Episodes per split, and every file left out with its reason."""
        skipped = {entry.name: entry.reason for entry in self._index if entry.reason}
        return DataReport({split: len(entries) for split, entries in self._splits.items()}, skipped)

    def clip(self, split: Split, index: int) -> Clip:
        """One file: frames uint8 [frames, size, size, 3], actions float32 [frames - 1, A] or None; no poses.

        Raises:
            UserError: the file no longer gives what it gave when it was indexed.
        """
        if not 0 <= index < self.size(split):
            raise IndexError(f"{split} has {self.size(split)} episodes; there is no number {index}")
        key = (split, index)
        if key not in self._kept:
            self._kept[key] = self._read(self._splits[split][index])
            most = self.config.memory_mb << 20
            while len(self._kept) > 1 and sum(clip.frames.nbytes for clip in self._kept.values()) > most:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]

    def _read(self, entry: Entry) -> Clip:
        config, path = self.config, self.root / entry.name
        try:
            frames = read_frames(path, self.reader, config.frames)
            actions = read_actions(path, len(frames), config.actions, config.lead) if config.actions else None
        except ReadError as error:
            raise UserError(f"{entry.name} can no longer be read: {error}; run again to index it anew.") from error
        if len(frames) < config.frames:
            raise UserError(f"{entry.name} gave fewer frames than when it was indexed; run again to index it anew.")
        if frames.shape[1:3] != (config.size, config.size):
            frames = fit_to(frames, (config.size, config.size))
        return Clip(
            frames=np.ascontiguousarray(frames),
            times=np.arange(len(frames)) / config.fps,
            fps=config.fps,
            actions=actions,
            episode=entry.name,
            source=entry.name,
        )

    @cached_property
    def _names(self) -> dict[Split, list[str]]:
        """Files of each split, by name, as many as are asked for."""
        found: dict[Split, list[str]] = {
            split: next((names for folder in FOLDERS[split] if (names := find_trajectories(self.root, folder))), [])
            for split in get_args(Split)
        }
        most = self.config.validation
        if not found["validation"] and most:
            held_out = min(most, len(found["train"]) // 2)
            found["validation"] = found["train"][len(found["train"]) - held_out :]
            found["train"] = found["train"][: len(found["train"]) - held_out]
        limits: dict[Split, int] = {
            "train": self.config.train or len(found["train"]),
            "validation": most,
            "test": self.config.test or len(found["test"]),
        }
        if not any(found.values()):
            raise UserError(
                f"there is no .npz file in {self.root}/train or {self.root}/test; point dataset.root at one."
            )
        return {split: names[: limits[split]] for split, names in found.items()}

    @cached_property
    def _index(self) -> list[Entry]:
        config = self.config
        cache = Path(config.cache or os.environ.get("XDG_CACHE_HOME", "~/.cache") + "/spacetime-zoo").expanduser()
        names = [name for names in self._names.values() for name in names]
        index = build_index(self.root, names, self.reader, (config.frames, config.actions, config.lead), cache)
        skipped = [entry for entry in index if entry.reason]
        if len(skipped) == len(index):
            first = skipped[0]
            raise UserError(
                f"none of the {len(index)} files in {self.root} can be used ({first.name}: {first.reason})."
            )
        if skipped:
            listed = "".join(f"\n  {entry.name}: {entry.reason}" for entry in skipped)
            log.warning("%d of %d files left out:%s", len(skipped), len(index), listed)
        return index

    @cached_property
    def _splits(self) -> dict[Split, list[Entry]]:
        usable = {entry.name: entry for entry in self._index if not entry.reason}
        return {split: [usable[name] for name in names if name in usable] for split, names in self._names.items()}
