from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from pydantic import Field
from torch import nn

from components.relative_pose import seen_from
from zoo.component import Config, component

if TYPE_CHECKING:
    from torch import Tensor


@component(cite="watson2023wiles", note="pose relative to the video's first frame, added per frame", needs={"poses"})
class Additive(nn.Module):
    """Sinusoids of the pose [after Watson 2023]: c_f += MLP(sin(2^i π p / s), cos(…), cos kθ, sin kθ), p from frame 0.

    Departs from it: one vector per frame instead of a ray per pixel.
    """

    class Config(Config):
        octaves: int = Field(6, ge=1, le=12, description="frequencies per axis; the longest wave is 2 · reach")
        reach: float = Field(16.0, gt=0, description="cells within which places are told apart")

    def __init__(self, config: Additive.Config, *, width: int, heads: int, depth: int) -> None:
        super().__init__()
        self.config = config
        waves = math.pi / config.reach * 2.0 ** torch.arange(config.octaves)
        self.register_buffer("waves", waves, persistent=False)
        self.mlp = nn.Sequential(nn.Linear(6 * config.octaves + 4, width), nn.SiLU(), nn.Linear(width, width))

    def embed(self, poses: Tensor, origin: Tensor | None) -> Tensor:
        """Poses [B, F, 4] and origin [B, 4] (cells, radians) to [B, F, D].

        Raises ValueError where origin is None.
        """
        if origin is None:
            raise ValueError("pose_encoding=additive needs condition.origin, the pose of frame 0 of each video")
        place, turn = seen_from(origin[:, None].float(), poses.float())
        phase = (place[..., None] * self.waves).flatten(-2)
        heading = [torch.cos(turn), torch.sin(turn), torch.cos(2 * turn), torch.sin(2 * turn)]
        features = torch.cat([torch.sin(phase), torch.cos(phase), torch.stack(heading, dim=-1)], dim=-1)
        return self.mlp(features.to(self.mlp[0].weight.dtype))

    def bias(self, poses_q: Tensor, poses_k: Tensor) -> None:
        return None
