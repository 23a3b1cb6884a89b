from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from pydantic import Field
from torch import nn

from components.knot_tables import TimeTable, read_between, smooth_table
from zoo.component import Config, component

if TYPE_CHECKING:
    from torch import Tensor


@component(
    cite="dehghani2023navit,arnab2021vivit", note="learned tables for time, y and x, read at any real coordinate"
)
class Learned3d(nn.Module):
    """Factorised learned positions [Dehghani 2023]: e(t, y, x) = T[u(t)] + Y[u(y)] + X[u(x)], between knots linearly.

    Departs from it: coordinates are real numbers squeezed onto the knots by smooth maps, so no time or size is outside.
    """

    class Config(Config):
        time_knots: int = Field(
            257, ge=3, le=8193, description="knots for time, evenly spaced in asinh(t / time_scale)"
        )
        time_scale: float = Field(8.0, gt=0, description="latent frames around 0 that are resolved evenly")
        time_reach: float = Field(5000.0, gt=0, description="latent frames to either side; farther is clamped")
        max_side: int = Field(64, ge=2, le=4096, description="patches a side with a knot each; farther is compressed")

    def __init__(self, config: Learned3d.Config, *, width: int, heads: int) -> None:
        super().__init__()
        self.config = config
        self.time = TimeTable(width, knots=config.time_knots, scale=config.time_scale, reach=config.time_reach)
        sides = torch.arange(2 * config.max_side + 1)
        self.y = smooth_table(sides, width)
        self.x = nn.Parameter(smooth_table(sides, width).detach().flip(-1))

    def embed(self, place: Tensor, sides: Tensor) -> Tensor:
        """[R, L, 3] coordinates (time, y, x) to [R, L, D]."""
        t, y, x = place.float().unbind(-1)
        return self.time(t) + read_between(self.y, self._squeeze(y)) + read_between(self.x, self._squeeze(x))

    def _squeeze(self, side: Tensor) -> Tensor:
        """Itself up to M = max_side, then 2M − M²/side: continuous with its slope, and below 2M for any size."""
        limit = float(self.config.max_side)
        return torch.where(side <= limit, side, 2 * limit - limit**2 / side.clamp(min=limit))

    def rotary(self, place: Tensor, sides: Tensor) -> None:
        """Nothing is turned: the embedding is added."""
        return None
