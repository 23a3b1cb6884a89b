"""The causal convolutional encoder and decoder between which every convolutional tokenizer puts its bottleneck."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from einops import rearrange, reduce
from torch import Tensor, nn

from components.causal_conv import (
    AdaptiveFrameNorm,
    CausalConv3d,
    CausalResBlock,
    CausalUpsample,
    FrameGroupNorm,
    Stream,
    each_frame,
)


@dataclass(frozen=True)
class Shape:
    """The size of a convolutional autoencoder; encoder and decoder mirror each other."""

    spatial_factor: int
    temporal_factor: int
    patch: int
    """Pixels of a patch × patch square become channels before the first convolution (1: none)."""
    width: int
    multipliers: Sequence[int]
    """Channels of level l are width · multipliers[l]; the last one repeats."""
    depth: int
    """Residual blocks in each level."""

    @classmethod
    def of(cls, options: Any) -> Shape:
        """From a tokenizer's options of these names; no temporal_factor is 1, a patch of None the factor, up to 4."""
        return cls(
            spatial_factor=options.spatial_factor,
            temporal_factor=getattr(options, "temporal_factor", 1),
            patch=options.patch or min(4, options.spatial_factor),
            width=options.width,
            multipliers=options.multipliers,
            depth=options.depth,
        )

    @property
    def strides(self) -> list[tuple[int, int]]:
        """(time, space) stride of each step down: space first, time last, where frames are smallest."""
        space = (self.spatial_factor // self.patch).bit_length() - 1
        time = self.temporal_factor.bit_length() - 1
        steps = max(space, time)
        return [(2 if i >= steps - time else 1, 2 if i < space else 1) for i in range(steps)]

    @property
    def widths(self) -> list[int]:
        """Channels of each level: one more than there are strides."""
        return [
            self.width * self.multipliers[min(level, len(self.multipliers) - 1)]
            for level in range(len(self.strides) + 1)
        ]

    @property
    def alone(self) -> bool:
        """Whether every frame is on its own."""
        return self.temporal_factor == 1

    @property
    def time_kernel(self) -> int:
        """1 where every frame is on its own."""
        return 1 if self.alone else 3


def check_shape(options: Any) -> None:
    """For the validator of a tokenizer's options: raise ValueError where no Shape can be made of them."""
    if options.patch is not None and options.patch > options.spatial_factor:
        raise ValueError(f"patch {options.patch} exceeds spatial_factor {options.spatial_factor}: lower patch")
    if any(multiplier < 1 for multiplier in options.multipliers):
        raise ValueError("multipliers must be 1 or more")


class Encoder(nn.Module):
    """Video [B, 3, T, H, W] to features [B, outputs, 1 + (T-1)/k, H/f, W/f]; feature j sees no frame after k·j.

    Where k is 1 every frame is a clip of its own and there is nothing to stream; so in the decoder.
    """

    def __init__(self, shape: Shape, outputs: int) -> None:
        super().__init__()
        self.patch, self.alone = shape.patch, shape.alone
        kt, widths = shape.time_kernel, shape.widths
        self.conv_in = CausalConv3d(3 * shape.patch**2, widths[0], time_kernel=kt)
        layers: list[nn.Module] = []
        for level, width in enumerate(widths):
            layers += [CausalResBlock(width, width, time_kernel=kt) for _ in range(shape.depth)]
            if level < len(shape.strides):
                ts, ss = shape.strides[level]
                layers.append(CausalConv3d(width, widths[level + 1], time_kernel=kt, time_stride=ts, stride=ss))
        self.layers = nn.ModuleList(layers)
        self.norm = FrameGroupNorm(8, widths[-1])
        self.conv_out = CausalConv3d(widths[-1], outputs, time_kernel=1)

    def forward(self, video_bcthw: Tensor, stream: Stream | None = None) -> Tensor:
        return each_frame(self._run, video_bcthw) if self.alone else self._run(video_bcthw, stream)

    def _run(self, video_bcthw: Tensor, stream: Stream | None = None) -> Tensor:
        x = rearrange(video_bcthw, "b c t (h p) (w q) -> b (c p q) t h w", p=self.patch, q=self.patch)
        x = self.conv_in(x, stream)
        for layer in self.layers:
            x = layer(x, stream)
        return self.conv_out(F.silu(self.norm(x)), stream)


class Decoder(nn.Module):
    """Latents [B, C, F, H/f, W/f] to video [B, 3, 1 + k·(F-1), H, W]; frames up to k·j see latents up to j only.

    With a `style` width, each level begins with an adaptive norm told of the latents of its own frame.
    """

    def __init__(self, shape: Shape, inputs: int, *, style: int = 0) -> None:
        super().__init__()
        self.patch, self.alone = shape.patch, shape.alone
        kt, widths = shape.time_kernel, shape.widths
        self.styles = Styles(inputs, style) if style else None
        self.conv_in = CausalConv3d(inputs, widths[-1], time_kernel=kt)
        layers: list[nn.Module] = []
        growth = 1
        for level in reversed(range(len(widths))):
            if style:
                layers.append(AdaptiveFrameNorm(widths[level], style, growth=growth))
            layers += [CausalResBlock(widths[level], widths[level], time_kernel=kt) for _ in range(shape.depth)]
            if level > 0:
                ts, ss = shape.strides[level - 1]
                growth *= ts
                layers.append(
                    CausalUpsample(widths[level], widths[level - 1], time_kernel=kt, time_stride=ts, stride=ss)
                )
        self.layers = nn.ModuleList(layers)
        self.norm = FrameGroupNorm(8, widths[0])
        self.conv_out = CausalConv3d(widths[0], 3 * shape.patch**2, time_kernel=kt)

    def forward(self, z_bcfhw: Tensor, stream: Stream | None = None) -> Tensor:
        return each_frame(self._run, z_bcfhw) if self.alone else self._run(z_bcfhw, stream)

    def _run(self, z_bcfhw: Tensor, stream: Stream | None = None) -> Tensor:
        style = None if self.styles is None else self.styles(z_bcfhw)
        x = self.conv_in(z_bcfhw, stream)
        for layer in self.layers:
            x = layer(x, style if isinstance(layer, AdaptiveFrameNorm) else stream)
        x = self.conv_out(F.silu(self.norm(x)), stream)
        return rearrange(x, "b (c p q) t h w -> b c t (h p) (w q)", p=self.patch, q=self.patch)


class Styles(nn.Module):
    """Latents [B, C, F, H, W] to what each latent frame holds as a whole, [B, F, S]: mean over places of silu(A·z)."""

    def __init__(self, inputs: int, style: int) -> None:
        super().__init__()
        self.each_place = nn.Linear(inputs, style)

    def forward(self, z_bcfhw: Tensor) -> Tensor:
        places = F.silu(self.each_place(rearrange(z_bcfhw, "b c f h w -> b f (h w) c")))
        return reduce(places, "b f n s -> b f s", "mean")
