"""Convolutions over video that never look ahead: the pieces of causal tokenizers, whole or streamed chunk by chunk.

A `Stream` is one pass over one video: every layer keeps in it the few input frames that its next chunk will look back
at, so memory does not grow with length. Without a stream the whole video is given at once; both agree.

Where time is convolved, features [B, C, T, H, W] lie in memory with channels last (torch.channels_last_3d): frames can
be joined and taken apart without moving channels, and a CPU convolves faster. The numbers do not depend on it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor, nn

Stream = dict[nn.Module, Tensor]
"""What each layer remembers between the chunks of one video; start with an empty one."""


def channels_last(x_bcthw: Tensor) -> Tensor:
    """The same numbers, in memory as [B, T, H, W, C]."""
    return x_bcthw.contiguous(memory_format=torch.channels_last_3d)


class CausalConv3d(nn.Module):
    """Convolution padded in the past only, (k-1, 0) in time (Yu et al. 2024, MAGVIT-v2); `same` padding in space.

    The past of frame 0 is frame 0 repeated, so that a single image looks like a still video. With `time_kernel` 1 it
    is a plain per-frame 2-D convolution.
    """

    def __init__(
        self, inputs: int, outputs: int, *, time_kernel: int, kernel: int = 3, time_stride: int = 1, stride: int = 1
    ) -> None:
        super().__init__()
        self.past = time_kernel - 1
        self.strides = (time_stride, stride, stride)
        self.padding = kernel // 2
        like = nn.Conv3d(inputs, outputs, (time_kernel, kernel, kernel))  # PyTorch's usual initialisation
        self.weight, self.bias = like.weight, like.bias

    def forward(self, x_bcthw: Tensor, stream: Stream | None = None) -> Tensor:
        """[B, C, T, H, W] to [B, C', ceil(T / time_stride), H / stride, W / stride].

        Streamed, the first chunk has 1 + time_stride·n frames and every other time_stride·n.
        """
        if self.past == 0 and self.strides[0] == 1:
            return self._per_frame(x_bcthw)
        begun = stream is not None and self in stream
        x = rearrange(x_bcthw, "b c t h w -> b t h w c")
        past = stream[self] if begun else repeat(x[:, 0], "b h w c -> b p h w c", p=self.past)
        x = torch.cat([past, x], dim=1)  # in this order of axes joining frames copies whole blocks
        if stream is not None:
            stream[self] = x[:, x.shape[1] - self.past :].clone()  # a view would keep the whole chunk alive
        if begun:
            # Chunks end where a stride ends, so the next output looks at the frames up to one stride further on.
            x = x[:, self.strides[0] - 1 :]
        x = rearrange(x, "b t h w c -> b c t h w")
        return F.conv3d(x, self.weight, self.bias, self.strides, (0, self.padding, self.padding))

    def _per_frame(self, x_bcthw: Tensor) -> Tensor:
        frames = rearrange(x_bcthw, "b c t h w -> (b t) c h w")
        weight = rearrange(self.weight, "o i 1 h w -> o i h w")
        frames = F.conv2d(frames, weight, self.bias, self.strides[1:], self.padding)
        return rearrange(frames, "(b t) c h w -> b c t h w", b=x_bcthw.shape[0])


def each_frame(network: Callable[[Tensor], Tensor], x_bcthw: Tensor) -> Tensor:
    """Every frame through `network` as a clip of its own, so that not even the memory layout mixes time."""
    made = network(rearrange(x_bcthw, "b c t h w -> (b t) c 1 h w"))
    return rearrange(made, "(b t) c 1 h w -> b c t h w", b=x_bcthw.shape[0])


class FrameGroupNorm(nn.GroupNorm):
    """Group normalisation of each frame by itself: statistics over time would let the past see the future."""

    def forward(self, x_bcthw: Tensor) -> Tensor:
        frames = super().forward(rearrange(x_bcthw, "b c t h w -> (b t) c h w"))
        return rearrange(frames, "(b t) c h w -> b c t h w", b=x_bcthw.shape[0])


class AdaptiveFrameNorm(nn.Module):
    """Adaptive group norm, x → (1 + γ(style))·norm(x) + β(style), each frame by itself with the style of its latent.

    Frame t looks at latent ⌈t / growth⌉, the one that the decoder made it of, so nothing is seen before its time.
    """

    def __init__(self, channels: int, style: int, *, growth: int, groups: int = 8) -> None:
        super().__init__()
        self.growth = growth
        self.norm = FrameGroupNorm(groups, channels, affine=False)
        self.modulation = nn.Linear(style, 2 * channels)

    def forward(self, x_bcthw: Tensor, style_bfs: Tensor) -> Tensor:
        """[B, C, T, H, W] and styles [B, F, S], T = growth·F, or 1 + growth·(F-1) where the first frame is an image."""
        each = self.modulation(style_bfs).repeat_interleave(self.growth, dim=1)[:, -x_bcthw.shape[2] :]
        scale, shift = rearrange(each, "b t (two c) -> two b c t 1 1", two=2)
        return torch.addcmul(shift, self.norm(x_bcthw), 1 + scale)


class CausalResBlock(nn.Module):
    """x + conv(silu(norm(conv(silu(norm(x)))))), per-frame norms."""

    def __init__(self, inputs: int, outputs: int, *, time_kernel: int, groups: int = 8) -> None:
        super().__init__()
        self.norm_in = FrameGroupNorm(groups, inputs)
        self.conv_in = CausalConv3d(inputs, outputs, time_kernel=time_kernel)
        self.norm_out = FrameGroupNorm(groups, outputs)
        self.conv_out = CausalConv3d(outputs, outputs, time_kernel=time_kernel)
        self.skip = CausalConv3d(inputs, outputs, time_kernel=1, kernel=1) if inputs != outputs else None

    def forward(self, x_bcthw: Tensor, stream: Stream | None = None) -> Tensor:
        h = self.conv_in(F.silu(self.norm_in(x_bcthw)), stream)
        h = self.conv_out(F.silu(self.norm_out(h)), stream)
        return h + (x_bcthw if self.skip is None else self.skip(x_bcthw))


class CausalUpsample(nn.Module):
    """Sub-pixel growth in space and time: a convolution makes the new pixels as channels, a shuffle lays them out.

    Grown in time, F frames become 1 + s·(F - 1): the first frame stays one frame, for it stands for an image.
    """

    def __init__(self, inputs: int, outputs: int, *, time_kernel: int, time_stride: int, stride: int) -> None:
        super().__init__()
        self.time_stride, self.stride = time_stride, stride
        self.conv = CausalConv3d(inputs, outputs * time_stride * stride * stride, time_kernel=time_kernel)

    def forward(self, x_bcthw: Tensor, stream: Stream | None = None) -> Tensor:
        first = stream is None or self not in stream
        if stream is not None:
            stream[self] = x_bcthw.new_ones(())  # the mark that the image frame is behind us
        layout = "b (c pt ph pw) t h w -> b c (t pt) (h ph) (w pw)"
        x = rearrange(self.conv(x_bcthw, stream), layout, pt=self.time_stride, ph=self.stride, pw=self.stride)
        x = x[:, :, self.time_stride - 1 :] if first else x
        return channels_last(x) if self.conv.past else x
