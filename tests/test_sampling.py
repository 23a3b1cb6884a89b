"""The sampling engine: caches, batches and plans change nothing but speed."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from zoo import compose, registry
from zoo.canvas import JOURNAL
from zoo.recipe import resolve
from zoo.sampling import Engine, Request

FRAMES = 14


def build_engine(rollout: str = "autoregressive", *options: str, **changes) -> Engine:
    arguments = [
        "recipe=quickstart",
        f"rollout={rollout}",
        "backbone.width=16",
        "backbone.depth=2",
        "backbone.heads=2",
        "solver.steps=2",
        *options,
    ]
    (recipe,) = resolve(arguments, sweep=False)
    torch.manual_seed(0)
    generator = compose.build_generator(recipe, compose.Sizes(channels=3, action_dim=2))
    with torch.no_grad():  # zero-initialised modulations and heads would hide errors
        for parameter in generator.network.parameters():
            parameter.copy_(0.3 * torch.randn_like(parameter))
    engine = Engine(
        network=generator.network.eval(),
        objective=generator.objective,
        solver=compose.build("solver", recipe.part("solver")),
        guidance=compose.build("guidance", recipe.part("guidance")),
        rollout=compose.build("rollout", recipe.part("rollout")),
        text_encoder=generator.text_encoder,
        window=6,
        step=3,
    )
    return replace(engine, **changes)


def request(number: int, given: int = 4) -> Request:
    generator = torch.Generator().manual_seed(number)
    draw = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    return Request(f"episode {number}", draw(3, given, 4, 4), FRAMES, draw(FRAMES, 2), draw(FRAMES, 4))


OPTIONS = {"rolling": ("noise=per_frame",)}
"""What a rollout needs of the recipe beside its name."""
CHANGES = {"full": {"window": FRAMES, "step": FRAMES}}
"""What a rollout needs of the engine."""
ROLLOUTS = registry.names("rollout")


def test_the_walk_is_complete():
    assert {"autoregressive", "long_range", "hierarchical", "pose_nearest"} <= set(ROLLOUTS)


@pytest.mark.parametrize("rollout", ROLLOUTS)
def test_remembering_observed_frames_changes_nothing(rollout):
    requests = [request(0), request(1)]
    with_memory = build_engine(rollout, **CHANGES.get(rollout, {})).generate(requests)
    without = build_engine(rollout, cache=False, **CHANGES.get(rollout, {})).generate(requests)
    for a, b in zip(with_memory, without, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-5 * float(a.abs().max().clamp_min(1)))


def test_the_batch_size_changes_nothing():
    requests = [request(number) for number in range(3)]
    together = build_engine(batch=8).generate(requests)
    alone = [build_engine(batch=1).generate([one])[0] for one in requests]
    for a, b in zip(together, alone, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-4 * float(a.abs().max().clamp_min(1)))


def test_given_frames_stay_and_all_others_are_made():
    asked = request(0)
    (made,) = build_engine().generate([asked])
    assert torch.equal(made[:, :4], asked.context)
    assert (made[:, 4:].abs().amax(dim=(0, 2, 3)) > 0).all()


def test_requests_of_several_lengths_and_contexts_share_a_call():
    requests = [request(0), request(1, given=6), replace(request(2), frames=9)]
    together = build_engine().generate(requests)
    for asked, video in zip(requests, together, strict=True):
        assert video.shape[1] == asked.frames
        torch.testing.assert_close(video, build_engine().generate([asked])[0], rtol=1e-4, atol=1e-3)


def test_noise_depends_on_seed_and_episode():
    first, again = (build_engine(seed=1).generate([request(0)])[0] for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, build_engine(seed=2).generate([request(0)])[0])
    renamed = replace(request(0), episode="another")
    assert not torch.equal(first, build_engine(seed=1).generate([renamed])[0])


def test_stabilisation_shows_generated_history_noised():
    plain = build_engine().generate([request(0)])[0]
    noised = build_engine(stabilisation=0.3).generate([request(0)])[0]
    assert torch.equal(plain[:, :7], noised[:, :7])  # the first step looks at given frames alone, which stay clean
    assert not torch.equal(plain[:, 7:], noised[:, 7:])


def test_cost_counts_network_calls():
    _, cost = build_engine().paint([request(0), request(1)])
    steps = -(-(FRAMES - 4) // 3)
    assert cost.frames_made == 2 * (FRAMES - 4)
    assert cost.network_calls == 2 * steps * (2 + 1)  # two denoising steps and one pass to remember
    assert len(cost.seconds_by_step) == steps


def test_a_solver_that_asks_twice_is_charged_for_it_and_guided_twice():
    solver = registry.build("solver", "heun", {"steps": 3})
    _, cost = build_engine(solver=solver).paint([request(0)])
    steps = -(-(FRAMES - 4) // 3)
    assert cost.network_calls == steps * (solver.calls(None) + 1) == steps * (5 + 1)
    guidance = registry.build("guidance", "history", {"scales": [2.0]})
    plain, guided = (build_engine(solver=solver, **also) for also in ({}, {"guidance": guidance}))
    _, cost = guided.paint([request(0)])
    assert cost.network_calls == steps * (2 * 5 + 1)  # the branch without history has nothing to remember
    assert not torch.allclose(plain.generate([request(0)])[0], guided.generate([request(0)])[0])


def test_heun_walks_alike_alone_and_in_a_batch_with_and_without_memory():
    solver = registry.build("solver", "heun", {"steps": 3})
    requests = [request(number) for number in range(2)]
    together = build_engine(solver=solver).generate(requests)
    for changes in ({"batch": 1}, {"cache": False}):
        for a, b in zip(together, build_engine(solver=solver, **changes).generate(requests), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-4 * float(a.abs().max().clamp_min(1)))


def test_guidance_of_scale_1_costs_and_gives_what_none_does():
    plain, cost = build_engine().paint([request(0)])
    one = registry.build("guidance", "classifier_free", {"scale": 1.0, "drop": "camera", "rescale": 0.7})
    guided, same = build_engine(guidance=one).paint([request(0)])
    assert same.network_calls == cost.network_calls
    assert torch.equal(plain[0].read(range(FRAMES)), guided[0].read(range(FRAMES)))


# ------------------------------------------------------------------------------------------- stopping and going on


class Killed(Exception):
    pass


def killed_after(steps: int, engine: Engine, requests: list[Request], folder) -> None:
    """Run the engine into `folder` and die when `steps` groups of plan steps are done."""
    seen = []

    def die(made: int) -> None:
        seen.append(made)
        if len(seen) > steps:
            raise Killed

    with pytest.raises(Killed):
        engine.paint(requests, die, folder)


@pytest.mark.parametrize("rollout", ROLLOUTS)
@pytest.mark.parametrize("steps", [0, 1, 2])
def test_a_killed_rollout_goes_on_where_it_was(rollout, steps, tmp_path):
    requests = [request(0), request(1, given=6)]
    engine = build_engine(rollout, *OPTIONS.get(rollout, ()), **CHANGES.get(rollout, {}))
    groups: list[int] = []
    whole = engine.generate(requests, groups.append)
    killed_after(min(steps, len(groups) - 1), engine, requests, tmp_path)
    calls = []
    canvases, cost = engine.paint(requests, calls.append, tmp_path)
    for canvas, expected in zip(canvases, whole, strict=True):
        torch.testing.assert_close(canvas.read(range(FRAMES)), expected, rtol=0, atol=1e-5)
    assert cost.frames_made == sum(calls) == sum(FRAMES - r.context.shape[1] for r in requests)


def test_a_rollout_on_disk_is_the_rollout_in_memory(tmp_path):
    asked = [request(0), request(1)]
    canvases, _ = build_engine().paint(asked, folder=tmp_path)
    for canvas, expected in zip(canvases, build_engine().generate(asked), strict=True):
        assert torch.equal(torch.cat(list(canvas.chunks(5)), dim=1), expected)
    assert (tmp_path / JOURNAL).is_file()


def test_a_planner_may_not_look_at_unfinished_frames():
    canvases, _ = build_engine().paint([request(0)])
    canvas = canvases[0]
    assert canvas.looks([0, 13]).shape == (2, 3 * 16)
    canvas.finished[13] = 0
    with pytest.raises(ValueError, match="frame 13"):
        canvas.looks([0, 13])


# ----------------------------------------------------------------------------------------------- history guidance


def test_history_guidance_extrapolates_from_no_history():
    trained = ("train.generator.history_dropout=0.1", "train.generator.history_noise=0.2")
    plain = build_engine().generate([request(0)])[0]
    one = build_engine("autoregressive", "guidance={name: history, scales: [1.0]}", *trained).generate([request(0)])[0]
    torch.testing.assert_close(one, plain, rtol=0, atol=1e-4 * float(plain.abs().max()))
    more = build_engine("autoregressive", "guidance={name: history, scales: [2.0]}", *trained).generate([request(0)])[0]
    assert not torch.allclose(more, plain)
    none = build_engine("autoregressive", "guidance={name: history, scales: [0.0]}", *trained)
    other = request(0)
    changed = replace(other, context=torch.randn_like(other.context))
    first, second = none.generate([other])[0], none.generate([changed])[0]
    torch.testing.assert_close(first[:, 4:], second[:, 4:])  # weight 0: what was given does not matter


def test_fractional_history_is_shown_noised():
    options = ("guidance={name: history, scales: [1.0, 0.5], levels: [0.0, 0.4]}",)
    clean = ("guidance={name: history, scales: [1.0, 0.5], levels: [0.0, 0.0]}",)
    a = build_engine("autoregressive", *options).generate([request(0)])[0]
    b = build_engine("autoregressive", *clean).generate([request(0)])[0]
    assert not torch.allclose(a, b)
