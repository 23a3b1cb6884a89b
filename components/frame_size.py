"""Frames of any size to the size a model was trained at, without distorting them."""

from __future__ import annotations

import numpy as np
from PIL import Image


def fit_to(frames_thwc: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """uint8 [T, H, W, 3] to [T, height, width, 3]: scaled until both sides cover `size`, then cropped in the middle."""
    height, width = size
    scale = max(height / frames_thwc.shape[1], width / frames_thwc.shape[2])
    high, wide = max(height, round(frames_thwc.shape[1] * scale)), max(width, round(frames_thwc.shape[2] * scale))
    return scale_and_crop(frames_thwc, (high, wide), size)


def scale_and_crop(frames_thwc: np.ndarray, scaled: tuple[int, int], cropped: tuple[int, int]) -> np.ndarray:
    """uint8 [T, H, W, 3] to (height, width) `scaled`, antialiased bicubic, then the central `cropped` of it."""
    (high, wide), (height, width) = scaled, cropped
    resized = np.stack(
        [np.asarray(Image.fromarray(frame).resize((wide, high), Image.Resampling.BICUBIC)) for frame in frames_thwc]
    )
    top, left = (high - height) // 2, (wide - width) // 2
    return np.ascontiguousarray(resized[:, top : top + height, left : left + width])
