"""Predict the velocity: a mix of noise and data that is well-posed at every level."""

from __future__ import annotations

from typing import Any

from pydantic import Field
from torch import Tensor

from components.noise_schedule import Schedule, VPSchedule, per_frame, uniform_levels
from components.snr_weight import min_snr_weight
from zoo.component import Config, component


@component(
    cite="salimans2022progressive,lin2024flawed,hang2023minsnr",
    note="v-prediction: alpha * noise - sigma * clean; safe down to pure noise; zero terminal SNR, min-SNR weights",
)
class Velocity:
    """Progressive distillation (Salimans & Ho 2022): v = α ε − σ z, ẑ = α z_t − σ v̂.

    Departs: time is continuous, t in (0, 1], and equals the 1000 discrete steps on their grid (noise_schedule.py).
    """

    class Config(Config):
        schedule: Schedule = Field("cosine", description="how ᾱ falls with t")
        zero_terminal_snr: bool = Field(
            False, description="rescale alpha so that t = 1 is pure noise, as sampling begins"
        )
        min_snr: float | None = Field(
            None, gt=0, description="gamma: the clean estimate's error weighs min(SNR, gamma); 5 in the paper"
        )

    def __init__(self, config: Config) -> None:
        self.config = config
        self._schedule = VPSchedule(config.schedule, config.zero_terminal_snr)

    def alpha_sigma(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """α and σ of t's shape, α² + σ² = 1."""
        return self._schedule.alpha_sigma(t)

    def sample_t(self, shape: tuple[int, ...], generator: Any = None) -> Tensor:
        """Uniform in (0, 1]."""
        return uniform_levels(shape, generator)

    def target(self, z: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """v = α ε − σ z, [B, C, F, H, W]."""
        alpha, sigma = (per_frame(x) for x in self.alpha_sigma(t))
        return alpha * noise - sigma * z

    def weight(self, t: Tensor) -> Tensor:
        """1 at every level (in terms of ẑ that is a weight of 1 + SNR), or min(SNR, γ)/(SNR + 1): ẑ errs by σ times v̂.

        The latter falls to 0 at pure noise: with zero_terminal_snr hardly anything is learned at t = 1 itself.
        """
        alpha, sigma = self.alpha_sigma(t)
        return min_snr_weight(alpha, sigma, sigma, self.config.min_snr)

    def clean(self, prediction: Tensor, z_t: Tensor, t: Tensor) -> Tensor:
        """ẑ = α z_t − σ v̂."""
        alpha, sigma = (per_frame(x) for x in self.alpha_sigma(t))
        return alpha * z_t - sigma * prediction
