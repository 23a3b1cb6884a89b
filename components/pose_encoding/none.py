from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from zoo.component import Config, component

if TYPE_CHECKING:
    from torch import Tensor


@component(cite=None, note="the network is not told where the camera is")
class NoPose(nn.Module):
    """No camera pose enters: embed and bias are None. The floor of the pose_encoding axis."""

    class Config(Config):
        pass

    def __init__(self, config: NoPose.Config, *, width: int, heads: int, depth: int) -> None:
        super().__init__()
        self.config = config

    def embed(self, poses: Tensor, origin: Tensor | None) -> None:
        return None

    def bias(self, poses_q: Tensor, poses_k: Tensor) -> None:
        return None
