"""Folders of videos: what is cut, what is skipped and why, which split it goes to, what the cache may not change."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.contracts import Dataset
from components.video_file import write_mp4
from components.video_manifest import assign_splits, folder_caption
from zoo import registry
from zoo.errors import BadValue, UserError

SPLITS = ("train", "validation", "test")


def video(path: Path, frames: int = 20, height: int = 48, width: int = 80, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([seed, *path.name.encode()])
    start, colour = rng.integers(0, 100), rng.integers(0, 120, 3)
    ramp = (np.arange(frames)[:, None] * 3 + start + colour).clip(0, 255)
    return write_mp4(path, np.broadcast_to(ramp[:, None, None], (frames, height, width, 3)).astype(np.uint8), 10.0)


def open_folder(root: Path, cache: Path | None = None, **options: Any) -> Any:
    options = {"frames": 4, "size": 16, "cache": str(cache or root.parent / "cache"), **options}
    return registry.build(
        "dataset", "video_folder", {"root": str(root), **options}, reader=registry.build("reader", "pyav")
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Six good videos of three shapes, and three bad files."""
    root = tmp_path / "root"
    for k, (height, width) in enumerate([(48, 80), (80, 48), (64, 64)] * 2):
        video(root / f"clip{k}.mp4", 10 + k, height, width, seed=k)
    (root / "text.mp4").write_text("not a video")
    (root / "empty.webm").write_bytes(b"")
    video(root / "short.mp4", 3)
    (root / "readme.txt").write_text("left alone")
    (root / "._clip0.mp4").write_bytes(b"left by another system")
    return root


