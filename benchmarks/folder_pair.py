"""Two folders of videos as generated and true clips for the harness: paired, read one by one, brought to one size."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import overload

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange

from components.contracts import Clip, Reader, ReadError
from zoo.errors import UserError

ENDINGS = frozenset({".mp4", ".webm", ".mkv", ".avi", ".mov", ".m4v", ".mpg", ".mpeg", ".gif", ".ogv", ".ts", ".wmv"})


def video_files(folder: Path) -> list[Path]:
    """All videos under a folder, by relative name. Raises UserError where there is no folder or no video in it."""
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder: give a folder of videos, or an .npz file with an array 'features'.")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS and path.is_file())
    if not found:
        raise UserError(f"{folder} holds no videos: its files must end in {', '.join(sorted(ENDINGS))}.")
    return found


def pair(fake: Path, real: Path) -> list[tuple[Path, Path]]:
    """Videos of equal relative name without ending; where not one name is shared, both in the order of their names.

    Raises UserError where the numbers differ or only some names agree: half a pairing is a mistake somewhere.
    """
    fakes, reals = video_files(fake), video_files(real)
    if len(fakes) != len(reals):
        raise UserError(
            f"{fake} holds {len(fakes)} videos and {real} {len(reals)}: scores need equal numbers, so remove the extra."
        )
    named = [{path.relative_to(root).with_suffix("").as_posix(): path for path in paths}
             for root, paths in ((fake, fakes), (real, reals))]  # fmt: skip
    shared = named[0].keys() & named[1].keys()
    if len(shared) == len(fakes) == len(named[0]):
        return [(named[0][name], named[1][name]) for name in sorted(shared)]
    if shared:
        odd = sorted(named[0].keys() ^ named[1].keys())
        raise UserError(f"only some videos have the same name in both folders, '{odd[0]}' has not: rename to pair.")
    return list(zip(fakes, reals, strict=True))


class Videos(Sequence[Clip]):
    """Clips read when asked for, so that memory holds one; every clip has exactly ``frames`` frames."""

    def __init__(self, paths: Sequence[Path], reader: Reader, *, frames: int, stride: int, size: int | None) -> None:
        self.paths, self.reader, self.frames, self.stride, self.size = paths, reader, frames, stride, size

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, index: int) -> Clip: ...
    @overload
    def __getitem__(self, index: slice) -> list[Clip]: ...
    def __getitem__(self, index: int | slice) -> Clip | list[Clip]:
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        path = self.paths[index]
        try:
            frames, times = self.reader.read(path, start=0, count=self.frames, stride=self.stride)
        except ReadError as error:
            raise UserError(f"cannot read {path}: {error}; remove it and its partner.") from error
        if len(frames) < self.frames:
            raise UserError(
                f"{path} gives {len(frames)} frames at stride={self.stride}, not {self.frames}: "
                f"set frames={len(frames)} or less, or remove it and its partner."
            )
        frames = frames if self.size is None else square(frames, self.size)
        return Clip(frames, times, fps=0.0, episode=f"{index:06d}/{path.stem}"[:200], source=str(path))

    def __iter__(self) -> Iterator[Clip]:
        return (self[index] for index in range(len(self)))

    def frames_only(self) -> Iterator[np.ndarray]:
        """The videos uint8 [T, H, W, 3], in order."""
        return (clip.frames for clip in self)


def square(video_thwc: np.ndarray, side: int) -> np.ndarray:
    """Short side to ``side`` (bilinear, antialiased when shrinking), then the middle square; uint8."""
    x = rearrange(torch.from_numpy(np.ascontiguousarray(video_thwc)), "t h w c -> t c h w").float()
    height, width = x.shape[-2:]
    scale = side / min(height, width)
    shape = (max(side, round(height * scale)), max(side, round(width * scale)))
    if shape != (height, width):
        x = F.interpolate(x, size=shape, mode="bilinear", align_corners=False, antialias=scale < 1)
    top, left = (shape[0] - side) // 2, (shape[1] - side) // 2
    x = x[..., top : top + side, left : left + side].round().clamp(0, 255).to(torch.uint8)
    return rearrange(x, "t c h w -> t h w c").numpy()


def fingerprint(paths: Sequence[Path]) -> str:
    """Hash of the files' content, in order; names do not count."""
    hasher = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                hasher.update(block)
        hasher.update(b"end")  # so that the border between two files counts
    return hasher.hexdigest()
