"""Packing: exact unpacking, filler and rows as promised, for every alternative in the registry."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from components.contracts import Packing, Tokens, Window
from components.token_rows import add_gated, kept_columns, modulate, per_token, put_back
from zoo import registry
from zoo.errors import BadValue, UserError

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


SHARING = [name for name in NAMES if not registry.build("packing", name).one_size]
"""Those that take clips of several sizes together."""


def pack(name: str, grids: list[tuple[int, int, int]], **options: object) -> tuple[Packing, list[torch.Tensor], Tokens]:
    packing, patches = registry.build("packing", name, options), patches_of(grids)
    return packing, patches, packing.pack(patches, window_of(grids))


def test_the_walk_sees_every_alternative() -> None:
    assert {"padding", "navit", "bucket"} <= set(NAMES) and {"padding", "navit"} <= set(SHARING)
    assert all(isinstance(registry.build("packing", name), Packing) for name in NAMES)


@pytest.mark.parametrize("name", SHARING)
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
    if name in SHARING:
        assert not pack(name, [(3, 2, 2), (2, 2, 2)])[2].regular


def test_a_bucket_holds_one_size() -> None:
    with pytest.raises(BadValue, match=r"one size together.*2×2×2, 3×2×2.*packing=navit"):
        pack("bucket", [(3, 2, 2), (2, 2, 2)])


@pytest.mark.parametrize("name", SHARING)
def test_gradients_come_back_to_each_patch_once(name: str) -> None:
    grids = [(2, 1, 3), (1, 2, 2), (3, 1, 1)]
    packing, patches = registry.build("packing", name), [p.requires_grad_() for p in patches_of(grids)]
    sum(p.sum() for p in packing.unpack(packing.pack(patches, window_of(grids)))).backward()
    assert all(torch.equal(p.grad, torch.ones_like(p)) for p in patches)


@settings(max_examples=100, deadline=None)
@given(grids=GRIDS, spare=st.integers(0, 60), fit=st.sampled_from(["next", "first_decreasing"]))
def test_navit_rows_stay_within_the_budget(grids: list[tuple[int, int, int]], spare: int, fit: str) -> None:
    sizes = [f * h * w for f, h, w in grids]
    budget = max(sizes) + spare
    tokens = pack("navit", grids, budget=budget, fit=fit)[2]
    assert tokens.x.shape[1] <= budget
    if len(set(grids)) > 1:
        # Both fits leave any two neighbouring rows fuller than one budget together: at most twice the ideal.
        assert tokens.x.shape[0] <= 2 * sum(sizes) / budget + 1


SIZES = st.lists(st.integers(1, 20), min_size=1, max_size=24)


@settings(max_examples=200, deadline=None)
@given(sizes=SIZES, fit=st.sampled_from(["next", "first_decreasing"]), taken=st.integers(1, 4))
def test_what_a_step_takes_is_packed_as_it_was_filled(sizes: list[int], fit: str, taken: int) -> None:
    packing = registry.build("packing", "navit", {"budget": 20, "fit": fit})
    rows = packing.fill(sizes)
    assert sorted(clip for row in rows for clip in row) == list(range(len(sizes))) and 0 in rows[0]
    assert all(sum(sizes[clip] for clip in row) <= 20 for row in rows)
    clips = [clip for row in rows[:taken] for clip in row]
    again = packing.fill([sizes[clip] for clip in clips])
    made = [sorted(sizes[clips[i]] for i in row) for row in again]
    assert sorted(made) == sorted(sorted(sizes[clip] for clip in row) for row in rows[:taken])


def test_a_budget_below_a_clip_is_refused_and_a_lone_size_never() -> None:
    with pytest.raises(BadValue, match=r"packing.budget=5 .*clip of 6 tokens: raise it to 6"):
        pack("navit", [(1, 2, 3), (1, 1, 2)], budget=5)
    assert pack("navit", [(4, 5, 6)] * 2, budget=5)[2].regular, "sampling has no budget"
    with pytest.raises(UserError, match=r"set packing.budget"):
        registry.build("packing", "navit", {"rows": 2})


def test_how_many_columns_are_kept() -> None:
    def kept(columns: int, **options: object) -> int:
        return registry.build("packing", "navit", options).kept(columns, (4, 20))

    assert [kept(n, drop=0.5) for n in (4, 12, 20)] == [2, 6, 10]
    assert [kept(n, drop=0.5, drop_by="resolution") for n in (4, 12, 20)] == [4, 9, 10]
    assert kept(20) == 20 and kept(4, drop=0.99) == 1
    one_size = registry.build("packing", "navit", {"drop": 0.25, "drop_by": "resolution"})
    assert one_size.kept(16, (16, 16)) == 12
    assert all(registry.build("packing", name).kept(7, (1, 9)) == 7 for name in NAMES)


def columns_of(grids: list[tuple[int, int, int]], seed: int = 2) -> tuple[torch.Tensor, ...]:
    """About half of each picture's columns, as many of pictures of one size."""
    draw = torch.Generator().manual_seed(seed)
    return tuple(torch.randperm(h * w, generator=draw).reshape(h, w) <= h * w // 2 for _, h, w in grids)


@pytest.mark.parametrize("name", SHARING)
@pytest.mark.parametrize("grids", [[(2, 3, 4), (3, 2, 2), (1, 5, 1)], [(2, 3, 3)] * 3])
def test_kept_columns_know_where_they_are_and_go_back(name: str, grids: list[tuple[int, int, int]]) -> None:
    packing, patches = registry.build("packing", name), patches_of(grids)
    window = replace(window_of(grids), columns=columns_of(grids))
    assert window.columns is not None
    left = kept_columns(patches, window)
    tokens = packing.pack(left, window)
    for b, ((f, h, w), (row, start)) in enumerate(zip(grids, tokens.starts, strict=True)):
        at = [(y, x) for y in range(h) for x in range(w) if window.columns[b][y, x]]
        assert tokens.grids[b] == (f, len(at), 1)
        for i, (frame, (y, x)) in enumerate((frame, place) for frame in range(f) for place in at):
            assert torch.equal(tokens.x[row, start + i], patches[b][frame, y, x])
            assert tokens.place[row, start + i].tolist() == [window.times[b, frame], y, x]
            assert tokens.sides[row, start + i].tolist() == [h, w]
            assert tokens.frame[row, start + i] == frame and tokens.clip[row, start + i] == b
    for back, whole, kept in zip(put_back(packing.unpack(tokens), window), patches, window.columns, strict=True):
        assert torch.equal(back, whole * kept[None, :, :, None])


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
