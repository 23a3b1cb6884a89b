"""Writes what people look at: mp4 through PyAV and PNG sheets, each whole or not at all."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

GAP = 2
"""White pixels between the pictures of a sheet."""


def write_mp4(path: Path | str, frames_thwc: np.ndarray, fps: float, *, scale: int = 1, crf: int = 18) -> Path:
    """Write uint8 RGB frames [T, H, W, 3] as H.264 that browsers play; atomic.

    Args:
        scale: whole-number enlargement, so that small frames can be seen.
        crf: quality, 0 (best) to 51.

    Odd heights and widths are padded by one repeated row or column: H.264 with half-size colour needs even ones.
    """
    import av

    path = Path(path)
    frames_thwc = _enlarge(_checked(frames_thwc), scale)
    _, height, width, _ = frames_thwc.shape
    frames_thwc = np.pad(frames_thwc, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    partial = _beside(path)
    try:
        with av.open(str(partial), "w", format="mp4", options={"movflags": "+faststart"}) as container:
            rate = Fraction(fps).limit_denominator(1001)
            stream = container.add_stream("libx264", rate=rate, options={"crf": str(crf), "threads": "1"})
            stream.height, stream.width, stream.pix_fmt = frames_thwc.shape[1], frames_thwc.shape[2], "yuv420p"
            for frame in frames_thwc:
                picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
                container.mux(stream.encode(picture))
            container.mux(stream.encode())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def write_png(path: Path | str, image_hwc: np.ndarray) -> Path:
    """Write a uint8 RGB picture [H, W, 3]; atomic."""
    path = Path(path)
    partial = _beside(path)
    try:
        partial.write_bytes(png_bytes(image_hwc))
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def png_bytes(image_hwc: np.ndarray) -> bytes:
    """A uint8 RGB picture [H, W, 3] as the bytes of a PNG file."""
    height, width, _ = _checked(image_hwc[None])[0].shape
    rows = np.zeros((height, 1 + 3 * width), np.uint8)  # the first byte of a row says: no filter
    rows[:, 1:] = image_hwc.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 6)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


def contact_sheet(videos: Sequence[np.ndarray], *, columns: int = 8, scale: int = 1) -> np.ndarray:
    """One row of evenly spaced frames per video [T, H, W, 3] (sizes may differ): a picture uint8 [H', W', 3].

    Frame i of a row is frame round(i (T-1) / (columns-1)), so rows of equally long videos line up.
    """
    strips = []
    for video in videos:
        at = np.linspace(0, len(video) - 1, min(columns, len(video))).round().astype(int)
        picked = _enlarge(_checked(video)[at], scale)
        bordered = np.pad(picked, ((0, 0), (0, GAP), (0, GAP), (0, 0)), constant_values=255)
        strips.append(np.concatenate(list(bordered), axis=1))
    width = max(strip.shape[1] for strip in strips)
    padded = [np.pad(s, ((0, 0), (0, width - s.shape[1]), (0, 0)), constant_values=255) for s in strips]
    return np.concatenate(padded, axis=0)


def write_contact_sheet(path: Path | str, videos: Sequence[np.ndarray], *, columns: int = 8, scale: int = 1) -> Path:
    """Write `contact_sheet` as a PNG; atomic."""
    return write_png(path, contact_sheet(videos, columns=columns, scale=scale))


def _checked(frames_thwc: np.ndarray) -> np.ndarray:
    if frames_thwc.dtype != np.uint8 or frames_thwc.ndim != 4 or frames_thwc.shape[-1] != 3 or not frames_thwc.size:
        raise ValueError(f"expected uint8 [T, H, W, 3], not empty; got {frames_thwc.dtype} {list(frames_thwc.shape)}")
    return frames_thwc


def _enlarge(frames_thwc: np.ndarray, scale: int) -> np.ndarray:
    return frames_thwc if scale == 1 else frames_thwc.repeat(scale, axis=1).repeat(scale, axis=2)


def _beside(path: Path) -> Path:
    """A name in the same folder, so that the final rename stays on one file system."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".{path.name}.{os.getpid()}.partial")
