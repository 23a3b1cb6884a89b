"""Spoiled rollouts, and the command that asks whether one of them, or any floor, tops a headline metric."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from benchmarks import harness, spoiled
from benchmarks import record as records
from benchmarks.suite import load
from zoo.__main__ import main
from zoo.evaluation import Evaluation
from zoo.pipeline import Pipeline
from zoo.recipe import resolve, validate
from zoo.store import Store

EPISODES, FRAMES, CONTEXT, SIZE = 6, 80, 36, 16
WORLD = {"name": "maze", "size": SIZE, "frames": FRAMES, "train": 0, "validation": 0, "test": EPISODES, "wobble": 0.0,
         "tours": {"wobbled_loop": 1.0}, "lap": [36, 40]}  # fmt: skip
CHOSEN = {"tours": ["wobbled_loop"], "types": ["revisit_context"]}
METRICS = ["psnr", {"name": "pd_lite0", "label": "wobbled_revisit", "size": 32, **CHOSEN},
           {"name": "place_recognition", "label": "wobbled", **CHOSEN}]  # fmt: skip
RECIPE = ["recipe=quickstart", "rollout=autoregressive", "suite=long500", "suite.resamples=50", "suite.controls=[]",
          f"suite.dataset={json.dumps(WORLD)}", f"suite.frames={FRAMES}", f"suite.context={CONTEXT}",
          f"suite.episodes={EPISODES}", f"suite.metrics={json.dumps(METRICS)}"]  # fmt: skip


# ---------------------------------------------------------------------------------------------------------- spoiling


@pytest.fixture
def video() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (12, 16, 24, 3), np.uint8)


@pytest.mark.parametrize("kind", spoiled.SPOILED)
def test_what_was_given_stays_and_the_argument_is_left_alone(video, kind):
    before = video.copy()
    video.flags.writeable = False  # as a memory map is
    made = spoiled.SPOILED[kind](video, 5)
    assert made.dtype == np.uint8 and made.shape == video.shape
    np.testing.assert_array_equal(made[:5], before[:5])
    np.testing.assert_array_equal(video, before)
    assert (made[5:] != before[5:]).any()


def test_each_is_spoiled_as_it_says(video):
    assert (spoiled.frozen(video, 5)[5:] == video[5]).all()
    steady = spoiled.constant(video, 5)[5:]
    assert (steady == steady[0]).all()
    np.testing.assert_allclose(steady[0], video[5:].astype(float).mean(0), atol=0.5)
    soft = spoiled.blurred(video, 5)[5:]
    wanted = gaussian_filter(video[5:].astype(float), (0, 1, 1, 0), mode="nearest")  # half of 2 at 16 pixels
    np.testing.assert_allclose(soft, wanted, atol=0.51)
    np.testing.assert_array_equal(spoiled.blurred(video, 5)[6], spoiled.blurred(video[6:7], 0)[0])


# ----------------------------------------------------------------------------------------------------------- auditing


@lru_cache
def recipe(seed: int = 0):
    return validate(resolve([*RECIPE, f"seed={seed}"], sweep=False)[0])


def judge(store: Store, seed: int = 0) -> Evaluation:
    made = Evaluation(Pipeline(recipe(seed), store), load({"name": "long500", **recipe(seed).suite.options}))
    made.clips = clips()
    return made


@lru_cache
def clips() -> list:
    from zoo import registry

    suite = load({"name": "long500", **recipe().suite.options})
    dataset = registry.build("dataset", "maze", {key: value for key, value in WORLD.items() if key != "name"})
    return harness.episodes(suite, dataset)


def decent(clip) -> np.ndarray:
    """The truth with grain, as a good model would give it."""
    rng = np.random.default_rng([7, *clip.episode.encode()])
    noise = rng.normal(0, 8, clip.frames.shape)
    noise[:CONTEXT] = 0
    return np.clip(clip.frames + noise, 0, 255).round().astype(np.uint8)


def grey(clip) -> np.ndarray:
    """A model that gave up: nothing but noise after the context."""
    made = clip.frames.copy()
    made[CONTEXT:] = np.random.default_rng([8, *clip.episode.encode()]).integers(0, 256, made[CONTEXT:].shape)
    return made


def judged(store: Store, make, seed: int = 0) -> Path:
    """A row as zoo.run leaves it, with its videos in a sample folder, of a model that was never trained."""
    evaluation, folder = judge(store, seed), store.root / f"sample-{make.__name__}{seed}"
    folder.mkdir(parents=True)
    videos = [make(clip) for clip in clips()]
    for index, video in enumerate(videos):
        np.save(folder / f"{index:04d}.npy", video)
    results = harness.evaluate(videos, clips(), evaluation.suite, dataset=evaluation.judged_on)
    record = records.Record(
        name="long_range", label="rollout=autoregressive", group=evaluation.group, suite=evaluation.suite.reference(),
        recipe=recipe(seed).to_dict(), stages={"sample": folder.name}, components={"rollout": "autoregressive"},
        metrics=results.metrics, curves=results.curves, per_video=results.per_video, versions=results.versions,
        dataset=evaluation.dataset_reference, seeds={"generator": seed},
    )  # fmt: skip
    return records.write(record, store.root / "records" / "long500")


@pytest.fixture
def store(tmp_path, monkeypatch) -> Store:
    monkeypatch.setenv("ZOO_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr("zoo.rows.SHOWN", 1)  # films take longer to write than the rest
    return Store()


def controls(path: Path) -> dict[str, records.Record]:
    found, broken = records.read_all(path.parent)
    assert not broken
    return {record.name: record for record in found if record.kind == "control"}


def refused(capsys, *arguments: str) -> str:
    assert main(["audit", *arguments]) == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1 and "Traceback" not in said.err and said.out == ""
    return said.err


def test_spoiled_versions_of_a_decent_row_are_floors_beside_it_and_top_nothing(store, capsys, monkeypatch):
    path = judged(store, decent)
    model = records.read(path)
    assert main(["audit", str(path)]) == 0
    said = capsys.readouterr().out
    assert "no floor and no spoiled rollout tops a headline" in said and "tops " not in said.replace("tops a", "")
    found = controls(path)
    assert set(found) == {f"{kind}(autoregressive)" for kind in spoiled.SPOILED}
    for name, record in found.items():
        assert name in said
        assert (record.role, record.group, record.suite, record.dataset) == (
            "floor", model.group, model.suite, model.dataset)  # fmt: skip
        assert {key: metric.key for key, metric in record.metrics.items()} == {
            key: metric.key for key, metric in model.metrics.items()
        }
        assert record.stages == model.stages
        assert all((path.parent / file).is_file() for file in record.artifacts.values()) and record.artifacts
    videos = [spoiled.frozen(decent(clip), CONTEXT) for clip in clips()]
    own = harness.evaluate(videos, clips(), judge(store).suite, dataset=judge(store).judged_on)
    assert found["frozen(autoregressive)"].metrics == own.metrics
    assert found["frozen(autoregressive)"].per_video == own.per_video

    files = sorted(path.parent.rglob("*"))
    monkeypatch.setattr(harness, "evaluate", lambda *_, **__: pytest.fail("scored what was there"))
    assert main(["audit", str(path), str(path)]) == 0
    assert sorted(path.parent.rglob("*")) == files


def test_a_metric_that_lets_a_spoiled_version_through_is_named(store, capsys):
    """Blurred noise is nearer to the truth than noise: the audit must see it and say which."""
    path = judged(store, grey)
    assert main(["audit", str(path)]) == 1
    said = capsys.readouterr().out
    assert "pd_lite0_wobbled_revisit is topped by blurred(autoregressive), seed 0: it is not fit" in said


def test_all_records_of_the_board_are_held_against_the_best_model(store, capsys):
    """The floors of a bad row are measured against a good one, and every seed has spoiled versions of its own."""
    bad, good = judged(store, grey), judged(store, decent, seed=1)
    assert main(["audit", str(bad), str(good)]) in (0, 1)
    assert len({record.label for record in controls(bad).values()}) == 3
    found = [record for record in records.read_all(bad.parent)[0] if record.kind == "control"]
    assert {record.label.split(", ")[1] for record in found} == {"seed 0", "seed 1"} and len(found) == 6
    assert {record.group for record in found} == {records.read(good).group}


def test_what_cannot_be_audited_is_said_before_anything_is_scored(store, capsys, tmp_path, monkeypatch):
    path = judged(store, decent)
    model = records.read(path)
    assert "audit takes records" in refused(capsys)
    assert "audit takes records" in refused(capsys, "record=x")
    assert "cannot read the record" in refused(capsys, str(tmp_path / "none.json"))

    def other(**changes) -> str:
        return str(records.write(model.model_copy(update=changes), tmp_path / "other"))

    assert "is a control" in refused(capsys, other(kind="control", role="floor"))
    assert "of no trained recipe" in refused(capsys, other(recipe={}))
    assert "no longer the same" in refused(capsys, other(group="elsewhere"))
    assert "another version of metric.place_recognition" in refused(
        capsys, other(versions={**model.versions, "metric.place_recognition": "0"})
    )
    assert "has changed since" in refused(capsys, other(suite=model.suite.model_copy(update={"version": 99})))
    assert "nothing to audit" in refused(capsys, other(metrics={"psnr": model.metrics["psnr"]}))
    assert "are gone" in refused(capsys, other(stages={"sample": "sample-removed"}))
    video = store.root / "sample-decent0" / "0003.npy"
    np.save(video, np.load(video)[:-1])
    assert "0003.npy is uint8" in refused(capsys, str(path))
    video.write_bytes(b"no array")
    assert "cannot read" in refused(capsys, str(path))
    video.unlink()
    assert "0003.npy is missing" in refused(capsys, str(path))
    assert not controls(path)
