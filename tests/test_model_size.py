"""Budgets and presets of parameters: what is solved is what is built, and a size is said once."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch

from components.size_options import PRESETS
from zoo import compose, model_size, registry
from zoo.__main__ import main as command
from zoo.entry import guarded
from zoo.errors import BadValue
from zoo.recipe import Part, Recipe, override, resolve, validate

SIZES = compose.Sizes(channels=4, action_dim=2)
BUDGETS = {"200k": 200_000, "2.6M": 2_600_000, "10M": 10_000_000, "1.5B": 1_500_000_000}


def recipe(backbone: str, *edits: str) -> Recipe:
    (found,) = resolve(["recipe=quickstart", "rollout=autoregressive", f"backbone={backbone}", *edits], sweep=False)
    return validate(found)


def network(found: Recipe, text_width: int = 0) -> Any:
    with torch.device("meta"):
        return compose.build_network(found, SIZES, text_width)


def count(net: Any) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


@pytest.mark.parametrize("name", ["video_dit", "unet3d"])
@pytest.mark.parametrize("asked", BUDGETS)
def test_a_budget_is_met(name: str, asked: str) -> None:
    net = network(recipe(f"{{name: {name}, params: {asked}}}"))
    assert abs(count(net) / BUDGETS[asked] - 1) <= 0.025
    shape = net.config
    assert shape.width % shape.heads == 0 and shape.params is None
    if asked != "200k":
        assert 8 <= shape.width / shape.depth <= 160 and 8 <= shape.width // shape.heads <= 80


@pytest.mark.parametrize("name", ["video_dit", "unet3d"])
@pytest.mark.parametrize("edit", ["conditioning=concat", "pose_encoding=additive", "position=sincos_3d"])
def test_the_parts_inside_count(name: str, edit: str) -> None:
    assert abs(count(network(recipe(f"{{name: {name}, params: 3M}}", edit), text_width=64)) / 3e6 - 1) <= 0.025


def test_a_number_without_a_unit_and_in_small_letters() -> None:
    read = {registry.config("backbone", "video_dit", {"params": said}).params for said in ("2.6m", 2_600_000, 2.6e6)}
    assert read == {2_600_000}


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_those_of_dit(preset: str) -> None:
    shape = network(recipe(f"{{name: video_dit, preset: {preset}}}")).config
    assert (shape.width, shape.depth, shape.heads) == tuple(vars(PRESETS[preset]).values())
    assert {"S": (384, 12, 6), "XL": (1152, 28, 16)}.get(preset, (shape.width, shape.depth, shape.heads)) == (
        shape.width,
        shape.depth,
        shape.heads,
    )


def test_a_preset_of_the_unet_has_the_parameters_of_the_transformer() -> None:
    dit, unet = (count(network(recipe(f"{{name: {name}, preset: S}}"))) for name in ("video_dit", "unet3d"))
    assert abs(unet / dit - 1) <= 0.025


def test_solving_is_quick_and_done_once() -> None:
    calls = []
    part = Part(name="video_dit", options={"params": 5_000_000})

    def build(part: Part) -> torch.nn.Module:
        calls.append(part)
        width, depth = part.options["width"], part.options["depth"]
        return torch.nn.ParameterList([torch.empty(12 * width * width * depth + 100 * width)])  # type: ignore[return-value]

    begin = time.process_time()
    first = model_size.sized(part, build, ["unique to this test"])
    assert time.process_time() - begin < 5 and 6 <= len(calls) <= 30
    assert model_size.sized(part, build, ["unique to this test"]) == first and len(calls) <= 30
    assert set(first.options) == {"width", "depth", "heads"}


def test_solving_draws_no_random_number() -> None:
    found = recipe("{name: video_dit, params: 333k}")
    torch.manual_seed(3)
    solved = compose.build_network(found, SIZES, 0)
    shape = solved.config
    said = recipe(f"{{name: video_dit, width: {shape.width}, depth: {shape.depth}, heads: {shape.heads}}}")
    torch.manual_seed(3)
    for a, b in zip(solved.parameters(), compose.build_network(said, SIZES, 0).parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_budget_takes_the_place_of_a_recipes_width() -> None:
    found = resolve(["recipe=quickstart", "backbone.params=1M"], sweep=False)[0]
    assert "width" not in found.part("backbone").options
    assert abs(count(network(validate(found))) / 1e6 - 1) <= 0.025
    assert override(found, ["backbone.preset=S"]).part("backbone").options == {"preset": "S"}


@pytest.mark.parametrize(
    "edits",
    [
        ["backbone={params: 1M, width: 64}"],
        ["backbone={preset: S, depth: 2}"],
        ["backbone={preset: S, params: 1M}"],
        ["backbone.width=64", "backbone.params=1M"],
        ["backbone.params=1M", "backbone.heads=2"],
        ["backbone=unet3d", "backbone.params=1M", "backbone.width=64"],
    ],
    ids=str,
)
def test_a_size_said_twice_is_refused(edits: list[str]) -> None:
    with pytest.raises(BadValue, match="leave out one of the two"):
        validate(resolve(["recipe=quickstart", *edits], sweep=False)[0])


@pytest.mark.parametrize("said", ["many", "0", "-3", "10Q"])
def test_what_is_no_number_of_parameters_is_refused(said: str) -> None:
    with pytest.raises(BadValue, match=r"backbone\.params"):
        validate(resolve(["recipe=quickstart", f"backbone.params={said}"], sweep=False)[0])


def test_a_budget_that_nothing_fits_names_the_nearest() -> None:
    with pytest.raises(BadValue, match=r"choose backbone\.params="):
        network(recipe("{name: unet3d, params: 1000}"))


def test_plan_says_what_was_solved(capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(command, ["plan", "recipe=quickstart", "backbone.params=1M", "rollout=autoregressive"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "backbone video_dit: width" in said and "1 M asked" in said


@pytest.mark.parametrize(
    "edits, reason",
    [
        (["backbone.patch=[2,2,2]", "noise=per_frame"], "noise 'per_frame'"),
        (["backbone.patch=[2,2,2]", "noise=per_frame", "rollout=rolling"], "rollout 'rolling'"),
    ],
    ids=str,
)
def test_patches_of_several_frames_share_a_level(edits: list[str], reason: str, capsys: Any) -> None:
    assert guarded(command, ["plan", "recipe=quickstart", *edits]) == 2
    assert reason in capsys.readouterr().err
