"""Packing: exact unpacking, filler and rows as promised, for every alternative in the registry."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from components.contracts import Packing, Tokens, Window
from components.token_rows import add_gated, modulate, per_token
from zoo import registry

NAMES = registry.names("packing")
GRIDS = st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 4)), min_size=1, max_size=7)


def window_of(grids: list[tuple[int, int, int]], seed: int = 0) -> Window:
    draw = torch.Generator().manual_seed(seed)
    longest = max(f for f, _, _ in grids)
    times = torch.randint(-3, 4, (len(grids), longest), generator=draw).float()
    observed = torch.rand(len(grids), longest, generator=draw) < 0.5
    valid = torch.arange(longest) < torch.tensor([f for f, _, _ in grids])[:, None]
    return Window(times, observed & valid, valid)


def patches_of(grids: list[tuple[int, int, int]], width: int = 3, seed: int = 1) -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return [torch.randn(*grid, width, generator=draw) for grid in grids]


def pack(name: str, grids: list[tuple[int, int, int]], **options: object) -> tuple[Packing, list[torch.Tensor], Tokens]:
    packing, patches = registry.build("packing", name, options), patches_of(grids)
    return packing, patches, packing.pack(patches, window_of(grids))


def test_the_walk_sees_both_alternatives() -> None:
    assert {"padding", "navit"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60, deadline=None)
@given(grids=GRIDS)
def test_unpacking_is_exact_and_every_token_knows_where_it_is(name: str, grids: list[tuple[int, int, int]]) -> None:
    packing, patches, tokens = pack(name, grids)
    window = window_of(grids)
    back = packing.unpack(tokens)
    assert all(torch.equal(a, b) for a, b in zip(back, patches, strict=True))
    assert tokens.grids == tuple(grids)
    covered = torch.zeros(tokens.clip.shape, dtype=torch.bool)
    for b, ((f, h, w), (row, start)) in enumerate(zip(grids, tokens.starts, strict=True)):
        for i in range(f * h * w):
            frame, y, x = i // (h * w), i // w % h, i % w
            at = (row, start + i)
            assert tokens.clip[at] == b and tokens.frame[at] == frame
            assert tokens.place[at].tolist() == [window.times[b, frame], y, x]
            assert tokens.observed[at] == window.observed[b, frame]
            covered[at] = True
    assert torch.equal(covered, tokens.clip >= 0), "every token that is no filler belongs to exactly one clip"
    assert not tokens.x[~covered].any() and not tokens.observed[~covered].any()


@pytest.mark.parametrize("name", NAMES)
def test_equal_clips_are_regular(name: str) -> None:
    tokens = pack(name, [(3, 2, 2)] * 4)[2]
    assert tokens.regular and tokens.x.shape == (4, 12, 3)
    assert not pack(name, [(3, 2, 2), (2, 2, 2)])[2].regular


@pytest.mark.parametrize("name", NAMES)
def test_gradients_come_back_to_each_patch_once(name: str) -> None:
    grids = [(2, 1, 3), (1, 2, 2), (3, 1, 1)]
    packing, patches = registry.build("packing", name), [p.requires_grad_() for p in patches_of(grids)]
    sum(p.sum() for p in packing.unpack(packing.pack(patches, window_of(grids)))).backward()
    assert all(torch.equal(p.grad, torch.ones_like(p)) for p in patches)


@settings(max_examples=100, deadline=None)
@given(grids=GRIDS, budget=st.integers(0, 60), fit=st.sampled_from(["next", "first_decreasing"]))
def test_navit_rows_stay_within_the_budget(grids: list[tuple[int, int, int]], budget: int, fit: str) -> None:
    tokens = pack("navit", grids, budget=budget, fit=fit)[2]
    sizes = [f * h * w for f, h, w in grids]
    assert tokens.x.shape[1] <= max(budget, *sizes)
    if len(set(grids)) > 1:
        # Both fits leave any two neighbouring rows fuller than one budget together: at most twice the ideal.
        assert tokens.x.shape[0] <= 2 * sum(sizes) / max(budget, *sizes) + 1


def test_navit_fits_by_hand() -> None:
    grids = [(1, 1, 3), (1, 1, 6), (1, 1, 4), (1, 2, 2)]
    following = pack("navit", grids, budget=8, fit="next")[2]
    assert following.starts == ((0, 0), (1, 0), (2, 0), (2, 4))
    decreasing = pack("navit", [(1, 1, 2), (1, 1, 6), (1, 1, 5), (1, 1, 3)], budget=8)[2]
    assert decreasing.starts == ((0, 6), (0, 0), (1, 0), (1, 5)) and decreasing.x.shape[:2] == (2, 8)


def test_navit_holds_less_filler_than_padding() -> None:
    grids = [(4, 3, 4), (1, 2, 2), (2, 2, 3), (3, 2, 2), (1, 1, 2)]
    cells = {name: pack(name, grids)[2].clip.numel() for name in ("padding", "navit")}
    assert cells["navit"] < cells["padding"] / 2


@pytest.mark.parametrize("grids", [[(3, 2, 2)] * 2, [(3, 2, 2), (2, 1, 3), (1, 1, 1)]])
def test_per_frame_signals_reach_their_tokens(grids: list[tuple[int, int, int]]) -> None:
    tokens = pack("navit", grids, budget=20)[2]
    shift, scale, gate = torch.randn(3, len(grids), 3, 3)
    mine = tokens.clip.clamp(min=0), tokens.frame
    real = tokens.clip >= 0
    assert torch.equal(per_token(shift, tokens)[real], shift[mine][real])
    expected = tokens.x * (1 + scale[mine]) + shift[mine]
    torch.testing.assert_close(modulate(tokens.x, scale, shift, tokens)[real], expected[real])
    branch = torch.randn_like(tokens.x)
    torch.testing.assert_close(add_gated(tokens.x, branch, gate, tokens)[real], (tokens.x + gate[mine] * branch)[real])
    torch.testing.assert_close(add_gated(tokens.x, branch, 1.0, tokens), tokens.x + branch)
