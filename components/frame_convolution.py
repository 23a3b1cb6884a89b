"""Two-dimensional convolutions that treat every video frame as a picture of its own: the pieces of a U-Net.

N is clips times frames. Nothing here mixes frames, so what a frame becomes depends on that frame alone.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor


def frame_norm(channels: int) -> nn.GroupNorm:
    """Group normalisation of each picture by itself, in eight groups where eight divides the channels."""
    return nn.GroupNorm(math.gcd(8, channels), channels, eps=1e-6)


class FrameResBlock(nn.Module):
    """skip(x) + conv(silu(norm(conv(silu(norm(x)))) · (1 + scale(c)) + shift(c))), c the signal of the frame.

    The last convolution starts at zero, so a new block hands on its input.
    """

    def __init__(self, inputs: int, outputs: int, signal: int) -> None:
        super().__init__()
        self.norm_in = frame_norm(inputs)
        self.conv_in = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.film = nn.Linear(signal, 2 * outputs)
        self.norm_out = frame_norm(outputs)
        self.conv_out = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        nn.init.zeros_(self.conv_out.weight)
        nn.init.zeros_(self.conv_out.bias)

    def forward(self, x: Tensor, signal: Tensor) -> Tensor:
        """x [N, C, H, W] and the signal of each picture [N, D] to [N, C', H, W]."""
        h = self.norm_out(self.conv_in(F.silu(self.norm_in(x))))
        scale, shift = rearrange(self.film(F.silu(signal)), "n (two c) -> two n c 1 1", two=2)
        h = torch.addcmul(h + shift, h, scale)
        return self.skip(x) + self.conv_out(F.silu(h))


class FrameUpsample(nn.Module):
    """Twice the size by repeating pixels, then a convolution that smooths them: no checkerboard."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to [N, C', 2H, 2W]."""
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


def frame_downsample(inputs: int, outputs: int) -> nn.Conv2d:
    """A strided convolution: [N, C, H, W] to [N, C', H/2, W/2], H and W even."""
    return nn.Conv2d(inputs, outputs, 3, stride=2, padding=1)
