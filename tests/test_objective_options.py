"""Zero terminal SNR, min-SNR weights and logit-normal levels: against diffusers and against the papers' equations."""

from __future__ import annotations

import math

import pytest
import torch
from diffusion_cases import OBJECTIVES, SCHEDULES, diffusers_schedule, full, latents

from components.level_spacing import SIGMA_MAX
from components.noise_schedule import per_frame
from zoo import registry
from zoo.errors import BadValue

KINDS = {"epsilon": {"schedule": "linear"}, "velocity": {"schedule": "cosine"}, "flow_matching": {}}
ZERO = {"velocity-zero": ("velocity", {"schedule": "linear", "zero_terminal_snr": True})}
WEIGHTED = {name: (name, options) for name, options in KINDS.items()} | ZERO

# ------------------------------------------------------------------------------------------- zero terminal SNR


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_rescaled_grid_is_that_of_diffusers(schedule):
    diffusers, options = diffusers_schedule(schedule)
    rescaled = diffusers.schedulers.scheduling_ddim.rescale_zero_terminal_snr
    betas = diffusers.DDPMScheduler(**options).betas
    # Their last beta is 1 and what is multiplied up to it loses digits in float32.
    expected = torch.cumprod(1 - rescaled(betas.double()), dim=0).sqrt()
    objective = OBJECTIVES[f"velocity-{schedule}-zero"]
    alpha, sigma = objective.alpha_sigma(torch.arange(1, 1001, dtype=torch.float64) / 1000)
    torch.testing.assert_close(alpha, expected, rtol=1e-4, atol=1e-7)
    assert alpha[-1] == 0 and sigma[-1] == 1
    assert alpha[0] == OBJECTIVES[f"velocity-{schedule}"].alpha_sigma(torch.full((1,), 1e-3).double())[0]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_zero_terminal_snr_is_pure_noise_in_float32_too(schedule):
    objective = OBJECTIVES[f"velocity-{schedule}-zero"]
    alpha, sigma = objective.alpha_sigma(torch.tensor([0.0, 5e-4, 1e-3, 1.001e-3, 0.9995, 1.0]))
    assert alpha.dtype == torch.float32 and alpha[0] == 1 and sigma[0] == 0
    assert alpha[-1] == 0 and sigma[-1] == 1 and alpha[-2] > 0
    assert (alpha.diff() <= 0).all() and (sigma.diff() >= 0).all()
    # v̂ at pure noise is −ẑ, whatever the noise.
    torch.testing.assert_close(objective.clean(latents(1), latents(0), full(1.0)), -latents(1), rtol=0, atol=0)


def test_karras_levels_of_pure_noise_begin_at_80():
    for name in ("velocity-linear-zero", "velocity-cosine-zero", "flow_matching"):
        objective = OBJECTIVES[name]
        for solver in ("euler", "heun"):
            times = registry.build("solver", solver, {"steps": 10, "spacing": "karras"}).times(objective)
            alpha, sigma = objective.alpha_sigma(torch.tensor(times[1:2], dtype=torch.float64))
            assert times[0] == 1 and 0 < float(sigma / alpha) < SIGMA_MAX


def test_epsilon_refuses_zero_terminal_snr_with_the_reason():
    with pytest.raises(BadValue, match=r"objective.*divides by zero: choose objective=velocity") as caught:
        registry.build("objective", "epsilon", {"zero_terminal_snr": True})
    assert "\n" not in str(caught.value)
    assert registry.build("objective", "epsilon", {"zero_terminal_snr": False})


# --------------------------------------------------------------------------------------------- min-SNR weights


