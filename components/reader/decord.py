"""decord: fast seeking reads; wheels for x86-64 Linux and Windows only."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from components.contracts import ReadError, VideoInfo
from zoo.component import Config, component
from zoo.errors import UserError

AT_ONCE = 32
"""Frames decoded per call, so that damage costs the rereading of one block only."""
TRIES = 4
"""Fresh starts before a frame counts as damaged."""


@component(cite=None, note="decord: fast random access; no AV1, no wheels for arm64 or macOS")
class DecordReader:
    """decord 0.6, no paper; frames are the ones its index names, and every block is checked before it is believed.

    Checked because, as measured, its length may exceed what decodes and at some tiny widths it returns 16 or more
    channels. It applies rotation itself; of several video streams it takes the one FFmpeg thinks best, often the first;
    edit lists it ignores, so a file cut by one may have a frame more than under pyav. What follows a damaged frame is
    not shown.
    """

    class Config(Config):
        """Options of decord."""

        threads: int = Field(0, ge=0, le=64, description="decoding threads; 0 lets decord decide")

    def __init__(self, config: Config) -> None:
        self.config = config
        # decord counts how often it asks its decoding threads in vain, and takes a healthy file for ended when a busy
        # machine is slow to answer: at 64 tries half of our clips failed. At a true end a million take a second.
        os.environ.setdefault("DECORD_EOF_RETRY_MAX", "1000000")
        try:
            import decord
        except (ImportError, OSError) as error:
            raise UserError(
                f"The reader decord cannot be loaded ({error}): choose reader=pyav, which reads everywhere, "
                "or pip install decord on x86-64 Linux or Windows."
            ) from error
        decord.logging.set_level(decord.logging.QUIET)
        self._decord = decord
        self.version = f"decord {decord.__version__}"
        self._open: tuple[tuple[str, int, int, int], Any] | None = None

    def probe(self, path: Path) -> VideoInfo:
        """Size as shown (after rotation), and the frame count and rate that decord's index claims.

        Raises:
            ReadError: not a video for decord, or its first frame cannot be decoded.
        """
        video = self._video(Path(path))
        try:
            first = self._block(video, [0])
        except _Damage as damage:
            self._open = None
            raise ReadError(f"frame 0 cannot be decoded: {damage}") from damage
        return VideoInfo(len(video), first.shape[1], first.shape[2], float(video.get_avg_fps()))

    def read(self, path: Path, *, start: int, count: int, stride: int) -> tuple[np.ndarray, np.ndarray]:
        """Frames start, start + stride, …: uint8 [T, H, W, 3] and seconds since frame 0 [T]; shorter at the end.

        Raises:
            ReadError: not one of these frames can be decoded, or they do not have three channels.
        """
        path = Path(path)
        claimed = len(self._video(path))
        wanted = list(range(start, min(claimed, start + count * stride), stride))[:count]
        if not wanted:
            raise ReadError(f"it ends after {claimed} frames, before frame {start}")
        blocks: list[np.ndarray] = []
        for begin in range(0, len(wanted), AT_ONCE):
            asked = wanted[begin : begin + AT_ONCE]
            try:
                blocks.append(self._block(self._video(path), asked))
            except _Damage as damage:
                blocks.extend(self._one_by_one(path, asked))
                if not blocks:
                    raise ReadError(f"frame {start} cannot be decoded: {damage}") from damage
                break
        frames = np.concatenate(blocks)
        starts = self._video(path).get_frame_timestamp([0, *wanted[: len(frames)]])[:, 0].astype(np.float64)
        return frames, starts[1:] - starts[0]

    def __getstate__(self) -> dict[str, Any]:
        return {"config": self.config}  # an open file does not travel to another process

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["config"])

    def _video(self, path: Path) -> Any:
        try:
            state = path.stat()
        except OSError as error:
            raise ReadError(f"cannot open: {error.strerror}") from error
        key = (str(path), state.st_size, state.st_mtime_ns, os.getpid())
        if self._open is None or self._open[0] != key:
            self._open = None
            try:
                video = self._decord.VideoReader(str(path), num_threads=self.config.threads)
            except (self._decord.DECORDError, RuntimeError) as error:
                raise ReadError(f"decord cannot open it ({_line(error)}); reader=pyav may read it") from error
            if not len(video):
                raise ReadError("decord finds no frame in it; reader=pyav may read it")
            self._open = (key, video)
        return self._open[1]

    def _one_by_one(self, path: Path, wanted: list[int]) -> list[np.ndarray]:
        """As many of the wanted frames, in order, as decode.

        decord reads ahead and reports damage too early, and stays confused afterwards: each frame that fails is asked
        for again from a fresh start before it is believed to be bad.
        """
        whole: list[np.ndarray] = []
        tries = 0
        while len(whole) < len(wanted) and tries < TRIES:
            self._open = None if tries or not whole else self._open
            try:
                whole.append(self._block(self._video(path), [wanted[len(whole)]]))
                tries = 0
            except _Damage:
                tries += 1
        self._open = None
        return whole

    def _block(self, video: Any, wanted: list[int]) -> np.ndarray:
        try:
            frames = video.get_batch(wanted)
        except (self._decord.DECORDError, RuntimeError) as error:
            if "from_size == to_size" in str(error):  # get_batch itself trips over the surplus channels
                raise ReadError(
                    "decord does not give three channels at this width; reader=pyav reads it right"
                ) from error
            raise _Damage(_line(error)) from error
        frames = frames.asnumpy() if hasattr(frames, "asnumpy") else np.asarray(frames)
        if frames.ndim != 4 or frames.shape[-1] != 3:
            raise ReadError("decord does not give three channels at this width; reader=pyav reads it right")
        return frames


class _Damage(ReadError):
    """A block that does not decode; smaller ones may."""


def _line(error: BaseException) -> str:
    """decord's reason alone, without the source line before it and the C++ stack after it."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    said = re.sub(r"^.*?\.cc:\d+: ", "", lines[0]).replace("Check failed: ", "")
    said = re.sub(r"^\[[^\]]*\]\s*|(?<=file)/.*$| /\S+\.\.\.$", "", said)
    if "avfilter_graph_create_filter" in said:
        return "its codec parameters are missing or wrong"
    if "cannot find video stream" in said:
        return "no video stream it has a decoder for, AV1 among them"
    return said.strip()[:120]
