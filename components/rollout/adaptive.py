"""Look at frames that are as unlike each other as can be, so that few of them show all there is to know."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from components.coarse_to_fine import Block, blocks, grid, keyframes, level_stride
from components.contracts import Features, Step
from components.frame_choice import places_to_look
from components.frame_retrieval import Seen, farthest_first
from zoo.component import Config, component

if TYPE_CHECKING:
    import numpy as np


@component(
    cite="harvey2022fdm",
    note="looks at finished frames that are as unlike each other as can be, by what they show",
    needs={"features"},
)
class Adaptive:
    """FDM (Harvey et al. 2022), "adaptive-autoreg" and "adaptive-hierarchy-N": X starts from the newest frame, or from
    the frames between, the nearest two before and one after, and grows by argmax_i min_{x in X} |f(i) − f(x)|².

    Departs: f is what the engine shows (FDM: LPIPS embeddings); of equally unlike frames the oldest is taken, the
    likeliest to be given (FDM: the newest, in adaptive-autoreg); where a hierarchical step has but two places around,
    they go to the frames just before and after.
    """

    class Config(Config):
        form: Literal["autoregressive", "hierarchical"] = Field(
            "autoregressive", description="which frames a step makes: the next ones, or ever finer levels"
        )
        levels: int = Field(2, ge=2, le=5, description="of form=hierarchical, as of rollout=hierarchical")

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
        seen = Seen(features, frames, "rollout=adaptive")
        if self.config.form == "autoregressive":
            for first in range(observed, frames, step):
                looked = _unlike(seen, range(first), [first - 1] if first else [], room)
                yield Step(looked, tuple(range(first, min(first + step, frames))))
        elif frames > observed:
            yield from self._levels(seen, frames, observed, window, step)

    def _levels(self, seen: Seen, frames: int, observed: int, window: int, step: int) -> Iterator[Step]:
        step, keys = keyframes(frames=frames, observed=observed, window=window, step=step)
        finished, levels = list(range(observed)), self.config.levels
        yield Step(_around(seen, finished, Block(keys, observed, observed, window - step)), keys)
        finished += keys
        for level in range(2, levels + 1):
            stride = level_stride(level=level, levels=levels, missing=frames - observed, step=step)
            for block in blocks(grid(finished, frames, stride), finished, window=window, step=step):
                yield Step(_around(seen, finished, block), block.latent)


def _around(seen: Seen, finished: list[int], block: Block) -> tuple[int, ...]:
    """The finished frames between the block's own, the nearest before, after and second before, then unlike ones."""
    nearest = [block.start - 1, block.stop, block.start - 2]
    nearest = [place for place in nearest if 0 <= place < len(finished)][: block.around]
    between = range(block.start, block.stop)
    return _unlike(seen, finished, [*between, *nearest], len(between) + block.around)


def _unlike(seen: Seen, finished: list[int] | range, always: list[int], count: int) -> tuple[int, ...]:
    """`count` of the finished frames, ascending: those at the places `always`, then farthest first."""
    if len(finished) <= count:
        return tuple(finished)
    # Nothing is asked for where the count leaves no choice.
    places = always[:count] if count <= len(always) else farthest_first(seen.of(finished), always, count)
    return tuple(sorted(finished[place] for place in places))
