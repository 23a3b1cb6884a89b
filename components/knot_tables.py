"""Learned tables read at real coordinates: what positions that learn have in common, the table of time among it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

from components.sinusoid import sinusoid

if TYPE_CHECKING:
    from torch import Tensor


def smooth_table(at: Tensor, width: int, period: float = 10000.0) -> nn.Parameter:
    """A table [N, D] that starts as sinusoids of `at` [N]: neighbours are alike, knots never trained stay sensible."""
    return nn.Parameter(0.5 * sinusoid(at, width + width % 2, period)[:, :width])


def read_between(table: Tensor, knot: Tensor) -> Tensor:
    """Linear interpolation of a table [N, D] at real indices [...]; clamped to its ends."""
    knot = knot.clamp(0, table.shape[0] - 1)
    low = knot.floor().clamp(max=table.shape[0] - 2)
    share = (knot - low)[..., None].to(table.dtype)
    low = low.long()
    return torch.lerp(F.embedding(low, table), F.embedding(low + 1, table), share)


class TimeTable(nn.Module):
    """e(t) [..., D] of time in latent frames, knots evenly spaced in asinh(t / scale) from −reach to reach.

    Frames near 0, the window's first latent frame, are told apart one by one, far ones ever more coarsely; no time is
    outside.
    """

    def __init__(self, width: int, *, knots: int, scale: float, reach: float) -> None:
        super().__init__()
        self.scale = scale
        squeezed = torch.asinh(torch.tensor(reach / scale))
        self.register_buffer("reach", squeezed, persistent=False)
        self.table = smooth_table(4 * squeezed * torch.linspace(-1, 1, knots), width, 100.0)

    def forward(self, t: Tensor) -> Tensor:
        """Times [...] to [..., D]."""
        half = (self.table.shape[0] - 1) / 2
        return read_between(self.table, half * (1 + torch.asinh(t / self.scale) / self.reach))
