"""Sinusoidal features of a continuous number."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


def sinusoid(value: Tensor, width: int, period: float = 10000.0) -> Tensor:
    """float [...] to float32 [..., width] (even): sines, then cosines, wavelengths from 2π to 2π · period."""
    half = width // 2
    steps = torch.arange(half, dtype=torch.float32, device=value.device) / max(half - 1, 1)
    phase = value.float()[..., None] * torch.exp(-math.log(period) * steps)
    return torch.cat([torch.sin(phase), torch.cos(phase)], dim=-1)
