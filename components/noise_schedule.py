"""Variance-preserving noise schedules in continuous time, exact on the grid of 1000 steps that the field trains on.

Level t = (k+1)/1000 is step k of the discrete schedule (diffusers' ``alphas_cumprod[k]``), and t = 0 is clean, ᾱ = 1.
Between grid points log ᾱ is linear in t, that is, β is constant over each step. Last step: ᾱ(1) is 4.0e-5 (linear),
4.7e-3 (scaled_linear), 2.4e-9 (cosine): small but not 0, so that clean = (z_t − σ ε)/α stays finite; with
`zero_terminal_snr` it is 0 and only predictions that never divide by α will do.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from einops import rearrange
from torch import Tensor

Schedule = Literal["linear", "scaled_linear", "cosine"]

STEPS = 1000


def per_frame(level_bf: Tensor) -> Tensor:
    """A per-frame figure [B, F] in the shape [B, 1, F, 1, 1] that multiplies latents [B, C, F, H, W]."""
    return rearrange(level_bf, "b f -> b 1 f 1 1")


def uniform_levels(shape: tuple[int, ...], generator: torch.Generator | None = None) -> Tensor:
    """Levels uniform in (0, 1], float32, on the generator's device; 0 is left out, as nothing can be learned there."""
    device = generator.device if generator is not None else None
    return 1 - torch.rand(shape, generator=generator, device=device)


def _betas(schedule: Schedule) -> Tensor:
    """β of the 1000 steps in float32, as the published models were trained: DDPM, latent diffusion, improved DDPM."""
    if schedule == "linear":
        return torch.linspace(1e-4, 0.02, STEPS, dtype=torch.float32)
    if schedule == "scaled_linear":
        return torch.linspace(0.00085**0.5, 0.012**0.5, STEPS, dtype=torch.float32) ** 2
    kept = [math.cos((k / STEPS + 0.008) / 1.008 * math.pi / 2) ** 2 for k in range(STEPS + 1)]
    return torch.tensor([min(1 - kept[k + 1] / kept[k], 0.999) for k in range(STEPS)], dtype=torch.float32)


class VPSchedule:
    """ᾱ(t) of one schedule: linear (β 1e-4 … 0.02), scaled_linear (√β linear, 0.00085 … 0.012) or cosine.

    With `zero_terminal_snr` (Lin et al. 2024, algorithm 1) α is (α − α(1)) α(0.001)/(α(0.001) − α(1)): 0 at t = 1, and
    what it was at the first step; before that step, where the paper has no level, it stays as it is.
    """

    def __init__(self, schedule: Schedule, zero_terminal_snr: bool = False) -> None:
        self._zero_terminal_snr = zero_terminal_snr
        kept = torch.cumprod(1 - _betas(schedule), dim=0).double()
        self._log_kept = {torch.device("cpu"): torch.cat([torch.zeros(1, dtype=torch.float64), kept.log()])}

    def alpha_sigma(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """α = √ᾱ and σ = √(1 − ᾱ) at levels t in [0, 1] of any shape; float64 for float64 levels, else float32."""
        # Apple's mps knows no float64, so the handful of levels is looked up on the CPU there.
        log_kept = self._table(torch.device("cpu") if t.device.type == "mps" else t.device)
        place = t.to(log_kept.device, torch.float64).clamp(0, 1) * STEPS
        # float32 misses a grid point by up to 6e-5 of a step, which the steep end of the cosine schedule would show.
        place = torch.where((place - place.round()).abs() < 1e-4, place.round(), place)
        below = place.floor().clamp(max=STEPS - 1).long()
        log_alpha_bar = torch.lerp(log_kept[below], log_kept[below + 1], place - below)
        dtype = t.dtype if t.dtype == torch.float64 else torch.float32
        alpha, sigma = torch.exp(log_alpha_bar / 2), torch.sqrt(-torch.expm1(log_alpha_bar))
        if self._zero_terminal_snr:
            first, last = torch.exp(log_kept[1] / 2), torch.exp(log_kept[-1] / 2)
            # As α(1) · expm1 of a difference, which is exactly 0 at t = 1.
            above = last * torch.expm1((log_alpha_bar - log_kept[-1]) / 2)
            alpha = torch.where(place <= 1, alpha, above * first / (first - last))
            sigma = torch.where(place <= 1, sigma, torch.sqrt(1 - alpha**2))
        return alpha.to(dtype).to(t.device), sigma.to(dtype).to(t.device)

    def _table(self, device: torch.device) -> Tensor:
        if device not in self._log_kept:
            self._log_kept[device] = self._log_kept[torch.device("cpu")].to(device)
        return self._log_kept[device]
