"""Which clips a training step holds, what is dropped of them, and what counts the same in the loss."""

from __future__ import annotations

import itertools
import pickle
import socket
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from test_backbone import ATTENTIONS, build
from test_backbone import batch as tiny_batch
from test_stages import ToyNoise, ToyObjective, ToyTask, _settings
from tiny import TINY

from benchmarks.suite import load
from components.contracts import Condition, Window
from zoo import pairings, registry
from zoo.cost import generator_cost, network_cost
from zoo.entry import guarded
from zoo.errors import BadValue, UserError
from zoo.recipe import resolve, validate
from zoo.run import main
from zoo.stages import loss_mean
from zoo.stages.cache import LatentEpisode
from zoo.stages.data import GeneratorBatches
from zoo.stages.generator import GeneratorStage
from zoo.stages.row_filling import RowFilling, step_clips, window_tokens

SHAPES = [(int(f), int(h), int(w)) for f, h, w in np.random.default_rng(0).integers([1, 2, 2], [9, 7, 7], (40, 3))]
GRAIN = (1, 2, 2)


class ToyLatents:
    """Clips of these shapes, as a LatentCache gives them; clip i is full of numbers that tell it."""

    def __init__(self, shapes: list[tuple[int, int, int]] = SHAPES) -> None:
        self.shapes = shapes

    def __len__(self) -> int:
        return len(self.shapes)

    def shape(self, index: int) -> tuple[int, ...]:
        f, h, w = self.shapes[index]
        return f, 3, h, w

    def episode(self, index: int) -> LatentEpisode:
        z = np.random.default_rng(index).standard_normal(self.shape(index)).astype(np.float32)
        return LatentEpisode(z, None, None, None, None, str(index))


def batches(
    packing: str | None = None, options: dict[str, Any] | None = None, shapes: Any = SHAPES, **changes: Any
) -> GeneratorBatches:
    built = None if packing is None else registry.build("packing", packing, options)
    keys = {"window": 6, "masks": {}, "batch": 4, "steps": 50, "seed": 3, "packing": built, "grain": GRAIN} | changes
    return GeneratorBatches(ToyLatents(shapes), ToyTask(), **keys)  # type: ignore[arg-type]


def equal(one: Any, other: Any) -> bool:
    if one.episodes != other.episodes or not torch.equal(one.window.observed, other.window.observed):
        return False
    pairs = [*zip(one.z, other.z, strict=True), *zip(one.window.columns or (), other.window.columns or (), strict=True)]
    return all(torch.equal(a, b) for a, b in pairs)


ROWS = {"budget": 80, "rows": 4, "look_ahead": 24}
WAYS: list[tuple[str, dict[str, Any]]] = [
    ("padding", {}),
    ("bucket", {}),
    ("navit", {}),
    ("navit", {"drop": 0.4}),
    ("navit", ROWS),
    ("navit", {**ROWS, "fit": "next", "drop": 0.4, "drop_by": "resolution"}),
]


