"""What every task shares: training windows are drawn from a mix of mask families, and given frames are looked at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from components.contracts import Layout
from components.training_masks import CONTINUING, draw_window

if TYPE_CHECKING:
    import numpy as np


class MaskedTask:
    """The contract of contracts.Task, given `layout` and what teaches the task."""

    own_masks: Mapping[str, float]
    taught_by: tuple[str, ...]
    continued_by: tuple[str, ...] = CONTINUING
    needs: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ("first",)

    def __init__(self, config: Any) -> None:
        self.config = config

    def draw(
        self,
        *,
        frames: int,
        window: int,
        masks: Mapping[str, float],
        rng: np.random.Generator,
        poses: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """See contracts.Task. Raises UnknownName, BadValue or UnmetNeed for a mix that cannot be drawn."""
        return draw_window(masks, self.own_masks, frames=frames, window=window, rng=rng, poses=poses)

    def context(self, context: int) -> int:
        """How many of so many frames given at the start are looked at."""
        return self.layout(context, 0).first

    def layout(self, first: int, last: int) -> Layout:
        """See contracts.Task: here all that is given stays where it is given."""
        return Layout(first, last)
