"""The backbone with every alternative of its five axes: memory, packing, causality, conditions, and their facts."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from components.backbone.video_dit import VideoDiT
from components.contracts import Condition, Window
from components.patches import from_patches, to_patches
from zoo import registry

ATTENTIONS: list[tuple[str, dict]] = [
    *((name, {}) for name in registry.names("attention")),
    ("space_time_causal", {"history": 1}),
    ("windowed", {"frames": 2, "rows": 1, "columns": 2}),
]
"""Every alternative as it comes, and with options that bite at the sizes of these tests."""
CONDITIONINGS, POSITIONS = registry.names("conditioning"), registry.names("position")
PARTS = list(itertools.product(ATTENTIONS, CONDITIONINGS, POSITIONS, registry.names("pose_encoding")))
STRIDE = next(n for n in itertools.count(11) if math.gcd(n, len(PARTS)) == 1)
FEW = PARTS[::STRIDE]
"""Some of them, in which every name occurs: the stride shares no factor with the number of any axis' alternatives."""
MIXED = [name for name in registry.names("packing") if not registry.load("packing", name).one_size]
"""Packings that take clips of several sizes at once."""
CHANNELS, ACTIONS, TEXT = 3, 2, 5
CORES = list(itertools.product(ATTENTIONS, CONDITIONINGS, POSITIONS))
every_core = pytest.mark.parametrize("parts", CORES, ids=str)


