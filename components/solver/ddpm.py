"""Ancestral sampling: a draw from the posterior at every step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from components.contracts import Objective
from components.level_spacing import even_levels
from components.noise_schedule import per_frame
from zoo.component import Config, component


@component(cite="ho2020ddpm", note="ancestral sampling; the fixed variance is the posterior's (small) or beta (large)")
class DDPM:
    """DDPM (Ho et al. 2020), algorithm 2: z_s = (α_s β/σ_t²) ẑ + (α_t/α_s)(σ_s²/σ_t²) z_t + ς n,
    with β = σ_t² − (α_t/α_s)² σ_s² and n fresh noise, none at the last step.

    ς² is β σ_s²/σ_t² (small: right for data that is one point) or β (large: right for data that is unit noise). Small
    makes the same walk as ddim at eta=1; large is what ddim does not offer. Departs: α² + σ² = 1 is not needed, so
    flow matching can be sampled too, and fewer steps than 1000 skip levels evenly.
    """

    class Config(Config):
        steps: int = Field(250, ge=1, le=1000, description="network calls per branch; the paper walks all 1000")
        variance: Literal["small", "large"] = Field("small", description="of the fresh noise: posterior's, or beta")
        clip: float | None = Field(
            None, gt=0, description="bound on the clean estimate's size; for pixels, not latents"
        )

    def __init__(self, config: Config) -> None:
        self.config = config

    def times(self, objective: Objective) -> Sequence[float]:
        """Evenly spaced from 1 to 0."""
        return even_levels(self.config.steps)

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
        # Frames that stand still would divide 0 by 0; what is reckoned for them is thrown away below.
        kept = alpha_t / torch.where(moving, alpha_s, 1)
        var_t = torch.where(moving, sigma_t, 1) ** 2
        beta = (var_t - (kept * sigma_s) ** 2).clamp(min=0)
        if self.config.clip is not None:
            clean = clean.clamp(-self.config.clip, self.config.clip)
        mean = per_frame(alpha_s * beta / var_t) * clean + per_frame(kept * sigma_s**2 / var_t) * z_t
        fresh = beta * sigma_s**2 / var_t if self.config.variance == "small" else beta * (s > 0)
        return torch.where(per_frame(moving), mean + per_frame(fresh.sqrt()) * draw(), z_t)
