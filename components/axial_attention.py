"""Attention along one axis of a video at a time, and the residual block of VideoGPT's autoencoder that holds it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from components.sinusoid import sinusoid

PERIOD = 100.0
"""Of the slowest wave of the positions, over 2π: axes of latents are tens of places long, not thousands."""


class LineAttention(nn.Module):
    """Multi-head attention within each of N lines of L places: softmax(q·kᵀ/√D)·v."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.inner = nn.Linear(width, 3 * width, bias=False)
        self.outer = nn.Linear(width, width)

    def forward(self, x_nlc: Tensor) -> Tensor:
        q, k, v = rearrange(self.inner(x_nlc), "n l (a k d) -> a n k l d", a=3, k=self.heads)
        seen = F.scaled_dot_product_attention(q, k, v)
        return self.outer(rearrange(seen, "n k l d -> n l (k d)"))


class AxialAttention(nn.Module):
    """y = attention along time + along height + along width (Ho et al. 2019), summed as in VideoGPT (Yan et al. 2021).

    No axis has a largest size: nothing here knows a place, see `Places`.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.time, self.height, self.width = (LineAttention(width, heads) for _ in range(3))

    def forward(self, x_bcthw: Tensor) -> Tensor:
        """[B, C, T, H, W] to the same shape."""
        b, _, t, h, _ = x_bcthw.shape
        along_time = self.time(rearrange(x_bcthw, "b c t h w -> (b h w) t c"))
        along_height = self.height(rearrange(x_bcthw, "b c t h w -> (b t w) h c"))
        along_width = self.width(rearrange(x_bcthw, "b c t h w -> (b t h) w c"))
        return (
            rearrange(along_time, "(b h w) t c -> b c t h w", b=b, h=h)
            + rearrange(along_height, "(b t w) h c -> b c t h w", b=b, t=t)
            + rearrange(along_width, "(b t h) w c -> b c t h w", b=b, t=t)
        )


class Places(nn.Module):
    """x + scale · (sinusoids of t, of y and of x, a third of the channels each): where a feature is in its clip.

    VideoGPT leaves this to the padding of its convolutions. A formula, not a table: any length, any size of picture.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.share = 2 * (width // 6)
        self.scale = nn.Parameter(torch.full((3 * self.share, 1, 1, 1), 0.1))

    def forward(self, x_bcthw: Tensor) -> Tensor:
        sizes = x_bcthw.shape[2:]
        thw = [sinusoid(torch.arange(size, device=x_bcthw.device), self.share, PERIOD) for size in sizes]
        layouts = ("t c -> c t 1 1", "h c -> c 1 h 1", "w c -> c 1 1 w")
        waves = [rearrange(wave, layout).expand(-1, *sizes) for wave, layout in zip(thw, layouts, strict=True)]
        where = self.scale * torch.cat(waves)
        return x_bcthw + F.pad(where, (0, 0, 0, 0, 0, 0, 0, x_bcthw.shape[1] - len(where))).to(x_bcthw.dtype)


class AxialResBlock(nn.Module):
    """x + axial(norm(conv1(norm(conv3(norm(x)))))), ReLU after every norm: VideoGPT's attention residual block.

    Departs: group norms over the clip, where VideoGPT has batch norms: a clip does not depend on its batch.
    """

    def __init__(self, width: int, heads: int, *, groups: int = 8) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.GroupNorm(groups, width),
            nn.ReLU(),
            nn.Conv3d(width, width // 2, 3, padding=1),
            nn.GroupNorm(groups, width // 2),
            nn.ReLU(),
            nn.Conv3d(width // 2, width, 1),
            nn.GroupNorm(groups, width),
            nn.ReLU(),
            AxialAttention(width, heads),
        )

    def forward(self, x_bcthw: Tensor) -> Tensor:
        return x_bcthw + self.layers(x_bcthw)
