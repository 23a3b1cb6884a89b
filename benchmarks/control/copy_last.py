"""Floor: the last context frame, held. What a model earns by standing still.

No paper: the persistence forecast.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from zoo.component import Config, component

if TYPE_CHECKING:
    from components.contracts import Clip


@component(cite=None, note="floor: the last context frame, held")
class CopyLast:
    """The last given frame for every frame after it."""

    role = "floor"

    class Config(Config):
        """Nothing to choose."""

    def __init__(self, config: CopyLast.Config) -> None:
        self.config = config

    def make(self, clip: Clip, context: int, reconstruct: Callable[[np.ndarray], np.ndarray] | None) -> np.ndarray:
        """uint8 [T, H, W, 3]; needs at least one context frame."""
        video = clip.frames.copy()
        video[context:] = clip.frames[context - 1]
        return video
