"""Errors between single frames, in numpy."""

from __future__ import annotations

import numpy as np

FLOOR = 1e-10
"""Smallest mean squared error that counts: PSNR ends at 100 dB."""


def mse_per_frame(fake_thwc: np.ndarray, real_thwc: np.ndarray) -> np.ndarray:
    """Mean squared error, float64 [T], of uint8 videos of equal shape, pixels counted in [0, 1]."""
    error = fake_thwc.astype(np.float32) - real_thwc.astype(np.float32)
    return np.square(error, out=error).mean(axis=(1, 2, 3), dtype=np.float64) / 255.0**2


def psnr_per_frame(fake_thwc: np.ndarray, real_thwc: np.ndarray) -> np.ndarray:
    """PSNR in dB, float64 [T], of uint8 videos of equal shape; 100 where frames are equal."""
    return -10 * np.log10(np.maximum(mse_per_frame(fake_thwc, real_thwc), FLOOR))


def shrink(video_thwc: np.ndarray, side: int) -> np.ndarray:
    """Area means on a side × side grid: float32 [T, side · side · 3]; sizes need not divide."""
    x = video_thwc.astype(np.float32)
    for axis in (1, 2):
        edges = np.linspace(0, x.shape[axis], side + 1).round().astype(int)
        pieces = np.split(x, edges[1:-1], axis=axis)
        x = np.stack([piece.mean(axis=axis) for piece in pieces], axis=axis)
    return x.reshape(len(x), -1)
