"""Away from what the network would make without the condition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from zoo.component import Config, component

if TYPE_CHECKING:
    from torch import Tensor


@component(
    cite="ho2022cfg,lin2024flawed",
    note="extrapolates from the estimate without text and/or camera; two network calls a step; rescale",
)
class ClassifierFree:
    """Classifier-free guidance (Ho & Salimans 2022): ẑ = ẑ_without + scale · (ẑ_with − ẑ_without).

    Departs: clean estimates are combined in place of noises, which is the same, as they are linear in them; scale 1
    asks the network once. `rescale` is φ of Lin et al. 2024, against overexposure: φ ẑ std(ẑ_with)/std(ẑ) + (1 − φ) ẑ,
    of the clean estimate and frame by frame (there: of the network's output, a whole picture at a time).
    """

    class Config(Config):
        scale: float = Field(2.0, ge=0.0, description="1 is no guidance, 0 drops the condition")
        drop: Literal["text", "camera", "both"] = Field("text", description="what the second branch lacks")
        rescale: float = Field(0.0, ge=0.0, le=1.0, description="share of the deviation's way back to ẑ_with's")

    def __init__(self, config: Config) -> None:
        self.config = config

    @property
    def branches(self) -> tuple[Mapping[str, bool], ...]:
        """With everything; without what `drop` names, unless scale=1 has no use for it."""
        drop, everything = self.config.drop, {"text": True, "camera": True}
        if self.config.scale == 1:
            return (everything,)
        return everything, {"text": drop == "camera", "camera": drop == "text"}

    @property
    def dropouts(self) -> frozenset[str]:
        """The keys of train.generator that must be above 0, or the second branch was never trained."""
        if self.config.scale == 1:
            return frozenset()
        drop = self.config.drop
        return frozenset(
            key for key, of in (("text_dropout", "text"), ("camera_dropout", "camera")) if drop in (of, "both")
        )

    def combine(self, cleans: Sequence[Tensor]) -> Tensor:
        """Estimates [B, C, F, H, W], in the order of `branches`, to one."""
        if len(cleans) == 1:
            return cleans[0]
        conditional, without = cleans
        guided = without + self.config.scale * (conditional - without)
        if self.config.rescale > 0:
            frame = (1, 3, 4)
            wanted = conditional.std(frame, keepdim=True) / guided.std(frame, keepdim=True).clamp(min=1e-8)
            guided = guided * (1 + self.config.rescale * (wanted - 1))
        return guided
