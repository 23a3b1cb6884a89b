from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from einops import rearrange
from pydantic import Field
from torch import nn

from components.relative_pose import seen_from
from zoo.component import Config, component

if TYPE_CHECKING:
    from torch import Tensor

PLACE_SHARPNESS = 20.0
"""exp(−20 r²): half at 0.19 cells, nothing at half a cell."""
TURN_SHARPNESS = 40.0
"""exp(40 (cos Δθ − 1)): half at 11 degrees."""


@component(
    cite="watson2023wiles,xiao2025worldmem",
    note="pairwise relative pose as an attention bias where frames meet: what makes memory usable",
    needs={"poses"},
)
class RelativeBias(nn.Module):
    """Attention from pose to pose [WorldMem, Xiao 2025]: logits_qk += b_h(pose of k seen from q), per layer and head.

    Departs from it: b is a small MLP over relative place and turn and near-pose kernels, not a pose embedding.
    """

    class Config(Config):
        hidden: int = Field(32, ge=4, le=1024, description="width of the MLP")
        near: float = Field(2.0, ge=0, le=10, description="initial bias of every other head at the same pose")

    def __init__(self, config: RelativeBias.Config, *, width: int, heads: int, depth: int) -> None:
        super().__init__()
        self.config = config
        self.heads = heads
        self.mlp = nn.Sequential(nn.Linear(9, config.hidden), nn.SiLU(), nn.Linear(config.hidden, depth * heads))
        nn.init.normal_(self.mlp[2].weight, std=0.5 * config.hidden**-0.5)
        nn.init.zeros_(self.mlp[2].bias)
        near = torch.zeros(depth, heads)
        near[:, ::2] = config.near
        self.near = nn.Parameter(near)

    def embed(self, poses: Tensor, origin: Tensor | None) -> None:
        return None

    def bias(self, poses_q: Tensor, poses_k: Tensor) -> Tensor:
        """Poses [B, Fq, 4] and [B, Fk, 4] to logits [depth, B, K, Fq, Fk], float32."""
        viewer, target = rearrange(poses_q, "b q p -> b q 1 p"), rearrange(poses_k, "b k p -> b 1 k p")
        features = relative_features(viewer.float(), target.float())
        # The kernel is separable from far smaller features: its own weight learns faster than through the MLP.
        kernel = rearrange(features[..., -1], "b q k -> 1 b 1 q k") * rearrange(self.near, "n h -> n 1 h 1 1")
        learned = self.mlp(features.to(self.mlp[0].weight.dtype))
        return rearrange(learned, "b q k (n h) -> n b h q k", h=self.heads) + kernel


def relative_features(viewer: Tensor, target: Tensor) -> Tensor:
    """Broadcast poses [..., 4] to nine numbers of order one: place, distance, turn, and kernels of being near."""
    place, turn = seen_from(viewer, target)
    squared = place.square().sum(-1)
    distance = torch.sqrt(squared + 1e-8)
    same_place = torch.exp(-PLACE_SHARPNESS * squared)
    same_turn = torch.exp(TURN_SHARPNESS * (torch.cos(turn) - 1))
    # asinh keeps a step of half a cell legible and a walk of fifty cells bounded.
    ahead, left, up = torch.asinh(2 * place).unbind(-1)
    spread = [ahead, left, up, torch.asinh(2 * distance), torch.cos(turn), torch.sin(turn)]
    return torch.stack([*spread, same_place, same_turn, same_place * same_turn], dim=-1)
