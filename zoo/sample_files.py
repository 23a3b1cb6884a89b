"""Pictures and videos of the user's as frames of the size that is wanted."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from components.contracts import ReadError
from components.frame_size import fit_to
from zoo import compose, registry
from zoo.errors import BadValue, UserError

if TYPE_CHECKING:
    from components.contracts import VideoInfo
    from zoo.model import ZooModel

PIECE = 64
"""Frames read at once where only the last ones of a file are kept."""


class Piece(NamedTuple):
    """Frames uint8 [T, H, W, 3] of a file, and its frames per second (0 where it says none, or is a picture)."""

    frames: np.ndarray
    fps: float
    name: str


class Readers:
    """The run's reader first, then every other that is installed: the first that opens a file reads it."""

    def __init__(self, model: ZooModel) -> None:
        self.own = compose.build("reader", model.recipe.part("reader"))
        self.name = model.recipe.part("reader").name

    def opened(self, path: Path) -> tuple[Any, VideoInfo]:
        """A reader of the file, and what it knows of it. Raises ReadError with the words of the run's own reader."""
        try:
            return self.own, self.own.probe(path)
        except ReadError as error:
            for name in registry.names("reader"):
                if name != self.name:
                    with suppress(ReadError, UserError):  # not installed, or no better
                        other = registry.build("reader", name)
                        return other, other.probe(path)
            raise error


def picture(readers: Readers, path: Path) -> Piece:
    """A picture, upright; of a video, the first frame."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as opened:
            upright = ImageOps.exif_transpose(opened)
            return Piece(np.asarray(upright.convert("RGB"))[None], 0.0, path.name)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # what PIL raises for files it can't read
        return Piece(start(readers, path, 1, key="image").frames, 0.0, path.name)


def start(readers: Readers, path: Path, count: int, *, key: str = "first") -> Piece:
    """The first `count` frames of a file, or all where it has fewer. Raises UserError for one that cannot be read."""
    try:
        reader, info = readers.opened(path)
        frames, _ = reader.read(path, start=0, count=count, stride=1)
    except ReadError as error:
        raise _unread(key, path, error) from error
    return Piece(frames, info.fps if info.frames != 1 else 0.0, path.name)


def end(readers: Readers, path: Path, count: int, *, key: str = "first") -> Piece:
    """The last `count` frames of a file; one that is damaged ends where the damage begins."""
    kept: deque[np.ndarray] = deque(maxlen=count)
    piece = start(readers, path, PIECE, key=key)
    reader, _ = readers.opened(path)
    frames, at = piece.frames, 0
    while len(frames):
        kept.extend(frames)
        at += len(frames)
        try:
            frames = reader.read(path, start=at, count=PIECE, stride=1)[0] if len(frames) == PIECE else frames[:0]
        except ReadError:  # the file ended with the piece before
            break
    return piece._replace(frames=np.stack(list(kept)))


def _unread(key: str, path: Path, error: ReadError) -> UserError:
    return BadValue(f"{key}={path} cannot be read ({str(error).rstrip('.')}): give another file, or convert this one.")


def fitted(pieces: list[Piece], size: tuple[int, int]) -> tuple[list[Piece], str | None]:
    """The pieces at one size (height, width), scaled and cropped about the middle; what is to be said of it."""
    own = {piece.frames.shape[1:3] for piece in pieces}
    if own == {size}:
        return pieces, None
    made = [piece._replace(frames=fit_to(piece.frames, size)) for piece in pieces]
    named = " and ".join(dict.fromkeys(f"{piece.name} ({_written(piece.frames.shape[1:3])})" for piece in pieces))
    return made, f"{named}: scaled and cropped to {_written(size)}; size=WIDTHxHEIGHT chooses another size"


def _written(size: tuple[int, ...]) -> str:
    height, width = size
    return f"{width}x{height}"


def wanted_size(model: ZooModel, shape: tuple[int, int]) -> tuple[int, int]:
    """(height, width) for a file of `shape`, where the user says none: the training size.

    Where the data keeps the shape of its clips (``dataset.aspect: keep``), the file keeps its own, with the shorter
    side of the training clips and sides that the tokenizer and the patch divide.
    """
    part = model.recipe.part("dataset")
    if getattr(registry.config("dataset", part.name, part.options), "aspect", None) != "keep":
        return model.size
    scale = min(model.size) / min(shape)
    _, rows, columns = model.generator.network.grain
    grain = [model.tokenizer.spatial_factor * side for side in (rows, columns)]
    height, width = (max(1, round(side * scale / unit)) * unit for side, unit in zip(shape, grain, strict=True))
    return height, width
