"""Objectives, noise, solvers and guidance: against diffusers where it does the same, against mathematics elsewhere."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from diffusion_cases import OBJECTIVES, SCHEDULES, Gaussian, diffusers_schedule, full, latents, predictions

from components.guidance.classifier_free import ClassifierFree
from components.noise.per_frame import PerFrame
from components.noise.shared import Shared
from components.noise_schedule import per_frame
from components.solver.ddim import DDIM
from components.solver.ddpm import DDPM
from components.solver.euler import Euler
from components.solver.heun import Heun
from zoo import registry

TEN = [1 - i / 10 for i in range(10)]


SOLVERS = {
    "ddim": DDIM(DDIM.Config(steps=10)),
    "ddim-eta": DDIM(DDIM.Config(steps=10, eta=1.0)),
    "ddpm": DDPM(DDPM.Config(steps=10)),
    "ddpm-large": DDPM(DDPM.Config(steps=10, variance="large")),
    "heun": Heun(Heun.Config(steps=10)),
    "heun-karras": Heun(Heun.Config(steps=10, spacing="karras")),
    "heun-edm": Heun(Heun.Config(steps=10, spacing="karras", path="edm")),
    "euler": Euler(Euler.Config(steps=10)),
    "euler-karras": Euler(Euler.Config(steps=10, spacing="karras")),
    "euler-shift": Euler(Euler.Config(steps=10, shift=3.0)),
    "euler-churn": Euler(Euler.Config(steps=10, churn=4.0)),
}


# ------------------------------------------------------------------------------------------------- objectives


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_grid_is_that_of_diffusers(schedule):
    diffusers, options = diffusers_schedule(schedule)
    expected = diffusers.DDPMScheduler(**options).alphas_cumprod
    t = torch.arange(1, 1001) / 1000
    alpha, sigma = OBJECTIVES[f"epsilon-{schedule}"].alpha_sigma(t)
    torch.testing.assert_close(alpha, expected.sqrt(), rtol=1e-6, atol=0)
    torch.testing.assert_close(sigma, (1 - expected.double()).sqrt().float(), rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_levels_run_from_clean_to_noise(name):
    t = torch.linspace(0, 1, 2001, dtype=torch.float64)
    alpha, sigma = OBJECTIVES[name].alpha_sigma(t)
    assert alpha[0] == 1 and sigma[0] == 0 and 0 <= alpha[-1] < 0.07 and sigma[-1] > 0.99
    assert (alpha.diff() < 0).all() and (sigma.diff() >= 0).all()
    if name != "flow_matching":
        torch.testing.assert_close(alpha**2 + sigma**2, torch.ones_like(t))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_clean_inverts_target_at_each_frames_own_level(name):
    objective, z, noise = OBJECTIVES[name], latents(0).double(), latents(1).double()
    t = torch.tensor([[0.0, 1e-3, 0.5, 0.77], [1.0, 0.999, 0.25, 0.0]], dtype=torch.float64)
    alpha, sigma = (per_frame(x) for x in objective.alpha_sigma(t))
    z_t = alpha * z + sigma * noise
    torch.testing.assert_close(objective.clean(objective.target(z, noise, t), z_t, t), z, rtol=0, atol=1e-6)
    assert objective.weight(t).shape == t.shape and (objective.weight(t) > 0).all()


@pytest.mark.parametrize("name", OBJECTIVES)
def test_nothing_overflows_at_the_ends_in_float32(name):
    for level in (0.0, 1e-8, 1.0):
        out = OBJECTIVES[name].clean(latents(0), latents(1), full(level))
        assert torch.isfinite(out).all(), level


@pytest.mark.parametrize("name", OBJECTIVES)
def test_training_levels_repeat_with_their_generator(name):
    draw = [OBJECTIVES[name].sample_t((3, 500), torch.Generator().manual_seed(s)) for s in (5, 5, 6)]
    assert draw[0].shape == (3, 500) and torch.equal(draw[0], draw[1]) and not torch.equal(draw[0], draw[2])
    assert (draw[0] > 0).all() and (draw[0] <= 1).all() and abs(draw[0].mean() - 0.5) < 0.03


def test_logit_normal_and_shift_move_the_levels():
    def median(**options):
        objective = registry.build("objective", "flow_matching", options)
        return float(objective.sample_t((20000,), torch.Generator().manual_seed(0)).median())

    normal = {"distribution": "logit_normal"}
    assert median(shift=3.0) == pytest.approx(0.75, abs=0.01)
    assert median(**normal) == pytest.approx(0.5, abs=0.01)
    assert median(**normal, mean=1.0) == pytest.approx(1 / (1 + math.exp(-1)), abs=0.01)
    spread = registry.build("objective", "flow_matching", {**normal, "deviation": 0.1}).sample_t((1000,)).std()
    assert spread < 0.04


# ------------------------------------------------------------------------------------------------------ noise


def test_observed_frames_are_clean_and_the_others_share_or_do_not():
    observed = torch.tensor([[True, False, False], [False, False, True]])
    sample_t = OBJECTIVES["flow_matching"].sample_t
    for noise, shares in ((Shared(Shared.Config()), True), (PerFrame(PerFrame.Config()), False)):
        t = noise.levels(sample_t, observed)
        assert t.shape == observed.shape and (t[observed] == 0).all() and (t[~observed] > 0).all()
        assert bool(t[0, 1] == t[0, 2]) is shares
        assert t[0, 1] != t[1, 1]


# ---------------------------------------------------------------------------------------------------- solvers


def walk(solver, objective, predict, z, times, noises=None):
    """The sampling loop on a fixed network `predict(z_t, i)`."""
    for i, (t, s) in enumerate(itertools.pairwise(times)):
        clean = objective.clean(predict(z, i), z, full(t))
        z = solver.step(z, clean, full(t), full(s), objective, lambda i=i: noises[i])
    return z


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("kind", ["epsilon", "velocity"])
def test_ddim_equals_diffusers(kind, schedule, eta):
    diffusers, options = diffusers_schedule(schedule)
    says = {"epsilon": "epsilon", "velocity": "v_prediction"}[kind]
    theirs = diffusers.DDIMScheduler(prediction_type=says, timestep_spacing="trailing", clip_sample=False, **options)
    theirs.set_timesteps(10)
    noises = [latents(10 + i) for i in range(10)]
    ours, z = DDIM(DDIM.Config(steps=10, eta=eta)), latents(0)
    objective = OBJECTIVES[f"{kind}-{schedule}"]
    times = ours.times(objective)
    assert [round(1000 * t) - 1 for t in times[:-1]] == theirs.timesteps.tolist()
    for i, k in enumerate(theirs.timesteps):
        says = predictions(z, i)
        t, s = full(times[i]), full(times[i + 1])
        mine = ours.step(z, objective.clean(says, z, t), t, s, objective, lambda i=i: noises[i])
        z = theirs.step(says, k, z, eta=eta, variance_noise=noises[i]).prev_sample
        torch.testing.assert_close(mine, z, rtol=1e-5, atol=1e-5 * max(1, float(z.abs().max())))


def test_ddim_clip_equals_diffusers_with_the_clipped_estimate():
    diffusers, options = diffusers_schedule("linear")
    theirs = diffusers.DDIMScheduler(timestep_spacing="trailing", clip_sample=True, clip_sample_range=1.5, **options)
    theirs.set_timesteps(10)
    objective, z, solver = OBJECTIVES["epsilon-linear"], latents(0), DDIM(DDIM.Config(steps=10, clip=1.5))
    t, s = full(0.7), full(0.6)
    mine = solver.step(z, objective.clean(predictions(z, 0), z, t), t, s, objective, pytest.fail)
    want = theirs.step(predictions(z, 0), 699, z, use_clipped_model_output=True).prev_sample
    torch.testing.assert_close(mine, want, rtol=0, atol=1e-5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:diffusers.*")
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_euler_equals_diffusers_euler(schedule):
    diffusers, options = diffusers_schedule(schedule)
    theirs = diffusers.EulerDiscreteScheduler(timestep_spacing="trailing", **options)
    theirs.set_timesteps(10)
    objective, solver, z = OBJECTIVES[f"epsilon-{schedule}"], Euler(Euler.Config(steps=10)), latents(0)
    times = solver.times(objective)
    for i, k in enumerate(theirs.timesteps):
        t, s = full(times[i]), full(times[i + 1])
        says = predictions(z, i)
        mine = solver.step(z, objective.clean(says, z, t), t, s, objective, pytest.fail)
        # Theirs walks x = z/alpha, ours z.
        x = theirs.step(says, k, z / per_frame(objective.alpha_sigma(t)[0])).prev_sample
        z = x * per_frame(objective.alpha_sigma(s)[0])
        torch.testing.assert_close(mine, z, rtol=1e-5, atol=1e-5 * max(1, float(z.abs().max())))


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_euler_equals_diffusers_flow_matching(shift):
    diffusers = pytest.importorskip("diffusers")
    theirs = diffusers.FlowMatchEulerDiscreteScheduler(shift=shift)
    theirs.set_timesteps(sigmas=TEN)
    objective, solver = OBJECTIVES["flow_matching"], Euler(Euler.Config(steps=10, shift=shift))
    times = solver.times(objective)
    assert times == pytest.approx(theirs.sigmas.tolist())
    z = latents(0)
    mine = walk(solver, objective, predictions, z, times)
    for i, k in enumerate(theirs.timesteps):
        z = theirs.step(predictions(z, i), k, z).prev_sample
    torch.testing.assert_close(mine, z, rtol=0, atol=1e-5)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_solver_walks_from_1_to_0_and_lets_observed_frames_be(solver, name):
    solver, objective = SOLVERS[solver], OBJECTIVES[name]
    times = solver.times(objective)
    assert len(times) == 11 and times[0] == 1 and times[-1] == 0
    assert all(a > b for a, b in itertools.pairwise(times))
    observed = torch.tensor([[True, False, True, False], [False, False, False, True]])
    z = given = latents(0)
    for t, s in itertools.pairwise(times):
        levels = [full(x).masked_fill(observed, 0.0) for x in (t, s)]
        z = solver.step(z, torch.tanh(z), *levels, objective, lambda: latents(3), lambda z, t: torch.tanh(z))
    frozen = per_frame(observed).expand_as(z)
    assert torch.equal(z[frozen], given[frozen]) and torch.isfinite(z).all()
    assert not torch.isclose(z[~frozen], given[~frozen]).all()


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("name", [n for n in OBJECTIVES if not n.startswith("velocity") or n.endswith("zero")])
def test_a_perfect_network_leads_to_the_data(solver, name):
    """Data N(m, d²): the best estimate is known, so the end must have that mean and deviation, noise or none."""
    objective, data = OBJECTIVES[name], Gaussian(OBJECTIVES[name])
    kind = type(SOLVERS[solver])
    solver = kind(SOLVERS[solver].config.model_copy(update={"steps": 200}))
    generator = torch.Generator().manual_seed(0)
    # Started from the true marginal at t = 1, since scaled_linear keeps 7 % of the signal there.
    alpha, deviation = data.spread(torch.ones(1, 1))
    z = alpha * data.mean + deviation * torch.randn(1, 1, 1, 100, 100, generator=generator)
    for t, s in itertools.pairwise(solver.times(objective)):
        t, s = torch.full((1, 1), t), torch.full((1, 1), s)
        draw = lambda size=z.shape: torch.randn(size, generator=generator)  # noqa: E731
        z = solver.step(z, data.estimate(z, t), t, s, objective, draw, data.estimate)
    assert float(z.mean()) == pytest.approx(data.mean, abs=0.02)
    assert float(z.std()) == pytest.approx(data.deviation, abs=0.03)


# --------------------------------------------------------------------------------------------------- guidance


def test_guidance_combines_clean_estimates_as_it_would_noises():
    objective, z_t, t = OBJECTIVES["epsilon-linear"], latents(0), full(0.5)
    with_text, without = latents(1), latents(2)
    guidance = ClassifierFree(ClassifierFree.Config(scale=3.0))
    got = guidance.combine([objective.clean(e, z_t, t) for e in (with_text, without)])
    want = objective.clean(without + 3 * (with_text - without), z_t, t)
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)


def test_each_guidance_names_its_branches_and_the_dropouts_they_need():
    for name in registry.names("guidance"):
        guidance = registry.build("guidance", name)
        assert guidance.branches[0] == {"text": True, "camera": True}, name
        lacks = {key for branch in guidance.branches for key, kept in branch.items() if not kept}
        assert guidance.dropouts == {f"{key}_dropout" for key in lacks}, name
        same = guidance.combine([latents(0)] * len(guidance.branches))
        torch.testing.assert_close(same, latents(0), rtol=0, atol=1e-6)
    for drop, lacks in (("text", {"text"}), ("camera", {"camera"}), ("both", {"text", "camera"})):
        guidance = ClassifierFree(ClassifierFree.Config(drop=drop))
        assert {k for k, kept in guidance.branches[1].items() if not kept} == lacks
        assert guidance.dropouts == {f"{k}_dropout" for k in lacks}


def test_rescale_is_the_papers_formula():
    """Lin et al. 2024, equations 14 to 16, of one frame: there a sample is a picture."""
    given, without, scale, phi = latents(1, f=1), latents(2, f=1), 7.5, 0.7
    guided = without + scale * (given - without)
    over = [one.std() for one in guided]
    wanted = [one.std() for one in given]
    rescaled = torch.stack([one * a / b for one, a, b in zip(guided, wanted, over, strict=True)])
    got = ClassifierFree(ClassifierFree.Config(scale=scale, rescale=phi)).combine([given, without])
    torch.testing.assert_close(got, phi * rescaled + (1 - phi) * guided)


@pytest.mark.parametrize("drop", ["text", "camera", "both"])
def test_scale_1_is_no_guidance_and_asks_once(drop):
    one = ClassifierFree(ClassifierFree.Config(scale=1.0, drop=drop, rescale=0.7))
    none = registry.build("guidance", "none")
    assert one.branches == none.branches and one.dropouts == none.dropouts
    assert torch.equal(one.combine([latents(1)]), latents(1))
    nearly = ClassifierFree(ClassifierFree.Config(scale=1.0 + 1e-6, drop=drop, rescale=0.7))
    torch.testing.assert_close(nearly.combine([latents(1), latents(2)]), latents(1))


def test_rescale_restores_each_frames_deviation():
    with_text, without = latents(1, h=8, w=8), latents(2, h=8, w=8)
    guided = ClassifierFree(ClassifierFree.Config(scale=7.0, rescale=1.0)).combine([with_text, without])
    torch.testing.assert_close(guided.std((1, 3, 4)), with_text.std((1, 3, 4)))
    plain = ClassifierFree(ClassifierFree.Config(scale=7.0)).combine([with_text, without])
    assert (plain.std((1, 3, 4)) > 2 * with_text.std((1, 3, 4))).all()
