"""Everything at once: one step makes every missing frame."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from components.contracts import Features, Step
from components.frame_choice import places_to_look
from zoo.component import Config, component
from zoo.errors import BadValue

if TYPE_CHECKING:
    import numpy as np


@component(cite="ho2022video", note="makes every missing frame in one step, and refuses where one step cannot")
class Full:
    """Video Diffusion Models (Ho et al. 2022): the whole video is one sample, X = the given frames, Y = all the others.

    Departs: given frames are looked at as they are, where Ho et al. replace or reconstruct them while denoising; of
    more given frames than the window has places left, the newest are looked at, which the missing ones follow.
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
        """See contracts.Rollout. `seed`, `poses` and `features` change nothing here.

        Raises BadValue, also where more frames are missing than one step makes.
        """
        step, _ = places_to_look(frames=frames, observed=observed, window=window, step=step)
        missing = frames - observed
        if missing > step:
            raise BadValue(
                f"rollout=full makes all frames in one step, and {missing} are missing where step={step} of "
                f"window={window} can be made. Give step={missing} and window={max(window, missing)}, "
                "or choose another rollout."
            )
        if missing > 0:
            yield Step(tuple(range(max(0, observed - (window - missing)), observed)), tuple(range(observed, frames)))
