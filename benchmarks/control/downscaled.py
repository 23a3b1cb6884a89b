"""Floor: every frame shrunk by area means and enlarged again: plain subsampling, at 24 / factor² bits a pixel.

No paper: a tokenizer that spends as many bits should keep more than this.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from zoo.component import Config, component

if TYPE_CHECKING:
    from components.contracts import Clip


@component(cite=None, note="floor of reconstruction: shrunk by area means, enlarged bilinearly; 1.5 bits a pixel")
class Downscaled:
    """Area means of factor × factor squares, rounded to 8 bits, then bilinear; odd borders continue outwards."""

    role = "floor"

    class Config(Config):
        """How much smaller."""

        factor: int = Field(4, ge=2, le=64, description="of each side")

    def __init__(self, config: Downscaled.Config) -> None:
        self.config = config

    def make(self, clip: Clip, context: int, reconstruct: Callable[[np.ndarray], np.ndarray] | None) -> np.ndarray:
        """uint8 [T, H, W, 3]."""
        factor, frames = self.config.factor, clip.frames[context:]
        small = frames.astype(np.float32)
        for axis in (1, 2):
            small = _means(small, axis, factor)
        large = np.rint(small)
        for axis in (1, 2):
            large = _enlarged(large, axis, factor, frames.shape[axis])
        video = clip.frames.copy()
        video[context:] = np.rint(large).clip(0, 255).astype(np.uint8)
        return video


def _means(x: np.ndarray, axis: int, factor: int) -> np.ndarray:
    """Mean of every `factor` neighbours; the last group may be smaller."""
    starts = np.arange(0, x.shape[axis], factor)
    counts = np.minimum(starts + factor, x.shape[axis]) - starts
    shape = [1] * x.ndim
    shape[axis] = len(starts)
    return np.add.reduceat(x, starts, axis=axis) / counts.reshape(shape).astype(np.float32)


def _enlarged(x: np.ndarray, axis: int, factor: int, size: int) -> np.ndarray:
    """Linear between the centres of the groups, held at the borders."""
    at = ((np.arange(size) + 0.5) / factor - 0.5).clip(0, x.shape[axis] - 1)
    low = np.floor(at).astype(int)
    high = np.minimum(low + 1, x.shape[axis] - 1)
    shape = [1] * x.ndim
    shape[axis] = size
    share = (at - low).reshape(shape).astype(np.float32)
    return x.take(low, axis) * (1 - share) + x.take(high, axis) * share
