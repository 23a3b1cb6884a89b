"""The networks that judge reconstructions: patch discriminators per frame or in space and time, plain or blurred."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from components.critic_options import CriticOptions

WIDEST = 8
"""Levels double their channels up to this many times the first level's."""
SLOPE = 0.2
"""Of the leaky ReLU."""


def discriminator(options: CriticOptions, *, space_time: bool, blur: bool = False) -> nn.Module:
    """A new discriminator: video [B, 3, T, H, W], any T ≥ 1 and sides ≥ 8, to logits, B first; real above fake.

    Without `space_time` every frame is judged by itself; `blur` takes the blur-pooled residual one of MAGVIT-v2.
    Norms never mix clips, so a clip's logits do not depend on its batch.
    """
    layers = _residual if blur else _patch
    return Discriminator(layers, options.critic_width, options.critic_depth, space_time=space_time)


class Discriminator(nn.Module):
    """D(x): one logit for each patch of a frame, or of a clip (PatchGAN, Isola et al. 2017).

    In space and time the kernels are inflated to three frames, and time is halved along with space while frames remain.
    """

    def __init__(
        self, layers: Callable[[list[int], bool], list[nn.Module]], width: int, depth: int, *, space_time: bool
    ) -> None:
        super().__init__()
        self.space_time = space_time
        widths = [width * min(2**level, WIDEST) for level in range(depth)]
        self.layers = nn.Sequential(*layers(widths, space_time))

    def forward(self, video_bcthw: Tensor) -> Tensor:
        """To logits [B, T', H', W']; T' = T per frame."""
        if self.space_time:
            return rearrange(self.layers(video_bcthw), "b 1 t h w -> b t h w")
        frames = rearrange(video_bcthw, "b c t h w -> (b t) c h w")
        return rearrange(self.layers(frames), "(b t) 1 h w -> b t h w", b=len(video_bcthw))


def _patch(widths: list[int], space_time: bool) -> list[nn.Module]:
    """4×4 convolutions of stride 2, then two of stride 1 (Isola et al. 2017; Esser et al. 2021); group norms."""
    layers: list[nn.Module] = [_Conv(3, widths[0], space_time, side=4, stride=2), nn.LeakyReLU(SLOPE)]
    for before, after in pairwise(widths):
        layers += [_Conv(before, after, space_time, side=4, stride=2), _norm(after), nn.LeakyReLU(SLOPE)]
    last = min(2 * widths[-1], WIDEST * widths[0])
    layers += [_Conv(widths[-1], last, space_time, side=4), _norm(last), nn.LeakyReLU(SLOPE)]
    return [*layers, _Conv(last, 1, space_time, side=4)]


def _residual(widths: list[int], space_time: bool) -> list[nn.Module]:
    """StyleGAN's residual blocks, inflated (Yu et al. 2024), without the minibatch deviation, which mixes clips."""
    layers: list[nn.Module] = [_Conv(3, widths[0], space_time), nn.LeakyReLU(SLOPE)]
    outs = [*widths[1:], min(2 * widths[-1], WIDEST * widths[0])]
    layers += [_ResidualDown(before, after, space_time) for before, after in zip(widths, outs, strict=True)]
    return [*layers, _Conv(outs[-1], outs[-1], space_time), nn.LeakyReLU(SLOPE), _Conv(outs[-1], 1, space_time, side=1)]


def _norm(width: int) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(8, width), width)


class _Conv(nn.Module):
    """A convolution that makes ceil(n / stride) of n, zero-padded; three frames deep in space and time."""

    def __init__(self, inputs: int, outputs: int, space_time: bool, *, side: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.side, self.stride = side, stride
        if space_time:
            depth = min(side, 3)
            self.conv: nn.Module = nn.Conv3d(
                inputs, outputs, (depth, side, side), (stride, stride, stride), (depth // 2, 0, 0)
            )
        else:
            self.conv = nn.Conv2d(inputs, outputs, side, stride)

    def forward(self, x: Tensor) -> Tensor:
        pads = []
        for n in (x.shape[-1], x.shape[-2]):
            missing = max(0, (-(-n // self.stride) - 1) * self.stride + self.side - n)
            pads += [missing // 2, missing - missing // 2]
        return self.conv(F.pad(x, pads))


class _ResidualDown(nn.Module):
    """(main(x) + skip(x)) / √2, both blurred before every second value is kept."""

    def __init__(self, inputs: int, outputs: int, space_time: bool) -> None:
        super().__init__()
        self.axes = (-1, -2, -3) if space_time else (-1, -2)
        self.first = _Conv(inputs, inputs, space_time)
        self.second = _Conv(inputs, outputs, space_time)
        self.skip = _Conv(inputs, outputs, space_time, side=1)

    def forward(self, x: Tensor) -> Tensor:
        main = blur_pool(F.leaky_relu(self.first(x), SLOPE), self.axes)
        main = F.leaky_relu(self.second(main), SLOPE)
        return (main + self.skip(blur_pool(x, self.axes))) / math.sqrt(2)


def blur_pool(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Low-pass, then every second value (Zhang 2019): kernel [1, 3, 3, 1] / 8 along each axis, ceil(n / 2) of n.

    Edges are repeated, so that a constant stays one; an axis of length 1 stays as it is.
    """
    for axis in axes:
        n = x.shape[axis]
        if n == 1:
            continue
        half = -(-n // 2)
        ends = [x.narrow(axis, 0, 1), x] + [x.narrow(axis, n - 1, 1)] * (1 + n % 2)
        # Pairs (a, b), (c, d), … of the padded axis: value i is (a + 3b + 3c + d) / 8 of pairs i and i + 1.
        pairs = torch.cat(ends, axis).unflatten(axis, (half + 1, 2))
        # a negative axis now names the place within the pair
        left, right = pairs.select(axis, 0), pairs.select(axis, 1)
        outer = left.narrow(axis, 0, half) + right.narrow(axis, 1, half)
        inner = right.narrow(axis, 0, half) + left.narrow(axis, 1, half)
        x = (outer + 3 * inner) / 8
    return x
