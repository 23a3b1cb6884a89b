"""Ceiling: the truth itself. A metric that does not find it perfect, or finds something better, is broken.

No paper: what every figure would be if nothing were left to improve.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from zoo.component import Config, component

if TYPE_CHECKING:
    from components.contracts import Clip


@component(cite=None, note="ceiling: the true video")
class Oracle:
    """Every frame as it really was."""

    role = "ceiling"

    class Config(Config):
        """Nothing to choose."""

    def __init__(self, config: Oracle.Config) -> None:
        self.config = config

    def make(self, clip: Clip, context: int, reconstruct: Callable[[np.ndarray], np.ndarray] | None) -> np.ndarray:
        """uint8 [T, H, W, 3]."""
        return clip.frames.copy()
