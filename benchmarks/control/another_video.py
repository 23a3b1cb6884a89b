"""Floor: a true video of another caption. What a generator earns that makes real videos and does not read its prompt.

No paper: Fréchet distances find it as good as the truth, text alignment must not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from zoo.component import Config, component
from zoo.errors import BadValue

if TYPE_CHECKING:
    from components.contracts import Clip


@component(cite=None, note="floor: a true video of another caption", needs={"captions"})
class AnotherVideo:
    """The next clip of the test set that has the same shape and another caption."""

    role = "floor"

    class Config(Config):
        """Nothing to choose."""

    def __init__(self, config: AnotherVideo.Config) -> None:
        self.config = config

    def source(self, clips: Sequence[Clip], place: int) -> Clip:
        """Whose frames are shown in place of ``clips[place]``; the first of them is sought after it, then before."""
        asked = clips[place]
        for other in (*clips[place + 1 :], *clips[:place]):
            if other.frames.shape == asked.frames.shape and other.caption != asked.caption:
                return other
        raise BadValue(
            f"control 'another_video' finds no other caption at the size of '{asked.episode}': raise suite.episodes, "
            "or drop the control."
        )

    def make(self, clip: Clip, context: int, reconstruct: Callable[[np.ndarray], np.ndarray] | None) -> np.ndarray:
        """uint8 [T, H, W, 3]; ``clip`` is what `source` said."""
        return clip.frames.copy()
