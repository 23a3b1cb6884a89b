"""The U-Net beside the transformer: the same promises, with every alternative of its axes and at any latent size."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from test_backbone import ACTIONS, ATTENTIONS, CHANNELS, CONDITIONINGS, FEW, POSITIONS, TEXT, batch, close, frames_of

from components.backbone.unet3d import UNet3d
from components.contracts import Condition, Window
from components.frame_convolution import FrameResBlock
from zoo import registry

TINY = {"width": 12, "depth": 1, "heads": 2}
LEVELS = [{"attention_levels": ()}, {"attention_levels": (0,)}, {"multipliers": (1, 1, 2), "depth": 2}]


def build(
    attention: tuple[str, dict] = ("space_time_causal", {}),
    conditioning: str = "adaln",
    position: str = "learned_3d",
    pose_encoding: str = "relative_bias",
    packing: str = "padding",
    random: bool = True,
    **options: Any,
) -> UNet3d:
    """A tiny U-Net; its zero-initialised weights are made random, or they would hide every error."""
    torch.manual_seed(0)
    net = registry.build(
        "backbone",
        "unet3d",
        TINY | options,
        channels=CHANNELS,
        action_dim=ACTIONS,
        text_width=TEXT,
        packing=registry.build("packing", packing),
        position=partial(registry.build, "position", position),
        pose_encoding=partial(registry.build, "pose_encoding", pose_encoding),
        attention=registry.build("attention", attention[0], attention[1]),
        conditioning=partial(registry.build, "conditioning", conditioning),
    )
    for parameter in net.parameters() if random else ():
        torch.nn.init.normal_(parameter, std=0.15) if not parameter.any() else parameter.data.add_(
            0.05 * torch.randn_like(parameter)
        )
    return net


def clip_of(b: int, window: Window, condition: Condition, frames: int) -> tuple[Window, Condition]:
    """Window and condition of clip b alone, its first frames."""
    cut = Window(*(getattr(window, n)[b : b + 1, :frames] for n in ("times", "observed", "valid")))
    row = {n: getattr(condition, n)[b : b + 1] for n in ("text", "text_mask", "origin", "camera")}
    return cut, Condition(
        **row, **{n: getattr(condition, n)[b : b + 1, :frames] for n in ("level", "actions", "poses")}
    )


# ------------------------------------------------------------------------------------------------ memory, causality


def check_memory(net: UNet3d, side: int = 4) -> None:
    """What is remembered gives the whole window's answer, at two noise levels of the latent frames."""
    z, window, condition = batch([[1, 0, 1, 0, 0], [0, 1, 0, 0, 1]], side=side)
    seen, made = torch.tensor([[0, 2], [1, 4]]), torch.tensor([[1, 3, 4], [0, 2, 3]])
    later = replace(condition, level=torch.where(window.observed, condition.level, 0.5 * condition.level))
    with torch.no_grad():
        memory = net.remember(*frames_of(z, window, condition, seen))
        for told in (condition, later):
            whole = frames_of(net(z, window, told), window, told, made)[0]
            close(net(*frames_of(z, window, told, made), memory=memory), whole)
            alone = net(*frames_of(z, window, told, made))
            assert (alone - whole).abs().max() > 1e-3, "what is remembered must matter, or this test shows nothing"


@pytest.mark.parametrize("parts", FEW, ids=str)
def test_memory_equals_the_whole_window(parts: tuple) -> None:
    check_memory(build(*parts))


@pytest.mark.parametrize("options", LEVELS, ids=str)
@pytest.mark.parametrize("attention", ATTENTIONS[:2], ids=str)
def test_memory_at_other_levels_and_odd_sides(attention: tuple, options: dict) -> None:
    check_memory(build(attention, **options), side=5)


@pytest.mark.parametrize("parts", FEW, ids=str)
def test_no_latent_frame_changes_an_observed_activation(parts: tuple) -> None:
    net = build(*parts)
    activations: list[torch.Tensor] = []
    for module in net.modules():
        if isinstance(module, FrameResBlock | torch.nn.Conv2d):
            module.register_forward_hook(lambda _, __, out: activations.append(out.unflatten(0, (1, -1))[:, [0, 2]]))
    z, window, condition = batch([[1, 0, 1, 0]])
    other = z.clone()
    other[:, :, [1, 3]] += 1
    told = replace(condition, level=torch.where(window.observed, condition.level, 1.0))
    with torch.no_grad():
        out = net(z, window, condition)
        first, activations[:] = list(activations), []
        changed = net(other, window, told)
    assert len(first) == len(activations) > 10
    for a, b in zip(first, activations, strict=True):
        close(a, b)
    close(out[:, :, [0, 2]], changed[:, :, [0, 2]])
    assert not torch.allclose(out[:, :, 1], changed[:, :, 1])


