"""Euler's method on the probability-flow equation, for any schedule."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from pydantic import Field
from torch import Tensor

from components.contracts import Objective
from components.level_spacing import Spacing, spaced_levels
from components.noise_schedule import per_frame
from zoo.component import Config, component


@component(cite="karras2022edm", note="Euler steps along the probability flow; spacing, shift, churn")
class Euler:
    """EDM (Karras et al. 2022), with first-order steps: x = z/α obeys dx/d(σ/α) = ε̂, and in the form that stays finite
    at α = 0: z_s = α_s ẑ + (σ_s/σ_t)(z_t − α_t ẑ). For flow matching this is z_s = z_t + (s − t)(ε̂ − ẑ).

    Departs in churn: EDM adds noise before a step and asks the network at the raised level. Here a step goes on to
    (σ/α)_s/(1 + γ) and noise then raises it to s, γ = min(churn/steps, √2 − 1): the same chain, cut elsewhere.
    """

    class Config(Config):
        steps: int = Field(25, ge=1, le=1000, description="network calls per branch")
        spacing: Spacing = Field("uniform", description="of levels: even in t, or EDM's with rho 7")
        shift: float = Field(1.0, gt=0, description="t -> shift t / (1 + (shift - 1) t); above 1 dwells on high noise")
        churn: float = Field(0.0, ge=0.0, description="fresh noise over the whole walk; 0 is deterministic")

    def __init__(self, config: Config) -> None:
        self.config = config

    def times(self, objective: Objective) -> Sequence[float]:
        """steps + 1 levels from 1 down to 0."""
        return spaced_levels(self.config.steps, self.config.spacing, self.config.shift, objective)

    def calls(self, objective: Objective) -> int:
        """One a step."""
        return self.config.steps

    def step(
        self,
        z_t: Tensor,
        clean: Tensor,
        t: Tensor,
        s: Tensor,
        objective: Objective,
        draw: Callable[[], Tensor],
        estimate: Callable[[Tensor, Tensor], Tensor] | None = None,
    ) -> Tensor:
        """z_t, clean [B, C, F, H, W] from t to s [B, F]; frames with s = t come back unchanged."""
        moving = s < t
        alpha_t, sigma_t = objective.alpha_sigma(t)
        alpha_s, sigma_s = objective.alpha_sigma(s)
        kept = 1 / (1 + min(self.config.churn / self.config.steps, 2**0.5 - 1))
        # Frames that stand still would divide 0 by 0; what is reckoned for them is thrown away below.
        ratio = kept * sigma_s / torch.where(moving, sigma_t, 1)
        z_s = per_frame(alpha_s) * clean + per_frame(ratio) * (z_t - per_frame(alpha_t) * clean)
        if self.config.churn > 0:
            z_s = z_s + per_frame((1 - kept**2) ** 0.5 * sigma_s) * draw()
        return torch.where(per_frame(moving), z_s, z_t)
