"""Predict the straight path from data to noise."""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from components.noise_schedule import per_frame, uniform_levels
from components.snr_weight import min_snr_weight
from zoo.component import Config, component


@component(
    cite="lipman2023flow,liu2023rectified,esser2024sd3,hang2023minsnr",
    note="rectified flow: straight paths, the network predicts noise - z; logit-normal levels, min-SNR weights",
)
class FlowMatching:
    """Flow matching (Lipman et al. 2023; Liu et al. 2023): z_t = (1 − t) z + t ε, the network says ε − z.

    Departs in direction alone: here t = 1 is noise, as everywhere in this project; the papers put noise at 0. Levels
    may be those of Esser et al. 2024 (noise at 1 as here): t = sigmoid(mean + deviation n), n ~ N(0, 1), density
    exp(−(logit t − mean)²/(2 deviation²)) / (deviation √(2π) t (1 − t)); `shift` then adds ln(shift) to logit t.
    """

    class Config(Config):
        distribution: Literal["uniform", "logit_normal"] = Field("uniform", description="of training levels")
        mean: float = Field(0.0, description="logit_normal: mean of logit(t); above 0 trains more on noise")
        deviation: float = Field(1.0, gt=0, description="logit_normal: standard deviation of logit(t)")
        shift: float = Field(1.0, gt=0, description="t -> shift t / (1 + (shift - 1) t); above 1 trains more on noise")
        min_snr: float | None = Field(
            None, gt=0, description="gamma: the clean estimate's error weighs min(SNR, gamma); 5 in the paper"
        )

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
        """1 at every level (in terms of ẑ a weight of 1/t²), or min(SNR, γ) t²: an error e makes ẑ err by t e.

        The latter falls to 0 at pure noise, SNR = (1 − t)²/t² being 0 there.
        """
        alpha, sigma = self.alpha_sigma(t)
        return min_snr_weight(alpha, sigma, sigma, self.config.min_snr)

    def clean(self, prediction: Tensor, z_t: Tensor, t: Tensor) -> Tensor:
        """ẑ = z_t − t · prediction."""
        return z_t - per_frame(t) * prediction
