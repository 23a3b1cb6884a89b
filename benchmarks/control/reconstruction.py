"""Ceiling: the true video through the tokenizer and back. No generator on that tokenizer can be expected to do better.

No paper: separates what the tokenizer loses from what the generator gets wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from zoo.component import Config, component
from zoo.errors import UnmetNeed

if TYPE_CHECKING:
    from components.contracts import Clip


@component(cite=None, note="ceiling: the truth through the tokenizer and back")
class Reconstruction:
    """The tokenizer's own reconstruction of every frame after the context."""

    role = "ceiling"

    class Config(Config):
        """Nothing to choose."""

    def __init__(self, config: Reconstruction.Config) -> None:
        self.config = config

    def make(self, clip: Clip, context: int, reconstruct: Callable[[np.ndarray], np.ndarray] | None) -> np.ndarray:
        """uint8 [T, H, W, 3]."""
        if reconstruct is None:
            raise UnmetNeed("control 'reconstruction' needs a tokenizer: drop it from suite.controls.")
        video = np.asarray(reconstruct(clip.frames)).copy()
        if video.shape != clip.frames.shape or video.dtype != np.uint8:
            raise ValueError(f"reconstruct gave {video.dtype}{list(video.shape)} for {list(clip.frames.shape)}")
        video[:context] = clip.frames[:context]
        return video
