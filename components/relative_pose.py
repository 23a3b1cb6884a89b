"""Poses as seen from other poses: the frame of reference turns with the heading. Cells and radians."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


def seen_from(viewer: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Target pose in the viewer's own axes; both [..., 4] (x, y, z, yaw), broadcast against each other.

    Returns:
        place [..., 3]: cells ahead, to the left (heading turned by +π/2), and up.
        turn [...]: target yaw minus viewer yaw in radians, not wrapped: take its sine and cosine.
    """
    gap = target - viewer
    yaw = viewer[..., 3]
    ahead = gap[..., 0] * torch.cos(yaw) + gap[..., 1] * torch.sin(yaw)
    left = gap[..., 1] * torch.cos(yaw) - gap[..., 0] * torch.sin(yaw)
    return torch.stack([ahead, left, gap[..., 2]], dim=-1), gap[..., 3]
