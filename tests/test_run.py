"""The whole way, at tiny size: a recipe to records, again from the cache, samples, reproduction, and bad input."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tiny import TINY

import zoo
from benchmarks import record as records
from zoo.__main__ import main as command
from zoo.entry import guarded
from zoo.run import main

SWEEP = [argument for argument in TINY if argument != "rollout=autoregressive"] + [
    "rollout=autoregressive,pose_nearest"
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """A finished tiny sweep of two rollouts."""
    root = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_RUNS", str(root))
        assert guarded(main, SWEEP) == 0
    return root


@pytest.fixture(autouse=True)
def _here(runs, monkeypatch, tmp_path):
    monkeypatch.setenv("ZOO_RUNS", str(runs))
    monkeypatch.chdir(tmp_path)


def rows(runs: Path) -> list[Path]:
    return [path for path in (runs / "records").rglob("*.json") if records.read(path).kind == "model"]


def test_points_that_differ_in_sampling_share_one_generator(runs):
    assert len(list(runs.glob("generator-*"))) == len(list(runs.glob("tokenizer-*"))) == 1
    assert len(list(runs.glob("sample-*"))) == len(rows(runs)) == 2
    made = [records.read(path) for path in rows(runs)]
    assert len({row.group for row in made}) == 1
    assert {row.label for row in made} == {"rollout=autoregressive", "rollout=pose_nearest"}


def test_a_record_says_everything(runs):
    row = records.read(rows(runs)[0])
    assert row.schema_version == 1 and row.suite.modified and row.recipe_hash
    assert row.metrics["psnr"].interval and row.curves["psnr"].t
    assert row.cost.parameters["generator"] > 0 and row.cost.flops["generator"] > 0
    assert row.cost.network_calls_per_frame and row.cost.peak_memory_bytes
    assert {"tokenizer", "generator", "sample"} <= row.cost.trained_seconds.keys()
    assert row.seeds.keys() == {"tokenizer", "generator", "sample", "suite"}
    assert "harvey2022fdm" in row.citations and row.environment.packages["torch"]
    folder = rows(runs)[0].parent
    assert all((folder / path).stat().st_size for path in row.artifacts.values())


def test_the_same_command_again_trains_nothing_and_says_so(runs, capsys):
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("weights.safetensors")}
    assert guarded(main, SWEEP) == 0
    said = capsys.readouterr().err
    assert said.count("judged before") == 2 and "training" not in said
    assert before == {path: path.stat().st_mtime_ns for path in runs.rglob("weights.safetensors")}


def test_a_run_opened_from_python_encodes_decodes_and_samples(runs):
    folder = records.read(rows(runs)[0]).stages["generator"]
    assert zoo.load(folder) is not zoo.load(folder), "a second call finds a function, not a module of that name"
    model = zoo.load(folder)
    clip = model.dataset().clip("test", 0)
    z = model.encode(clip.frames)
    assert model.decode(z).shape == clip.frames.shape
    from zoo.model import Scene

    scene = Scene(20, clip.frames[:10], clip.actions[:19], clip.poses[:20])
    (video,) = model.sample(scene)
    assert video.shape == (20, *clip.frames.shape[1:])
    np.testing.assert_array_equal(video[:10], clip.frames[:10])


def test_sample_writes_videos_and_sheets(runs, tmp_path):
    folder = records.read(rows(runs)[0]).stages["generator"]
    assert command(["sample", folder, "videos=1", "frames=18", "out=made", "rollout=long_range"]) == 0
    assert {path.suffix for path in (tmp_path / "made").iterdir()} == {".mp4", ".png"}


def test_reproducing_on_the_same_machine_gives_equal_figures(runs, tmp_path, capsys):
    record = rows(runs)[0]
    assert command(["reproduce", str(record), f"into={tmp_path / 'again'}"]) == 0
    assert "equal" in capsys.readouterr().out


BAD = {
    "unknown recipe": (["recipe=quickstrat"], "Did you mean 'quickstart'"),
    "unknown key": ([*TINY, "tokeniser=vae"], "Did you mean 'tokenizer'"),
    "unknown component": (["recipe=quickstart", "rollout=longrange"], "Did you mean 'long_range'"),
    "unknown option": ([*TINY, "solver.step=3"], "Did you mean 'steps'"),
    "wrong type": ([*TINY, "backbone.depth=deep"], "depth"),
    "out of range": ([*TINY, "train.generator.lr=-1"], "lr"),
    "window larger than trained": ([*TINY, "sample.window=32"], "train.generator.window=16"),
    "guidance without dropout": ([*TINY, "guidance=classifier_free"], "text_dropout"),
    "empty folder": (["recipe=clips", "dataset.root=."], "video"),
    "missing folder": (["recipe=clips", "dataset.root=./nowhere"], "nowhere"),
    "context leaves nothing": (["recipe=quickstart", "suite.context=500"], "context"),
    "a metric the clips are too short for": ([*TINY, "suite.metrics=[fd_lite0_motion]"], "16 frames"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence_and_exit_code_2(case, capsys):
    arguments, words = BAD[case]
    kept = {argument.partition("=")[0]: argument for argument in arguments}
    assert guarded(main, list(kept.values())) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("zoo: ") and words in said


def test_weights_of_another_recipe_are_refused(runs, capsys):
    folder = records.read(rows(runs)[0]).stages["generator"]
    kept = [argument for argument in TINY if not argument.startswith("backbone=")]
    wider = [*kept, "backbone={width: 24, depth: 1, heads: 2}", f"train.init_from={folder}"]
    assert guarded(main, wider) == 2
    assert "belongs to another recipe" in capsys.readouterr().err


def test_fine_tuning_starts_from_another_run(runs, capsys):
    folder = records.read(rows(runs)[0]).stages["generator"]
    assert guarded(main, [*TINY, f"train.init_from={folder}", "train.generator.lr=1e-4"]) == 0
    assert "starting from" in capsys.readouterr().err


def test_an_unwritable_folder_is_named(monkeypatch, capsys, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("ZOO_RUNS", str(tmp_path / "file"))
    assert guarded(main, TINY) == 2
    assert "file" in capsys.readouterr().err


def test_plan_trains_nothing_and_knows_what_is_cached(runs, capsys):
    assert command(["plan", *TINY, "format=json"]) == 0
    (plan,) = json.loads(capsys.readouterr().out)
    assert set(plan["stages"].values()) == {"done"}
    assert plan["generator"]["flops_per_step"] > 0 and plan["rollout"]["plan_steps"] == 2
