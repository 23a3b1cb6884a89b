"""Given the first frames, make the rest: the task of long videos."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from components.training_masks import checked_families, draw_family
from zoo.component import Config, component
from zoo.errors import BadValue

if TYPE_CHECKING:
    import numpy as np


@component(cite="harvey2022fdm", note="makes the rest of a video from its first frames; trains on a mix of masks")
class Extend:
    """FDM (Harvey et al. 2022): p(frames Y | frames X), with X and Y drawn anew for every training window.

    Departs: `masks` mixes FDM's family with others (components/training_masks.py), by weight: fdm, hierarchy,
    recent_spread, recent_nearest (needs poses), window, uniform.
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
        """See contracts.Task. Raises UnknownName, BadValue or UnmetNeed for a mix that cannot be drawn."""
        if frames < 1 or window < 1:
            raise BadValue(f"an episode of {frames} frames gives no window of {window}. Use longer episodes.")
        checked_families(masks, poses, frames)
        return draw_family(masks, rng)(frames, min(window, frames), rng, poses)

    def context(self, context: int) -> int:
        """All given frames are observed."""
        return context