@pytest.mark.parametrize("options", [{}, *LEVELS], ids=str)
def test_time_is_causal_among_latent_frames(options: dict) -> None:
    z, window, condition = batch([[0, 1, 0, 0, 0]])
    causal, full = build(**options), build(("full", {}), **options)
    with torch.no_grad():
        for late in range(2, 5):
            other = z.clone()
            other[:, :, late] += 1
            moved = (causal(other, window, condition) - causal(z, window, condition)).abs().amax((0, 1, 3, 4))
            assert moved[:late].max() < 1e-5
            assert moved[late:].min() > 1e-4
            assert (full(other, window, condition) - full(z, window, condition))[:, :, 0].abs().max() > 1e-4


def test_frames_meet_in_attention_alone() -> None:
    """With no history, a latent frame among latent frames is what it would be by itself."""
    net = build(("space_time_causal", {"history": 0}), depth=2)
    z, window, condition = batch([[0, 0, 0]])
    with torch.no_grad():
        out = net(z, window, condition)
        for f in range(3):
            close(out[:, :, [f]], net(*frames_of(z, window, condition, torch.tensor([[f]]))))


# ------------------------------------------------------------------------------------------------ sizes


PAIRS = list(itertools.product(ATTENTIONS, CONDITIONINGS))
TURNS = [(*pair, POSITIONS[i % len(POSITIONS)]) for i, pair in enumerate(PAIRS)]
"""Positions take turns: each meets every conditioning or nearly, and tests/test_backbone.py has the whole product."""


@pytest.mark.parametrize("parts", TURNS, ids=str)
def test_a_mixed_batch_equals_each_clip_alone(parts: tuple) -> None:
    net = build(*parts, qk_norm=False)
    _, window, condition = batch([[1, 0, 0, 1], [0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 1]])
    sizes = [(4, 4, 4), (2, 2, 6), (3, 5, 3), (1, 4, 4), (2, 2, 6)]
    window = replace(window, valid=torch.arange(4) < torch.tensor([f for f, _, _ in sizes])[:, None])
    clips = [torch.randn(CHANNELS, *size, requires_grad=True) for size in sizes]
    together = net(clips, window, condition)
    gradients = torch.autograd.grad(sum(p.square().sum() for p in together), [*clips, *net.parameters()])
    alone = [net(c[None], *clip_of(b, window, condition, c.shape[1]))[0] for b, c in enumerate(clips)]
    own = torch.autograd.grad(sum(p.square().sum() for p in alone), [*clips, *net.parameters()])
    for a, b, clip in zip(together, alone, clips, strict=True):
        assert a.shape == clip.shape
        close(a, b)
    for a, b in zip(gradients, own, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5 * max(1.0, float(b.abs().max())))


def test_packing_changes_nothing() -> None:
    _, window, condition = batch([[1, 0, 0], [0, 0, 0], [0, 0, 1]])
    clips = [torch.randn(CHANNELS, 3, side, 4) for side in (4, 2, 4)]
    with torch.no_grad():
        first, *others = (build(packing=name)(clips, window, condition) for name in registry.names("packing"))
    assert others and all(torch.equal(a, b) for other in others for a, b in zip(first, other, strict=True))


def test_mixed_sizes_have_no_memory() -> None:
    net = build()
    z, window, condition = batch([[1, 1], [1, 1]])
    memory = net.remember(z, window, condition)
    with pytest.raises(ValueError, match="clips of one size"):
        net([z[0], z[1, ..., :2]], replace(window, observed=~window.observed), condition, memory=memory)


@pytest.mark.parametrize("side", [1, 2, 3, 7])
@pytest.mark.parametrize("levels", [1, 2, 4])
def test_any_side_goes_through_any_number_of_levels(side: int, levels: int) -> None:
    net = build(multipliers=(1, 2, 1, 3)[:levels])
    z, window, condition = batch([[0, 0], [1, 0]], side=side)
    with torch.no_grad():
        out = net(z, window, condition)
    assert out.shape == z.shape and torch.isfinite(out).all() and out.any()


