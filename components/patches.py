"""Latents to patches of one frame and back; sides that the patch does not divide are padded, then cropped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.nn.functional as F
from einops import rearrange

if TYPE_CHECKING:
    from torch import Tensor


def to_patches(z: Tensor, patch: tuple[int, int]) -> Tensor:
    """[..., C, F, H, W] to [..., F, H', W', ph·pw·C]; zeros below and to the right where a side does not divide."""
    ph, pw = patch
    below, right = -z.shape[-2] % ph, -z.shape[-1] % pw
    if below or right:
        z = F.pad(z, (0, right, 0, below))
    return rearrange(z, "... c f (h ph) (w pw) -> ... f h w (ph pw c)", ph=ph, pw=pw)


def from_patches(patches: Tensor, patch: tuple[int, int], height: int, width: int) -> Tensor:
    """The inverse: [..., F, H', W', ph·pw·C] to [..., C, F, height, width]."""
    ph, pw = patch
    z = rearrange(patches, "... f h w (ph pw c) -> ... c f (h ph) (w pw)", ph=ph, pw=pw)
    return z[..., :height, :width]
