"""Floor: every generated frame is the mean of the context frames, the blurred answer that squared error likes best.

No paper: a row every table of long videos needs, since weak models score below it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from zoo.component import Config, component

if TYPE_CHECKING:
    from components.contracts import Clip


@component(cite=None, note="floor: the mean frame of the context (mean_frame), held")
class MeanContext:
    """The mean of the given frames, rounded, for every frame after them."""

    role = "floor"

    class Config(Config):
        """Nothing to choose."""

    def __init__(self, config: MeanContext.Config) -> None:
        self.config = config

    def make(self, clip: Clip, context: int, reconstruct: Callable[[np.ndarray], np.ndarray] | None) -> np.ndarray:
        """uint8 [T, H, W, 3]; needs at least one context frame."""
        video = clip.frames.copy()
        video[context:] = clip.frames[:context].mean(0, dtype=np.float64).round().astype(np.uint8)
        return video