def test_report_names_every_file_left_out(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = open_folder(root)
    report = data.report()
    assert isinstance(data, Dataset) and data.action_dim == 0
    assert set(report.skipped) == {"text.mp4", "empty.webm", "short.mp4"}
    assert "3 of the 4 frames" in report.skipped["short.mp4"]
    assert "3 of 9 files left out" in caplog.text and "text.mp4" in caplog.text
    assert sum(report.episodes.values()) == sum((10 + k) // 4 for k in range(6))
    assert all(report.episodes[split] == data.size(split) > 0 for split in SPLITS)


def test_clips_are_whole_in_order_and_do_not_overlap(root: Path) -> None:
    data = open_folder(root, stride=2, clips_per_file=2)
    clips = [data.clip(split, i) for split in SPLITS for i in range(data.size(split))]
    assert len({clip.episode for clip in clips}) == len(clips)
    seen: dict[str, list[np.ndarray]] = {}
    for clip in clips:
        assert clip.frames.shape[0] == 4 and clip.frames.dtype == np.uint8 and clip.fps == 5.0
        np.testing.assert_allclose(np.diff(clip.times), 0.2, atol=1e-3)
        assert clip.actions is None and clip.poses is None
        seen.setdefault(clip.source, []).append(clip.times)
    # A clip spans 7 frames at stride 2, so the next one begins 0.7 s later.
    assert all(abs(times[0] - 0.7 * k) < 1e-3 for clips in seen.values() for k, times in enumerate(clips))
    assert max(map(len, seen.values())) == 2
    again = open_folder(root, stride=2, clips_per_file=2)
    assert all(
        np.array_equal(again.clip("train", i).frames, data.clip("train", i).frames) for i in range(data.size("train"))
    )


def test_sizes(root: Path) -> None:
    shapes = {tuple(c.frames.shape[1:3]) for c in all_clips(open_folder(root))}
    assert shapes == {(16, 24), (24, 16), (16, 16)}  # 26.7 is cropped to 24
    assert {tuple(c.frames.shape[1:3]) for c in all_clips(open_folder(root, aspect="crop"))} == {(16, 16)}
    assert {tuple(c.frames.shape[1:3]) for c in all_clips(open_folder(root, size=20, multiple_of=4))} == {
        (20, 32), (32, 20), (20, 20),
    }  # fmt: skip


def all_clips(data: Any) -> list[Any]:
    return [data.clip(split, i) for split in SPLITS for i in range(data.size(split))]


def test_resizing_keeps_the_picture_upright_and_centred(tmp_path: Path) -> None:
    picture = np.zeros((4, 64, 96, 3), np.uint8)
    picture[:, :32, :48] = (255, 0, 0)
    picture[:, 32:, 48:] = (0, 0, 255)
    write_mp4(tmp_path / "v" / "quarters.mp4", picture, 10, crf=5)
    for aspect, width in (("keep", 24), ("crop", 16)):
        frame = open_folder(tmp_path / "v", aspect=aspect).clip("train", 0).frames[0].astype(int)
        assert frame.shape == (16, width, 3)
        middle = width // 2  # where red meets black: still the middle after the crop
        assert frame[3, middle - 3, 0] > 180 and frame[3, middle + 2, 0] < 60
        assert frame[3, 3, 0] > 200 and frame[3, 3, 2] < 60 and frame[12, -4, 2] > 180 and frame[12, 3].max() < 40


def test_files_of_one_split_stay_out_of_the_others(root: Path) -> None:
    data = open_folder(root)
    sources = {split: {data.clip(split, i).source for i in range(data.size(split))} for split in SPLITS}
    assert not (sources["train"] & sources["test"] or sources["train"] & sources["validation"])
    assert not sources["validation"] & sources["test"]


def test_splits_are_never_empty_and_new_files_move_none() -> None:
    for count in range(3, 40):
        splits = assign_splits([f"{count}_{i}.mp4" for i in range(count)], {})
        assert set(splits.values()) == set(SPLITS), count
    names = [f"v{i}.mp4" for i in range(60)]
    few, many = assign_splits(names, {}), assign_splits([*names, *(f"w{i}.mp4" for i in range(60))], {})
    assert all(many[name] == few[name] for name in names)


@pytest.mark.parametrize("one", SPLITS)
def test_a_manifest_of_one_split_still_fills_the_others(one: str) -> None:
    for count in (3, 4, 30):
        names = [f"{i}.mp4" for i in range(count)]
        assert set(assign_splits(names, dict.fromkeys(names, one)).values()) == set(SPLITS), (one, count)
    complete = {"a": "train", "b": "validation", "c": "test", "d": "test"}
    assert assign_splits(complete, complete) == complete


def test_manifest_gives_captions_splits_and_licences(root: Path) -> None:
    lines = ["file,caption,split,licence,source"]
    lines += [f'clip{k}.mp4,"a, b {k}",{("train", "val", "test")[k % 3]},CC0-1.0,where{k}' for k in range(6)]
    (root / "MANIFEST.csv").write_text("\n".join([*lines, "gone.mp4,nothing,train,,"]), encoding="utf-8-sig")
    data = open_folder(root)
    assert set(data.report().skipped) == {"gone.mp4"}  # only what the manifest lists is looked at
    captions = {split: {data.clip(split, i).caption for i in range(data.size(split))} for split in SPLITS}
    assert captions == {"train": {"a, b 0", "a, b 3"}, "validation": {"a, b 1", "a, b 4"}, "test": {"a, b 2", "a, b 5"}}
    clip = data.clip("train", 0)
    assert clip.licence == "CC0-1.0" and clip.source.startswith("where")
    assert open_folder(root, captions="none").clip("train", 0).caption is None
    assert open_folder(root, manifest="none").clip("train", 0).caption is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("caption\nx\n", "no path in line 2"),
        ("path,split\nclip0.mp4,holdout\n", "holdout"),
        ("path\n\xff", "cannot be read"),
    ],
)
def test_bad_manifests(root: Path, text: str, said: str) -> None:
    (root / "manifest.csv").write_text(text, encoding="latin-1")
    with pytest.raises(BadValue, match=said):
        open_folder(root).size("train")


