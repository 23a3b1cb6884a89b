"""Predict the straight path from data to noise."""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from components.noise_schedule import per_frame, uniform_levels
from zoo.component import Config, component


@component(
    cite="lipman2023flow,liu2023rectified", note="rectified flow: straight paths, the network predicts noise - z"
)
class FlowMatching:
    """Flow matching (Lipman et al. 2023; Liu et al. 2023): z_t = (1 − t) z + t ε, the network says ε − z.

    Departs in direction alone: here t = 1 is noise, as everywhere in this project; the papers put noise at 0.
    """

    class Config(Config):
        distribution: Literal["uniform", "logit_normal"] = Field("uniform", description="of training levels")
        mean: float = Field(0.0, description="logit_normal: mean of logit(t); above 0 trains more on noise")
        deviation: float = Field(1.0, gt=0, description="logit_normal: standard deviation of logit(t)")
        shift: float = Field(1.0, gt=0, description="t -> shift t / (1 + (shift - 1) t); above 1 trains more on noise")

    def __init__(self, config: Config) -> None:
        self.config = config

    def alpha_sigma(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """1 − t and t."""
        return 1 - t, t

    def sample_t(self, shape: tuple[int, ...], generator: Any = None) -> Tensor:
        """Levels in (0, 1], float32, from the chosen distribution, shifted."""
        if self.config.distribution == "uniform":
            t = uniform_levels(shape, generator)
        else:
            device = generator.device if generator is not None else None
            normal = torch.randn(shape, generator=generator, device=device)
            t = torch.sigmoid(self.config.mean + self.config.deviation * normal)
        return self.config.shift * t / (1 + (self.config.shift - 1) * t)

    def target(self, z: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """ε − z, [B, C, F, H, W]."""
        return noise - z

    def weight(self, t: Tensor) -> Tensor:
        """1 at every level."""
        return torch.ones_like(t)

    def clean(self, prediction: Tensor, z_t: Tensor, t: Tensor) -> Tensor:
        """ẑ = z_t − t · prediction."""
        return z_t - per_frame(t) * prediction
