"""Away from what the network would make without the frames it has seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from zoo.component import Config, component

if TYPE_CHECKING:
    from torch import Tensor


@component(
    cite="song2025dfot",
    note="extrapolates from the estimate without history, over histories shown clean or partly noised",
)
class History:
    """History guidance (DFoT, Song et al. 2025): ẑ = ẑ_∅ + Σ_k w_k · (ẑ_k − ẑ_∅), ẑ_k with history at noise level k.

    One clean history is the paper's vanilla form, further ones at levels above 0 its fractional form. Departs: without
    history means no observed frames at all (there: observed frames that are pure noise); subsets of history in time are
    not offered.
    """

    class Config(Config):
        scales: tuple[float, ...] = Field((1.5,), min_length=1, description="weight of each history")
        levels: tuple[float, ...] = Field(
            (0.0,), min_length=1, description="noise level in [0, 1) of each history; 0 is clean, as it was seen"
        )

        @model_validator(mode="after")
        def _one_each(self) -> History.Config:
            if len(self.scales) != len(self.levels):
                raise ValueError(f"scales has {len(self.scales)} weights and levels {len(self.levels)}: give one each")
            if min(self.scales) < 0 or not all(0 <= level < 1 for level in self.levels):
                raise ValueError("scales are at least 0 and levels lie in [0, 1)")
            return self

    def __init__(self, config: Config) -> None:
        self.config = config

    @property
    def branches(self) -> tuple[Mapping[str, Any], ...]:
        """One branch a history, then the one without."""
        told = {"text": True, "camera": True}
        seen = [{**told, "history_level": level} if level > 0 else told for level in self.config.levels]
        return *seen, {**told, "history": False}

    @property
    def dropouts(self) -> frozenset[str]:
        """Windows without history must have been trained, and noised history where a level asks for it."""
        noised = {"history_noise"} if max(self.config.levels) > 0 else set()
        return frozenset({"history_dropout"} | noised)

    def combine(self, cleans: Sequence[Tensor]) -> Tensor:
        """Estimates [B, C, F, H, W], in the order of `branches`, to one."""
        *with_history, without = cleans
        guided = without
        for scale, clean in zip(self.config.scales, with_history, strict=True):
            guided = guided + scale * (clean - without)
        return guided