def build(
    attention: tuple[str, dict] = ("space_time_causal", {}),
    conditioning: str = "adaln",
    position: str = "learned_3d",
    pose_encoding: str = "relative_bias",
    packing: str = "padding",
    random: bool = True,
    **options: Any,
) -> VideoDiT:
    """A tiny backbone; its zero-initialised weights are made random, or they would hide every error."""
    torch.manual_seed(0)
    config = {"width": 24, "depth": 2, "heads": 2, "mlp_ratio": 2.0, "qk_norm": True} | options
    net = registry.build(
        "backbone",
        "video_dit",
        config,
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
    return net.requires_grad_(True)


def batch(observed: list[list[int]], seed: int = 0, side: int = 4) -> tuple[torch.Tensor, Window, Condition]:
    """Latents, window and full condition; `observed` holds 0/1 per clip and frame."""
    draw = torch.Generator().manual_seed(seed)
    rand = partial(torch.rand, generator=draw)
    flags = torch.tensor(observed, dtype=torch.bool)
    b, f = flags.shape
    z = torch.randn(b, CHANNELS, f, side, side + 1, generator=draw)
    window = Window(torch.arange(f).expand(b, f).float() - 2, flags, torch.ones_like(flags))
    level = torch.where(flags, 0.02, rand(b, f))
    mask = torch.tensor([[True, True, False]] * b)
    mask[-1] = False
    condition = Condition(
        level=level,
        text=torch.randn(b, 3, TEXT, generator=draw),
        text_mask=mask,
        actions=torch.randn(b, f, ACTIONS, generator=draw),
        poses=torch.cat([0.3 * rand(b, f, 3), 6 * rand(b, f, 1)], dim=-1),
        origin=rand(b, 4),
        camera=torch.tensor([True] * (b - 1) + [False]),
    )
    return z, window, condition


def frames_of(z: torch.Tensor, window: Window, condition: Condition, chosen: torch.Tensor) -> tuple:
    """The same number of chosen frames [B, n] of every clip."""
    rows = torch.arange(len(chosen))[:, None]
    picked = Window(*(getattr(window, name)[rows, chosen] for name in ("times", "observed", "valid")))
    told = replace(condition, **{n: getattr(condition, n)[rows, chosen] for n in ("level", "actions", "poses")})
    return z.movedim(2, 1)[rows, chosen].movedim(1, 2), picked, told


def close(a: torch.Tensor, b: torch.Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=0, atol=1e-5)


def test_the_walk_sees_every_axis() -> None:
    assert {"adaln", "concat", "cross_attention"} <= set(CONDITIONINGS)
    assert {"learned_3d", "fractional", "sincos_3d", "rope_3d"} <= set(POSITIONS)
    assert {"none", "additive", "relative_bias"} <= set(registry.names("pose_encoding"))
    assert {name for name, _ in ATTENTIONS} == set(registry.names("attention")) and "windowed" in dict(ATTENTIONS)
    assert {"padding", "navit"} <= set(MIXED)
    for axis in range(4):
        assert {str(parts[axis]) for parts in FEW} == {str(parts[axis]) for parts in PARTS}


# ------------------------------------------------------------------------------------------------ memory, causality


@pytest.mark.parametrize("parts", PARTS, ids=str)
def test_memory_equals_the_whole_window(parts: tuple) -> None:
    net = build(*parts)
    z, window, condition = batch([[1, 0, 1, 0, 0], [0, 1, 0, 0, 1]])
    seen = torch.tensor([[0, 2], [1, 4]])
    made = torch.tensor([[1, 3, 4], [0, 2, 3]])
    with torch.no_grad():
        whole = frames_of(net(z, window, condition), window, condition, made)[0]
        memory = net.remember(*frames_of(z, window, condition, seen))
        cached = net(*frames_of(z, window, condition, made), memory=memory)
        alone = net(*frames_of(z, window, condition, made))
    close(cached, whole)
    assert (alone - whole).abs().max() > 1e-3, "what is remembered must matter, or this test shows nothing"


@every_core
def test_memory_serves_every_noise_level(parts: tuple) -> None:
    net = build(*parts)
    z, window, condition = batch([[1, 1, 0, 0]])
    memory = None
    with torch.no_grad():
        for share in (1.0, 0.9, 0.0):
            level = torch.where(window.observed, condition.level, share * condition.level)
            told = replace(condition, level=level)
            if memory is None:
                memory = net.remember(*frames_of(z, window, told, torch.tensor([[0, 1]])))
            now = net(*frames_of(z, window, told, torch.tensor([[2, 3]])), memory=memory)
            close(now, net(z, window, told)[:, :, 2:])


def kept(net: VideoDiT, *inputs: Any) -> list[torch.Tensor]:
    """Every key and value of every crossing sublayer, per frame: [B, F, S, …]."""
    memory = net.remember(*inputs)
    frames = inputs[0].shape[2]
    return [part.unflatten(1, (frames, -1)) for layer in memory.layers for pair in layer.values() for part in pair]


@pytest.mark.parametrize("parts", FEW, ids=str)
def test_no_latent_frame_changes_an_observed_activation(parts: tuple) -> None:
    net = build(*parts)
    z, window, condition = batch([[1, 0, 1, 0]])
    other = z.clone()
    other[:, :, [1, 3]] += 1
    told = replace(condition, level=torch.where(window.observed, condition.level, 1.0))
    seen = [0, 2]
    with torch.no_grad():
        for a, b in zip(kept(net, z, window, condition), kept(net, other, window, told), strict=True):
            close(a[:, seen], b[:, seen])
        out, changed = net(z, window, condition), net(other, window, told)
    close(out[:, :, seen], changed[:, :, seen])
    assert not torch.allclose(out[:, :, 1], changed[:, :, 1])


def test_time_is_causal_among_latent_frames_and_history_ends() -> None:
    z, window, condition = batch([[0, 1, 0, 0, 0]])
    later, first = z.clone(), z.clone()
    later[:, :, 3] += 1
    first[:, :, 0] += 1
    with torch.no_grad():
        causal, short, full = (
            build(a, depth=1) for a in (("space_time_causal", {}), ("space_time_causal", {"history": 1}), ("full", {}))
        )
        out = causal(z, window, condition)
        moved = causal(later, window, condition)
        close(out[:, :, :3], moved[:, :, :3])
        assert all((out - moved)[:, :, f].abs().max() > 1e-4 for f in (3, 4))
        assert (full(later, window, condition) - full(z, window, condition))[:, :, 0].abs().max() > 1e-4
        # One block and a history of one frame: frame 0 reaches frames at times 0 and 1 (1 is observed: unmoved), not 2.
        gap = (short(first, window, condition) - short(z, window, condition)).abs().amax((0, 1, 3, 4))
        assert gap[0] > 1e-4 and gap[1:].max() < 1e-5


@every_core
def test_token_by_token_equals_the_whole_frame(parts: tuple) -> None:
    """Raster decoding [frame by frame, one token a call] is the masked pass over the frame, given the same memory."""
    net = build(*parts, patch=(1, 1, 1))
    if not hasattr(net.attention, "layout_next"):
        pytest.skip("this attention makes no frame token by token")
    z, window, condition = batch([[1, 1, 0], [1, 1, 0]], side=2)
    with torch.no_grad():
        memory = net.remember(*frames_of(z, window, condition, torch.tensor([[0, 1], [0, 1]])))
        last, own, told = frames_of(z, window, condition, torch.tensor([[2], [2]]))
        own = replace(own, raster=torch.ones_like(own.observed))
        whole = net(last, own, told, memory)
        frame = net.begin_frame(own, told, memory, tuple(last.shape[-2:]))
        said = torch.stack([net.next_token(token, frame) for token in last[:, :, 0].flatten(2).unbind(-1)], dim=-1)
    close(said.unflatten(-1, last.shape[-2:]), whole[:, :, 0])


# ------------------------------------------------------------------------------------------------ packing and sizes


SIZES = [(4, 4, 4), (2, 2, 6), (3, 5, 3), (1, 4, 4)]
"""Frames, height and width of clips that are packed together; the first and the last are of one size but for length."""


def mixed() -> tuple[list[torch.Tensor], Window, Condition]:
    """Clips of these sizes, the window's slots beyond a clip's length being filler."""
    _, window, condition = batch([[1, 0, 0, 1], [0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0]])
    window = replace(window, valid=torch.arange(4) < torch.tensor([f for f, _, _ in SIZES])[:, None])
    draw = torch.Generator().manual_seed(1)
    return [torch.randn(CHANNELS, *size, generator=draw).requires_grad_() for size in SIZES], window, condition


def alone(b: int, window: Window, condition: Condition) -> tuple[Window, Condition]:
    """Window and condition of clip b by itself."""
    f = SIZES[b][0]
    cut = Window(*(getattr(window, n)[b : b + 1, :f] for n in ("times", "observed", "valid")))
    row = {n: getattr(condition, n)[b : b + 1] for n in ("text", "text_mask", "origin", "camera")}
    return cut, Condition(**row, **{n: getattr(condition, n)[b : b + 1, :f] for n in ("level", "actions", "poses")})


def with_gradients(net: VideoDiT, clips: list[torch.Tensor], made: list[torch.Tensor]) -> list[torch.Tensor]:
    """What was made, and the gradients of its squares to every clip and weight."""
    total = sum(one.square().sum() for one in made)
    return [*made, *torch.autograd.grad(total, [*clips, *net.parameters()], materialize_grads=True)]


@every_core
def test_packed_equals_padded_equals_alone(parts: tuple) -> None:
    """Forward and gradients, whatever the packing: clips of mixed sizes, lengths, prompts and observed frames."""
    net = build(*parts, qk_norm=False, depth=1)
    clips, window, condition = mixed()
    by_itself = [net(clip[None], *alone(b, window, condition))[0] for b, clip in enumerate(clips)]
    expected = with_gradients(net, clips, by_itself)
    for name in MIXED:
        net.packing = registry.build("packing", name)
        together = net(clips, window, condition)
        assert [one.shape for one in together] == [one.shape for one in clips]
        for mine, theirs in zip(with_gradients(net, clips, together), expected, strict=True):
            torch.testing.assert_close(
                mine, theirs, rtol=1e-5, atol=1e-5 * max(1.0, float(theirs.detach().abs().max()))
            )


@every_core
def test_dropped_columns_are_dropped_alike_in_a_row_and_alone(parts: tuple) -> None:
    """A kept token says where it is in the whole picture, and nothing of a dropped one reaches it."""
    net = build(*parts, depth=1)
    clips, window, condition = mixed()
    kept = [
        torch.tensor(k, dtype=torch.bool)
        for k in ([[1, 0], [0, 1]], [[0, 1, 1]], [[1, 1], [0, 1], [1, 0]], [[1, 1], [1, 1]])
    ]
    with torch.no_grad():
        by_itself = []
        for b, clip in enumerate(clips):
            cut, row = alone(b, window, condition)
            by_itself += net([clip], replace(cut, columns=(kept[b],)), row)
        for name in MIXED:
            net.packing = registry.build("packing", name)
            for mine, theirs in zip(
                net(clips, replace(window, columns=tuple(kept)), condition), by_itself, strict=True
            ):
                close(mine, theirs)
        other = [clip.detach().clone() for clip in clips]
        other[0][..., :2, 2:] += 1  # one patch of a dropped column
        close(net(other, replace(window, columns=tuple(kept)), condition)[0], by_itself[0])
        assert (net(clips, window, condition)[0] - by_itself[0]).abs().max() > 1e-3


@every_core
def test_a_clip_of_a_packed_row_changes_no_other(parts: tuple) -> None:
    net = build(*parts, packing="navit", depth=1)
    clips, window, condition = mixed()
    assert len({row for row, _ in net.packing.pack(net._patches(clips, window), window).starts}) < len(clips)
    for changed in (0, 2):
        row = torch.arange(len(clips)) == changed
        others = replace(
            condition,
            text=torch.where(row[:, None, None], condition.text + 1, condition.text),
            text_mask=condition.text_mask ^ row[:, None],
            actions=torch.where(row[:, None, None], -condition.actions, condition.actions),
            poses=torch.where(row[:, None, None], -condition.poses, condition.poses),
            level=torch.where(row[:, None] & ~window.observed, 0.5 * condition.level, condition.level),
        )
        with torch.no_grad():
            before, after = (
                net(clips, window, condition),
                net([c + r for c, r in zip(clips, row, strict=True)], window, others),
            )
        for b, (a, c) in enumerate(zip(before, after, strict=True)):
            if b == changed:
                assert (a - c).abs().max() > 1e-2
            else:
                torch.testing.assert_close(a, c, rtol=0, atol=1e-6)


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


@pytest.mark.parametrize("patch", [(1, 1, 1), (1, 2, 3)])
def test_sides_that_the_patch_does_not_divide(patch: tuple[int, int, int]) -> None:
    z = torch.randn(2, CHANNELS, 3, 5, 7)
    close(from_patches(to_patches(z, patch[1:]), patch[1:], 5, 7), z)
    _, window, condition = batch([[0, 0, 0], [1, 0, 0]])
    assert build(patch=patch)(z, window, condition).shape == z.shape


# ------------------------------------------------------------------------------------------------ conditions


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


@pytest.mark.parametrize("conditioning", CONDITIONINGS)
@pytest.mark.parametrize("pose_encoding", registry.names("pose_encoding"))
def test_a_dropped_camera_and_prompt_leave_no_trace(conditioning: str, pose_encoding: str) -> None:
    net = build(conditioning=conditioning, pose_encoding=pose_encoding)
    z, window, told = batch([[1, 0, 0], [1, 0, 0]])
    told = replace(told, camera=torch.tensor([False, False]), text_mask=torch.zeros_like(told.text_mask))
    other = replace(told, poses=told.poses + 1, actions=told.actions + 1, text=told.text + 1)
    with torch.no_grad():
        close(net(z, window, told), net(z, window, other))
        close(net(z, window, told), net(z, window, replace(told, text=None, text_mask=None)))


@pytest.mark.parametrize(
    "options", [*({"conditioning": n} for n in CONDITIONINGS), *({"position": n} for n in POSITIONS)], ids=str
)
def test_a_new_network_predicts_zero_and_still_learns(options: dict) -> None:
    net = build(random=False, **options)
    z, window, told = batch([[1, 0, 0, 0], [0, 1, 0, 0]])
    assert not net(z, window, told).any()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    losses = []
    for _ in range(16):
        loss = (net(z, window, told) - z).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    assert all(p.grad is not None and p.grad.any() for p in net.parameters()), "after a few steps every weight is used"


def test_autocast_gives_finite_gradients() -> None:
    net = build()
    z, window, told = batch([[1, 0, 0], [0, 0, 0]])
    with torch.autocast("cpu", torch.bfloat16):
        out = net(z, window, told)
    out.float().square().mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)


@pytest.mark.slow
@pytest.mark.parametrize("attention", ATTENTIONS[:2], ids=str)
def test_the_regular_path_is_one_graph_for_the_compiler(attention: tuple) -> None:
    net = build(attention)
    z, window, told = batch([[1, 0, 0], [0, 1, 0]])
    compiled = torch.compile(net, backend="eager", fullgraph=True)
    close(compiled(z, window, told), net(z, window, told))


def test_refusals_name_the_cure() -> None:
    with pytest.raises(ValidationError, match="at least 1"):
        VideoDiT.Config(patch=(2, 2, 0))
    with pytest.raises(ValidationError, match="multiple of heads"):
        VideoDiT.Config(width=30, heads=4)
