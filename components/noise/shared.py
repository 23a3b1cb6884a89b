"""One noise level for all frames of a window."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from zoo.component import Config, component

if TYPE_CHECKING:
    from torch import Tensor


@component(cite="harvey2022fdm", note="all frames to be made share one noise level")
class Shared:
    """FDM (Harvey et al. 2022), as in image diffusion: one t per clip for every frame to be made, 0 where observed.

    No departure.
    """

    class Config(Config):
        pass

    def __init__(self, config: Config) -> None:
        self.config = config

    def levels(self, sample_t: Callable[[tuple[int, ...]], Tensor], observed: Tensor) -> Tensor:
        """Observed mask [B, F] to levels [B, F], float32 on the mask's device."""
        t_b1 = sample_t((observed.shape[0], 1)).to(observed.device)
        return t_b1.expand(observed.shape).masked_fill(observed, 0.0)
