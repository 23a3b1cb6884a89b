"""What plan says a recipe costs: counted calls, FLOPs and memory against what really happens."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import torch
from tiny import TINY
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.suite import load
from zoo import compose, registry
from zoo.__main__ import main as command
from zoo.call_cost import Live, NetworkCost
from zoo.cost import LAP, generator_cost, network_cost, rollout_cost, stand_in_features, stand_in_poses, suite_shape
from zoo.entry import guarded
from zoo.errors import BadValue
from zoo.recipe import Recipe, resolve, validate
from zoo.sampling import Engine, Request

ROLLOUTS = registry.names("rollout")
EDITS = {"rolling": ["noise=per_frame"], "full": ["sample.window=16", "sample.step=16"]}
"""What a rollout needs of the tiny recipe, whose suite asks for 24 frames of which 12 are given."""


def recipe(*edits: str) -> Recipe:
    (found,) = resolve(tiny(*edits), sweep=False)
    return validate(found)


def tiny(*edits: str) -> list[str]:
    """The tiny recipe; an edit takes the place of what it says of the same key."""
    keys = {edit.partition("=")[0] for edit in edits}
    return [*(argument for argument in TINY if argument.partition("=")[0] not in keys), *edits]


def cost(found: Recipe) -> tuple[dict, NetworkCost]:
    suite = load({"name": found.suite.name, **found.suite.options})
    counter = network(suite_shape(found, suite)[0])
    return rollout_cost(found, suite, counter), counter


@cache
def network(size: int, backbone: str = "video_dit") -> NetworkCost:
    """The tiny recipe's, which counts every shape once for all tests; rollouts change nothing in it."""
    return network_cost(recipe(f"backbone={{name: {backbone}, width: 16, depth: 1, heads: 2}}"), (size, size))


# ---------------------------------------------------------------------------------------------- single calls


@pytest.mark.parametrize("backbone", ["video_dit", "unet3d"])
@pytest.mark.parametrize(("observed", "latent", "remembered"), [(0, 4, True), (3, 5, True), (3, 5, False)])
def test_flops_are_those_of_a_real_call(backbone, observed, latent, remembered):
    counter = network(32, backbone)
    said = counter.call(observed, latent, remembered=remembered).flops
    found = recipe(f"backbone={{name: {backbone}, width: 16, depth: 1, heads: 2}}")
    real = compose.build_network(found, counter.sizes, counter.text_width)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        memory, given = None, counter.inputs(observed, latent, "cpu")
        if observed and remembered:
            with FlopCounterMode(display=False) as measured:
                memory = real.remember(*counter.inputs(observed, 0, "cpu"))
            assert counter.remember(observed).flops == measured.get_total_flops()
            given = counter.inputs(0, latent, "cpu")
        with FlopCounterMode(display=False) as measured:
            real(*given, memory=memory)
    assert said == measured.get_total_flops() > 0


def test_observed_frames_cost_less_when_remembered_and_more_of_them_cost_more():
    counter = network(32)
    remembered, again = counter.call(8, 4, remembered=True), counter.call(8, 4, remembered=False)
    assert counter.call(0, 4, remembered=True).flops < remembered.flops < again.flops
    assert counter.remember(8).flops + 10 * remembered.flops < 10 * again.flops
    assert counter.memory_bytes(8) == 2 * counter.memory_bytes(4) > 0


def test_live_bytes_rise_and_fall():
    with torch.device("meta"), torch.no_grad():
        given = torch.zeros(1000)
        with Live() as live:
            a = given + 1
            b = a.view(10, 100) * 2  # a view is no new storage
            a.add_(1)
            given.view(10, 100)  # neither is what was there before
            assert (live.now, live.peak) == (8000, 8000)
            del b
            assert (live.now, live.peak) == (4000, 8000)
            c = torch.cat([a, a])
        assert (live.now, live.peak) == (12000, 12000)
        del a, c
        assert live.now == 0


# -------------------------------------------------------------------------------------------------- rollouts


@pytest.mark.parametrize("guidance", ["none", "history"])
@pytest.mark.parametrize("rollout", ROLLOUTS)
def test_calls_are_those_the_sampling_engine_makes(rollout, guidance):
    found = recipe(f"rollout={rollout}", f"guidance={guidance}", *EDITS.get(rollout, []))
    said, counter = cost(found)
    generator = compose.build_generator(found, counter.sizes)
    engine = Engine(
        network=generator.network.eval(),
        objective=generator.objective,
        solver=compose.build("solver", found.part("solver")),
        guidance=compose.build("guidance", found.part("guidance")),
        rollout=compose.build("rollout", found.part("rollout")),
        text_encoder=generator.text_encoder,
        window=found.sample.window,
        step=found.sample.step,
    )
    context = torch.randn(counter.sizes.channels, 12, *counter.latent_hw)
    asked = Request("0", context, 24, torch.zeros(24, 3), torch.from_numpy(stand_in_poses(24)))
    canvases, spent = engine.paint([asked])
    assert said["network_calls"] == spent.network_calls
    assert said["network_calls_per_frame"] == spent.network_calls / spent.frames_made
    assert said["plan_steps"] == len(spent.seconds_by_step)
    assert said["canvas_bytes"] == 4 * canvases[0].frames * np.prod(canvases[0].shape)
    assert said["latent_frames"] - said["observed_frames"] == spent.frames_made


