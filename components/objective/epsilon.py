"""Predict the noise."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator
from torch import Tensor

from components.noise_schedule import Schedule, VPSchedule, per_frame, uniform_levels
from components.snr_weight import min_snr_weight
from zoo.component import Config, component


@component(
    cite="ho2020ddpm,hang2023minsnr",
    note="DDPM: the network predicts the noise; linear, scaled_linear or cosine schedule; min-SNR weights",
)
class Epsilon:
    """DDPM (Ho et al. 2020): z_t = α z + σ ε, the network says ε, loss w ‖ε − ε̂‖², w = 1 ("simple")
    or min(SNR, γ)/SNR (Hang et al. 2023).

    Departs: time is continuous, t in (0, 1], and equals the 1000 discrete steps on their grid (noise_schedule.py).
    """

    class Config(Config):
        schedule: Schedule = Field("linear", description="how ᾱ falls with t")
        min_snr: float | None = Field(
            None, gt=0, description="gamma: the clean estimate's error weighs min(SNR, gamma); 5 in the paper"
        )
        zero_terminal_snr: bool = Field(False, description="refused: noise says nothing of the data where alpha is 0")

        @model_validator(mode="after")
        def _divides_by_alpha(self) -> Epsilon.Config:
            if self.zero_terminal_snr:
                raise ValueError(
                    "zero_terminal_snr makes the input pure noise at t = 1, where the noise says nothing of the clean "
                    "latent and z = (z_t - sigma * noise)/alpha divides by zero: choose objective=velocity"
                )
            return self

    def __init__(self, config: Config) -> None:
        self.config = config
        self._schedule = VPSchedule(config.schedule)

    def alpha_sigma(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """α and σ of t's shape, α² + σ² = 1."""
        return self._schedule.alpha_sigma(t)

    def sample_t(self, shape: tuple[int, ...], generator: Any = None) -> Tensor:
        """Uniform in (0, 1]."""
        return uniform_levels(shape, generator)

    def target(self, z: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """The noise, [B, C, F, H, W]."""
        return noise

    def weight(self, t: Tensor) -> Tensor:
        """1 at every level, or min(SNR, γ)/SNR: ẑ errs by σ/α times what ε̂ errs by."""
        alpha, sigma = self.alpha_sigma(t)
        return min_snr_weight(alpha, sigma, sigma / alpha, self.config.min_snr)

    def clean(self, prediction: Tensor, z_t: Tensor, t: Tensor) -> Tensor:
        """ẑ = (z_t − σ ε̂)/α. At t = 1 errors of ε̂ come out 160 (linear) to 20,000 (cosine) times larger."""
        alpha, sigma = (per_frame(x) for x in self.alpha_sigma(t))
        return (z_t - sigma * prediction) / alpha
