"""Floor: the context again and again, end to end. Lively, sharp and real, yet it goes nowhere it was asked to go.

No paper: what a metric that looks at single frames or at motion alone pays for repetition.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from zoo.component import Config, component

if TYPE_CHECKING:
    from components.contracts import Clip


@component(cite=None, note="floor: the context repeated end to end")
class LoopedContext:
    """Frame ``context + i`` is given frame ``i`` modulo the number of given frames."""

    role = "floor"

    class Config(Config):
        """Nothing to choose."""

    def __init__(self, config: LoopedContext.Config) -> None:
        self.config = config

    def make(self, clip: Clip, context: int, reconstruct: Callable[[np.ndarray], np.ndarray] | None) -> np.ndarray:
        """uint8 [T, H, W, 3]; needs at least one context frame."""
        return clip.frames[np.arange(len(clip.frames)) % context]
