"""Keyframes over the whole video first, then blocks that see both what is recent and the keyframes around them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING

from pydantic import Field

from components.coarse_to_fine import Block, blocks, grid, keyframes
from components.contracts import Features, Step
from components.frame_choice import places_to_look, spread
from zoo.component import Config, component

if TYPE_CHECKING:
    import numpy as np


@component(cite="harvey2022fdm", note="keyframes first; then, in order, blocks that see recent frames and keyframes")
class Combined:
    """FDM (Harvey et al. 2022), level 1 of "Hierarchy-2" and then "Long-range": X = the frames between Y's own, then
    half the places for the last frames, half for the keyframes nearest to Y (after and before), Y = the next s.

    Departs: FDM runs the two apart. More keyframes than a step makes are themselves made coarse to fine: one step's
    worth over the whole video, then the others in order of time. Given frames that the first step saw count as
    keyframes.
    """

    class Config(Config):
        stride: int | None = Field(
            None, ge=2, description="most frames from keyframe to keyframe; null: as many keyframes as one step makes"
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
        step, _ = places_to_look(frames=frames, observed=observed, window=window, step=step)
        if frames <= observed:
            return
        step, keys = keyframes(frames=frames, observed=observed, window=window, step=step)
        if self.config.stride is not None and frames - observed > step:
            keys = spread(observed, frames, max(step, 2 + (frames - observed - 2) // self.config.stride))
        first = tuple(keys[i] for i in spread(0, len(keys), step))
        room = window - step
        given = spread(0, observed, room) if room != 1 else tuple(range(observed)[-1:])
        yield Step(given, first)

        finished, landmarks = [*range(observed), *first], [*given, *keys]
        for wanted in (lambda: sorted(set(keys) - set(first)), lambda: grid(finished, frames, stride=1)):
            for block in blocks(wanted(), finished, window=window, step=step):
                between = finished[block.start : block.stop]
                yield Step(tuple(sorted((*between, *_around(block, finished, landmarks)))), block.latent)


def _around(block: Block, finished: list[int], landmarks: list[int]) -> list[int]:
    """`block.around` finished frames: recent ones first, then landmarks, the nearest after and before the block.

    Places that one kind leaves free go to the next: landmarks before, recent frames, frames after.
    """
    far = block.around // 2
    recent, after = finished[: block.start][::-1], finished[block.stop :][: block.around]
    near = recent[: block.around - far]
    earlier = landmarks[: bisect_left(landmarks, near[-1])][::-1] if near else []
    wishes = chain(near, after[: far - far // 2], earlier, recent, after)
    return list(dict.fromkeys(wishes))[: block.around]
