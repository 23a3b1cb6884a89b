"""Frame after frame: look at the last finished frames, make the next ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from components.contracts import Features, Step
from components.frame_choice import places_to_look
from zoo.component import Config, component

if TYPE_CHECKING:
    import numpy as np


@component(cite="harvey2022fdm", note="looks at the last window - step frames, makes the next step frames")
class Autoregressive:
    """FDM (Harvey et al. 2022), "Autoreg": X = {i : newest − (K − s) < i <= newest}, Y = the next s frames.

    Departs where nothing is given: the first step then makes s frames (FDM: K), as a step never makes more than s.
    """

    class Config(Config):
        pass

    def __init__(self, config: Config) -> None:
        self.config = config

    def plan(
        self,
        *,
        frames: int,
        observed: int,
        window: int,
        step: int,
        seed: int = 0,
        poses: np.ndarray | None = None,
        features: Features | None = None,
    ) -> Iterator[Step]:
        """See contracts.Rollout. `seed` and `poses` change nothing here. Raises BadValue."""
        step, room = places_to_look(frames=frames, observed=observed, window=window, step=step)
        for first in range(observed, frames, step):
            yield Step(tuple(range(max(0, first - room), first)), tuple(range(first, min(first + step, frames))))
