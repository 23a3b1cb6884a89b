"""Memory by sight: find when it last looked like now, and look at what came after that. No pose is given."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from components.contracts import Features, Step
from components.frame_choice import RECENT, places_to_look, spread
from components.frame_retrieval import Seen, most_alike
from zoo.component import Config, component

if TYPE_CHECKING:
    import numpy as np


@component(
    cite="xiao2025worldmem",
    note="looks at a few recent frames and at what followed the finished frames most like the newest; no pose given",
    needs={"features"},
)
class FeatureNearest:
    """Retrieval as in WorldMem (Xiao et al. 2025), by d(m) = Σ_{k<q} |f(n − k) − f(m − k)|², n the newest frame: X =
    the last frames and those around m + lead for the nearest m, spread over as many as are made; Y = the next s.

    Departs: WorldMem compares camera poses, which are not looked at here. A frame m counts only if it lies a window
    back, as any frame is like its neighbours, and if what followed is finished and not recent; places that stay free
    go to the newest.
    """

    class Config(Config):
        recent: int = Field(
            RECENT,
            ge=0,
            description="most recent frames always looked at; one place at least is left for what is found",
        )
        query: int = Field(4, ge=1, description="how many of the newest frames are compared with as many in a row")
        lead: int | None = Field(
            None, ge=0, description="frames from a match to the middle of what is looked at; null: half of what is made"
        )
        matches: int = Field(1, ge=1, description="how many matches share the places, if there are so many")

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
        """See contracts.Rollout. `features` are needed; `seed` and `poses` change nothing.

        Raises UnmetNeed without features, BadValue on a request that cannot be met.
        """
        step, room = places_to_look(frames=frames, observed=observed, window=window, step=step)
        seen = Seen(features, frames, "rollout=feature_nearest")
        recent = max(0, min(self.config.recent, room - 1))
        for first in range(observed, frames, step):
            latent = range(first, min(first + step, frames))
            before = max(0, first - recent)
            found = self._found(seen, range(before), latent, room - (first - before), window)
            yield Step((*found, *range(before, first)), tuple(latent))

    def _found(self, seen: Seen, among: range, latent: range, count: int, window: int) -> list[int]:
        """At most `count` of the frames `among`, ascending: what followed the best matches, then the newest."""
        if count < 1 or len(among) <= count:
            return list(among) if count > 0 else []
        made = len(latent)
        lead = (made + 1) // 2 if self.config.lead is None else self.config.lead
        start = lead - (made - 1) // 2  # from a match to the first of the `made` frames around its lead
        share = min(made, -(-count // self.config.matches))
        before = min(latent.start - window, among.stop - max(0, start + made - 1))
        found: dict[int, None] = {}
        if before > 0:
            shown = seen.of(range(latent.start))
            for match in most_alike(shown, length=self.config.query, before=before, apart=made):
                followed = range(max(0, match + start), match + start + made)
                found.update(dict.fromkeys(followed[i] for i in spread(0, len(followed), share)))
                if len(found) >= count:
                    break
        return sorted(list(dict.fromkeys((*found, *reversed(among))))[:count])
