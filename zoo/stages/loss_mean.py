"""What counts the same in the loss of stage 2: every clip, or every place of every frame to be made.

Both are means over the clips of all processes. DDP averages the gradients of processes, so each gives its own sum times
the number of processes over everyone's count: right also where rows hold different numbers of clips and places.
"""

from __future__ import annotations

import torch
from einops import rearrange, reduce
from torch import Tensor

from components.across_processes import processes, total


def mean_over_clips(values: Tensor, asked: Tensor) -> Tensor:
    """Mean over clips of each clip's mean of `values` [B, F] where `asked` [B, F]."""
    per_clip = torch.where(asked, values, 0.0).sum(1) / asked.sum(1).clamp_min(1)
    return _mean(per_clip.sum(), torch.tensor(float(len(per_clip)), device=values.device))


def mean_over_places(values: Tensor, asked: Tensor, places: Tensor) -> Tensor:
    """Mean of `values` [B, F] over all places of all frames that are `asked` [B, F]: `places` [B] of each clip's frame.

    A clip twice as long, or of twice the area, counts twice.
    """
    counts = torch.where(asked, rearrange(places, "b -> b 1").to(values.dtype), 0.0)
    return _mean((counts * torch.where(asked, values, 0.0)).sum(), counts.sum())


def mean_where(squares: Tensor, judged: Tensor | None) -> Tensor:
    """The mean of each frame [F], from one clip's [C, F, H, W]: over channels and places judged [H, W]; None: all."""
    if judged is None:
        return reduce(squares, "c f h w -> f", "mean")
    return reduce(squares * judged, "c f h w -> f", "sum") / (squares.shape[0] * judged.sum())


def _mean(own: Tensor, count: Tensor) -> Tensor:
    """What this process gives to the mean of all, from its own sum and count."""
    return processes()[1] * own / total(count)
