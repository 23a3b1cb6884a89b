"""Attention against an oracle that asks, token by token, who may look at whom."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from test_packing import pack, window_of

from components import attend as kernel
from components.attention_plan import Piece
from components.contracts import Memory, Tokens, Window
from zoo import registry

SMALL = {"frames": 2, "rows": 2, "columns": 2}
CASES = [
    ("full", {}),
    ("space_time", {}),
    ("space_time_causal", {}),
    ("space_time_causal", {"history": 2}),
    ("windowed", SMALL),
    ("windowed", {"frames": 3, "rows": 1, "columns": 4}),
]
GRIDS = {
    "regular": [(5, 2, 3)] * 3,
    "wide": [(3, 5, 4)] * 2,
    "mixed": [(5, 2, 3), (2, 1, 2), (4, 2, 3), (4, 3, 1), (1, 1, 1), (4, 2, 3), (2, 5, 5), (1, 5, 5)],
}
HEADS, SIZE = 2, 4


def may_look(name: str, options: dict, sublayer: str, q: dict, k: dict) -> bool:
    """The policy, stated once more, for one query token and one key token."""
    if q["clip"] != k["clip"] or q["clip"] < 0:
        return False
    same_place = q["place"][1:] == k["place"][1:]
    if sublayer == "space":
        return q["frame"] == k["frame"]
    if sublayer == "time" and not same_place:
        return False
    if name == "windowed" and not all(
        block(options, sublayer, axis, q["place"][axis], q["sides"])
        == block(options, sublayer, axis, k["place"][axis], q["sides"])
        for axis in (1, 2)
    ):
        return False
    if not k["valid"] or not q["valid"]:
        return q["frame"] == k["frame"]
    if k["observed"]:
        return True
    if q["observed"]:
        return False
    if name in ("full", "space_time"):
        return True
    if name == "windowed":
        return block(options, sublayer, 0, q["place"][0], None) == block(options, sublayer, 0, k["place"][0], None)
    elapsed = q["place"][0] - k["place"][0]
    history = options.get("history", "all")
    return elapsed >= 0 and (history == "all" or elapsed <= history)


def block(options: dict, sublayer: str, axis: int, place: float, sides: list[float] | None) -> int:
    """Number of the window along one axis: the second sublayer's windows begin half a window later."""
    size = options[("frames", "rows", "columns")[axis]]
    moves = sublayer == "shifted" and (sides is None or sides[axis - 1] > size)
    return math.floor((place - (size // 2 if moves else 0)) / size)


def facts(tokens: Tokens, window: Window, first_frame: int = 0) -> list[list[dict]]:
    def one(row: int, at: int) -> dict:
        clip, frame = int(tokens.clip[row, at]), int(tokens.frame[row, at])
        return {
            "clip": clip,
            "frame": frame + first_frame,
            "place": tokens.place[row, at].tolist(),
            "sides": tokens.sides[row, at].tolist(),
            "observed": bool(tokens.observed[row, at]),
            "valid": clip >= 0 and bool(window.valid[clip, frame]),
        }

    return [[one(r, i) for i in range(tokens.clip.shape[1])] for r in range(tokens.clip.shape[0])]


def oracle(case: tuple[str, dict], sublayer: str, qkv: tuple, qs: list, ks: list, bias: Any) -> torch.Tensor:
    q, k, v = (a.double() for a in qkv)
    out = torch.zeros_like(q)
    for r, row in enumerate(qs):
        for i, query in enumerate(row):
            seen = [j for j, key in enumerate(ks[r]) if may_look(*case, sublayer, query, key)]
            if not seen:
                continue
            logits = torch.einsum("kd,jkd->jk", q[r, i], k[r, seen]) / math.sqrt(SIZE)
            if bias is not None and sublayer != "space":
                logits += torch.stack(
                    [bias[query["clip"], :, query["frame"] - query["offset"], ks[r][j]["frame"]] for j in seen]
                ).double()
            out[r, i] = torch.einsum("jk,jkd->kd", logits.softmax(0), v[r, seen])
    return out.float()


@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("packing", ["padding", "navit"])
@pytest.mark.parametrize("grids", GRIDS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_attention_equals_the_oracle(case: tuple[str, dict], grids: str, packing: str, with_bias: bool) -> None:
    torch.manual_seed(0)
    attention = registry.build("attention", case[0], case[1])
    tokens, window = pack(packing, GRIDS[grids])[2], window_of(GRIDS[grids])
    if grids == "regular":  # one clip is shorter than its tensor
        window = replace(window, valid=window.valid & ~torch.tensor([[0, 0, 0, 0, 0], [0, 0, 0, 1, 1], [0] * 5]).bool())
    layout = attention.layout(tokens, window)
    longest = window.times.shape[1]
    bias = torch.randn(len(GRIDS[grids]), HEADS, longest, longest) if with_bias else None
    qs = facts(tokens, window)
    for row in qs:
        for token in row:
            token["offset"] = 0
    for sublayer in attention.sublayers:
        q, k, v = torch.randn(3, *tokens.clip.shape, HEADS, SIZE)
        mine = bias if sublayer in attention.crossing else None
        got = attention.attend(sublayer, q, k, v, layout, mine)
        torch.testing.assert_close(got, oracle(case, sublayer, (q, k, v), qs, qs, mine), rtol=0, atol=1e-5)
        assert not got[tokens.clip < 0].any(), "filler gives zeros"


@pytest.mark.parametrize("case", CASES, ids=str)
def test_attention_with_memory_equals_the_oracle(case: tuple[str, dict]) -> None:
    torch.manual_seed(0)
    attention = registry.build("attention", case[0], case[1])
    past_grids, grids = [(2, 2, 2)] * 2, [(3, 2, 2)] * 2
    past, tokens = pack("padding", past_grids)[2], pack("padding", grids)[2]
    past = replace(past, observed=torch.ones_like(past.observed))
    past_window = replace(window_of(past_grids), observed=torch.ones(2, 2, dtype=torch.bool))
    window = replace(window_of(grids), observed=torch.zeros(2, 3, dtype=torch.bool))
    tokens = replace(tokens, observed=torch.zeros_like(tokens.observed))
    layout = attention.layout(tokens, window, Memory(past, past_window, None, ()))  # type: ignore[arg-type]
    qs, old = facts(tokens, window, first_frame=2), facts(past, past_window)
    ks = [a + b for a, b in zip(old, qs, strict=True)]
    for row in qs:
        for token in row:
            token["offset"] = 2
    bias = torch.randn(2, HEADS, 3, 5)
    for sublayer in attention.sublayers:
        crosses = sublayer in attention.crossing
        k, v = torch.randn(2, 2, (20 if crosses else 12), HEADS, SIZE)
        q, mine = torch.randn(2, 12, HEADS, SIZE), bias if crosses else None
        got = attention.attend(sublayer, q, k, v, layout, mine)
        expected = oracle(case, sublayer, (q, k, v), qs, ks if crosses else qs, mine)
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_windows_are_those_of_the_places_where_columns_are_dropped(case: tuple[str, dict]) -> None:
    torch.manual_seed(0)
    sides, frames = [(4, 5), (3, 3), (4, 5)], (3, 2, 3)
    kept = [torch.rand(h, w) < 0.5 for h, w in sides]
    kept[2] = kept[0].flip(1)
    clips = [pack("padding", [(f, h, w)])[2] for f, (h, w) in zip(frames, sides, strict=True)]
    grids = [(f, int(mask.sum()), 1) for f, mask in zip(frames, kept, strict=True)]
    tokens, window = pack("navit", grids)[2], replace(window_of(grids), columns=tuple(kept))
    for b, (mask, (h, w), (row, at)) in enumerate(zip(kept, sides, tokens.starts, strict=True)):
        stays = mask.flatten().repeat(frames[b])
        tokens.place[row, at : at + int(stays.sum()), 1:] = clips[b].place[0, stays, 1:]
        tokens.sides[row, at : at + int(stays.sum())] = torch.tensor([h, w]).float()
    attention = registry.build("attention", *case)
    layout, qs = attention.layout(tokens, window), facts(tokens, window)
    for sublayer in attention.sublayers:
        qkv = tuple(torch.randn(3, *tokens.clip.shape, HEADS, SIZE))
        got = attention.attend(sublayer, *qkv, layout)
        torch.testing.assert_close(got, oracle(case, sublayer, qkv, qs, qs, None), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", registry.names("attention"))
def test_every_alternative_is_in_the_oracle_and_names_what_crosses(name: str) -> None:
    assert name in {case for case, _ in CASES}, "add the new attention to CASES and to may_look"
    attention = registry.build("attention", name)
    assert attention.crossing and attention.crossing <= set(attention.sublayers)


@pytest.mark.parametrize("name", registry.names("attention"))
def test_memory_of_mixed_sizes_is_refused(name: str) -> None:
    grids = [(1, 1, 2), (1, 2, 2)]
    tokens, window = pack("navit", grids)[2], window_of(grids)
    with pytest.raises(ValueError, match="one size"):
        registry.build("attention", name).layout(tokens, window, Memory(tokens, window, None, ()))  # type: ignore[arg-type]


# ----------------------------------------------------------------------------------------- what costs and what does not


@pytest.mark.parametrize("case", CASES, ids=str)
def test_changing_a_clip_of_a_row_changes_no_other(case: tuple[str, dict]) -> None:
    grids = GRIDS["mixed"]
    tokens, window = pack("navit", grids, budget=80)[2], window_of(grids)
    assert len({row for row, _ in tokens.starts}) < len(grids), "clips must share rows, or this shows nothing"
    attention = registry.build("attention", *case)
    layout = attention.layout(tokens, window)
    for sublayer in attention.sublayers:
        qkv = torch.randn(3, *tokens.clip.shape, HEADS, SIZE)
        before = attention.attend(sublayer, *qkv, layout)
        for clip in range(len(grids)):
            other = qkv.clone()
            other[:, tokens.clip == clip] += 5.0
            after = attention.attend(sublayer, *other, layout)
            elsewhere = tokens.clip != clip
            assert torch.equal(after[elsewhere], before[elsewhere])
            assert not torch.equal(after[~elsewhere], before[~elsewhere])


def seen_by_all(grids: list[tuple[int, int, int]], observed: bool) -> Window:
    """A window in which no frame is hidden from another."""
    window = window_of(grids)
    return replace(window, observed=window.valid & observed)


@pytest.mark.parametrize("observed", [False, True])
@pytest.mark.parametrize("grids", ["regular", "mixed"])
@pytest.mark.parametrize("name", ["full", "space_time", "space_time_causal", "windowed"])
def test_no_mask_where_all_is_seen_and_the_same_as_with_one(
    name: str, grids: str, observed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    attention = registry.build("attention", name, {"frames": 9} if name == "windowed" else {})
    tokens, window = pack("padding", GRIDS[grids])[2], seen_by_all(GRIDS[grids], observed)
    window = replace(window, times=torch.zeros_like(window.times))  # so that causal time hides nothing either
    bare = attention.layout(tokens, window)
    assert all(group.mask is None for plan in bare.values() for group in plan.groups)
    monkeypatch.setattr("components.attention_plan._hidden", lambda visible, _: ([True] * len(visible), False))
    masked = attention.layout(tokens, window)
    for sublayer in attention.sublayers:
        assert all((group.mask is None) == (sublayer == "space") for group in masked[sublayer].groups)
        qkv = torch.randn(3, *tokens.clip.shape, HEADS, SIZE)
        torch.testing.assert_close(
            attention.attend(sublayer, *qkv, bare), attention.attend(sublayer, *qkv, masked), rtol=0, atol=1e-5
        )


@pytest.mark.parametrize("name", ["full", "space_time", "space_time_causal"])
def test_a_regular_batch_is_one_call_on_views(name: str) -> None:
    attention = registry.build("attention", name)
    tokens = pack("navit", GRIDS["regular"])[2]
    layout = attention.layout(tokens, window_of(GRIDS["regular"]))
    for plan in layout.values():
        (piece,), (group,) = plan.pieces, plan.groups
        assert isinstance(piece, Piece) and piece.order is None and plan.ragged is None
        q = torch.randn(*tokens.clip.shape, HEADS, SIZE)
        (part,) = kernel._parts(q, plan).values()
        assert part.shape[0] == sum(group.counts)
        assert name != "full" or part.data_ptr() == q.data_ptr(), "joint attention copies nothing"


def test_clips_that_hide_the_same_frames_share_a_mask() -> None:
    grids = [(4, 2, 2)] * 3
    window = window_of(grids)
    alike = replace(window, **{n: getattr(window, n)[:1].expand(3, -1) for n in ("times", "observed", "valid")})
    alike = replace(alike, observed=torch.tensor([[True, False, False, False]]).expand(3, -1))
    attention = registry.build("attention", "space_time_causal")
    (group,) = attention.layout(pack("padding", grids)[2], alike)["time"].groups
    assert group.mask.shape == (1, 1, 4, 4)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_layers_neither_look_at_values_nor_make_masks(case: tuple[str, dict], monkeypatch: pytest.MonkeyPatch) -> None:
    attention = registry.build("attention", *case)
    for grids in GRIDS.values():
        tokens, window = pack("navit", grids)[2], window_of(grids)
        with torch.autocast("cpu", torch.bfloat16):
            layout = attention.layout(tokens, window)
        monkeypatch.setattr(kernel, "token_mask", None)
        for sublayer in attention.sublayers:
            plan = layout[sublayer]
            assert all(group.mask is None or group.mask.dtype == torch.bfloat16 for group in plan.groups)
            found = attention.attend(sublayer, *torch.randn(3, *tokens.clip.shape, HEADS, SIZE).bfloat16(), layout)
            assert found.dtype == torch.bfloat16 and torch.isfinite(found).all()


@pytest.mark.parametrize("name", ["full", "space_time"])
def test_uneven_sequences_are_told_to_their_kernel(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path of CUDA, with a stand-in for `varlen_attn`."""
    attention = registry.build("attention", name)
    tokens, window = pack("navit", GRIDS["mixed"])[2], seen_by_all(GRIDS["mixed"], False)
    sublayer, layout = attention.sublayers[0], attention.layout(tokens, window)
    qkv, asked = torch.randn(3, *tokens.clip.shape, HEADS, SIZE), []
    expected = attention.attend(sublayer, *qkv, layout)

    def stand_in(q, k, v, bounds_q, bounds_k, longest_q, longest_k):
        asked.append((longest_q, longest_k))
        pieces = []
        for begin, end in zip(bounds_q[:-1].tolist(), bounds_q[1:].tolist(), strict=True):
            assert end - begin <= longest_q
            logits = torch.einsum("qkd,mkd->kqm", q[begin:end], k[begin:end]) / math.sqrt(SIZE)
            pieces.append(torch.einsum("kqm,mkd->qkd", logits.softmax(-1), v[begin:end]))
        return torch.cat(pieces)

    monkeypatch.setattr(kernel, "uneven_kernel", lambda: stand_in)
    monkeypatch.setattr(kernel, "takes_uneven", lambda q: True)
    torch.testing.assert_close(attention.attend(sublayer, *qkv, layout), expected, rtol=0, atol=1e-5)
    assert asked
    masked = attention.layout(tokens, window_of(GRIDS["mixed"]))[attention.sublayers[-1]]
    assert masked.ragged is None, "a plan with masks never goes there"