def test_missing_manifest_and_missing_pandas(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"no file nowhere\.csv"):
        open_folder(root, manifest="nowhere.csv").size("train")
    with pytest.raises(UserError, match=r"no manifest\.csv"):
        open_folder(root, captions="manifest").size("train")
    (root / "manifest.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(UserError, match="pip install pandas"):
        open_folder(root).size("train")


def test_folder_names_are_captions(tmp_path: Path) -> None:
    root = tmp_path / "ucf"
    for k in range(2):
        video(root / "ApplyEyeMakeup" / f"v{k}.mp4")
        video(root / "base_jump" / f"v{k}.mp4")
    assert {c.caption for c in all_clips(open_folder(root))} == {"apply eye makeup", "base jump"}
    assert {c.caption for c in all_clips(open_folder(root, captions="none"))} == {None}
    assert folder_caption("HandstandPushups/a.avi") == "handstand pushups" and folder_caption("a.avi") is None


def test_unusable_folders_name_the_cure(tmp_path: Path, root: Path) -> None:
    with pytest.raises(UserError, match=r"dataset\.root"):
        registry.build("dataset", "video_folder", {}, reader=None)
    with pytest.raises(UserError, match="no folder"):
        open_folder(tmp_path / "absent")
    (tmp_path / "bare").mkdir()
    with pytest.raises(UserError, match="no video file"):
        open_folder(tmp_path / "bare").size("train")
    (tmp_path / "bare" / "a.mp4").write_text("x")
    with pytest.raises(UserError, match="None of the 1 files"):
        open_folder(tmp_path / "bare").size("train")
    with pytest.raises(UserError, match=r"fewer dataset\.frames"):
        open_folder(root, frames=100).size("train")
    with pytest.raises(BadValue):
        open_folder(root, size=8, multiple_of=16)


def test_folder_that_cannot_be_listed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(top: Path, onerror: Any) -> Any:
        onerror(PermissionError(13, "Permission denied", str(top)))
        return iter(())

    monkeypatch.setattr(os, "walk", refuse)
    with pytest.raises(UserError, match="permissions"):
        open_folder(root).size("train")


def test_fingerprint_follows_content_not_place(root: Path, tmp_path: Path) -> None:
    first = open_folder(root).fingerprint()
    moved = root.rename(tmp_path / "elsewhere")
    assert open_folder(moved, cache=tmp_path / "other").fingerprint() == first
    assert open_folder(moved, memory_mb=0).fingerprint() == first
    assert open_folder(moved, stride=2).fingerprint() != first
    video(moved / "clip3.mp4", 13, seed=99)
    assert open_folder(moved).fingerprint() != first


def test_cache_is_used_renewed_and_never_needed(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import components.video_index as video_index

    decoded: list[str] = []
    inspect = video_index.inspect
    monkeypatch.setattr(video_index, "inspect", lambda r, name, *a: decoded.append(name) or inspect(r, name, *a))
    cache = tmp_path / "cache"
    first = open_folder(root, cache).report()
    assert len(decoded) == 9
    assert open_folder(root, cache).report() == first and len(decoded) == 9
    video(root / "clip0.mp4", 30, seed=5)
    changed = open_folder(root, cache).report()
    assert decoded[9:] == ["clip0.mp4"] and sum(changed.episodes.values()) == sum(first.episodes.values()) + 5
    for store in cache.rglob("*.json"):
        store.write_text('{"half": ')
    assert open_folder(root, cache).report() == changed and len(decoded) == 19
    blocked = tmp_path / "file"
    blocked.write_text("a file where the cache folder should be")
    assert open_folder(root, blocked).report() == changed


def test_a_file_that_vanishes_after_indexing(root: Path) -> None:
    data = open_folder(root, memory_mb=0)
    data.size("train")
    for path in root.glob("clip*.mp4"):
        path.unlink()
    with pytest.raises(UserError, match="can no longer be read"):
        data.clip("train", 0)


def test_memory_is_bounded(root: Path) -> None:
    data = open_folder(root, size=256, frames=8, memory_mb=1)
    all_clips(data)
    assert len(data._kept) == 1


def test_large_pictures_are_read_in_parts(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import components.video_index as video_index

    whole = [clip.frames for clip in all_clips(open_folder(root))]
    monkeypatch.setattr(video_index, "PIXELS_AT_ONCE", 48 * 80 * 3)
    parts = [clip.frames for clip in all_clips(open_folder(root, cache=root / "again"))]
    assert len(whole) == len(parts) and all(map(np.array_equal, whole, parts))
