"""A noise level of its own for every frame."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from pydantic import Field

from zoo.component import Config, component

if TYPE_CHECKING:
    from torch import Tensor


@component(
    cite="chen2024diffusionforcing,song2025dfot",
    note="every frame to be made draws its own noise level",
    gives={"levels_per_frame"},
)
class PerFrame:
    """Diffusion Forcing (Chen et al. 2024), DFoT (Song et al. 2025): t_f drawn independently for every frame f.

    Departs: observed frames carry 0 rather than a drawn level, since here they are a separate input; and in a share
    `shared` of the windows all frames draw one level, so that one network serves rollouts of both kinds.
    """

    class Config(Config):
        shared: float = Field(0.0, ge=0, le=1, description="share of windows whose frames draw one level together")

    def __init__(self, config: Config) -> None:
        self.config = config

    def levels(self, sample_t: Callable[[tuple[int, ...]], Tensor], observed: Tensor) -> Tensor:
        """Observed mask [B, F] to levels [B, F], float32 on the mask's device."""
        own_bf = sample_t(tuple(observed.shape)).to(observed.device)
        if self.config.shared > 0:
            # Spread over the batch in even shares rather than drawn: the noise levels are all that is random here.
            clips = torch.arange(observed.shape[0], device=observed.device)
            together = ((clips + 1) * self.config.shared).floor() > (clips * self.config.shared).floor()
            own_bf = torch.where(together[:, None], own_bf[:, :1], own_bf)
        return own_bf.masked_fill(observed, 0.0)
