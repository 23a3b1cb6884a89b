from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn

from components.sinusoid import sinusoid
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
        reach = torch.asinh(torch.tensor(config.time_reach / config.time_scale))
        self.register_buffer("reach", reach, persistent=False)
        # Smooth sinusoids as a start: neighbours are alike and knots that training never touches stay sensible.
        times = torch.linspace(-1, 1, config.time_knots) * reach
        sides = torch.arange(2 * config.max_side + 1)
        self.time = nn.Parameter(0.5 * sinusoid(4 * times, width + width % 2, 100.0)[:, :width])
        self.y = nn.Parameter(0.5 * sinusoid(sides, width + width % 2)[:, :width])
        self.x = nn.Parameter(0.5 * sinusoid(sides, width + width % 2)[:, :width].flip(-1))

    def embed(self, place: Tensor, sides: Tensor) -> Tensor:
        """[R, L, 3] coordinates (time, y, x) to [R, L, D]."""
        t, y, x = place.float().unbind(-1)
        half = (self.config.time_knots - 1) / 2
        t = half * (1 + torch.asinh(t / self.config.time_scale) / self.reach)
        return _read(self.time, t) + _read(self.y, self._squeeze(y)) + _read(self.x, self._squeeze(x))

    def _squeeze(self, side: Tensor) -> Tensor:
        """Itself up to M = max_side, then 2M − M²/side: continuous with its slope, and below 2M for any size."""
        limit = float(self.config.max_side)
        return torch.where(side <= limit, side, 2 * limit - limit**2 / side.clamp(min=limit))

    def rotary(self, place: Tensor, sides: Tensor) -> None:
        """Nothing is turned: the embedding is added."""
        return None


def _read(table: Tensor, knot: Tensor) -> Tensor:
    """Linear interpolation of a table [N, D] at real indices [...]; clamped to its ends."""
    knot = knot.clamp(0, table.shape[0] - 1)
    low = knot.floor().clamp(max=table.shape[0] - 2)
    share = (knot - low)[..., None].to(table.dtype)
    low = low.long()
    return torch.lerp(F.embedding(low, table), F.embedding(low + 1, table), share)
