"""No solver: for objectives that decode by themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from components.contracts import Objective
from zoo.component import Config, component

if TYPE_CHECKING:
    from torch import Tensor


@component(cite=None, note="for token objectives, which own their decoding loop", needs={"tokens"})
class NoSolver:
    """Nothing to walk: a token objective goes from unknown to known tokens by itself.

    No departure.
    """

    class Config(Config):
        pass

    def __init__(self, config: Config) -> None:
        self.config = config

    def times(self, objective: Objective) -> Sequence[float]:
        """No step: the walk starts where it ends."""
        return (0.0,)

    def calls(self, objective: Objective) -> int:
        """None: the objective counts its own."""
        return 0

    def step(
        self,
        z_t: Tensor,
        clean: Tensor,
        t: Tensor,
        s: Tensor,
        objective: Objective,
        draw: Callable[[], Tensor],
        estimate: Callable[[Tensor, Tensor], Tensor] | None = None,
    ) -> Tensor:
        """What came in."""
        return z_t
