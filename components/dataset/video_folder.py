"""Any folder of videos: sizes, lengths, rates and codecs mixed; what cannot be read is named and left out."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections import OrderedDict
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from components.contracts import Clip, DataReport, Reader, ReadError, Split
from components.frame_size import scale_and_crop
from components.video_index import SUFFIXES, Cut, Entry, build_index, find_videos, read_blocks
from components.video_manifest import Row, assign_splits, find_manifest, folder_caption, read_manifest
from zoo.component import Config, component
from zoo.errors import UserError

EDITION = 1
"""Part of the fingerprint: raise it when the same files would give other clips."""
log = logging.getLogger(__name__)


@component(
    cite=None,
    note="a folder of videos of any size and length, with captions from a manifest or from folder names",
    needs={"reader"},
    gives={"captions"},
)
class VideoFolder:
    """Clips of your own videos, no paper: non-overlapping, every frame decoded once before a clip is counted.

    Built as ``VideoFolder(config, reader=…)``; files are opened at first use. Splits are by file, never by clip.
    """

    action_dim = 0

    class Config(Config):
        """Options of the folder."""

        root: str = Field("", description="the folder; searched with all folders below it")
        frames: int = Field(16, ge=1, le=100_000, description="frames of a clip")
        stride: int = Field(1, ge=1, le=1000, description="every how manieth frame is taken")
        size: int = Field(64, ge=8, le=2048, description="shorter side in pixels")
        multiple_of: int = Field(8, ge=1, le=256, description="height and width are cropped to a multiple of this")
        aspect: Literal["keep", "crop"] = Field("keep", description="keep: sizes stay mixed; crop: central squares")
        clips_per_file: int = Field(8, ge=1, description="at most so many clips of one file")
        captions: Literal["auto", "manifest", "folder", "none"] = Field(
            "auto", description="auto: the manifest's if there is one, else the folder's name"
        )
        manifest: str = Field(
            "auto", description="CSV or Parquet (path, caption, split); auto: manifest.csv in the root"
        )
        cache: str = Field("", description="where the index is kept; default ~/.cache/spacetime-zoo")
        memory_mb: int = Field(256, ge=0, description="resized clips kept in memory")

        @model_validator(mode="after")
        def _fits(self) -> VideoFolder.Config:
            if self.size < self.multiple_of:
                raise ValueError(f"size {self.size} is smaller than multiple_of {self.multiple_of}")
            return self

    def __init__(self, config: Config, reader: Reader) -> None:
        self.config = config
        self.reader = reader
        if not config.root:
            raise UserError("dataset.root is not set: give the folder that holds the videos, dataset.root=FOLDER.")
        self.root = Path(config.root).expanduser()
        if not self.root.is_dir():
            raise UserError(f"dataset.root: there is no folder {self.root}; give the folder that holds the videos.")
        self.cut = Cut(config.frames, config.stride, config.clips_per_file)
        self._kept: OrderedDict[tuple[Split, int], Clip] = OrderedDict()

    def fingerprint(self) -> str:
        """Hash of file contents, captions, splits, options and the reader's version; not of where the folder lies."""
        files = [(e.name, e.digest, e.clips, self._caption(e.name), self._splits[e.name]) for e in self._usable]
        options = self.config.model_dump(mode="json", exclude={"root", "cache", "memory_mb", "manifest"})
        said = json.dumps(["video_folder", EDITION, options, self.reader.version, files], sort_keys=True)
        return hashlib.sha256(said.encode(errors="surrogateescape")).hexdigest()

    def size(self, split: Split) -> int:
        """Clips of the split."""
        return len(self._clips[split])

    def report(self) -> DataReport:
        """Clips per split, and every file left out with its reason."""
        skipped = {entry.name: entry.reason for entry in self._index if not entry.clips}
        return DataReport({split: len(clips) for split, clips in self._clips.items()}, skipped)

    def clip(self, split: Split, index: int) -> Clip:
        """Clip number `index`: frames uint8 [frames, H, W, 3], H and W by the file's shape; no actions, no poses.

        Raises:
            UserError: the file no longer gives the frames it gave when it was indexed.
        """
        if not 0 <= index < self.size(split):
            raise IndexError(f"{split} has {self.size(split)} clips; there is no number {index}")
        key = (split, index)
        if key not in self._kept:
            self._kept[key] = self._read(*self._clips[split][index])
            while (
                len(self._kept) > 1 and sum(c.frames.nbytes for c in self._kept.values()) > self.config.memory_mb << 20
            ):
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]

    def _read(self, entry: Entry, number: int) -> Clip:
        parts, times = [], []
        try:
            for frames, seconds in read_blocks(
                self.reader, self.root / entry.name, self.cut, number, entry.height * entry.width
            ):
                parts.append(self._resize(frames))
                times.append(seconds)
        except ReadError as error:
            raise UserError(f"{entry.name} can no longer be read: {error}; run again to index it anew.") from error
        if sum(map(len, parts)) < self.config.frames:
            raise UserError(f"{entry.name} gave fewer frames than when it was indexed; run again to index it anew.")
        row = self._rows.get(entry.name, Row(entry.name))
        return Clip(
            frames=np.concatenate(parts),
            times=np.concatenate(times),
            fps=entry.fps / self.config.stride,
            caption=self._caption(entry.name),
            episode=f"{entry.name}#{number}",
            source=row.source or entry.name,
            licence=row.licence,
        )

    def _resize(self, frames: np.ndarray) -> np.ndarray:
        """[T, H, W, 3] to the asked size: antialiased bicubic, then a central crop."""
        config = self.config
        _, height, width, _ = frames.shape
        scale = config.size / min(height, width)
        high, wide = max(config.size, round(height * scale)), max(config.size, round(width * scale))
        kept = (config.size, config.size) if config.aspect == "crop" else (high, wide)
        multiples = (kept[0] - kept[0] % config.multiple_of, kept[1] - kept[1] % config.multiple_of)
        return scale_and_crop(frames, (high, wide), multiples)

    def _caption(self, name: str) -> str | None:
        asked = self.config.captions
        if asked == "manifest" or (asked == "auto" and self._rows):
            return self._rows[name].caption
        return None if asked == "none" else folder_caption(name)

    @cached_property
    def _rows(self) -> dict[str, Row]:
        """Manifest rows by file name; empty where there is no manifest."""
        path = find_manifest(self.root, self.config.manifest)
        if path is None and self.config.captions == "manifest":
            raise UserError(
                f"captions=manifest, but {self.root} has no manifest.csv; add it, or say dataset.captions=folder."
            )
        return {row.name: row for row in read_manifest(path)} if path else {}

    @cached_property
    def _index(self) -> list[Entry]:
        names = list(self._rows) or find_videos(self.root)
        if not names:
            known = ", ".join(sorted(SUFFIXES))
            raise UserError(f"There is no video file in {self.root} (looked for {known}); point dataset.root at one.")
        cache = self.config.cache or os.environ.get("XDG_CACHE_HOME", "~/.cache") + "/spacetime-zoo"
        index = build_index(self.root, names, self.reader, self.cut, Path(cache).expanduser())
        skipped = [entry for entry in index if not entry.clips]
        if skipped:
            listed = "".join(f"\n  {entry.name}: {entry.reason}" for entry in skipped)
            log.warning("%d of %d files left out:%s", len(skipped), len(index), listed)
        if len(skipped) == len(index):
            first = skipped[0]
            raise UserError(
                f"None of the {len(index)} files in {self.root} can be used ({first.name}: {first.reason}); "
                "try reader=pyav, or fewer dataset.frames."
            )
        return index

    @cached_property
    def _usable(self) -> list[Entry]:
        return [entry for entry in self._index if entry.clips]

    @cached_property
    def _splits(self) -> dict[str, Split]:
        given: dict[str, Split | None] = {name: row.split for name, row in self._rows.items()}
        splits = assign_splits([entry.name for entry in self._usable], given)
        moved = [name for name, split in splits.items() if given.get(name) and given[name] != split]
        if moved:
            log.warning("the manifest leaves a split empty; %d of its files moved there, e.g. %s", len(moved), moved[0])
        return splits

    @cached_property
    def _clips(self) -> dict[Split, list[tuple[Entry, int]]]:
        clips: dict[Split, list[tuple[Entry, int]]] = {"train": [], "validation": [], "test": []}
        for entry in self._usable:
            clips[self._splits[entry.name]] += [(entry, number) for number in range(entry.clips)]
        return clips
