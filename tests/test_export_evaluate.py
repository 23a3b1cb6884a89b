"""Outside models: what they are given holds no future, and what they hand in is scored as our own videos are."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmarks import harness
from benchmarks import record as records
from benchmarks.outside_videos import file_stem
from benchmarks.suite import entry
from components.contracts import Clip
from components.video_file import write_mp4
from zoo import registry, suite_data
from zoo.__main__ import main
from zoo.commands.evaluate import checked, judge

EPISODES, FRAMES, CONTEXT, SIZE = 3, 48, 20, 16
WORLD = {"name": "maze", "size": SIZE, "frames": FRAMES, "train": 0, "validation": 0, "test": EPISODES,
         "tours": {"loop": 1.0}, "wobble": 0.0, "lap": [30, 40]}  # fmt: skip
SUITE = [
    "suite=quickstart",
    "suite.dataset=" + json.dumps(WORLD),
    f"suite.frames={FRAMES}",
    f"suite.context={CONTEXT}",
    f"suite.episodes={EPISODES}",
    "suite.metrics=[psnr, ssim, flicker]",
    "suite.controls=[copy_last, reconstruction]",
    "suite.resamples=20",
]


@pytest.fixture(scope="module")
def data() -> suite_data.SuiteData:
    return suite_data.read(suite_data.arguments(SUITE, ())[0])


@pytest.fixture(autouse=True)
def runs(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("ZOO_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs" / "records" / "quickstart"


def hand_in(folder: Path, clips: list[Clip], made, ending: str = ".npy") -> Path:
    """A folder of videos; ``made`` takes a clip and gives uint8 [T, H, W, 3]."""
    folder.mkdir(parents=True)
    for clip in clips:
        path = folder / f"{file_stem(clip.episode)}{ending}"
        if ending == ".npy":
            np.save(path, made(clip))
        elif ending == ".npz":
            np.savez(path, video=made(clip), other=np.zeros(3))
        else:
            write_mp4(path, made(clip), 10, crf=0)
    return folder


def truth(clip: Clip) -> np.ndarray:
    return clip.frames


def repeated(clip: Clip) -> np.ndarray:
    """The given frames over and over: only what comes after them is handed in."""
    return clip.frames[:CONTEXT][(np.arange(FRAMES - CONTEXT)) % CONTEXT]


def refused(capsys, *arguments: str) -> str:
    assert main(list(arguments)) == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1 and "Traceback" not in said.err and said.out == ""
    return said.err


def evaluated(capsys, folder: Path, *more: str) -> records.Record:
    assert main(["evaluate", *SUITE, f"videos={folder}", "name=Ours", *more]) == 0
    capsys.readouterr()
    found, broken = records.read_all(Path(folder).parent / "runs")
    assert not broken
    return [record for record in found if record.kind == "model"][-1]


def control(name: str) -> bool:
    return name in registry.names("control")


# ------------------------------------------------------------------------------------------------------ export


def test_what_is_exported_is_exact_and_holds_no_frame_after_the_context(tmp_path, data, capsys):
    folder = tmp_path / "given"
    assert main(["export", *SUITE, str(folder)]) == 0
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["protocol"] == data.suite.protocol and manifest["context"] == CONTEXT
    assert manifest["dataset"]["fingerprint"] == data.reference.fingerprint
    assert [said["episode"] for said in manifest["episodes"]] == [clip.episode for clip in data.clips]
    listed = set()
    for said, clip in zip(manifest["episodes"], data.clips, strict=True):
        assert (said["frames"], said["height"], said["width"], said["fps"]) == (FRAMES, SIZE, SIZE, clip.fps)
        for name, digest in said["files"].items():
            assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
            listed.add(folder / name)
        with np.load(next(folder / name for name in said["files"] if name.endswith(".npz"))) as held:
            assert set(held.files) == {"frames", "times", "actions", "poses"}
            np.testing.assert_array_equal(held["frames"], clip.frames[:CONTEXT])
            np.testing.assert_array_equal(held["actions"], clip.actions)
            np.testing.assert_array_equal(held["poses"], clip.poses)
        film = next(folder / name for name in said["files"] if name.endswith(".mp4"))
        assert len(data.reader.read(film, start=0, count=FRAMES, stride=1)[0]) == CONTEXT
    assert listed | {folder / "manifest.json"} == {path for path in folder.rglob("*") if path.is_file()}
    assert main(["export", *SUITE, str(folder)]) == 0, "an export may be written again"
    assert json.loads((folder / "manifest.json").read_text()) == manifest


def test_exports_that_cannot_be(tmp_path, capsys):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("x")
    assert "other things" in refused(capsys, "export", *SUITE, str(tmp_path / "full"))
    assert "is a file" in refused(capsys, "export", *SUITE, str(tmp_path / "full" / "thesis.tex"))
    assert "one folder" in refused(capsys, "export", *SUITE)
    assert "suite=NAME" in refused(capsys, "export", str(tmp_path / "new"))
    assert "no world 'nowhere'" in refused(
        capsys, "export", "suite=long500", "suite.world=nowhere", str(tmp_path / "n")
    )
    assert "no option 'siute'" in refused(capsys, "export", "siute=long500", str(tmp_path / "new"))
    assert "data of yours" in refused(capsys, "export", "suite=clips", str(tmp_path / "new"))
    assert "world of its own" in refused(capsys, "export", "suite=quickstart", "dataset=maze", str(tmp_path / "new"))
    assert not (tmp_path / "new").exists()


def test_a_suite_without_a_world_is_exported_of_the_data_that_is_given(tmp_path, capsys):
    given = ["dataset=moving_shapes", "dataset.test=2", "dataset.train=0", "dataset.validation=0"]
    assert main(["export", "suite=shapes_text", *given, str(tmp_path / "given")]) == 0
    manifest = json.loads((tmp_path / "given" / "manifest.json").read_text())
    assert len(manifest["episodes"]) == 2 and all(said["caption"] for said in manifest["episodes"])
    assert not list((tmp_path / "given").rglob("*.mp4")), "nothing is given but the caption"


# ---------------------------------------------------------------------------------------------------- evaluate


@pytest.mark.parametrize("ending", [".npy", ".npz"])
def test_the_truth_handed_in_is_scored_as_the_oracle(tmp_path, data, capsys, ending):
    scores = evaluated(capsys, hand_in(tmp_path / "videos", data.clips, truth, ending))
    own = harness.evaluate([clip.frames for clip in data.clips], data.clips, data.suite, dataset=data.judged_on)
    assert scores.metrics == own.metrics and scores.per_video == own.per_video and scores.curves == own.curves
    assert scores.metrics["psnr"].value == 100
    assert (scores.name, scores.label, scores.recipe, scores.reader) == ("Ours", "Ours", {}, "")
    assert scores.cost == records.Cost()


def test_frames_after_the_context_alone_are_scored_as_the_looped_context(tmp_path, data, capsys, runs):
    scores = evaluated(capsys, hand_in(tmp_path / "videos", data.clips, repeated))
    looped = [np.concatenate([clip.frames[:CONTEXT], repeated(clip)]) for clip in data.clips]
    own = harness.evaluate(looped, data.clips, data.suite, dataset=data.judged_on)
    assert scores.metrics == own.metrics and scores.per_video == own.per_video
    assert scores.metrics["psnr"].value < 40
    if control("oracle") and control("looped_context"):
        suite = data.suite.model_copy(update={"controls": (entry("oracle"), entry("looped_context"))})
        rows = {row.name: row for row in harness.control_rows(suite, data.clips, dataset=data.judged_on)}
        assert rows["looped_context"].results.metrics == scores.metrics
        assert rows["oracle"].results.metrics["psnr"].value == 100


def test_floors_stand_beside_it_in_one_group_and_are_scored_once(tmp_path, data, capsys, runs):
    folder = hand_in(tmp_path / "videos", data.clips, repeated)
    first = evaluated(capsys, folder)
    assert {path.name.split("-")[0] for path in runs.glob("*.json")} == {"Ours", "copy_last"}, "none needs a tokenizer"
    evaluated(capsys, folder, "resize=true")
    found, _ = records.read_all(runs)
    assert [record.name for record in found if record.kind == "control"] == ["copy_last"]
    assert {record.group for record in found} == {first.group} and first.group
    assert all((runs / path).is_file() for record in found for path in record.artifacts.values())


def test_films_of_another_size_are_scored_where_resizing_is_asked_for(tmp_path, data, capsys):
    folder = hand_in(tmp_path / "videos", data.clips, lambda clip: clip.frames.repeat(2, 1).repeat(2, 2), ".mp4")
    arguments = ["evaluate", *SUITE, f"videos={folder}", "name=Ours"]
    assert "32 wide" in refused(capsys, *arguments)
    scores = evaluated(capsys, folder, "resize=true")
    assert scores.metrics["psnr"].value > 25 and "resized" in scores.reader and "pyav" in scores.reader


def spoil(folder: Path, how: str, clips: list[Clip]) -> str:
    """Spoil one video; returns what the message must say."""
    path = folder / f"{file_stem(clips[1].episode)}.npy"
    frames = np.load(path)
    if how == "missing":
        path.unlink()
        return f"lacks the video '{path.stem}'"
    if how == "extra":
        np.save(folder / "stray.npy", frames)
        return "stray.npy is the video of no episode"
    if how == "twice":
        shutil.copy(path, path.with_suffix(".NPZ"))
        return "both the video of one episode"
    if how == "pickled":
        np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    elif how == "truncated":
        path.write_bytes(path.read_bytes()[:5000])
    elif how == "short":
        np.save(path, frames[:-1])
        return f"{path.name} has {FRAMES - 1} frames"
    elif how == "long":
        np.save(path, np.concatenate([frames, frames]))
    elif how == "float":
        np.save(path, frames / 255)
        return f"{path.name} holds float64"
    elif how == "small":
        np.save(path, frames[:, ::2])
        return "make them equal"
    elif how == "no film":
        path.unlink()
        path.with_suffix(".mp4").write_bytes(b"no film")
        return f"cannot read {path.with_suffix('.mp4')}"
    return str(path)


SPOILT = ["missing", "extra", "twice", "pickled", "truncated", "short", "long", "float", "small", "no film"]


@pytest.mark.parametrize("how", SPOILT)
def test_what_cannot_be_scored_is_named_before_scoring(tmp_path, data, capsys, how, runs):
    folder = hand_in(tmp_path / "videos", data.clips, truth)
    said = spoil(folder, how, data.clips)
    assert said in refused(capsys, "evaluate", *SUITE, f"videos={folder}", "name=Ours")
    assert not runs.exists()


def test_arguments_are_checked_before_anything_is_read(tmp_path, capsys):
    assert "videos=… is missing" in refused(capsys, "evaluate", "suite=long500", "name=Ours")
    assert "name=… is missing" in refused(capsys, "evaluate", "suite=long500", "videos=x")
    assert "resize=perhaps" in refused(capsys, "evaluate", "suite=long500", "videos=x", "name=y", "resize=perhaps")
    assert "is no folder" in refused(capsys, "evaluate", *SUITE, f"videos={tmp_path}/none", "name=Ours")
    assert "Did you mean 'videos'" in refused(capsys, "evaluate", "suite=long500", "video=x", "name=y")


def test_judging_gives_one_row_at_a_time(tmp_path, data):
    folder = hand_in(tmp_path / "videos", data.clips, truth)
    shared, _ = suite_data.arguments(SUITE, ())
    read, videos = checked(shared, folder)
    rows = judge(read, videos, "Ours", tmp_path / "rows")
    first = records.read(next(rows))
    assert first.name == "Ours" and len(list((tmp_path / "rows").glob("*.json"))) == 1
