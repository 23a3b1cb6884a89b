from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from pydantic import Field
from torch import nn

from zoo.component import Config, component
from zoo.errors import BadValue

if TYPE_CHECKING:
    from torch import Tensor


@component(
    cite="su2021roformer,yang2024cogvideox,chen2023interpolation",
    note="queries and keys turned by angles of time, y and x, so that attention sees differences of place",
)
class Rope3d(nn.Module):
    """Rotary positions [Su 2021] on three axes [Yang 2024]: pair i of n turns by c · period^(−i/n), c one of t, y, x.

    Departs from them: of a head's P pairs of channels, ⌊P/3⌋ turn by y, ⌊P/3⌋ by x and the rest, which stand first, by
    t (Yang: 2/8 by t). Coordinates are absolute, in frames and patches, unless `longest_side` says otherwise.
    """

    class Config(Config):
        time_period: float = Field(10000.0, gt=1, description="longest wavelength over 2π, in latent frames")
        space_period: float = Field(10000.0, gt=1, description="longest wavelength over 2π, in patches")
        longest_side: int | None = Field(
            None,
            ge=1,
            description="patches a side, onto which longer sides are squeezed evenly (position interpolation); "
            "null squeezes none",
        )

    def __init__(self, config: Rope3d.Config, *, width: int, heads: int) -> None:
        super().__init__()
        size = width // heads
        if width % heads or size % 2 or size < 6:
            raise BadValue(
                f"position 'rope_3d' turns pairs of a head's channels, at least one pair for each of time, y and x: a "
                f"width of {width} over {heads} heads must give an even number of at least 6; change width or heads."
            )
        self.config = config
        side = size // 6
        self.pairs = (size // 2 - 2 * side, side, side)

    def embed(self, place: Tensor, sides: Tensor) -> None:
        """Nothing is added: queries and keys are turned."""
        return None

    def rotary(self, place: Tensor, sides: Tensor) -> tuple[Tensor, Tensor]:
        """[R, L, 3] coordinates (time, y, x) to cosines and sines [R, L, D/K/2], float32."""
        t, y, x = place.float().unbind(-1)
        if self.config.longest_side is not None:
            height, width = (self.config.longest_side / sides.float()).clamp(max=1).unbind(-1)
            y, x = y * height, x * width
        periods = (self.config.time_period, self.config.space_period, self.config.space_period)
        angles = torch.cat([_angles(*axis) for axis in zip((t, y, x), self.pairs, periods, strict=True)], dim=-1)
        return torch.cos(angles), torch.sin(angles)


def _angles(coordinate: Tensor, pairs: int, period: float) -> Tensor:
    """[...] to float32 [..., pairs]: from one radian a unit downwards, evenly in the logarithm."""
    steps = torch.arange(pairs, dtype=torch.float32, device=coordinate.device) / pairs
    return coordinate[..., None] * torch.exp(-math.log(period) * steps)
