"""A noise level of its own for every frame."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from zoo.component import Config, component

if TYPE_CHECKING:
    from torch import Tensor


@component(cite="chen2024diffusionforcing,song2025dfot", note="every frame to be made draws its own noise level")
class PerFrame:
    """Diffusion Forcing (Chen et al. 2024), DFoT (Song et al. 2025): t_f drawn independently for every frame f.

    Departs: observed frames carry 0 rather than a drawn level, since here they are a separate input.
    """

    class Config(Config):
        pass

    def __init__(self, config: Config) -> None:
        self.config = config

    def levels(self, sample_t: Callable[[tuple[int, ...]], Tensor], observed: Tensor) -> Tensor:
        """Observed mask [B, F] to levels [B, F], float32 on the mask's device."""
        return sample_t(tuple(observed.shape)).to(observed.device).masked_fill(observed, 0.0)
