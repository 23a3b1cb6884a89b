"""Errors between single frames, in numpy."""

from __future__ import annotations

import numpy as np

FLOOR = 1e-10
"""Smallest mean squared error that counts: PSNR ends at 100 dB."""


def psnr_per_frame(fake_thwc: np.ndarray, real_thwc: np.ndarray) -> np.ndarray:
    """PSNR in dB, float64 [T], of uint8 videos of equal shape; 100 where frames are equal."""
    error = fake_thwc.astype(np.float32) - real_thwc.astype(np.float32)
    mse = np.square(error, out=error).mean(axis=(1, 2, 3), dtype=np.float64) / 255.0**2
    return -10 * np.log10(np.maximum(mse, FLOOR))