@pytest.mark.parametrize("name", WEIGHTED)
@pytest.mark.parametrize("gamma", [1.0, 5.0])
def test_min_snr_weighs_the_error_of_the_clean_estimate_alike(name, gamma):
    """w ‖error of the prediction‖² = min(SNR, γ) ‖ẑ − z‖², for every parameterisation and level."""
    kind, options = WEIGHTED[name]
    objective = registry.build("objective", kind, {**options, "min_snr": gamma})
    z, noise, wrong = (latents(seed, f=6).double() for seed in range(3))
    t = torch.tensor([[0.002, 0.1, 0.3, 0.5, 0.8, 0.99], [0.01, 0.2, 0.4, 0.6, 0.9, 0.999]], dtype=torch.float64)
    alpha, sigma = objective.alpha_sigma(t)
    z_t = per_frame(alpha) * z + per_frame(sigma) * noise
    target = objective.target(z, noise, t)
    clean = objective.clean(target + wrong, z_t, t)
    of_clean = ((clean - z) ** 2).sum((1, 3, 4)) * (alpha / sigma).square().clamp(max=gamma)
    torch.testing.assert_close(objective.weight(t) * (wrong**2).sum((1, 3, 4)), of_clean, rtol=1e-6, atol=1e-9)


def test_min_snr_is_the_papers_for_noise_and_velocity():
    t = torch.linspace(0.01, 0.99, 50, dtype=torch.float64)
    for kind, below in (("epsilon", lambda snr: snr), ("velocity", lambda snr: snr + 1)):
        objective = registry.build("objective", kind, {"schedule": "cosine", "min_snr": 5.0})
        alpha, sigma = objective.alpha_sigma(t)
        snr = alpha**2 / sigma**2
        assert snr.min() < 5 < snr.max()
        torch.testing.assert_close(objective.weight(t), torch.minimum(snr, torch.tensor(5.0)) / below(snr))


@pytest.mark.parametrize("name", WEIGHTED)
def test_weights_are_finite_at_the_ends_and_1_unless_asked(name):
    kind, options = WEIGHTED[name]
    ends = torch.tensor([[0.0, 1e-8, 1e-3, 1.0]])
    weight = registry.build("objective", kind, {**options, "min_snr": 5.0}).weight(ends)
    assert weight.dtype == torch.float32 and torch.isfinite(weight).all() and (weight >= 0).all()
    assert torch.equal(registry.build("objective", kind, options).weight(ends), torch.ones_like(ends))


# -------------------------------------------------------------------------------------------- logit-normal times


@pytest.mark.parametrize("mean, deviation, shift", [(0.0, 1.0, 1.0), (-0.5, 0.6, 1.0), (0.4, 1.0, 3.0)])
def test_logit_normal_levels_are_those_of_stable_diffusion_3(mean, deviation, shift):
    """logit t is normal; the shift adds its logarithm; and a histogram follows the paper's density (equation 19)."""
    options = {"distribution": "logit_normal", "mean": mean, "deviation": deviation, "shift": shift}
    objective = registry.build("objective", "flow_matching", options)
    t = objective.sample_t((200_000,), torch.Generator().manual_seed(0)).double()
    logit = torch.logit(t)
    centre = mean + math.log(shift)
    assert float(logit.mean()) == pytest.approx(centre, abs=0.01)
    assert float(logit.std()) == pytest.approx(deviation, rel=0.01)
    assert float(((logit - centre) / deviation).pow(4).mean()) == pytest.approx(3.0, abs=0.1)
    edges = torch.linspace(0, 1, 21, dtype=torch.float64)
    share = torch.histc(t, 20, 0, 1) / len(t)
    inside = torch.linspace(0, 1, 20_001, dtype=torch.float64)[1:-1]
    density = torch.exp(-((torch.logit(inside) - centre) ** 2) / (2 * deviation**2))
    density = density / (deviation * math.sqrt(2 * math.pi) * inside * (1 - inside))
    of_bin = torch.bucketize(inside, edges[1:-1], right=True)
    wanted = torch.zeros(20, dtype=torch.float64).scatter_add(0, of_bin, density / 20_000)
    torch.testing.assert_close(share, wanted, rtol=0, atol=0.003)
