"""Heun's method on the probability-flow equation, for any schedule: two network calls a step, second order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from components.contracts import Objective
from components.level_spacing import Spacing, spaced_levels
from components.noise_schedule import per_frame
from zoo.component import Config, component
from zoo.errors import UnmetNeed


@component(
    cite="karras2022edm",
    note="second-order steps along the probability flow, two network calls each; spacing, shift",
    needs={"second_call"},
)
class Heun:
    """EDM (Karras et al. 2022), algorithm 1: x_s = x_t + (u_s − u_t) (d(x_t) + d(x'_s))/2, x'_s being Euler's x_s.

    path=edm is the paper's: x = z/α, u = σ/α, slope d = ε̂. Departs in path=straight: x = z/(α + σ), u = σ/(α + σ),
    d = ε̂ − ẑ, in which any schedule is a straight path and nothing grows as α falls to 0; the paths share Euler's step.
    With flow matching that is plain Heun in t. The last step, to level 0, is Euler's, as in the paper.
    """

    class Config(Config):
        steps: int = Field(13, ge=1, le=1000, description="of the walk; network calls per branch are 2 steps - 1")
        spacing: Spacing = Field("uniform", description="of levels: even in t, or EDM's with rho 7")
        shift: float = Field(1.0, gt=0, description="t -> shift t / (1 + (shift - 1) t); above 1 dwells on high noise")
        path: Literal["straight", "edm"] = Field(
            "straight", description="what is walked along: sigma/(alpha + sigma), or EDM's sigma/alpha"
        )

    def __init__(self, config: Config) -> None:
        self.config = config

    def times(self, objective: Objective) -> Sequence[float]:
        """steps + 1 levels from 1 down to 0."""
        return spaced_levels(self.config.steps, self.config.spacing, self.config.shift, objective)

    def calls(self, objective: Objective) -> int:
        """Two a step, one for the last."""
        return 2 * self.config.steps - 1

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
        if estimate is None:
            raise UnmetNeed(
                "solver 'heun' asks the network twice a step and here it may ask once: choose solver=euler."
            )
        moving = s < t
        alpha_t, sigma_t = objective.alpha_sigma(t)
        alpha_s, sigma_s = objective.alpha_sigma(s)
        noise = (z_t - per_frame(alpha_t) * clean) / per_frame(torch.where(moving, sigma_t, 1))
        z_s = torch.where(per_frame(moving), per_frame(alpha_s) * clean + per_frame(sigma_s) * noise, z_t)
        # EDM's σ/α has no bound at α = 0 (the first step of flow matching): that step is Euler's as well.
        again = moving & (s > 0) & ((alpha_t > 0) | (self.config.path == "straight"))
        if not bool((moving & (s > 0)).any()):
            return z_s
        clean_s = estimate(z_s, s)
        noise_s = (z_s - per_frame(alpha_s) * clean_s) / per_frame(torch.where(again, sigma_s, 1))
        # With x = z/c, c = α + kσ, the slope is ε̂ − k ẑ: half its change, times the way, is what Euler's step lacks.
        k = 1.0 if self.config.path == "straight" else 0.0
        c_t = torch.where(again, alpha_t + k * sigma_t, 1)
        c_s = alpha_s + k * sigma_s
        way = sigma_s - c_s / c_t * sigma_t
        change = (noise_s - noise) - k * (clean_s - clean)
        return torch.where(per_frame(again), z_s + per_frame(way) * change / 2, z_s)
