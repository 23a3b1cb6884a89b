"""One trajectory in an .npz: frames (or a film of the same name beside it) and the actions between them. No pickles."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.lib import format as npy

from components.contracts import Reader, ReadError

Lead = Literal["to", "from"]
FILMS = (".mp4", ".avi", ".mkv", ".webm")
LARGEST = 1 << 33
"""Bytes of one array that are still read: a small file may claim to unpack to anything."""


def read_frames(path: Path, reader: Reader, most: int) -> np.ndarray:
    """The first `most` frames, uint8 [T, H, W, 3]: the array ``video``, else the film beside the file.

    Raises:
        ReadError: there are none, they are of another type, or they cannot be read.
    """
    film = film_of(path)
    if film is not None:
        return reader.read(film, start=0, count=most, stride=1)[0]
    frames = read_array(path, "video")
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3:
        raise ReadError(f"'video' is {frames.dtype} {list(frames.shape)}, not uint8 [T, H, W, 3]")
    return frames[:most]


def film_of(path: Path) -> Path | None:
    """The film that belongs to an .npz without ``video``; None where the array is there."""
    if "video" in names(path):
        return None
    film = next((path.with_suffix(suffix) for suffix in FILMS if path.with_suffix(suffix).is_file()), None)
    if film is None:
        raise ReadError(f"it has no array 'video', and there is no {path.stem}.mp4 beside it")
    return film


def read_actions(path: Path, frames: int, size: int, lead: Lead) -> np.ndarray:
    """float32 [frames - 1, size], row t from frame t to t + 1; integers [T] become one-hot, [T, size] stay as they are.

    Args:
        lead: whether row t of a file with a row for every frame led *to* frame t or leads away *from* it.

    Raises:
        ReadError: no actions, too few, or of another size.
    """
    held = read_array(path, "actions")
    if held.dtype.kind not in "iufb" or held.ndim not in (1, 2) or len(held) < frames - 1:
        raise ReadError(f"'actions' is {held.dtype} {list(held.shape)} for {frames} frames")
    first = 1 if lead == "to" and len(held) >= frames else 0  # a row less than frames: they lie between the frames
    between = held[first : first + frames - 1]
    if between.ndim == 2:
        if between.shape[1] != size or not np.isfinite(between).all():
            raise ReadError(f"'actions' has {between.shape[1]} numbers a frame, not dataset.actions={size} finite ones")
        return between.astype(np.float32)
    if between.dtype.kind == "f" and (between != np.round(between)).any():
        raise ReadError("'actions' holds one fraction a frame, which is no number of an action")
    least, greatest = (int(between.min()), int(between.max())) if len(between) else (0, 0)
    if least < 0 or greatest >= size:
        raise ReadError(f"action {least if least < 0 else greatest} is not one of 0 to {size - 1} (dataset.actions)")
    return np.eye(size, dtype=np.float32)[between.astype(np.int64)]


def names(path: Path) -> list[str]:
    """The arrays in the file. Raises ReadError where it is no .npz."""
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]
    except (OSError, zipfile.BadZipFile, EOFError) as error:
        raise ReadError(f"no .npz file: {_line(error)}") from error


def read_array(path: Path, name: str) -> np.ndarray:
    """One array of the file, nothing unpickled. Raises ReadError for one that is missing, damaged or too large."""
    if name not in names(path):
        raise ReadError(f"it has no array '{name}'")
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as member:
            read_header = {(1, 0): npy.read_array_header_1_0}.get(npy.read_magic(member), npy.read_array_header_2_0)
            shape, _, dtype = read_header(member)
        if dtype.hasobject or np.prod(shape, dtype=np.float64) * dtype.itemsize > LARGEST:
            raise ReadError(f"'{name}' is {dtype} {list(shape)}, which is not read")
        with np.load(path, allow_pickle=False) as arrays:
            return arrays[name]
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise ReadError(f"'{name}' cannot be read: {_line(error)}") from error


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
