"""A rollout from outside the zoo: it needs the contract, the card and the error, and nothing else of ours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from components.contracts import Features, Step
from zoo.component import Config, component
from zoo.errors import BadValue

if TYPE_CHECKING:
    import numpy as np


@component(cite=None, note="looks back from the newest frame in strides, so the same window reaches twice as far")
class EveryOther:
    """X = {newest, newest − k, newest − 2k, …}, at most window − step of them; Y = the next step frames."""

    class Config(Config):
        stride: int = Field(2, ge=1, description="k: how many frames lie from one observed frame to the next")

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
        if not 1 <= step < window:
            raise BadValue(f"step={step} must be at least 1 and smaller than window={window}.")
        for first in range(observed, frames, step):
            seen = range(first - 1, -1, -self.config.stride)[: window - step]
            yield Step(tuple(sorted(seen)), tuple(range(first, min(first + step, frames))))
