from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from pydantic import Field
from torch import nn

from components.sinusoid import sinusoid
from zoo.component import Config, component

if TYPE_CHECKING:
    from torch import Tensor


@component(
    cite="vaswani2017attention,peebles2023dit", note="fixed sinusoids of time, y and x, each in its own channels"
)
class Sincos3d(nn.Module):
    """Sinusoids [Vaswani 2017], one third of the channels per axis: e = [s(t), s(y), s(x)], s = sin, cos(c · T^(−i/n)).

    Departs from it: coordinates are continuous and may be negative, so frame −4000 and half a patch are as good as any.
    """

    class Config(Config):
        period: float = Field(10000.0, gt=1, description="longest wavelength over 2π, in frames or patches")

    def __init__(self, config: Sincos3d.Config, *, width: int, heads: int) -> None:
        super().__init__()
        if width % 2 or width < 6:
            raise ValueError(f"sincos_3d needs an even width of at least 6, not {width}")
        self.config = config
        per_side = 2 * (width // 6)
        self.sizes = (width - 2 * per_side, per_side, per_side)

    def embed(self, place: Tensor, sides: Tensor) -> Tensor:
        """[R, L, 3] coordinates (time, y, x) to [R, L, D], float32."""
        axes = place.float().unbind(-1)
        return torch.cat([sinusoid(c, n, self.config.period) for c, n in zip(axes, self.sizes, strict=True)], dim=-1)

    def rotary(self, place: Tensor, sides: Tensor) -> None:
        """Nothing is turned: the embedding is added."""
        return None
