"""No guidance: the fully conditional estimate as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from zoo.component import Config, component

if TYPE_CHECKING:
    from torch import Tensor


@component(cite=None, note="the conditional estimate as it is; one network call a step")
class NoGuidance:
    """ẑ = ẑ(all conditions).

    No departure.
    """

    class Config(Config):
        pass

    branches: tuple[Mapping[str, bool], ...] = ({"text": True, "camera": True},)
    dropouts: frozenset[str] = frozenset()
    """What training must have dropped at times: nothing."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def combine(self, cleans: Sequence[Tensor]) -> Tensor:
        """The one estimate [B, C, F, H, W]."""
        (clean,) = cleans
        return clean
