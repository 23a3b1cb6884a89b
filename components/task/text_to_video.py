"""Nothing is given but the prompt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from zoo.component import Config, component
from zoo.errors import BadValue

if TYPE_CHECKING:
    import numpy as np


@component(cite="brooks2024sora", note="makes a video from its prompt alone; no frame is given")
class TextToVideo:
    """Text to video as Sora's report (Brooks et al. 2024) shows it: p(all frames | prompt).

    Departs: a training window is min(window, frames) frames in a row from a random start; `masks` plays no part.
    """

    class Config(Config):
        pass

    def __init__(self, config: Config) -> None:
        self.config = config

    def draw(
        self,
        *,
        frames: int,
        window: int,
        masks: Mapping[str, float],
        rng: np.random.Generator,
        poses: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """See contracts.Task: consecutive indices, nothing observed. Raises BadValue on an empty episode."""
        import numpy as np

        if frames < 1 or window < 1:
            raise BadValue(f"an episode of {frames} frames gives no window of {window}. Use longer episodes.")
        size = min(window, frames)
        start = int(rng.integers(0, frames - size + 1))
        return np.arange(start, start + size), np.zeros(size, dtype=bool)

    def context(self, context: int) -> int:
        """Given frames are not looked at."""
        return 0
