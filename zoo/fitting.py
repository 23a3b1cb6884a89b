"""Any clip through any tokenizer, piece by piece: padded to what it takes, cropped back to what was given.

A length is padded by the last frame again and a size by the border again, at the right and at the bottom. Videos go
through `encode_stream` and `decode_stream`, so memory is that of one piece however long they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.errors import BadValue

if TYPE_CHECKING:
    from torch import Tensor

    from components.contracts import Latent

PIECE = 64
"""Latent frames that are encoded together, at most …"""
PIXELS = 1 << 20
"""… and video pixels, where frames are large."""


@dataclass(frozen=True)
class Fit:
    """A clip's own size, and that of the video that the tokenizer is given in its place."""

    own: tuple[int, int, int]
    """Frames, height and width."""
    taken: tuple[int, int, int]
    """The same, each as large or larger."""

    @property
    def padded(self) -> bool:
        """Whether anything is added."""
        return self.own != self.taken


def fit(tokenizer: Any, own: tuple[int, int, int], *, pad: bool) -> Fit:
    """The nearest size above `own` (frames, height, width) that the tokenizer takes.

    Raises BadValue where that is another size and `pad` is False: one sentence that names both, with the cure.
    """
    frames, height, width = own
    factor = tokenizer.spatial_factor
    sides = tuple(-(-side // factor) * factor for side in (height, width))
    found = Fit(own, (tokenizer.video_frames(latents_for(tokenizer, frames)), *sides))
    if found.padded and not pad:
        name = type(tokenizer).__module__.rpartition(".")[2]
        raise BadValue(
            f"the tokenizer {name} does not take {frames} frames of {height}×{width}, but would take "
            "{} of {}×{}: set sample.pad=true, which pads and crops back, or choose other clips.".format(*found.taken)
        )
    return found


def latents_for(tokenizer: Any, frames: int) -> int:
    """The fewest latent frames that decode to at least `frames` video frames: the video is padded, then cropped."""
    latents = max(tokenizer.latent_frames(frames), 1)
    while tokenizer.video_frames(latents) < frames:
        latents += 1
    return latents


def pieces(tokenizer: Any, videos: Sequence[np.ndarray], to: Fit) -> Iterator[Tensor]:
    """uint8 videos [T, H, W, 3] of one size, which `to` fits, in pieces float [B, 3, t, H', W'] in [-1, 1], in order.

    Videos may be memory-mapped: no more than a piece of them is read at a time.
    """
    from zoo.stages.data import to_video

    frames, height, width = to.taken
    total, size = tokenizer.latent_frames(frames), piece_latents(tokenizer, (height, width), len(videos))
    border = ((0, 0), (0, height - to.own[1]), (0, width - to.own[2]), (0, 0))
    for first in range(0, total, size):
        at = np.arange(tokenizer.video_frames(first), tokenizer.video_frames(min(first + size, total)))
        kept = np.minimum(at, to.own[0] - 1)
        yield to_video(np.stack([np.pad(video[kept], border, mode="edge") for video in videos]))


def piece_latents(tokenizer: Any, size: tuple[int, int], videos: int = 1) -> int:
    """How many latent frames of so many videos go through the tokenizer together."""
    pixels = max(size[0] * size[1] * tokenizer.temporal_factor * videos, 1)
    return min(PIECE, max(1, PIXELS // pixels))


def encoded(tokenizer: Any, videos: Sequence[np.ndarray], to: Fit, device: Any = None) -> Iterator[Latent]:
    """The latents of videos of one size, piece by piece, in order; what is one piece is encoded whole."""
    parts = (piece.to(device) for piece in pieces(tokenizer, videos, to))
    size = piece_latents(tokenizer, to.taken[1:], len(videos))
    if tokenizer.latent_frames(to.taken[0]) > size:
        yield from tokenizer.encode_stream(parts)
    else:
        yield tokenizer.encode(next(parts))


def decoded(tokenizer: Any, z_bcfhw: Tensor, to: Fit, device: Any = None) -> Iterator[np.ndarray]:
    """Latents of one video [1, C, F, h, w] to pieces of uint8 video [t, H, W, 3], in order, cropped back."""
    first, (frames, height, width) = 0, to.own
    size = piece_latents(tokenizer, to.taken[1:])
    for part in tokenizer.decode_stream(piece.to(device) for piece in z_bcfhw.split(size, dim=2)):
        made = to_uint8(part[0])[: frames - first, :height, :width]
        first += len(made)
        if len(made):
            yield made


def to_uint8(video_cthw: Tensor) -> np.ndarray:
    """Float [3, T, H, W] in [-1, 1] to uint8 [T, H, W, 3]."""
    import torch
    from einops import rearrange

    levels = ((video_cthw.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return rearrange(levels, "c t h w -> t h w c").cpu().numpy()
