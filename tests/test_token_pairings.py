"""What goes with token objectives and what does not, what they cost, and the quickstart on them to a record."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny import TINY
from token_models import OBJECTIVES, engine, request
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import record as records
from benchmarks.suite import load
from zoo import compose, pairings
from zoo.cost import generator_cost, network_cost, rollout_cost, suite_shape
from zoo.entry import guarded
from zoo.errors import UnmetNeed
from zoo.recipe import resolve, validate
from zoo.run import main

both = pytest.mark.parametrize("objective", OBJECTIVES)
QUICK = {"maskgit": "{name: maskgit, iterations: 3}", "autoregressive_tokens": "autoregressive_tokens"}

# ------------------------------------------------------------------------------------------------------- costs


def tiny(objective: str, *edits: str) -> list[str]:
    keys = {edit.partition("=")[0] for edit in edits} | {"objective"}
    kept = [argument for argument in TINY if argument.partition("=")[0] not in keys and "solver" not in argument]
    return [
        *(a for a in kept if not a.startswith("tokenizer.")),
        "tokenizer={name: vqvae, width: 16, depth: 1}",
        f"objective={objective}",
        *edits,
    ]


@both
@pytest.mark.parametrize("cache", [True, False])
def test_calls_and_flops_are_those_the_engine_makes(objective: str, cache: bool) -> None:
    arguments = tiny(QUICK[objective], f"sample.cache={cache}", "sample.window=4", "sample.step=2", "suite.frames=17")
    (found,) = resolve(arguments, sweep=False)
    found = validate(found)
    suite = load({"name": found.suite.name, **found.suite.options})
    counter = network_cost(found, (16, 16))
    assert generator_cost(found, counter)["flops_per_step"] > 0 and suite_shape(found, suite)
    said = rollout_cost(found, suite, counter)
    net = compose.build_network(found, counter.sizes, 0).eval()
    sampler = engine(QUICK[objective], net=net, window=4, step=2, cache=cache)
    total, given = said["latent_frames"], said["observed_frames"]
    asked = replace(
        request(0, frames=total),
        context=torch.zeros(counter.sizes.channels, given, *counter.latent_hw),
        actions=torch.zeros(total, counter.sizes.action_dim),
    )
    with FlopCounterMode(display=False) as measured, torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        _, spent = sampler.paint([asked])
    assert said["network_calls"] == spent.network_calls
    assert abs(said["flops"] / measured.get_total_flops() - 1) < 1e-3


# ---------------------------------------------------------------------------------------------------- refusals

REFUSALS = {
    "rolling": (["objective=maskgit", "rollout={name: rolling}", "noise=per_frame"], "another rollout"),
    "stabilisation": (["objective=maskgit", "sample.stabilisation=0.02"], "stabilisation"),
    "history noise": (["objective=maskgit", "train.generator.history_noise=0.1"], "history_noise"),
    "history levels": (["objective=maskgit", "guidance={name: history, levels: [0.3]}"], "levels at 0"),
    "pre-quantised": (["objective=maskgit", "train.generator.latent=unquantised"], "quantised"),
    "patch": (["objective=maskgit", "backbone.patch=[1,2,2]"], r"\[1, 1, 1\]"),
    "u-net": (["objective=autoregressive_tokens", "backbone=unet3d"], "video_dit"),
    "levels": (["objective=autoregressive_tokens", "noise=per_frame"], "noise=shared"),
    "solver": (["solver=none"], "euler"),
    "continuous": (["objective=maskgit", "tokenizer=vae"], "tokenizer=vqvae"),
    "teco": (["objective=maskgit", "tokenizer=teco"], "quantizer: vq"),
    "no quantiser": (["tokenizer=vae", "train.generator.latent=unquantised"], "no quantiser"),
}


def checked(*options: str) -> None:
    """All that is asked of a recipe before anything is trained."""
    if not any(option.startswith("tokenizer=") for option in options):
        options = (*options, "tokenizer=vqvae")
    if not any(option.startswith("rollout=") for option in options):
        options = (*options, "rollout=autoregressive")
    (found,) = resolve(["recipe=quickstart", *options], sweep=False)
    suite = load({"name": found.suite.name})
    pairings.check(found, suite)
    pairings.check_built(validate(found), suite)


@pytest.mark.parametrize("case", REFUSALS)
def test_refusals_say_why_and_name_the_cure(case: str) -> None:
    options, words = REFUSALS[case]
    with pytest.raises(UnmetNeed, match=words):
        checked(*options)


@pytest.mark.parametrize(
    "options",
    [
        ("objective=maskgit", "backbone=unet3d", "packing=navit"),
        ("objective=maskgit", "noise=per_frame", "solver=none"),
        ("objective=autoregressive_tokens", "attention=full", "backbone.patch=[1,1,1]"),
        ("tokenizer={name: teco, quantizer: vq}", "objective=autoregressive_tokens"),
        ("train.generator.latent=unquantised",),
    ],
    ids=str,
)
def test_what_goes_together_is_let_through(options: tuple[str, ...]) -> None:
    checked(*options)


def test_options_of_decoding_train_nothing_anew() -> None:
    def point(*options: str) -> Any:
        (found,) = resolve(tiny("maskgit", *options), sweep=False)
        return validate(found)

    one, other = point(), point("objective.iterations=3", "objective.temperature=0.5")
    assert compose.training_part(one) == compose.training_part(other)
    assert compose.decoding_options(other) == {"choice_temperature": 4.5, "iterations": 3, "temperature": 0.5}
    smoother = point("objective.label_smoothing=0.2")
    assert compose.training_part(one) != compose.training_part(smoother)


# ---------------------------------------------------------------------------------------------------- the whole way


@both
def test_the_quickstart_runs_to_a_record(objective: str, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("ZOO_RUNS", str(tmp_path))
    small = ["dataset.size=16", "suite.frames=16", "suite.context=12", "dataset.frames=16", "suite.episodes=2"]
    assert guarded(main, tiny(QUICK[objective], *small)) == 0, capsys.readouterr().err
    rows, broken = records.read_all(tmp_path / "records")
    assert not broken
    (row,) = [row for row in rows if row.kind == "model"]
    assert row.components["objective"] == objective and row.metrics["psnr"].value is not None
    assert row.cost.flops["generated_frame"] > 0 and row.cost.network_calls_per_frame > 1