@pytest.mark.parametrize("attention", ATTENTIONS, ids=str)
def test_filler_slots_of_a_tensor_are_seen_by_nobody(attention: tuple) -> None:
    net = build(attention)
    z, window, condition = batch([[1, 0, 0, 0], [0, 0, 1, 0]])
    window = replace(window, valid=torch.tensor([[True] * 4, [True, True, False, False]]))
    other = z.clone()
    other[1, :, 2:] = 7.0
    with torch.no_grad():
        out, same = net(z, window, condition), net(other, window, condition)
    close(out, same)
    assert not out[1, :, 2:].any() and torch.isfinite(out).all()


# ------------------------------------------------------------------------------------------------ conditions, weights


@pytest.mark.parametrize("conditioning", CONDITIONINGS)
@pytest.mark.parametrize("pose_encoding", registry.names("pose_encoding"))
def test_every_signal_reaches_the_output(conditioning: str, pose_encoding: str) -> None:
    net = build(conditioning=conditioning, pose_encoding=pose_encoding)
    z, window, told = batch([[1, 0, 0], [1, 0, 0]])
    told = replace(told, camera=torch.tensor([True, True]), text_mask=torch.ones_like(told.text_mask))
    turned = told.poses.clone()
    turned[:, 1, 3] += 0.7
    changes = {
        "level": told.level.clone().index_fill_(1, torch.tensor([2]), 0.5),
        "text": told.text.flip(0),
        "text_mask": torch.zeros_like(told.text_mask),
        "actions": told.actions.flip(0),
        "camera": torch.tensor([False, False]),
        **({} if pose_encoding == "none" else {"poses": turned}),
    }
    with torch.no_grad():
        out = net(z, window, told)
        for name, value in changes.items():
            assert (net(z, window, replace(told, **{name: value})) - out).abs().max() > 1e-4, name
        marked = replace(window, observed=torch.zeros_like(window.observed))
        assert (net(z, marked, told) - out).abs().max() > 1e-4, "observed"
        dropped = replace(told, camera=torch.tensor([False, False]), text_mask=torch.zeros_like(told.text_mask))
        other = replace(dropped, poses=told.poses + 1, actions=told.actions + 1, text=told.text + 1)
        close(net(z, window, dropped), net(z, window, other))
        close(net(z, window, dropped), net(z, window, replace(dropped, text=None, text_mask=None)))


@pytest.mark.parametrize(
    "options",
    [
        *({"conditioning": name} for name in CONDITIONINGS),
        *({"position": name} for name in POSITIONS),
        *({"pose_encoding": name} for name in registry.names("pose_encoding")),
        *({"conditioning": "concat"} | LEVELS[0], LEVELS[1], LEVELS[2]),
    ],
    ids=str,
)
def test_a_new_network_predicts_zero_and_every_weight_learns(options: dict) -> None:
    net = build(random=False, **options)
    z, window, told = batch([[1, 0, 0, 0], [0, 1, 0, 0]])
    assert not net(z, window, told).any()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2, foreach=True)
    losses = []
    for _ in range(7):
        loss = (net(z, window, told) - z).square().mean()
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad is not None for p in net.parameters()), "no weight is left out of the graph, ever"
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    assert not [name for name, p in net.named_parameters() if not p.grad.any()]


def size(**options: Any) -> int:
    return sum(p.numel() for p in build(**options).parameters())


def test_size_follows_the_options() -> None:
    assert size(width=8) < size(width=16) < size(width=32)
    assert size(depth=1) < size(depth=2) and size(multipliers=(1, 2)) < size(multipliers=(1, 2, 2))
    assert size(attention_levels=()) < size(attention_levels=(1,)) < size() == size(attention_levels=(0, 1))


def test_autocast_gives_finite_gradients() -> None:
    net = build()
    z, window, told = batch([[1, 0, 0], [0, 0, 0]])
    with torch.autocast("cpu", torch.bfloat16):
        net(z, window, told).float().square().mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters())


@pytest.mark.parametrize(
    "options, cure",
    [
        ({"width": 30, "heads": 4}, "multiple of heads"),
        ({"attention_levels": (2,)}, "0 to 1"),
        ({"multipliers": (1, 0)}, "at least 1"),
        ({"multipliers": ()}, "at least 1"),
    ],
)
def test_refusals_name_the_cure(options: dict, cure: str) -> None:
    with pytest.raises(ValidationError, match=cure):
        UNet3d.Config(**options)
