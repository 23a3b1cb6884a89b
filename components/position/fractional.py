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
    cite="dehghani2023navit", note="learned tables for y and x read at fractions of the picture's sides; time as it is"
)
class Fractional(nn.Module):
    """Factorised fractional positions [Dehghani 2023]: e = T[t] + Y[(y + ½) / height] + X[(x + ½) / width].

    Departs from it: tables are read between knots linearly, at the middle of each patch, so every size spans the same
    range evenly; time is read in frames, not as a fraction, for a window shows frames at any spacing and has no length.

    A picture's shape is not told: a wide one and a tall one span the same range.
    """

    class Config(Config):
        knots: int = Field(17, ge=2, le=4097, description="knots of a side, from edge to edge; few are all trained")
        time_knots: int = Field(
            257, ge=3, le=8193, description="knots for time, evenly spaced in asinh(t / time_scale)"
        )
        time_scale: float = Field(8.0, gt=0, description="latent frames around 0 that are resolved evenly")
        time_reach: float = Field(5000.0, gt=0, description="latent frames to either side; farther is clamped")

    def __init__(self, config: Fractional.Config, *, width: int, heads: int) -> None:
        super().__init__()
        self.config = config
        self.time = TimeTable(width, knots=config.time_knots, scale=config.time_scale, reach=config.time_reach)
        knots = torch.arange(config.knots)
        self.y = smooth_table(knots, width)
        self.x = nn.Parameter(smooth_table(knots, width).detach().flip(-1))

    def embed(self, place: Tensor, sides: Tensor) -> Tensor:
        """[R, L, 3] coordinates (time, y, x) and [R, L, 2] sides (height, width) to [R, L, D]."""
        t, y, x = place.float().unbind(-1)
        height, width = sides.float().unbind(-1)
        last = self.config.knots - 1
        y, x = (last * (y + 0.5) / height, last * (x + 0.5) / width)
        return self.time(t) + read_between(self.y, y) + read_between(self.x, x)

    def rotary(self, place: Tensor, sides: Tensor) -> None:
        """Nothing is turned: the embedding is added."""
        return None
