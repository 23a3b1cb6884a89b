"""Boards over training seeds, on made-up records: what pools, who is tied, and that a control which wins is named."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import synthetic_records as made

from benchmarks import leaderboard_text, pooled_figures
from benchmarks.findings import control_check, findings
from benchmarks.leaderboard import Entry, boards
from benchmarks.pooled import compare, pool, worth_pooling
from benchmarks.pooled_identity import named, without_seeds
from benchmarks.pooled_table import chosen, table
from benchmarks.record import Curve, Metric, Part, write
from zoo.commands.leaderboard import main
from zoo.errors import BadValue, UserError

PD, PLACE, FD = made.HEADLINES


def entries(records):
    ordered = sorted(records, key=lambda record: record.created)
    return [Entry(record, Path(f"{i}.json")) for i, record in enumerate(ordered)]


def board_of(records):
    (board,) = pool(entries(records))
    return board


def row(board, label):
    (found,) = [row for row in board.rows if row.label == label]
    return found


@pytest.fixture(scope="module")
def study():
    return pool(entries(made.long_range_study()))


# ------------------------------------------------------------------------------------------------ what pools


def test_one_row_per_strategy_and_control_on_a_board_per_world(study):
    assert [board.title for board in study] == [f"long500 v1 · {world} · 250 context frames" for world in made.WORLDS]
    assert [(board.world, board.context, board.protocol) for board in study] == [
        (world, 250, f"long500@1/{world}/c250") for world in made.WORLDS
    ]
    for board in study:
        assert [row.label for row in board.rows] == [
            "reconstruction", "rollout=long_range", "rollout=hierarchical", "rollout=autoregressive",
            "mean_context", "copy_last",
        ]  # fmt: skip
        assert [row.seeds for row in board.rows] == [1, 3, 3, 3, 1, 1]
        assert board.headline == made.HEADLINES
        models = [row for row in board.rows if row.is_model]
        assert all([e.record.seeds["generator"] for e in row.entries] == [0, 1, 2] for row in models)
        assert worth_pooling(board)
    assert not any(map(worth_pooling, pool(entries(made.everyone()))))


def test_contexts_do_not_share_a_board():
    found = pool(entries([made.long500("long_range", 0, 0.5, context=c) for c in (36, 250)]))
    assert sorted(board.context for board in found) == [36, 250]


@pytest.mark.parametrize(
    "change",
    [{"rollout": {"name": "long_range", "distant": "spread"}}, {"train": {"generator": {"lr": 1.0, "seed": 1}}}],
)
def test_another_recipe_is_another_row_and_the_label_says_in_what(change):
    plain = made.long500("long_range", 0, 0.5)
    other = made.long500("long_range", 1, 0.5)
    other = other.model_copy(update={"recipe": other.recipe | change})
    labels = [row.label for row in board_of([plain, other]).rows]
    assert len(set(labels)) == 2
    assert any(word in " ".join(labels) for word in ("rollout.distant=spread", "train.generator.lr=1.0"))


def test_a_swept_part_is_named_with_its_options():
    record = made.long500("long_range", 0, 0.5)
    point = {"rollout": {"name": "long_range", "distant": "spread"}, "train.generator.seed": 3, "case": "maze500"}
    swept = record.model_copy(update={"recipe": record.recipe | {"point": point}})
    assert named(swept) == "rollout=long_range(distant=spread)"
    only_seed = record.model_copy(update={"recipe": record.recipe | {"point": {"seed": 3}}})
    assert named(only_seed) == "rollout=long_range"


def test_one_recipe_under_two_names_is_one_row_over_its_seeds():
    first, second = (made.long500("long_range", seed, 0.5) for seed in (0, 1))
    renamed = second.model_copy(update={"name": "attention", "recipe": {**second.recipe, "name": "attention"}})
    assert row(board_of([first, renamed]), "rollout=long_range").seeds == 2


def test_another_metric_key_is_another_row():
    one, two = made.long500("long_range", 0, 0.5), made.long500("long_range", 1, 0.5)
    changed = {**two.metrics, PD: two.metrics[PD].model_copy(update={"key": "pd v2"})}
    board = board_of([one, two.model_copy(update={"metrics": changed})])
    assert [row.seeds for row in board.rows] == [1, 1] and len({row.label for row in board.rows}) == 2
    assert {row.ranks.get(PD, "") for row in board.rows} == {""}


def test_only_seeds_of_training_and_sampling_are_set_aside():
    recipe = {
        "seed": 1, "name": "n", "point": {"seed": 1}, "dataset": {"name": "maze", "seed": 7},
        "sample": {"seed": 1, "window": 16}, "train": {"generator": {"seed": 1, "lr": 0.1}, "init_from": None},
    }  # fmt: skip
    assert without_seeds(recipe) == {
        "dataset": {"name": "maze", "seed": 7}, "sample": {"window": 16},
        "train": {"generator": {"lr": 0.1}, "init_from": None},
    }  # fmt: skip


def test_the_newest_run_of_a_seed_speaks_for_it():
    old = made.long500("long_range", 0, 0.9)
    new = made.long500("long_range", 0, 0.5, created=old.created + timedelta(days=1))
    (only,) = board_of([new, old]).rows
    assert (only.seeds, only.older) == (1, 1) and only.metrics[PD].value == new.metrics[PD].value


def test_a_control_that_another_tokenizer_changes_stays_apart():
    same = [made.long500_control("mean_context", "floor", 0.8, seed) for seed in (0, 1)]
    other = [made.long500_control("reconstruction", "ceiling", 0.1 + seed, seed) for seed in (0, 1)]
    labels = [row.label for row in board_of([*same, *other]).rows]
    assert labels.count("mean_context") == 1
    assert sum(label.startswith("reconstruction (") for label in labels) == 2


def test_someones_videos_pool_by_name_only_when_they_state_seeds():
    def outside(seed, seeds):
        return made.long500("x", seed, 0.5, recipe={}, recipe_hash="", label="mine", seeds=seeds, group="")

    stated = [outside(seed, {"seed": seed}) for seed in made.SEEDS]
    assert [row.seeds for row in board_of(stated).rows] == [3]
    assert [row.seeds for row in board_of([outside(seed, {}) for seed in made.SEEDS]).rows] == [1, 1, 1]


def test_an_unknown_suite_is_refused():
    with pytest.raises(UserError, match="long500"):
        pool(entries(made.long_range_study()), "long50")


# ------------------------------------------------------------------------------------------------ figures


def test_a_figure_is_the_mean_over_seeds_and_videos_with_the_seeds_own_spread(study):
    figure = row(study[0], "rollout=long_range").metrics[PD]
    records = [made.long500("long_range", seed, 0.5, world="maze500") for seed in made.SEEDS]
    means = [record.metrics[PD].value for record in records]
    assert figure.value == pytest.approx(np.mean(means)) and (figure.videos, figure.seeds) == (8, 3)
    assert figure.seed_deviation == pytest.approx(np.std(means, ddof=1))
    assert figure.interval[0] < figure.value < figure.interval[1]
    assert figure.higher_is_better is False and figure.key == records[0].metrics[PD].key


def test_without_values_per_video_the_spread_of_seeds_widens_the_interval(study):
    figure = row(study[0], "rollout=long_range").metrics[FD]
    values = [made.long500("long_range", seed, 0.5).metrics[FD].value for seed in made.SEEDS]
    error = 4.302653 * np.std(values, ddof=1) / np.sqrt(3)
    assert figure.value == pytest.approx(np.mean(values))
    assert figure.interval == pytest.approx((figure.value - np.hypot(4, error), figure.value + np.hypot(4, error)))
    alone = row(study[0], "copy_last").metrics[FD]
    assert alone.interval == (alone.value - 4, alone.value + 4) and alone.seed_deviation is None


def test_an_interval_that_lies_below_its_estimate_keeps_its_place():
    metric = Metric(value=10.0, n=8, higher_is_better=False, key="k")
    parts = [Part(value=v, n=8, interval=(v - 4, v - 2)) for v in (10.0, 10.0)]
    figure = pooled_figures.spread_part(parts, metric)
    assert figure.value == 10 and figure.interval == pytest.approx((6, 8))
    bare = pooled_figures.spread_part([Part(value=v, n=8) for v in (9.0, 11.0)], metric)
    assert bare.interval == pytest.approx((10 - 12.706, 10 + 12.706), abs=0.01)
    nothing = pooled_figures.spread_part([Part(value=None, n=0)], metric)
    assert (nothing.value, nothing.interval, nothing.seeds) == (None, None, 0)


def test_values_per_video_that_are_not_what_the_figure_averages_are_not_resampled():
    records = []
    for seed in made.SEEDS:
        record = made.long500("long_range", seed, 0.5)
        ratio = record.metrics[PD].model_copy(update={"value": 3.0 + seed, "interval": (2.0 + seed, 4.0 + seed)})
        records.append(record.model_copy(update={"metrics": {PD: ratio}}))
    assert pooled_figures.pool_metric(records, PD).value == pytest.approx(4.0)


def test_parts_pool_too(study):
    parts = row(study[0], "rollout=long_range").metrics["psnr"].parts
    assert set(parts) == {"unseen", "revisit_context"} and parts["unseen"].seeds == 3
    assert any(column.part == "unseen" for column in study[0].parts)


def test_one_seed_keeps_its_records_figures():
    record = made.long500("long_range", 0, 0.5)
    figure = board_of([record]).rows[0].metrics[PD]
    assert (figure.value, figure.interval) == (record.metrics[PD].value, record.metrics[PD].interval)


def test_costs_are_means_over_seeds(study):
    cost = row(study[0], "rollout=long_range").cost
    assert cost["trained_seconds"] == 301 and cost["parameters"] == 2e6 and cost["flops_per_frame"] == 2e9
    assert (cost["network_calls_per_frame"], cost["trained_flops"]) == (0.5, 1e15)
    assert row(study[0], "copy_last").cost == {}


# ------------------------------------------------------------------------------------------------ curves


def test_curves_have_bands_over_videos_and_seeds(study):
    curve = row(study[0], "rollout=long_range").curves["pd_lite0"]
    assert curve.band == "simultaneous" and curve.t == [float(t) for t in range(0, 96, 8)]
    assert all(lo < mean < hi for lo, mean, hi in zip(curve.lo, curve.mean, curve.hi, strict=True))
    assert np.diff(curve.mean) == pytest.approx(0.008)


def test_curves_without_values_per_video_have_no_band_over_seeds():
    def record(seed, mean):
        curve = Curve(t=[0.0, 8.0], mean=mean, lo=[0.0, 0.0], hi=[9.0, 9.0])
        return made.long500("long_range", seed, 0.5, curves={"fd": curve})

    one, two = record(0, [1.0, None]), record(1, [3.0, None])
    both = pooled_figures.pool_curve([one, two], "fd")
    assert both.mean == [2.0, None] and both.lo == [None, None] and both.band == ""
    alone = pooled_figures.pool_curve([one], "fd")
    assert (alone.lo, alone.band) == ([0.0, 0.0], "pointwise")


# ------------------------------------------------------------------------------------------------ ties


def test_ties_are_told_by_pairs_where_intervals_overlap_wholly(study):
    for board in study:
        ranks = {row.label: row.ranks.get(PD, "") for row in board.rows}
        assert ranks == {
            "reconstruction": "", "rollout=long_range": "tie", "rollout=hierarchical": "tie",
            "rollout=autoregressive": "", "mean_context": "", "copy_last": "",
        }  # fmt: skip
        window, best = (row(board, f"rollout={name}") for name in ("autoregressive", "long_range"))
        assert window.metrics[PD].interval[0] < best.metrics[PD].interval[1], "alone, the intervals overlap"
        gap = compare(best, window, PD)
        assert gap.clear and gap.paired and gap.n == 8 and all(value < 0 for value in gap.by_seed)


def test_seeds_that_are_not_shared_are_drawn_apart():
    board = board_of(
        [made.long500("long_range", seed, 0.5) for seed in (0, 1, 2)]
        + [made.long500("hierarchical", seed, 0.4) for seed in (7, 8, 9)]
    )
    gap = compare(*(row(board, f"rollout={name}") for name in ("long_range", "hierarchical")), PD)
    assert gap.by_seed == () and gap.paired and gap.interval is not None and gap.value > 0


def test_figures_without_pairs_tie_by_overlap(study):
    gap = compare(*(row(study[0], f"rollout={name}") for name in ("autoregressive", "long_range")), FD)
    assert not gap.paired and len(gap.by_seed) == 3 and gap.value == pytest.approx(10)
    ranks = {row.label: row.ranks.get(FD, "") for row in study[0].rows if row.is_model}
    assert ranks["rollout=long_range"] == ranks["rollout=hierarchical"] == "tie"


def test_rows_of_other_keys_are_not_compared():
    one, two = made.long500("long_range", 0, 0.5), made.long500("hierarchical", 0, 0.4)
    changed = {**two.metrics, PD: two.metrics[PD].model_copy(update={"key": "pd v2"})}
    board = board_of([one, two.model_copy(update={"metrics": changed})])
    assert compare(*board.rows, PD) is None
    assert compare(*board.rows, "none") is None
    assert compare(*board.rows, PLACE) is not None


# ------------------------------------------------------------------------------------------------ findings


def said(board, *words):
    return [line for line in findings(board) if all(word in line for word in words)]


def test_findings_name_the_best_the_tied_and_the_gain_over_the_window(study):
    (best,) = said(study[0], PD, "best mean")
    assert "rollout=long_range has" in best and "rollout=hierarchical cannot be told apart" in best
    assert "lower is better; 8 videos × 3 training seeds, deviation between seeds" in best
    (gain,) = said(study[0], PLACE, "difference to rollout=autoregressive")
    assert "rollout=long_range is better, +" in gain and "better in 3 of 3 seeds" in gain
    (lower,) = said(study[0], PD, "difference to rollout=autoregressive")
    assert "rollout=long_range is better, -0.1" in lower
    assert said(study[0], FD, "by overlap of intervals")
    assert "3 training seeds" in findings(study[0])[-1]
    assert not said(study[0], "psnr"), "shown, but no headline"


def test_findings_say_who_is_worse_and_who_is_alone(study):
    poor = [made.long500("rolling", seed, 0.75) for seed in made.SEEDS]
    board = board_of([r for r in made.long_range_study() if r.dataset.name == "maze500"] + poor)
    assert "rollout=rolling is worse, +" in said(board, PD, "difference")[0]
    alone = board_of([made.long500("long_range", seed, 0.5) for seed in made.SEEDS])
    assert "it is the only model" in findings(alone)[0]
    clear = board_of([r for r in made.long_range_study() if "hierarchical" not in r.label and r.group[:4] == "maze"])
    assert "every other model is worse" in said(clear, PD, "best mean")[0]
    single = board_of([made.long500(name, 0, level) for name, level in made.LONG.items()])
    assert "One training seed" in findings(single)[-1]


def test_no_headlines_no_findings():
    (board,) = pool(entries(made.everyone()))
    assert findings(board) == [] and control_check(board) == []


def test_controls_that_behave_are_said_to(study):
    checks = control_check(study[0])
    assert {(check.metric, check.control) for check in checks} == {
        (metric, control) for metric in made.HEADLINES for control in ("mean_context", "copy_last")
    }
    assert not any(check.topped or check.tied for check in checks)
    assert all(check.model in ("rollout=long_range", "rollout=hierarchical") for check in checks)
    assert said(study[0], PD, "every floor", "is worse")
    assert not said(study[0], "WARNING")


@pytest.mark.parametrize("role", ["floor", ""])
def test_a_control_that_wins_a_headline_is_named_loudly(role):
    records = [r for r in made.long_range_study() if r.dataset.name == "maze500"]
    board = board_of([*records, made.long500_control("blurred", role, 0.3, 0)])
    assert {c.metric for c in control_check(board) if c.topped and c.control == "blurred"} == set(made.HEADLINES)
    (warning,) = said(board, "WARNING", PD)
    assert "blurred tops every model" in warning and "rewards what the control does" in warning
    assert not said(board, PD, "every floor")


def test_a_control_that_cannot_be_told_apart_and_a_ceiling_below_the_model():
    records = [r for r in made.long_range_study() if r.dataset.name == "maze500" and r.kind == "model"]
    near = board_of([*records, made.long500_control("frozen", "floor", 0.5, 0)])
    assert said(near, "frozen (control) cannot be told apart") and not said(near, "WARNING")
    low = board_of([*records, made.long500_control("reconstruction", "ceiling", 0.9, 0)])
    assert said(low, PD, "better than the ceiling reconstruction") and control_check(low) == []


# ------------------------------------------------------------------------------------------------ tables


@pytest.fixture
def folder(tmp_path):
    for record in made.long_range_study():
        write(record, tmp_path)
    return tmp_path


def test_pooled_tables_show_ties_seeds_cost_and_findings(folder, capsys):
    assert main([f"results={folder}", "format=markdown"]) == 0
    text = capsys.readouterr().out
    line = next(line for line in text.splitlines() if line.startswith("| rollout=long_range"))
    assert "≈**0.5" in line and "| 8 × 3 |" in line and "| 2.00 M | 0.5 | 2 | 0.02 |" in line
    header = next(line for line in text.splitlines() if line.startswith("| row"))
    assert [cell.split()[0] for cell in header.split("|")[2:5]] == list(made.HEADLINES)
    assert "cannot be told apart from it" in text and text.count("## long500 v1") == 2
    assert main([f"results={folder}", "suite=long500"]) == 0
    assert "8 × 3" in capsys.readouterr().out


def test_pool_none_shows_every_record(folder, capsys):
    assert main([f"results={folder}", "format=csv", "pool=none"]) == 0
    single = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert main([f"results={folder}", "format=csv"]) == 0
    pooled = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert "seeds" not in single[0] and len(single) == 2 * (9 + 3) * (4 + 2)
    assert len(pooled) == 2 * 6 * (4 + 2)
    (line,) = [x for x in pooled if (x["row"], x["metric"], x["dataset"]) == ("rollout=long_range", PD, "maze500")]
    assert (line["n"], line["seeds"], line["rank"]) == ("8", "3", "tie") and float(line["seed_deviation"]) > 0
    assert len(line["recipe_hash"].split()) == 3
    with pytest.raises(BadValue, match="seeds"):
        main([f"results={folder}", "pool=seed"])


def test_single_seeds_without_headlines_look_as_ever():
    records = entries(made.everyone())
    assert chosen(records) == boards(records) == chosen(records, how="none")
    (forced,) = chosen(records, how="seeds")
    assert [row.label for row in forced.rows] == [row.label for row in boards(records)[0].rows]
    assert "8 × 1" in leaderboard_text.markdown([forced], {})
    assert table(pool(records)[0]).notes == forced.notes
