"""From deterministic (eta 0) to ancestral sampling (eta 1), for any schedule."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from pydantic import Field
from torch import Tensor

from components.contracts import Objective
from components.level_spacing import even_levels
from components.noise_schedule import per_frame
from zoo.component import Config, component


@component(
    cite="song2021ddim", note="DDIM; eta=0 is deterministic, eta=1 is DDPM's ancestral sampling with small variance"
)
class DDIM:
    """DDIM (Song et al. 2021): z_s = α_s ẑ + √(σ_s² − ς²) ε̂ + ς n, with ε̂ = (z_t − α_t ẑ)/σ_t and n fresh noise.

    Departs: ς² = eta² (σ_s/σ_t)² (σ_t² − (α_t/α_s)² σ_s²), the posterior variance of any α, σ, so that eta also works
    for flow matching (with α² + σ² = 1 it is the paper's); and after `clip`, ε̂ is reckoned from the clipped ẑ.
    """

    class Config(Config):
        steps: int = Field(50, ge=1, le=1000, description="network calls per branch")
        eta: float = Field(0.0, ge=0.0, le=1.0, description="share of fresh noise: 0 DDIM, 1 DDPM")
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
        ratio = sigma_s / torch.where(moving, sigma_t, 1)
        fresh = (
            self.config.eta**2 * ratio**2 * (sigma_t**2 - (alpha_t / torch.where(moving, alpha_s, 1) * sigma_s) ** 2)
        )
        fresh = fresh.clamp(min=0)
        kept = (sigma_s**2 - fresh).clamp(min=0).sqrt() / torch.where(moving, sigma_t, 1)
        if self.config.clip is not None:
            clean = clean.clamp(-self.config.clip, self.config.clip)
        z_s = per_frame(alpha_s) * clean + per_frame(kept) * (z_t - per_frame(alpha_t) * clean)
        if self.config.eta > 0:
            z_s = z_s + per_frame(fresh.sqrt()) * draw()
        return torch.where(per_frame(moving), z_s, z_t)
