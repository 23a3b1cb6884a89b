"""Turning queries and keys by angles, so that their product depends on differences of place alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from einops import rearrange

if TYPE_CHECKING:
    from torch import Tensor


def turned(x: Tensor, rotary: tuple[Tensor, Tensor] | None) -> Tensor:
    """Rotary embedding (Su et al. 2021): each pair (x_2i, x_2i+1) of a head's channels turned by its angle, in float32.

    Args:
        x: [R, L, K, Dh].
        rotary: cosines and sines of the angles, each [R, L, Dh/2]; None leaves x as it is.
    """
    if rotary is None:
        return x
    cos, sin = (rearrange(part, "r l i -> r l 1 i") for part in rotary)
    even, odd = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1).flatten(-2).to(x.dtype)
