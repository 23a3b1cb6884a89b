"""The suite that judges a way of packing by an untrained network: what it counts, and what it finds out."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks import packed_figures
from benchmarks import record as records
from benchmarks import suite as suites
from benchmarks.contracts import Setting
from zoo import run
from zoo.__main__ import main as command
from zoo.entry import guarded
from zoo.errors import BadValue, UnmetNeed
from zoo.mixed_batch import lengths
from zoo.packed_steps import Steps, differences, loss_of, packed_rows
from zoo.packing_trial import PackingTrial
from zoo.pipeline import Pipeline
from zoo.recipe import resolve

SUITE = (
    "suite={name: packing, episodes: 4, frames: 4, dataset: {name: moving_shapes, sizes: [[16, 16], [16, 32], "
    "[32, 32]], frames: 4, test: 4, train: 0, validation: 0}}"
)
ARGUMENTS = ["recipe=shapes_text", "backbone.width=16", "backbone.depth=1", "backbone.heads=2", SUITE]


def trial(*arguments: str) -> PackingTrial:
    (recipe,) = resolve([*ARGUMENTS, *arguments], sweep=True)
    recipe, suite = run._checked(recipe)
    return PackingTrial(Pipeline(recipe, None), suite)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_RUNS", str(root))
        assert run.main([*ARGUMENTS, "packing=padding,navit,bucket"]) == 0
    return root


def rows(root) -> dict[str, records.Record]:
    found = [records.read(path) for path in sorted((root / "records" / "packing").glob("*.json"))]
    return {record.components["packing"]: record for record in found}


# --------------------------------------------------------------------------------------------------------- the record


def test_every_packing_has_a_row_and_nothing_was_trained(judged):
    stages = {json.loads(path.read_text())["stage"] for path in judged.glob("*/config.json")}
    assert stages == {"packing", "evaluation"}
    found = rows(judged)
    assert set(found) == {"padding", "navit", "bucket"}
    assert len(list((judged / "records" / "packing").glob("*.json"))) == 3, "padding is in every row's own run"
    for name, row in found.items():
        assert row.label == f"packing={name}" and row.suite.options["judges"] == "packing" and not row.artifacts
        assert set(row.stages) == {"packing"} and row.cost.parameters["generator"] > 0
        assert row.cost.flops["training_step"] > 0 and row.citations
        assert set(row.metrics) == {
            "filler", "tokens_per_row", "forward_difference", "gradient_difference", "step_seconds",
            "speed_over_padding", "matmul_share",
        }  # fmt: skip
        assert row.metrics["forward_difference"].value < 1e-5 and row.metrics["gradient_difference"].value < 1e-4
        assert len(row.per_video["forward_difference"]) == 4 and "threads=" in row.metrics["step_seconds"].key
        assert "threads=" not in row.metrics["filler"].key


def test_filler_is_what_can_be_counted_by_hand(judged):
    """Frames 4, 2, 4, 1 or as drawn, of 4, 8, 16 and 4 tokens a frame."""
    frames = lengths(4, 4, suites.load("packing").seed)
    tokens = [f * area for f, area in zip(frames, (4, 8, 16, 4), strict=True)]
    found = rows(judged)
    longest, real = max(tokens), sum(tokens)
    assert found["padding"].metrics["filler"].value == pytest.approx(1 - real / (4 * longest))
    assert found["padding"].metrics["tokens_per_row"].value == longest
    assert found["bucket"].metrics["filler"].value == 0
    assert found["bucket"].metrics["filler"].parts["calls"].value == len(set(zip(frames, (4, 8, 16, 4), strict=True)))
    assert found["navit"].metrics["filler"].value < found["padding"].metrics["filler"].value
    assert found["padding"].metrics["speed_over_padding"].value == 1


def test_the_same_command_again_measures_nothing_and_commands_answer(judged, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("ZOO_RUNS", str(judged))
    before = sorted(judged.rglob("*.json"))
    assert run.main([*ARGUMENTS, "packing=navit"]) == 0
    assert sorted(judged.rglob("*.json")) == before
    path = str(next((judged / "records" / "packing").glob("*.json")))
    assert guarded(command, ["audit", path]) == 2 and "judges no generated videos" in capsys.readouterr().err
    assert command(["plan", *ARGUMENTS, "packing=navit"]) == 0
    assert "packing=navit" in capsys.readouterr().out
    page = tmp_path / "board.html"
    assert command(["leaderboard", f"results={judged / 'records'}", "format=html", f"out={page}"]) == 0
    assert "speed_over_padding" in page.read_text()


# ------------------------------------------------------------------------------------------------------ what it sees


class Leaking(torch.nn.Module):
    """A network whose answer to a clip holds a little of every other clip of its call."""

    def __init__(self, inner: torch.nn.Module, leak: float) -> None:
        super().__init__()
        self.inner, self.leak = inner, leak
        self.packing = inner.packing

    def forward(self, zs, window, condition):
        made = self.inner(zs, window, condition)
        return [out + self.leak * sum(other.mean() for other in made) for out in made]


def test_a_network_that_lets_clips_see_each_other_is_found_out():
    judge = trial("packing=navit")
    network = judge._network()
    done = lambda: None  # noqa: E731
    clean, clean_gradient = differences(network, judge.batch, done)
    leaky, leaky_gradient = differences(Leaking(network, 0.05), judge.batch, done)
    assert max(clean) < 1e-5 and clean_gradient < 1e-4
    assert max(leaky) > 1e-3 and leaky_gradient > 1e-3


def test_packings_share_their_weights_and_every_clip_counts_the_same():
    navit, padding = trial("packing=navit"), trial("packing=padding")
    ours, theirs = navit._network(), navit._network(packing="padding")
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))
    together = loss_of(ours, navit.batch, len(navit.batch))
    apart = sum(loss_of(theirs, padding.batch.of([b]), len(padding.batch)) for b in range(len(padding.batch)))
    torch.testing.assert_close(together, apart, rtol=1e-5, atol=1e-6)


def test_buckets_hold_one_size_and_dropped_columns_are_left_out():
    judge = trial("packing=bucket")
    parts = Steps(judge._network(), judge.batch).parts
    assert all(len({z.shape for z in part.zs}) == 1 for part in parts)
    assert sum(map(len, parts)) == len(judge.batch)
    whole, dropped = trial("packing=navit"), trial("packing={name: navit, drop: 0.5}")
    network = dropped._network()
    assert whole._training_batch(whole._network()) is whole.batch
    spared = dropped._training_batch(network)
    counted = [sum(r * n - f for r, n, f in packed_rows(network, batch)) for batch in (dropped.batch, spared)]
    assert counted[1] == pytest.approx(counted[0] / 2, rel=0.1)


def test_a_window_of_some_clips_is_that_of_each(monkeypatch):
    batch = trial("packing=navit").batch
    some = batch.of([2, 0])
    assert [z.shape for z in some.zs] == [batch.zs[2].shape, batch.zs[0].shape]
    frames = max(z.shape[1] for z in some.zs)
    torch.testing.assert_close(some.window.times, batch.window.times[[2, 0], :frames])
    assert (some.window.valid.sum(1).tolist()) == [z.shape[1] for z in some.zs]
    assert not (some.condition.level[some.window.observed] != 0).any()


def test_figures_are_medians_of_ratios_within_rounds():
    measured = packed_figures.Measured(
        forward={"a": 0.0, "b": 1e-7}, gradient=1e-6, rows=[(2, 10, 5)], step_seconds=[1.0, 2.0, 4.0],
        padded_seconds=[2.0, 4.0, 4.0], matrix_seconds=[0.5, 1.0, 1.0], matrix_flops=10.0, step_flops=10.0,
    )  # fmt: skip
    found = packed_figures.results(measured, Setting("p", "d", resamples=50), [(1, 8, 8)] * 2).metrics
    values = {name: metric.value for name, metric in found.items()}
    assert values["filler"] == 0.25 and values["tokens_per_row"] == 10 and values["forward_difference"] == 1e-7
    assert values["speed_over_padding"] == 2.0 and values["step_seconds"] == 2.0
    assert values["matmul_share"] == pytest.approx(10 / 2 / 20)
    without = packed_figures.results(replace(measured, rows=[]), Setting("p", "d", resamples=50), [(1, 8, 8)] * 2)
    assert "filler" not in without.metrics


# ---------------------------------------------------------------------------------------------------------- the suite


def test_sizes_and_lengths_of_the_suite():
    suite = suites.load("packing")
    assert suite.judges == "packing" and suite.dataset is not None and not suite.metrics
    tokens = {height // 8 * (width // 8) for height, width in suite.dataset.options["sizes"]}
    assert (min(tokens), max(tokens)) == (16, 256)
    drawn = lengths(suite.episodes, suite.frames, suite.seed)
    assert max(drawn) == 16 and min(drawn) <= 2 and len(set(drawn)) > 8 and drawn == lengths(24, 16, suite.seed)
    assert np.mean(drawn) > 6


def test_what_cannot_be_judged_is_refused_before_work():
    with pytest.raises(BadValue, match="measures its own figures"):
        suites.load({"name": "packing", "metrics": ["psnr"]})
    with pytest.raises(UnmetNeed, match="gives the network latents"):
        run._checked(resolve([*ARGUMENTS, "objective=maskgit"], sweep=True)[0])
