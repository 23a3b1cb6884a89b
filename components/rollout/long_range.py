"""Half the places for the last frames, half for distant ones."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from components.contracts import Features, Step
from components.frame_choice import places_to_look, spread
from zoo.component import Config, component

if TYPE_CHECKING:
    import numpy as np


@component(cite="harvey2022fdm", note="half of what it looks at is recent, half is distant: given, spread or random")
class LongRange:
    """FDM (Harvey et al. 2022), "Long-range": X = the last (K − s)/2 frames and the newest given ones, Y = the next s.

    Departs in three things: at K − s = 1 the one place goes to the newest frame (FDM's code then looks at the whole
    video); `distant` also offers frames spread over, or drawn from, everything finished; and where nothing is given
    the first step makes s frames (FDM: K), which from then on count as the given ones.
    """

    class Config(Config):
        distant: Literal["newest_observed", "spread", "random"] = Field(
            "newest_observed", description="which distant frames: the newest given ones, evenly spread, or drawn anew"
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
        """See contracts.Rollout. `seed` draws the frames of distant=random; `poses` change nothing. Raises BadValue."""
        step, room = places_to_look(frames=frames, observed=observed, window=window, step=step)
        draw = random.Random(seed)
        given = observed or min(step, frames)
        for first in range(observed, frames, step):
            recent = range(max(0, first - max(room // 2, min(room, 1))), first)
            distant = self._distant(recent.start, given, room - len(recent), draw)
            yield Step((*distant, *recent), tuple(range(first, min(first + step, frames))))

    def _distant(self, before: int, given: int, count: int, draw: random.Random) -> tuple[int, ...]:
        """At most `count` frames below `before`, ascending."""
        if self.config.distant == "newest_observed":
            newest = min(before, given)
            return tuple(range(max(0, newest - count), newest))
        if self.config.distant == "spread":
            return spread(0, before, min(count, before))
        return tuple(sorted(draw.sample(range(before), min(count, before))))