# ------------------------------------------------------------------------------------------------------ the clips


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_a_step_depends_on_seed_and_step_alone(way: tuple[str, dict[str, Any]]) -> None:
    made = batches(*way)
    first = [made[step] for step in range(7)]
    for step in (6, 2, 3, 0):
        assert equal(batches(*way)[step], first[step]), "going on at a step sees what an unbroken run saw"
        assert equal(made[step], first[step]), "and so does going back"
    assert equal(pickle.loads(pickle.dumps(made))[5], first[5]), "loader processes see the same"
    assert not equal(batches(*way, seed=4)[0], first[0])
    assert len({one.episodes for one in first}) > 1


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_ranks_share_a_step_and_none_starves(way: tuple[str, dict[str, Any]]) -> None:
    for step in range(4):
        whole = batches(*way)[step]
        for world in (2, 4):
            parts = [batches(*way, rank=rank, world=world)[step] for rank in range(world)]
            assert Counter(whole.episodes) == sum((Counter(part.episodes) for part in parts), Counter())
            assert all(len(part) > 0 for part in parts)
            if way[1].get("rows"):
                rows = {_rows(part, way) for part in parts}
                assert rows == {4 // world}, "every rank the same number of rows, none empty"


def _rows(batch: Any, way: tuple[str, dict[str, Any]]) -> int:
    """How many rows the packing makes of a batch."""
    packing = registry.build("packing", *way)
    return len(packing.fill(_tokens(batch)))


def _tokens(batch: Any) -> list[int]:
    """Of each clip of a batch, counted from what is there."""
    kept = batch.window.columns or [torch.ones(-(-z.shape[-2] // 2), -(-z.shape[-1] // 2)) for z in batch.z]
    return [z.shape[1] * int(mask.sum()) for z, mask in zip(batch.z, kept, strict=True)]


def test_plain_draws_are_what_they_always_were() -> None:
    """Written out again from the seeds, since committed records rest on these draws."""
    for way in (None, ("padding", {}), ("navit", {})):
        batch = (batches() if way is None else batches(*way))[9]
        rng = np.random.default_rng([3, 9])
        for b in range(4):
            index = int(rng.integers(40))
            indices, observed = ToyTask().draw(frames=SHAPES[index][0], window=6, masks={}, rng=rng)
            assert batch.episodes[b] == str(index)
            assert batch.indices[b, : len(indices)].tolist() == indices.tolist()
            assert batch.window.observed[b, : len(indices)].tolist() == observed.tolist()
        assert batch.window.columns is None


def test_buckets_hold_one_size_in_proportion_to_their_clips() -> None:
    shapes = [(4, 2, 2)] * 6 + [(4, 2, 4)] * 3 + [(9, 2, 4)] + [(7, 2, 4)] * 2
    made = batches("bucket", shapes=shapes)
    assert all(isinstance(made[step].z, torch.Tensor) for step in range(50))
    counts = Counter(tuple(made[step].z.shape[2:]) for step in range(600))
    assert set(counts) == {(4, 2, 2), (4, 2, 4), (6, 2, 4)}, "clips longer than the window are of one length"
    assert [round(counts[size] / 50) for size in ((4, 2, 2), (4, 2, 4), (6, 2, 4))] == pytest.approx([6, 3, 3], abs=1)
    packing = registry.build("packing", "bucket")
    window = made[0].window
    patches = [z.permute(1, 2, 3, 0) for z in made[0].z]
    assert packing.pack(patches, window).regular


@pytest.mark.parametrize("fit", ["next", "first_decreasing"])
@pytest.mark.parametrize("clips", [1, 3, 40])
def test_every_epoch_shows_every_clip_once(fit: str, clips: int) -> None:
    packing = registry.build("packing", "navit", {**ROWS, "fit": fit})
    sizes = window_tokens(SHAPES[:clips], packing, GRAIN)
    filling = RowFilling(sizes, packing, seed=5)
    steps = [filling.rows_of(step) for step in range(30)]
    assert all(len(rows) == 4 and all(rows) for rows in steps)
    assert all(sum(sizes[clip] for *_, clip in row) <= 80 for rows in steps for row in rows)
    places = [place for rows in steps for row in rows for place in row]
    assert len(set(places)) == len(places), "no place of an epoch comes twice"
    told = max(epoch for epoch, *_ in places) - 1 - 24 // clips - 4  # by then all that waited have been taken
    for epoch in range(max(told, 1)):
        shown = [clip for e, _, clip in places if e == epoch]
        assert sorted(shown) == list(range(clips))
    if clips > 3:
        orders = [tuple(clip for e, _, clip in sorted(places) if e == epoch) for epoch in (0, 1)]
        assert orders[0] != orders[1] and orders[0] != tuple(range(clips))


def test_next_fit_keeps_the_order_of_the_epoch() -> None:
    packing = registry.build("packing", "navit", {**ROWS, "fit": "next", "look_ahead": 1})
    sizes = window_tokens(SHAPES, packing, GRAIN)
    rows = [row for step in range(20) for row in RowFilling(sizes, packing, seed=5).rows_of(step)]
    places = [place[:2] for row in rows for place in row]
    assert places == sorted(places)
    for row, after in itertools.pairwise(rows):  # full: what comes next would not have fitted
        assert sum(sizes[clip] for *_, clip in row) + sizes[after[0][2]] > 80


def test_nobody_waits_for_ever() -> None:
    """One small clip among large ones that leave it no room is taken all the same."""
    packing = registry.build("packing", "navit", {"budget": 10, "rows": 1, "look_ahead": 8})
    filling = RowFilling([10] * 30 + [1], packing, seed=0)
    taken = {clip: step for step in range(60) for row in filling.rows_of(step) for _, _, clip in row if step < 40}
    assert 30 in taken


def test_rows_of_the_planned_tokens() -> None:
    """What the plan counts is what the batch holds, dropped columns included."""
    for way in WAYS[4:]:
        for step in range(4):
            batch = batches(*way)[step]
            rows = registry.build("packing", *way).fill(_tokens(batch))
            assert len(rows) == 4
    assert window_tokens([(5, 4, 6)], registry.build("packing", "navit"), (2, 2, 4)) == [3 * 2 * 2]
    assert window_tokens([(4, 4, 6)], registry.build("packing", "navit"), (2, 2, 4)) == [3 * 2 * 2], "1 + 3 frames"


def test_a_budget_below_a_clip_is_refused_before_any_work() -> None:
    largest = max(window_tokens([(min(f, 6), h, w) for f, h, w in SHAPES], registry.build("packing", "navit"), GRAIN))
    for rows in (0, 2):
        with pytest.raises(BadValue, match=rf"cannot hold a clip of {largest} tokens: raise it to {largest} or more"):
            batches("navit", {"budget": largest - 1, "rows": rows})
    batches("navit", {"budget": largest, "rows": 2})
    assert step_clips(SHAPES, registry.build("packing", "navit", ROWS | {"budget": 200}), GRAIN, 4, 0).dealt == (
        "packing.rows",
        4,
    )


def test_an_odd_number_of_rows_is_refused_by_its_key() -> None:
    from zoo.stages.fit import StepData

    data = StepData(batches("navit", {**ROWS, "rows": 3}), 0)
    data.trainer = SimpleNamespace(world_size=2, global_rank=0, global_step=0)  # type: ignore[assignment]
    with pytest.raises(BadValue, match=r"packing.rows=3 .* 2 processes"):
        data.train_dataloader()


# -------------------------------------------------------------------------------------------------- dropped columns


def stage_of(network: Any, **changes: Any) -> GeneratorStage:
    return GeneratorStage(network, ToyObjective(), ToyNoise(), None, _settings(**changes)).eval()


class Nowhere(torch.nn.Module):
    """A position that says nothing, so that a clip of some columns needs no true places."""

    def embed(self, place: torch.Tensor, sides: torch.Tensor) -> None:
        return None

    rotary = embed


@pytest.mark.parametrize("attention", ATTENTIONS, ids=str)
def test_where_all_columns_are_kept_nothing_changes(attention: tuple) -> None:
    net = build(attention, packing="navit")
    z, window, condition = tiny_batch([[1, 0, 0], [0, 0, 1]])
    kept = replace(window, columns=(torch.ones(2, 3, dtype=torch.bool),) * 2)
    with torch.no_grad():
        torch.testing.assert_close(net(z, kept, condition), net(z, window, condition), rtol=0, atol=1e-6)


@pytest.mark.parametrize("attention", [one for one in ATTENTIONS if one[0] != "windowed"], ids=str)
def test_a_kept_token_is_as_in_a_clip_of_the_kept_columns_alone(attention: tuple) -> None:
    """But for windowed attention, which asks where a column is: a clip of columns alone cannot say."""
    net = build(attention, patch=(1, 1, 1), packing="navit")
    z, window, condition = tiny_batch([[1, 0, 0], [0, 0, 1]])
    corner = torch.zeros(4, 5, dtype=torch.bool)
    corner[:2, :3] = True
    scattered = torch.rand(4, 5, generator=torch.Generator().manual_seed(0)) < 0.4
    with torch.no_grad():
        made = net(z, replace(window, columns=(corner, corner)), condition)
        torch.testing.assert_close(made[..., :2, :3], net(z[..., :2, :3], window, condition), rtol=0, atol=1e-5)
        assert not made[..., ~corner].any() and (made - net(z, window, condition))[..., :2, :3].abs().max() > 1e-3
        net.position = Nowhere()
        made = net(list(z), replace(window, columns=(corner, scattered)), condition)
        for b, kept in enumerate((corner, scattered)):
            own = Window(*(getattr(window, name)[b : b + 1] for name in ("times", "observed", "valid")))
            told = Condition(**{k: v[b : b + 1] for k, v in vars(condition).items()})
            alone = net(z[b : b + 1][..., kept][..., None], own, told)[0, ..., 0]
            torch.testing.assert_close(made[b][..., kept], alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("weighting", ["clip", "token"])
def test_loss_and_gradient_come_from_kept_columns_alone(weighting: str) -> None:
    stage = stage_of(
        build(patch=GRAIN, packing="navit", conditioning="adaln", pose_encoding="none"), weighting=weighting
    )
    made = batches("navit", {"drop": 0.5}, shapes=[(4, 5, 6), (3, 4, 4), (4, 5, 6)], batch=3)
    batch = next(made[step] for step in range(9) if isinstance(made[step].z, list))
    masks = stage._judged(batch.z, batch.window)
    assert all(0 < mask.sum() < mask.numel() for mask in masks)
    stage._noise = lambda z, step: [torch.ones_like(one) for one in z]  # type: ignore[method-assign]

    def loss_of(zs: list[torch.Tensor]) -> tuple[torch.Tensor, list[torch.Tensor]]:
        zs = [z.clone().requires_grad_() for z in zs]
        loss = stage.loss(replace(batch, z=zs), 1)
        return loss, list(torch.autograd.grad(loss, [*zs, *stage.network.parameters()], materialize_grads=True))

    loss, gradients = loss_of(batch.z)
    elsewhere = [torch.where(mask, z, z + 3) for z, mask in zip(batch.z, masks, strict=True)]
    other, others = loss_of(elsewhere)
    torch.testing.assert_close(loss, other, rtol=0, atol=0)
    for mine, theirs in zip(gradients, others, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0)
    for z, mask in zip(gradients, masks, strict=False):
        assert not z[..., ~mask].any() and z[..., mask].any()


@pytest.mark.parametrize("weighting", ["clip", "token"])
def test_stacked_and_listed_clips_with_dropped_columns_give_one_loss(weighting: str) -> None:
    stage = stage_of(build(patch=GRAIN, packing="navit", pose_encoding="none"), weighting=weighting)
    batch = batches("navit", {"drop": 0.4}, shapes=[(6, 5, 6)] * 4)[0]
    assert isinstance(batch.z, torch.Tensor) and batch.window.columns is not None
    stage._noise = lambda z, step: torch.ones_like(z) if isinstance(z, torch.Tensor) else [torch.ones_like(z[0])] * 4  # type: ignore[method-assign]
    stacked = stage.loss(batch, 0)
    torch.testing.assert_close(stage.loss(replace(batch, z=list(batch.z)), 0), stacked)


# ------------------------------------------------------------------------------------------------------- the loss


def test_what_counts_the_same() -> None:
    values = torch.tensor([[1.0, 2.0, 9.0], [4.0, 9.0, 9.0]])
    asked = torch.tensor([[True, True, False], [True, False, False]])
    assert loss_mean.mean_over_clips(values, asked) == (1.5 + 4) / 2
    places = torch.tensor([6, 10])
    assert loss_mean.mean_over_places(values, asked, places) == (6 * 1 + 6 * 2 + 10 * 4) / 22


@pytest.mark.parametrize("way", [("navit", {}), ("navit", {"drop": 0.5}), ("padding", {}), ("bucket", {})], ids=str)
def test_token_weighting_is_the_mean_over_all_places_to_be_made(way: tuple[str, dict[str, Any]]) -> None:
    stage = stage_of(build(patch=GRAIN, packing=way[0], pose_encoding="none"), weighting="token")
    for step in range(3):
        batch = batches(*way)[step]
        loss = stage.loss(batch, step)
        seen: list[Any] = []
        network, stage.network = stage.network, _Watched(stage.network, seen)
        assert torch.equal(stage.loss(batch, step), loss)
        stage.network = network
        (z_t, window, condition), predictions = seen
        total, count = torch.zeros(()), 0
        for b, (z, noisy, made) in enumerate(zip(batch.z, z_t, predictions, strict=True)):
            kept = torch.ones(z.shape[-2:], dtype=torch.bool)
            if window.columns is not None:
                kept = window.columns[b].repeat_interleave(2, 0).repeat_interleave(2, 1)[: z.shape[2], : z.shape[3]]
            for f in range(z.shape[1]):
                if not window.observed[b, f]:
                    t = condition.level[b, f]
                    noise = (noisy[:, f] - (1 - t) * z[:, f]) / t
                    squares = (made[:, f] - (noise - z[:, f])).square().mean(0) / t
                    total, count = total + squares[kept].sum(), count + int(kept.sum())
        torch.testing.assert_close(loss, total / count, rtol=1e-4, atol=1e-5)


class _Watched(torch.nn.Module):
    """Notes what a network is given and what it answers."""

    def __init__(self, network: Any, seen: list[Any]) -> None:
        super().__init__()
        self.network, self.seen, self.grain = network, seen, network.grain

    def forward(self, *given: Any) -> Any:
        answer = self.network(*given)
        self.seen[:] = [given, answer]
        return answer


@pytest.mark.parametrize("weighting", ["clip", "token"])
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_ranks_average_to_the_loss_of_one_process(
    way: tuple[str, dict[str, Any]], weighting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two ranks one after the other: counts are those of both, and DDP's part is the mean."""
    stage = stage_of(build(patch=GRAIN, packing=way[0], pose_encoding="none"), weighting=weighting)
    monkeypatch.setattr(stage, "noise", SimpleNamespace(levels=lambda draw, seen: torch.where(seen, 0.0, 0.5)))
    monkeypatch.setattr(stage, "_noise", lambda z, step: [torch.zeros_like(one) for one in z])
    weights = [parameter for parameter in stage.network.parameters() if parameter.requires_grad]

    def loss_of(batch: Any) -> list[torch.Tensor]:
        batch = replace(batch, z=list(batch.z))
        loss = stage.loss(batch, 0)
        return [loss, *torch.autograd.grad(loss, weights, materialize_grads=True)]

    whole = loss_of(batches(*way)[1])
    parts = [batches(*way, rank=rank, world=2)[1] for rank in range(2)]
    counts: list[torch.Tensor] = []
    monkeypatch.setattr(loss_mean, "processes", lambda: (0, 2))
    monkeypatch.setattr(loss_mean, "total", lambda count: counts.append(count) or count)
    for part in parts:
        loss_of(part)
    monkeypatch.setattr(loss_mean, "total", lambda count: sum(counts))
    for one, mine, theirs in zip(whole, *map(loss_of, parts), strict=True):
        torch.testing.assert_close((mine + theirs) / 2, one, rtol=1e-4, atol=1e-5)


def _of_a_process(rank: int, port: int, folder: str) -> None:
    """Each of two processes holds other clips, and other numbers of them; writes its gradient, averaged as DDP does."""
    torch.distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    values, asked, places = _shared_batch()
    mine = slice(0, 3) if rank == 0 else slice(3, 5)
    scale = torch.ones((), requires_grad=True)
    losses = [
        loss_mean.mean_over_clips(scale * values[mine], asked[mine]),
        loss_mean.mean_over_places(scale * values[mine], asked[mine], places[mine]),
    ]
    gradients = torch.stack([torch.autograd.grad(loss, scale)[0] for loss in losses])
    torch.distributed.all_reduce(gradients)
    if rank == 0:
        torch.save(gradients / 2, f"{folder}/gradients.pt")
    torch.distributed.destroy_process_group()


def _shared_batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    asked = torch.rand(5, 4, generator=draw) < 0.7
    asked[:, 0] = True
    return torch.rand(5, 4, generator=draw), asked, torch.tensor([4, 6, 9, 30, 12])


@pytest.mark.slow
def test_two_processes_average_to_the_gradient_of_one(tmp_path: Any) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    torch.multiprocessing.spawn(_of_a_process, (port, str(tmp_path)), nprocs=2)
    values, asked, places = _shared_batch()
    expected = torch.stack(
        [loss_mean.mean_over_clips(values, asked), loss_mean.mean_over_places(values, asked, places)]
    )
    torch.testing.assert_close(torch.load(tmp_path / "gradients.pt"), expected)


@pytest.mark.parametrize("weighting", ["clip", "token"])
def test_packed_equals_padded_equals_alone_in_training(weighting: str) -> None:
    """Loss and gradients of one mixed batch: rows of any packing, and each clip in a call of its own."""
    net = build(patch=GRAIN, pose_encoding="none", qk_norm=False)
    stage = stage_of(net, weighting=weighting)
    made = batches("padding")
    batch = next(made[step] for step in range(9) if isinstance(made[step].z, list))
    weights = list(net.parameters())

    def of(packing: Any, one: Any, noise: Any) -> list[torch.Tensor]:
        net.packing, stage._noise = packing, lambda z, step: noise  # type: ignore[method-assign]
        stage.noise = SimpleNamespace(levels=lambda draw, seen: torch.where(seen, 0.0, 0.5))
        loss = stage.loss(one, 0)
        return [loss, *torch.autograd.grad(loss, weights, materialize_grads=True)]

    noise = [torch.randn_like(z) for z in batch.z]
    padded = of(registry.build("packing", "padding"), batch, noise)
    packed = of(registry.build("packing", "navit", {"budget": 60}), batch, noise)
    asked = (batch.window.valid & ~batch.window.observed).sum(1)
    sizes = [float(n) * z.shape[-2] * z.shape[-1] for n, z in zip(asked, batch.z, strict=True)]
    shares = [1 / len(batch)] * len(batch) if weighting == "clip" else [size / sum(sizes) for size in sizes]
    summed = [torch.zeros_like(one) for one in padded]
    for b, share in enumerate(shares):
        f = batch.z[b].shape[1]
        own = Window(*(getattr(batch.window, name)[b : b + 1, :f] for name in ("times", "observed", "valid")))
        alone = replace(batch, z=batch.z[b][None], window=own, episodes=batch.episodes[b : b + 1])
        for total, part in zip(summed, of(registry.build("packing", "bucket"), alone, noise[b][None]), strict=True):
            total += share * part.detach()
    for mine, theirs, by_itself in zip(packed, padded, summed, strict=True):
        scale = max(1.0, float(by_itself.abs().max()))
        torch.testing.assert_close(mine, by_itself, rtol=1e-5, atol=1e-5 * scale)
        torch.testing.assert_close(theirs, by_itself, rtol=1e-5, atol=1e-5 * scale)


# ------------------------------------------------------------------------------------------------------ pairings

REFUSALS = {
    "u-net": (["packing={name: navit, drop: 0.3}", "backbone=unet3d"], "packing.drop=0.3 .*backbone=video_dit"),
    "tokens": (
        ["packing={name: navit, drop: 0.3}", "tokenizer=vqvae", "objective=maskgit"],
        "packing.drop=0.3 .*'maskgit' .*objective=flow_matching",
    ),
    "budget": (
        ["packing={name: navit, budget: 99}", "dataset.size=32", "tokenizer.spatial_factor=4"],
        "packing.budget=99 .*clip of 256 tokens: raise it to 256",
    ),
    "budget of a larger patch": (
        ["packing={name: navit, budget: 255, rows: 2}", "dataset.size=64", "backbone.patch=[1,4,4]"],
        "packing.budget=255 .*clip of 256 tokens: raise it to 256",
    ),
}


def checked(*options: str) -> None:
    """All that is asked of a recipe before anything is trained; the quickstart's window is 16 latents of 4×4 pixels."""
    (found,) = resolve(["recipe=quickstart", "rollout=autoregressive", *options], sweep=False)
    suite = load({"name": found.suite.name})
    pairings.check(found, suite)
    pairings.check_built(validate(found), suite)


@pytest.mark.parametrize("case", REFUSALS)
def test_refusals_say_why_and_name_the_cure(case: str) -> None:
    options, words = REFUSALS[case]
    with pytest.raises(UserError, match=words):
        checked(*options)


def test_what_fits_is_let_through() -> None:
    checked("packing={name: navit, budget: 256, rows: 2}", "dataset.size=64", "backbone.patch=[1,4,4]")
    checked("packing={name: navit, drop: 0.3}")
    checked("packing=navit", "backbone=unet3d")


def test_the_plan_counts_the_windows_that_fill_the_rows() -> None:
    def flops(*options: str) -> float:
        (found,) = resolve(["recipe=quickstart", "rollout=autoregressive", *options], sweep=False)
        return generator_cost(found, network_cost(found, (32, 32)))["flops_per_step"]

    one = flops("train.generator.batch=1")
    assert flops("packing={name: navit, budget: 600, rows: 3}") == 6 * one, "two windows of 256 tokens in a row of 600"
    assert flops("train.generator.batch=4", "packing={name: navit, drop: 0.5}") == 2 * one


@pytest.mark.slow
def test_rows_with_dropped_columns_from_a_recipe_to_a_record(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_RUNS", str(tmp_path))
    packing = "packing={name: navit, budget: 600, rows: 2, drop: 0.3, drop_by: resolution}"
    assert guarded(main, [*TINY, packing, "train.generator.weighting=token"]) == 0