@pytest.mark.parametrize("solver", [name for name in registry.names("solver") if name != "none"])
def test_calls_of_a_walk_are_those_a_solver_makes(solver):
    found = recipe(f"solver={{name: {solver}, steps: 3}}", "rollout=autoregressive")
    built, objective = (compose.build(axis, found.part(axis)) for axis in ("solver", "objective"))
    z, asked = torch.ones(1, 2, 1, 2, 2), []

    def estimate(z, t):
        asked.append(t)
        return 0.9 * z

    for t, s in pairwise(built.times(objective)):
        t, s = (torch.full((1, 1), level) for level in (t, s))
        z = built.step(z, estimate(z, t), t, s, objective, lambda: torch.ones(1, 2, 1, 2, 2), estimate)
    assert len(asked) == built.calls(objective)
    said, _ = cost(found)
    assert said["network_calls"] == said["plan_steps"] * (built.calls(objective) + 1)  # and one to remember


def test_guidance_of_scale_1_is_planned_as_none():
    plain, one = (cost(recipe(*edits))[0] for edits in ((), ("guidance={name: classifier_free, scale: 1.0}",)))
    assert one["network_calls"] == plain["network_calls"] and one["flops"] == plain["flops"]


def test_flops_are_the_sum_over_steps_and_memory_pays():
    said, counter = cost(recipe("rollout=autoregressive", "solver.steps=10"))
    by_hand = counter.remember(8).flops * 2 + 10 * (
        counter.call(8, 8, remembered=True).flops + counter.call(8, 4, remembered=True).flops
    )
    assert said["flops"] == by_hand
    without, _ = cost(recipe("rollout=autoregressive", "solver.steps=10", "sample.cache=false"))
    assert without["flops"] > 1.5 * said["flops"] and without["network_calls"] == said["network_calls"] - 2


@pytest.mark.parametrize("rollout", [name for name in ROLLOUTS if name != "full"])
def test_five_thousand_frames_are_planned(rollout):
    said, _ = cost(recipe(f"rollout={rollout}", "suite.frames=5000", "suite.context=250", *EDITS.get(rollout, [])))
    assert said["latent_frames"] - said["observed_frames"] == 4750
    assert said["flops"] > 0 and 0 < said["peak_activation_bytes"] < 2**30
    assert said["canvas_bytes"] == 5000 * 8 * 8 * 8 * 4


def test_frames_are_counted_at_the_size_they_are_judged_at():
    world = "suite.dataset={name: maze, size: 64, frames: 24, test: 2, lap: [8, 12]}"
    small, large = (cost(recipe(*edits))[0] for edits in ((), (world,)))
    assert large["flops"] > 3.5 * small["flops"]
    assert large["canvas_bytes"] == 4 * small["canvas_bytes"]
    assert large["network_calls"] == small["network_calls"]


def test_training_cost_is_counted_the_same_every_time():
    found = recipe()
    first, second = (generator_cost(found, network(32)) for _ in range(2))
    assert first == second and first["memory_bytes"] > 20 * first["parameters"]
    two = recipe("trainer.devices=2")
    assert generator_cost(two, network(32))["memory_bytes"] < first["memory_bytes"]
    assert generator_cost(two, network(32))["flops_per_step"] == first["flops_per_step"]


def test_a_size_that_does_not_divide_is_refused():
    with pytest.raises(BadValue, match="30x30"):
        network_cost(recipe(), (30, 30))


def test_stand_ins_return_where_they_were():
    poses = stand_in_poses(3 * LAP)
    assert np.array_equal(poses[:LAP], poses[LAP : 2 * LAP])
    look = stand_in_features(poses)
    gap = lambda a, b: float(np.square(look([a])[0] - look([b])[0]).sum())  # noqa: E731
    assert gap(5, 5 + LAP) < 0.1 * gap(5, 5 + LAP // 2)
    assert gap(5, 5 + LAP) > 0 and np.array_equal(look([7]), stand_in_features(poses)([7]))


# --------------------------------------------------------------------------------------------------- command


def test_markdown_has_a_line_for_every_strategy(capsys):
    assert command(["plan", *tiny("rollout=autoregressive,hierarchical"), "format=markdown"]) == 0
    lines = capsys.readouterr().out.splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert [line.split("|")[1].strip() for line in table[2:]] == ["autoregressive", "hierarchical"]
    assert len({line.count("|") for line in table}) == 1
    assert "generator" in lines[0]


def test_an_unknown_format_is_refused(capsys):
    assert guarded(command, ["plan", *TINY, "format=markdwon"]) == 2
    assert "Did you mean 'markdown'?" in capsys.readouterr().err
