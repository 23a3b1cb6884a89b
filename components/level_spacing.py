"""The noise levels at which a solver stops on its way from 1 to 0: even in t or as EDM spaces them, then shifted."""

from __future__ import annotations

from typing import Literal

import torch

from components.contracts import Objective

Spacing = Literal["uniform", "karras"]

SIGMA_MAX = 80.0
"""EDM's largest σ/α; only spacing=karras uses it, where the objective's own is larger or has no bound (α = 0)."""

RHO = 7.0
"""EDM's exponent of the spacing."""


def even_levels(steps: int) -> list[float]:
    """steps + 1 levels from 1 down to 0 (diffusers' timestep_spacing="trailing" where steps divides 1000)."""
    return [1 - i / steps for i in range(steps)] + [0.0]


def spaced_levels(steps: int, spacing: Spacing, shift: float, objective: Objective) -> list[float]:
    """steps + 1 levels from 1 down to 0, each t moved to shift · t / (1 + (shift − 1) t)."""
    times = _karras(steps, objective) if spacing == "karras" else even_levels(steps)
    return [shift * t / (1 + (shift - 1) * t) for t in times]


def _karras(steps: int, objective: Objective) -> list[float]:
    """Levels whose σ/α are evenly spaced in their 7th root, from t = 1 (at most 80) to t = 0.001, then 0."""
    t = torch.linspace(0.001, 1, 4000, dtype=torch.float64)
    alpha, sigma = objective.alpha_sigma(t)
    spread = sigma / alpha.clamp(min=1e-12)
    root = torch.linspace(min(float(spread[-1]), SIGMA_MAX) ** (1 / RHO), float(spread[0]) ** (1 / RHO), steps)
    above = torch.searchsorted(spread, root.double() ** RHO).clamp(1, len(t) - 1)
    # σ/α is about exponential in t, so its logarithm is what a straight line joins.
    low, high, want = spread[above - 1].log(), spread[above].log(), RHO * root.double().log()
    levels = torch.lerp(t[above - 1], t[above], ((want - low) / (high - low)).clamp(0, 1))
    return [1.0, *levels[1:].tolist(), 0.0]
