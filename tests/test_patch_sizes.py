"""Patches of any size, in time too: folding is exact, memory equals the whole window, mixed sizes equal each alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from test_backbone import CHANNELS, batch, build, close, frames_of

from components.contracts import Condition, Window
from components.tubelets import tubelets
from zoo import registry

PATCHES = [(1, 1, 1), (1, 2, 2), (1, 4, 4), (2, 2, 2), (3, 2, 1)]
TEMPORAL = [patch for patch in PATCHES if patch[0] > 1]


def cut(b: int, window: Window, condition: Condition, frames: int) -> tuple[Window, Condition]:
    """Window and condition of clip b alone, its first frames."""
    own = Window(*(getattr(window, n)[b : b + 1, :frames] for n in ("times", "observed", "valid")))
    told = {n: getattr(condition, n)[b : b + 1] for n in ("text", "text_mask", "origin", "camera")}
    told |= {n: getattr(condition, n)[b : b + 1, :frames] for n in ("level", "actions", "poses")}
    return own, Condition(**told)


# ------------------------------------------------------------------------------------------------ folding


@pytest.mark.parametrize("span", [2, 3, 4])
def test_what_is_folded_comes_back(span: int) -> None:
    z, window, _ = batch([[1, 0, 1, 0, 0], [0, 1, 0, 0, 1], [1, 1, 1, 0, 0]])
    window = replace(window, valid=torch.tensor([[True] * 5, [True] * 5, [True] * 4 + [False]]))
    groups = tubelets(window, span, each=False)
    folded = groups.fold(z)
    assert folded.shape[:2] == (3, span * (CHANNELS + 1))
    said = folded.unflatten(1, (span, CHANNELS + 1))[:, :, :CHANNELS].flatten(1, 2)
    back = groups.unfold(said, [5] * 3)
    assert torch.equal(back, torch.where(window.valid[:, None, :, None, None], z, 0.0))


def test_groups_are_of_one_kind_in_order_and_flagged() -> None:
    z, window, told = batch([[1, 0, 1, 0, 1]])
    groups = tubelets(window, 2, each=True)
    assert groups.source.tolist() == [[0, 2, 4, 5, 1, 3]] and groups.groups == (3,)
    assert groups.flags.tolist() == [[1, 1, 1, -1, 0, 0]]
    folded, new, new_told = groups.fold(z), groups.window(window), groups.condition(told)
    frames = folded.unflatten(1, (2, CHANNELS + 1))[0]
    assert torch.equal(frames[:, -1, :, 0, 0], torch.tensor([[1.0, 1, 0], [1, -1, 0]]))
    assert torch.equal(frames[1, :-1, 0], z[0, :, 2]) and not frames[1, :-1, 1].any()
    assert new.observed.tolist() == [[True, True, False]] and new.valid.all()
    assert torch.equal(new.times[0], window.times[0, [2, 4, 3]])
    assert torch.equal(new_told.poses[0], told.poses[0, [2, 4, 3]])
    close(new_told.level[0], torch.stack([told.level[0, s].mean() for s in ([0, 2], [4], [1, 3])]))
    close(new_told.actions[0], torch.stack([told.actions[0, s].mean(0) for s in ([0, 2], [4], [1, 3])]))


def test_clips_with_fewer_groups_get_filler() -> None:
    _, window, _ = batch([[1, 0, 0, 0], [1, 1, 0, 0]])
    groups = tubelets(window, 2, each=True)
    assert groups.groups == (3, 2)
    assert groups.window(window).valid.tolist() == [[True] * 3, [True, True, False]]


# ------------------------------------------------------------------------------------------------ through the network


@pytest.mark.parametrize("patch", PATCHES, ids=str)
@pytest.mark.parametrize("attention", registry.names("attention"))
def test_memory_equals_the_whole_window(patch: tuple, attention: str) -> None:
    net = build((attention, {}), patch=patch)
    z, window, condition = batch([[1, 0, 1, 1, 0, 0], [0, 1, 0, 1, 0, 1]], side=5)
    seen, made = torch.tensor([[0, 2, 3], [1, 3, 5]]), torch.tensor([[1, 4, 5], [0, 2, 4]])
    later = replace(condition, level=torch.where(window.observed, condition.level, 0.5 * condition.level))
    with torch.no_grad():
        memory = net.remember(*frames_of(z, window, condition, seen))
        for told in (condition, later):
            whole = frames_of(net(z, window, told), window, told, made)[0]
            close(net(*frames_of(z, window, told, made), memory=memory), whole)
            alone = net(*frames_of(z, window, told, made))
            assert (alone - whole).abs().max() > 1e-3, "what is remembered must matter, or this test shows nothing"


@pytest.mark.parametrize("patch", PATCHES, ids=str)
@pytest.mark.parametrize("packing", registry.names("packing"))
def test_a_mixed_batch_equals_each_clip_alone(patch: tuple, packing: str) -> None:
    sizes = [(4, 4, 4), (2, 2, 6), (3, 5, 3), (1, 4, 4)] if packing != "bucket" else [(4, 4, 4)] * 4
    net = build(packing=packing, patch=patch, qk_norm=False)
    _, window, condition = batch([[1, 0, 0, 1], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]])
    window = replace(window, valid=torch.arange(4) < torch.tensor([f for f, _, _ in sizes])[:, None])
    clips = [torch.randn(CHANNELS, *size, requires_grad=True) for size in sizes]
    together = net(clips, window, condition)
    alone = [net(clip[None], *cut(b, window, condition, clip.shape[1]))[0] for b, clip in enumerate(clips)]
    for a, b, clip in zip(together, alone, clips, strict=True):
        assert a.shape == clip.shape
        close(a, b)
    weights = [*clips, *net.parameters()]
    mine = torch.autograd.grad(sum(a.square().sum() for a in together), weights, materialize_grads=True)
    theirs = torch.autograd.grad(sum(a.square().sum() for a in alone), weights, materialize_grads=True)
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5 * max(1.0, float(b.abs().max())))


@pytest.mark.parametrize("patch", TEMPORAL, ids=str)
def test_time_is_causal_at_the_grain_of_a_patch(patch: tuple) -> None:
    net, span, frames = build(patch=patch, depth=1), patch[0], 6
    z, window, condition = batch([[0] * frames])
    with torch.no_grad():
        out = net(z, window, condition)
        for f in range(frames):
            other = z.clone()
            other[:, :, f] += 1
            moved = (net(other, window, condition) - out).abs().amax((0, 1, 3, 4))
            first = f // span * span
            assert moved[:first].max() < 1e-5 if first else True
            assert moved[first:].min() > 1e-5


@pytest.mark.parametrize("patch", TEMPORAL, ids=str)
def test_no_frame_to_be_made_changes_a_given_one_and_filler_is_seen_by_nobody(patch: tuple) -> None:
    net = build(("full", {}), patch=patch)
    z, window, condition = batch([[1, 0, 1, 0], [0, 0, 1, 0]])
    window = replace(window, valid=torch.tensor([[True] * 4, [True, True, True, False]]))
    other, filled = z.clone(), z.clone()
    other[:, :, 1] += 1
    filled[1, :, 3] = 7.0
    with torch.no_grad():
        out = net(z, window, condition)
        moved = net(other, window, condition)
        close(net(filled, window, condition), out)
    assert torch.isfinite(out).all() and not out[1, :, 3].any()
    close(moved[0, :, [0, 2]], out[0, :, [0, 2]])
    assert not torch.allclose(moved[0, :, 3], out[0, :, 3])


@pytest.mark.parametrize("patch", TEMPORAL, ids=str)
def test_a_short_group_is_told_from_one_with_black_frames(patch: tuple) -> None:
    """Zeros with the flag of no frame are not zeros with the flag of a frame."""
    net = build(patch=patch)
    z, window, condition = batch([[0] * patch[0]])
    z[:, :, 1:] = 0
    short = replace(window, valid=torch.arange(patch[0])[None] < 1)
    with torch.no_grad():
        assert not torch.allclose(net(z, window, condition)[:, :, 0], net(z, short, condition)[:, :, 0])


@pytest.mark.parametrize("patch", PATCHES, ids=str)
def test_a_new_network_learns(patch: tuple) -> None:
    net = build(patch=patch, random=False)
    z, window, told = batch([[1, 0, 0, 0], [0, 1, 0, 0]])
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    losses = []
    for _ in range(12):
        made = net(z, window, told)
        loss = (made - z).square()[~window.observed[:, None, :, None, None].expand_as(z)].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]


def test_raster_order_has_patches_of_one_token() -> None:
    _, window, _ = batch([[0, 0]])
    with pytest.raises(ValueError, match="patch to 1×1×1"):
        tubelets(replace(window, raster=torch.ones_like(window.observed)), 2, each=False)
