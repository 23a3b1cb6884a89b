"""Second-order and ancestral solvers: against diffusers, and against what is known in closed form."""

from __future__ import annotations

import itertools

import pytest
import torch
from diffusion_cases import OBJECTIVES, SCHEDULES, Gaussian, diffusers_schedule, full, latents, predictions

from components.noise_schedule import per_frame
from components.solver.ddim import DDIM
from components.solver.ddpm import DDPM
from components.solver.euler import Euler
from components.solver.heun import Heun
from zoo import pairings
from zoo.errors import UnmetNeed
from zoo.recipe import resolve

PATHS = ["straight", "edm"]
RIGHT = pytest.mark.filterwarnings("ignore::DeprecationWarning:diffusers.*")

# ------------------------------------------------------------------------------------------------------- heun


class Asked:
    """Stand-in network that differs from call to call, as diffusers is fed, and counts its calls."""

    def __init__(self, objective):
        self.objective, self.calls = objective, 0

    def __call__(self, z, t):
        self.calls += 1
        return self.objective.clean(predictions(z, self.calls), z, t)


@RIGHT
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("kind", ["epsilon", "velocity"])
def test_heun_along_edms_path_equals_diffusers(kind, schedule):
    diffusers, options = diffusers_schedule(schedule)
    says = {"epsilon": "epsilon", "velocity": "v_prediction"}[kind]
    theirs = diffusers.HeunDiscreteScheduler(timestep_spacing="trailing", prediction_type=says, **options)
    theirs.set_timesteps(10)
    # Double precision: both multiply by sigma/alpha, up to 20,000 at the end of the cosine schedule.
    theirs.sigmas = theirs.sigmas.double()
    objective, solver = OBJECTIVES[f"{kind}-{schedule}"], Heun(Heun.Config(steps=10, path="edm"))
    times, ask, z = solver.times(objective), Asked(objective), latents(0).double()
    alpha = lambda t: per_frame(objective.alpha_sigma(full(t).double())[0])  # noqa: E731
    x, number = z / alpha(1.0), 0
    for t, s in itertools.pairwise(times):
        levels = full(t).double(), full(s).double()
        z = solver.step(z, ask(z, levels[0]), *levels, objective, pytest.fail, ask)
        for level in (t, s) if s > 0 else (t,):
            assert theirs.timesteps[number] == pytest.approx(1000 * level - 1)
            number += 1
            x = theirs.step(predictions(x * alpha(level), number), theirs.timesteps[number - 1], x).prev_sample
        # Their levels are float32.
        torch.testing.assert_close(z, x * alpha(s), rtol=1e-5, atol=2e-5 * float(z.abs().max()))
    assert ask.calls == number == solver.calls(objective) == len(theirs.timesteps) == 19


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_heun_equals_diffusers_flow_matching(shift):
    diffusers = pytest.importorskip("diffusers")
    theirs = diffusers.FlowMatchHeunDiscreteScheduler(shift=shift)
    theirs.set_timesteps(10)
    objective, solver, z = OBJECTIVES["flow_matching"], Heun(Heun.Config(steps=10)), latents(0)
    # Theirs ends at the smallest trained level and shifts twice: the levels are taken from it, the steps are compared.
    times = [float(theirs.sigmas[0]), *theirs.sigmas[1:-1:2].tolist(), 0.0]
    assert times[0] == 1 and len(times) == 11
    ask, mine = Asked(objective), z
    for t, s in itertools.pairwise(times):
        mine = solver.step(mine, ask(mine, full(t)), full(t), full(s), objective, pytest.fail, ask)
    for number, k in enumerate(theirs.timesteps):
        z = theirs.step(predictions(z, number + 1), k, z).prev_sample
    torch.testing.assert_close(mine, z, rtol=0, atol=1e-5)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", OBJECTIVES)
def test_heuns_error_falls_with_the_square_of_the_step(name, path):
    """Twice as many steps: a quarter of the error, where Euler's halves; levels of frames differ."""
    objective = OBJECTIVES[name]
    data = Gaussian(objective)
    begin = torch.tensor([[0.8, 0.7, 0.6, 0.4]], dtype=torch.float64)
    z = latents(0, b=1).double()
    want = data.end(z, begin, begin / 4)

    def error(solver, steps):
        at = z
        for i in range(steps):
            t, s = (begin * (1 - 0.75 * j / steps) for j in (i, i + 1))
            at = solver.step(at, data.estimate(at, t), t, s, objective, pytest.fail, data.estimate)
        return float((at - want).abs().mean())

    heun, euler = Heun(Heun.Config(path=path)), Euler(Euler.Config())
    errors = [error(heun, steps) for steps in (15, 30, 60)]
    assert all(3.4 < a / b < 4.7 for a, b in itertools.pairwise(errors)), errors
    assert 1.8 < error(euler, 30) / error(euler, 60) < 2.3 and errors[2] < error(euler, 120)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_paths_share_eulers_step(name):
    objective, z = OBJECTIVES[name], latents(0)
    same = lambda z, t: latents(1)  # noqa: E731 an estimate that does not change: nothing to correct in ẑ, …
    t, s = full(0.8), full(0.0)
    euler = Euler(Euler.Config()).step(z, latents(1), t, s, objective, pytest.fail)
    for path in PATHS:  # … and to level 0 none is asked for
        heun = Heun(Heun.Config(path=path))
        torch.testing.assert_close(heun.step(z, latents(1), t, s, objective, pytest.fail, pytest.fail), euler)
        first = heun.step(z, latents(1), t, full(0.5), objective, pytest.fail, same)
        torch.testing.assert_close(
            first, Euler(Euler.Config()).step(z, latents(1), t, full(0.5), objective, pytest.fail)
        )


