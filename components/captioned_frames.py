"""Which frames of a clip a captioner looks at, and how they reach it."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor


def evenly(length: int, count: int) -> np.ndarray:
    """`count` frame indices from the first to the last of `length` frames; a shorter clip shows some twice."""
    return np.linspace(0, length - 1, count).round().astype(np.int64)


def fitted(frames_thwc: np.ndarray, count: int) -> Tensor:
    """Evenly spaced frames of a clip, uint8 [T, H, W, 3], as float [1, 3, count, H, W] in [-1, 1]."""
    chosen = torch.from_numpy(np.ascontiguousarray(frames_thwc[evenly(len(frames_thwc), count)]))
    video = rearrange(chosen, "t h w c -> 1 c t h w")
    return video.to(torch.float32, memory_format=torch.contiguous_format) / 127.5 - 1


def resized(video_bcthw: Tensor, size: int, count: int) -> Tensor:
    """Evenly spaced frames, whatever their aspect ratio, squeezed to [B, 3, count, size, size].

    Antialiased, so that small things fade and do not flicker.
    """
    video = video_bcthw[:, :, torch.from_numpy(evenly(video_bcthw.shape[2], count)).to(video_bcthw.device)]
    if video.shape[3:] == (size, size):
        return video
    flat = F.interpolate(
        rearrange(video, "b c t h w -> (b t) c h w"), (size, size), mode="bilinear", antialias=True, align_corners=False
    )
    return rearrange(flat, "(b t) c h w -> b c t h w", b=len(video))
