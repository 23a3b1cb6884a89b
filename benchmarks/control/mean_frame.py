"""Floor: every frame is the mean of the whole clip, the best that can be said of it without saying anything of time.

No paper: what is left of a video in one picture. A reconstruction that scores no better has kept no motion.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from zoo.component import Config, component

if TYPE_CHECKING:
    from components.contracts import Clip


@component(cite=None, note="floor of reconstruction: the mean frame of the true clip, held; it stands still")
class MeanFrame:
    """The mean of all frames after the context, rounded; it sees the truth, as a tokenizer does."""

    role = "floor"

    class Config(Config):
        """Nothing to choose."""

    def __init__(self, config: MeanFrame.Config) -> None:
        self.config = config

    def make(self, clip: Clip, context: int, reconstruct: Callable[[np.ndarray], np.ndarray] | None) -> np.ndarray:
        """uint8 [T, H, W, 3]."""
        video = clip.frames.copy()
        video[context:] = clip.frames[context:].mean(0, dtype=np.float64).round().astype(np.uint8)
        return video
