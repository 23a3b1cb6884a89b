"""Floor: every generated frame is uniform noise, drawn by (episode, frame). It remembers nothing and shows nothing.

No paper: chance, as every metric sees it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from zoo.component import Config, component

if TYPE_CHECKING:
    from components.contracts import Clip


@component(cite=None, note="floor: uniform noise, the same for an episode and frame whatever else is made")
class Noise:
    """Independent pixels in 0 … 255."""

    role = "floor"

    class Config(Config):
        """Nothing to choose."""

    def __init__(self, config: Noise.Config) -> None:
        self.config = config

    def make(self, clip: Clip, context: int, reconstruct: Callable[[np.ndarray], np.ndarray] | None) -> np.ndarray:
        """uint8 [T, H, W, 3]."""
        video = clip.frames.copy()
        episode = int.from_bytes(hashlib.blake2b(clip.episode.encode(), digest_size=8).digest(), "little")
        for frame in range(context, len(video)):
            video[frame] = np.random.default_rng([episode, frame]).integers(0, 256, video.shape[1:], np.uint8)
        return video
