"""Objectives by name, latents and stand-in networks, shared by the tests of objectives, solvers and guidance."""

from __future__ import annotations

import math

import pytest
import torch

from zoo import registry

SCHEDULES = {"linear": "linear", "scaled_linear": "scaled_linear", "cosine": "squaredcos_cap_v2"}
"""Our names of the schedules, and diffusers'."""


def objectives():
    """Every objective found in the folder, VP ones with each schedule, velocity also with zero terminal SNR."""
    names = [n for n in registry.names("objective") if hasattr(registry.load("objective", n), "alpha_sigma")]
    assert {"epsilon", "velocity", "flow_matching"} <= set(names)
    for name in names:
        if "schedule" in registry.option_names("objective", name):
            yield from ((f"{name}-{s}", registry.build("objective", name, {"schedule": s})) for s in SCHEDULES)
        else:
            yield name, registry.build("objective", name)
    for schedule in SCHEDULES:
        zero = {"schedule": schedule, "zero_terminal_snr": True}
        yield f"velocity-{schedule}-zero", registry.build("objective", "velocity", zero)


OBJECTIVES = dict(objectives())


def latents(seed, b=2, c=3, f=4, h=2, w=2):
    return torch.randn(b, c, f, h, w, generator=torch.Generator().manual_seed(seed))


def full(level, b=2, f=4):
    return torch.full((b, f), level)


def diffusers_schedule(schedule):
    diffusers = pytest.importorskip("diffusers")
    start, end = (0.00085, 0.012) if schedule == "scaled_linear" else (1e-4, 0.02)
    return diffusers, {"beta_schedule": SCHEDULES[schedule], "beta_start": start, "beta_end": end}


def predictions(z_t, i):
    """A stand-in for a network, nonlinear in its input and other at every step."""
    return torch.tanh(z_t) * 0.9 + 0.1 * math.cos(i)


class Gaussian:
    """Data N(mean, deviation²) in every number: the best estimate and the end of the flow are known in closed form."""

    def __init__(self, objective, mean=0.7, deviation=0.5):
        self.objective, self.mean, self.deviation = objective, mean, deviation

    def spread(self, t):
        """α and the deviation of z_t, of t's shape [B, F], ready to multiply latents."""
        alpha, sigma = (part[:, None, :, None, None] for part in self.objective.alpha_sigma(t))
        return alpha, ((alpha * self.deviation) ** 2 + sigma**2).sqrt()

    def estimate(self, z_t, t):
        alpha, deviation = self.spread(t)
        return self.mean + alpha * (self.deviation / deviation) ** 2 * (z_t - alpha * self.mean)

    def end(self, z_t, t, s):
        """Where the probability flow carries z_t from level t to level s."""
        (alpha_t, at_t), (alpha_s, at_s) = self.spread(t), self.spread(s)
        return alpha_s * self.mean + at_s / at_t * (z_t - alpha_t * self.mean)
