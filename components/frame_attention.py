"""Attention within each frame of a feature map, for convolutional tokenizers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from components.causal_conv import FrameGroupNorm

if TYPE_CHECKING:
    from components.causal_conv import Stream


QUIET = 0.1
"""What the last weights of a branch are multiplied by at first, where it should learn to speak up."""


def quiet(last: nn.Module) -> None:
    """Scale the weights of the last layer of a residual branch, so that it begins close to saying nothing."""
    with torch.no_grad():
        for parameter in last.parameters():
            parameter *= QUIET


class FrameAttention(nn.Module):
    """x + out(softmax(q·kᵀ/√C)·v), one head, each frame by itself: VQ-GAN's attention block (Esser et al. 2021).

    It has no positions, so any size of picture goes; the convolutions around it know where they are. Departs: it begins
    at a tenth of its strength, since the mean of a whole picture, which is what it adds at first, hides what is where.
    """

    def __init__(self, width: int, *, groups: int = 8) -> None:
        super().__init__()
        self.norm = FrameGroupNorm(groups, width)
        self.inner = nn.Linear(width, 3 * width)
        self.outer = nn.Linear(width, width)
        quiet(self.outer)

    def forward(self, x_bcthw: Tensor, stream: Stream | None = None) -> Tensor:
        """[B, C, T, H, W] to the same shape; frames never meet, so a stream has nothing to keep."""
        tokens = rearrange(self.norm(x_bcthw), "b c t h w -> b t (h w) c")
        seen = F.scaled_dot_product_attention(*self.inner(tokens).chunk(3, dim=-1))
        return x_bcthw + rearrange(self.outer(seen), "b t (h w) c -> b c t h w", h=x_bcthw.shape[3])
