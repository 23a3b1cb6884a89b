"""PyAV: decodes whatever its bundled FFmpeg decodes (AV1 too), frame by frame from the start."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np

from components.contracts import ReadError, VideoInfo
from zoo.component import Config, component


@component(cite=None, note="PyAV with its bundled FFmpeg: any platform, every codec, sequential decoding")
class PyAVReader:
    """FFmpeg through PyAV, no paper; the n-th frame is the n-th one the decoder delivers, from the file's start.

    Frames that an edit list cuts away or that are never shown (VP9) do not count, as in a player. Of several video
    streams the largest picture is taken; cover art is no video. Rotation is applied, pixels are taken as square, and
    the first frame that FFmpeg cannot decode or marks as damaged ends the file.
    """

    class Config(Config):
        """Options of PyAV."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.version = f"pyav {av.__version__}"
        self._cursor: _Cursor | None = None

    def probe(self, path: Path) -> VideoInfo:
        """Size as shown (after rotation), and the frame count and rate that the container claims (0 where it doesn't).

        Raises:
            ReadError: not a video, or its first frame cannot be decoded.
        """
        cursor = _Cursor(Path(path))
        first = next(iter(cursor), None)
        if first is None:
            raise ReadError(cursor.ending or "its video stream holds no frame")
        height, width, _ = first[0].shape
        return VideoInfo(cursor.claimed_frames, height, width, cursor.fps)

    def read(self, path: Path, *, start: int, count: int, stride: int) -> tuple[np.ndarray, np.ndarray]:
        """Frames start, start + stride, …: uint8 [T, H, W, 3] and seconds since frame 0 [T]; shorter at the end.

        Reading on from where the last call ended costs nothing extra; any other start decodes from the beginning.

        Raises:
            ReadError: not one of these frames can be decoded.
        """
        cursor = self._cursor_at(Path(path), start)
        frames, times = [], []
        while len(frames) < count:
            wanted = (cursor.position - start) % stride == 0 and cursor.position >= start
            got = cursor.step(picture=wanted)
            if got is None:
                break
            if wanted:
                frames.append(got[0])
                times.append(got[1])
        if not frames:
            raise ReadError(cursor.ending or f"it ends after {cursor.position} frames, before frame {start}")
        return np.stack(frames), np.array(times, np.float64)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_cursor": None}  # an open file does not travel to another process

    def _cursor_at(self, path: Path, start: int) -> _Cursor:
        kept = self._cursor
        if kept is None or kept.key != _key(path) or kept.position > start or kept.ending is not None:
            self._cursor = kept = _Cursor(path)
        return kept


def _key(path: Path) -> tuple[str, int, int, int]:
    """Names this state of the file in this process."""
    try:
        state = path.stat()
    except OSError as error:
        raise ReadError(f"cannot open: {error.strerror}") from error
    return str(path), state.st_size, state.st_mtime_ns, os.getpid()


class _Cursor:
    """One pass over the frames of one file."""

    def __init__(self, path: Path) -> None:
        self.key = _key(path)
        self.position = 0
        self.ending: str | None = None
        """Why there is nothing more, once that is because of damage."""
        try:
            self._container = av.open(str(path), metadata_errors="replace")
        except (av.FFmpegError, OSError, ValueError) as error:
            raise ReadError(f"cannot open: {_line(error)}") from error
        stream = _largest(self._container)
        # Threads per slice, never per frame: the frame at which damage shows must not depend on the number of cores.
        stream.thread_type = "SLICE"
        self.claimed_frames = int(stream.frames)
        self.fps = float(stream.average_rate or stream.guessed_rate or 0)
        self._frames: Iterator[av.VideoFrame] = self._container.decode(stream)
        self._size: tuple[int, int] | None = None
        self._origin: float | None = None

    def __iter__(self) -> Iterator[tuple[np.ndarray, float]]:
        while (got := self.step(picture=True)) is not None:
            yield got

    def step(self, *, picture: bool) -> tuple[np.ndarray, float] | None:
        """The next frame (an empty array unless `picture`) and its time; None at the end."""
        try:
            frame = next(self._frames, None)
        except (av.FFmpegError, OSError, ValueError, EOFError) as error:
            self.ending = f"frame {self.position} cannot be decoded: {_line(error)}"
            return None
        if frame is None:
            return None
        if frame.is_corrupt:
            self.ending = f"frame {self.position} is damaged"
            return None
        if self._size is None:
            self._size = (frame.height, frame.width)
            self._origin = frame.time
        # Some containers (AVI) carry no times; frames are then evenly spaced.
        timed = frame.time is not None and self._origin is not None
        seconds = frame.time - self._origin if timed else self.position / (self.fps or 1.0)
        self.position += 1
        return (self._picture(frame) if picture else np.empty(0, np.uint8)), seconds

    def _picture(self, frame: av.VideoFrame) -> np.ndarray:
        assert self._size is not None
        height, width = self._size  # a stream may change its size: the first frame decides
        rgb = frame.reformat(width=width, height=height, format="rgb24").to_ndarray()
        return np.ascontiguousarray(np.rot90(rgb, round(frame.rotation / 90) % 4))


def _largest(container: Any) -> Any:
    """The video stream with the most pixels."""
    cover = av.stream.Disposition.attached_pic
    streams = [s for s in container.streams.video if not s.disposition & cover]
    if not streams:
        raise ReadError("it has no video stream")
    best = max(streams, key=lambda s: s.codec_context.width * s.codec_context.height if s.codec_context else -1)
    if best.codec_context is None:
        raise ReadError("its codec is unknown")
    return best


def _line(error: BaseException) -> str:
    """The reason alone: FFmpeg's words without the path."""
    said = getattr(error, "strerror", None) or str(error)
    return " ".join(str(said).split()) or type(error).__name__
