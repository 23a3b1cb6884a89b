"""Coarse to fine: keyframes over the whole video first, then what lies between."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from components.coarse_to_fine import blocks, grid, keyframes, level_stride
from components.contracts import Features, Step
from components.frame_choice import places_to_look, spread
from zoo.component import Config, component

if TYPE_CHECKING:
    import numpy as np


@component(cite="harvey2022fdm", note="keyframes over the whole video first, then ever finer levels between them")
class Hierarchical:
    """FDM (Harvey et al. 2022), "Hierarchy-N": level 1 spreads s frames over T − n; level l walks with a stride of
    ⌊((T − n)/(s − 1))^((N − l)/(N − 1))⌋ and looks at all finished frames between, then half after, half before.

    Departs in two things: a step that must be cut, to keep two places for the frames around it, keeps its level's
    stride (FDM's code changes it); and where nothing is given the first step makes s keyframes (FDM: K).
    """

    class Config(Config):
        levels: int = Field(2, ge=2, le=5, description="1 is coarsest; the last level makes every frame still missing")

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
        step, _ = places_to_look(frames=frames, observed=observed, window=window, step=step)
        if frames <= observed:
            return
        step, keys = keyframes(frames=frames, observed=observed, window=window, step=step)
        # A single place goes to the newest given frame rather than to frame 0.
        room = window - step
        yield Step(spread(0, observed, room) if room != 1 else tuple(range(observed)[-1:]), keys)

        finished, levels = [*range(observed), *keys], self.config.levels
        for level in range(2, levels + 1):
            stride = level_stride(level=level, levels=levels, missing=frames - observed, step=step)
            for block in blocks(grid(finished, frames, stride), finished, window=window, step=step):
                after = finished[block.stop : block.stop + block.around // 2]
                before = finished[max(0, block.start - (block.around - len(after))) : block.start]
                yield Step((*before, *finished[block.start : block.stop], *after), block.latent)
