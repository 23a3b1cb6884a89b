"""Tokens that hear their neighbours: what a small text encoder has in place of a transformer."""

from __future__ import annotations

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn


class NeighbourMixing(nn.Module):
    """Residual convolutions along the tokens, then a norm: x ← x + gelu(conv(x)), twice.

    Without it the mean of the tokens, which is what a network may read, would be the same for every order of them.
    """

    def __init__(self, *, width: int, reach: int) -> None:
        """`width` channels of a token; `reach` tokens that one convolution spans, odd."""
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv1d(width, width, reach, padding="same") for _ in range(2))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Tokens [B, S, E] and mask [B, S], True where a token is real, to [B, S, E]; zero where it is not."""
        real = rearrange(mask.to(x.dtype), "b s -> b s 1")
        x = x * real
        for layer in self.layers:
            # Filler is cleared before each convolution, so that a prompt's vectors do not depend on its batch.
            y = rearrange(layer(rearrange(x, "b s e -> b e s")), "b e s -> b s e")
            x = (x + F.gelu(y)) * real
        return self.norm(x) * real
