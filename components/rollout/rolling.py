"""A window that rolls over the video: the nearest frames are almost clean, the farthest almost noise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from components.contracts import Features, Step
from components.frame_choice import places_to_look, spread
from zoo.component import Config, component

if TYPE_CHECKING:
    import numpy as np


@component(
    cite="ruhe2024rolling, chen2024diffusionforcing",
    note="noise rises along the frames being made; each network call takes all of them a little nearer to clean",
    needs={"levels_per_frame"},
)
class Rolling:
    """Rolling Diffusion (Ruhe et al. 2024), Diffusion Forcing's "pyramid" (Chen et al. 2024): after call m = 1, 2, …
    missing frame j has level clip(1 − (m − ⌊jS/s⌋)/S, 0, 1), S calls a frame, at most s frames at once, S/s calls each.

    Departs: frames that are still pure noise are left out of the window, which therefore grows at the beginning (Ruhe
    et al. train a schedule of its own for that) and shrinks at the end; what is finished is looked at as it is.
    """

    class Config(Config):
        steps: int = Field(4, ge=1, le=1000, description="network calls that take one frame from noise to clean")
        distant: Literal["none", "newest_observed", "spread"] = Field(
            "none", description="half the places looked at are for these distant frames; none: all are for the newest"
        )

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
        """See contracts.Rollout. `seed`, `poses` and `features` change nothing here. Raises BadValue."""
        step, room = places_to_look(frames=frames, observed=observed, window=window, step=step)
        calls = self.config.steps
        done = begun = 0  # missing frames finished, and taken into the window, so far
        call = 0
        while done < frames - observed:
            call += 1
            while begun < frames - observed and begun * calls // step < call:
                begun += 1
            left = [calls - (call - j * calls // step) for j in range(done, begun)]
            latent = tuple(range(observed + done, observed + begun))
            yield Step(self._looked(latent[0], observed, room), latent, tuple(rest / calls for rest in left))
            done += left.count(0)

    def _looked(self, before: int, observed: int, room: int) -> tuple[int, ...]:
        """At most `room` finished frames, ascending: the newest, and the distant ones if there are to be any."""
        distant = 0 if self.config.distant == "none" else room // 2
        recent = range(max(0, before - (room - distant)), before)
        if self.config.distant == "spread":
            far = spread(0, recent.start, min(distant, recent.start))
        else:
            newest = min(recent.start, observed)
            far = tuple(range(max(0, newest - distant), newest))
        return (*far, *recent)