def test_heun_from_pure_noise_is_finite_along_both_paths():
    for name in ("flow_matching", "velocity-linear-zero", "velocity-cosine-zero"):
        objective, z = OBJECTIVES[name], latents(0)
        euler = Euler(Euler.Config()).step(z, latents(1), full(1.0), full(0.5), objective, pytest.fail)
        step = {
            path: Heun(Heun.Config(path=path)).step(
                z, latents(1), full(1.0), full(0.5), objective, pytest.fail, lambda z, t: latents(2)
            )
            for path in PATHS
        }
        assert torch.equal(step["edm"], euler) and torch.isfinite(step["straight"]).all()
        assert not torch.allclose(step["straight"], euler)


def test_heun_is_never_euler_in_silence():
    with pytest.raises(UnmetNeed, match="solver=euler"):
        Heun(Heun.Config()).step(latents(0), latents(1), full(0.5), full(0.4), OBJECTIVES["flow_matching"], pytest.fail)


def test_heun_is_refused_where_a_plan_asks_once_a_step():
    def check(*edits):
        (recipe,) = resolve(["recipe=quickstart", "noise=per_frame", *edits], sweep=False)
        pairings.check_noise(recipe, trained=recipe)

    with pytest.raises(UnmetNeed, match=r"solver 'heun'.*rollout 'rolling'.*single call: choose solver=euler"):
        check("rollout=rolling", "solver=heun")
    check("rollout=autoregressive", "solver=heun")
    check("rollout=rolling", "solver=ddpm")


# ------------------------------------------------------------------------------------------------------- ddpm


@pytest.mark.parametrize("variance", ["small", "large"])
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("kind", ["epsilon", "velocity", "zero"])
def test_ddpm_equals_diffusers(kind, schedule, variance):
    diffusers, options = diffusers_schedule(schedule)
    theirs = diffusers.DDPMScheduler(
        prediction_type="epsilon" if kind == "epsilon" else "v_prediction",
        variance_type=f"fixed_{variance}",
        timestep_spacing="trailing",
        clip_sample=False,
        rescale_betas_zero_snr=kind == "zero",
        **options,
    )
    theirs.set_timesteps(10)
    objective = OBJECTIVES[f"velocity-{schedule}-zero" if kind == "zero" else f"{kind}-{schedule}"]
    solver, z = DDPM(DDPM.Config(steps=10, variance=variance)), latents(0)
    for i, (t, s) in enumerate(itertools.pairwise(solver.times(objective))):
        k, says = theirs.timesteps[i], predictions(z, i)
        assert int(k) == round(1000 * t) - 1
        noise = torch.randn(z.shape, generator=torch.Generator().manual_seed(i))
        clean = objective.clean(says, z, full(t))
        mine = solver.step(z, clean, full(t), full(s), objective, lambda noise=noise: noise)
        z = theirs.step(says, k, z, generator=torch.Generator().manual_seed(i)).prev_sample
        # Theirs adds noise to the last step too, unless it is that of the first of the 1000 levels; ours ends clean.
        expected = clean if s == 0 else z
        torch.testing.assert_close(mine, expected, rtol=1e-5, atol=1e-5 * max(1, float(z.abs().max())))


@pytest.mark.parametrize("variance", ["small", "large"])
def test_ddpms_last_step_adds_no_noise_as_in_diffusers(variance):
    diffusers, options = diffusers_schedule("linear")
    theirs = diffusers.DDPMScheduler(
        variance_type=f"fixed_{variance}", clip_sample=True, clip_sample_range=0.8, **options
    )
    objective, z = OBJECTIVES["epsilon-linear"], latents(0)
    solver = DDPM(DDPM.Config(steps=1000, variance=variance, clip=0.8))
    clean = objective.clean(predictions(z, 0), z, full(1e-3))
    mine = solver.step(z, clean, full(1e-3), full(0.0), objective, lambda: latents(9))
    torch.testing.assert_close(mine, theirs.step(predictions(z, 0), 0, z).prev_sample, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_small_variance_is_ddim_at_eta_1(name):
    objective, z = OBJECTIVES[name], latents(0)
    t = torch.tensor([[1.0, 0.9, 0.5, 0.2], [0.7, 0.7, 0.7, 0.7]])
    s = torch.tensor([[0.9, 0.9, 0.0, 0.1], [0.6, 0.5, 0.1, 0.0]])
    steps = [
        solver.step(z, latents(1), t, s, objective, lambda: latents(2))
        for solver in (DDPM(DDPM.Config()), DDIM(DDIM.Config(eta=1.0)), DDPM(DDPM.Config(variance="large")))
    ]
    torch.testing.assert_close(steps[0], steps[1], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(steps[0], steps[2], atol=1e-2)
    assert torch.equal(steps[0][0, :, 1], z[0, :, 1])
