"""Coarse to fine: keyframes over the whole video first, then what lies between."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

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
        missing = frames - observed
        if missing < 1:
            return
        if missing > step:
            step = min(step, max(1, window - 2))
        room = window - step
        keyframes = spread(observed, frames, step)
        # A single place goes to the newest given frame rather than to frame 0.
        yield Step(spread(0, observed, room) if room != 1 else tuple(range(observed)[-1:]), keyframes)

        finished = [*range(observed), *keyframes]
        for level in range(2, self.config.levels + 1):
            exponent = (self.config.levels - level) / (self.config.levels - 1)
            stride = max(1, int((missing / max(1, step - 1)) ** exponent))
            grid = _grid(finished, frames, stride)
            while grid:
                made = _next_step(grid, finished, window, step)
                yield made
                grid = grid[len(made.latent) :]
                for frame in made.latent:
                    insort(finished, frame)


def _grid(finished: list[int], frames: int, stride: int) -> list[int]:
    """The missing frames a level makes: from the first on, `stride` apart, moved on by one past finished ones."""
    done = bytearray(frames)
    for frame in finished:
        done[frame] = 1
    chosen = []
    index = done.find(0) - 1 + stride if 0 in done else frames
    while index < frames:
        if done[index]:
            index += 1
        else:
            chosen.append(index)
            index += stride
    return chosen


def _next_step(grid: list[int], finished: list[int], window: int, step: int) -> Step:
    """As many of the grid's next frames as leave two places beside the finished frames that lie between them."""
    for size in range(step, 0, -1):
        latent = grid[:size]
        start, stop = bisect_left(finished, latent[0]), bisect_right(finished, latent[-1])
        around = window - size - (stop - start)
        if around >= 2 or size == 1:
            break
    after = finished[stop : stop + around // 2]
    before = finished[max(0, start - (around - len(after))) : start]
    return Step((*before, *finished[start:stop], *after), tuple(latent))
