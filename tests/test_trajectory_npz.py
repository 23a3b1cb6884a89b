"""TECO-format folders: which action lies between which frames, what is skipped and why, what the fingerprint covers."""

from __future__ import annotations

import io
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.contracts import Dataset, ReadError
from components.trajectory_file import read_actions, read_array
from components.video_file import write_mp4
from zoo import registry
from zoo.errors import UserError

FRAMES, SIZE = 12, 16


def frames_of(seed: int, frames: int = FRAMES, size: int = SIZE) -> np.ndarray:
    rng = np.random.default_rng(seed)
    wall = rng.integers(0, 256, (size // 4, size // 4, 3)).repeat(4, 0).repeat(4, 1)
    return np.stack([np.roll(wall, t, 1) for t in range(frames)]).astype(np.uint8)


def actions_of(seed: int, frames: int = FRAMES) -> np.ndarray:
    return np.random.default_rng(seed + 100).integers(0, 3, frames)


def write(path: Path, **arrays: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **arrays)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four files to train on and two to test on, as DMLab's: nested one folder deep."""
    root = tmp_path / "dmlab"
    for split, seeds in (("train", range(4)), ("test", (10, 11))):
        for seed in seeds:
            write(root / split / f"{seed % 2}" / f"{seed:02d}.npz", video=frames_of(seed), actions=actions_of(seed))
    return root


def opened(root: Path, **options: Any) -> Any:
    options = {"frames": FRAMES, "size": SIZE, "actions": 3, "validation": 1, **options}
    options = {"cache": str(root.parent / "cache"), **options, "root": str(root)}
    return registry.build("dataset", "trajectory_npz", options, reader=registry.build("reader", "pyav"))


def test_an_episode_is_a_file_with_its_frames_and_actions(root):
    dataset = opened(root)
    assert isinstance(dataset, Dataset) and dataset.action_dim == 3
    assert [dataset.size(split) for split in ("train", "validation", "test")] == [3, 1, 2]
    clip = dataset.clip("test", 1)
    assert clip.episode == "test/1/11.npz" and clip.poses is None
    np.testing.assert_array_equal(clip.frames, frames_of(11))
    assert clip.actions.dtype == np.float32 and clip.actions.shape == (FRAMES - 1, 3)
    np.testing.assert_array_equal(clip.actions.argmax(1), actions_of(11)[1:])
    assert (clip.actions.sum(1) == 1).all() and clip.times.shape == (FRAMES,)
    seen = {
        dataset.clip(split, i).episode for split in ("train", "validation", "test") for i in range(dataset.size(split))
    }
    assert len(seen) == 6
    with pytest.raises(IndexError):
        dataset.clip("test", 2)


def test_an_action_is_the_one_between_its_two_frames(root):
    """A world in which the action can be seen: the picture moves by as many columns as the action says."""
    moves = np.random.default_rng(3).integers(0, 3, FRAMES - 1)
    places = np.concatenate([[0], moves.cumsum()])
    video = np.stack([np.roll(frames_of(1)[0], place, 1) for place in places])
    write(root / "test" / "0" / "to.npz", video=video, actions=np.concatenate([[2], moves]))
    write(root / "test" / "0" / "from.npz", video=video, actions=np.concatenate([moves, [2]]))
    write(root / "test" / "0" / "between.npz", video=video, actions=moves)
    for lead, names in (("to", ("to", "between")), ("from", ("from", "between"))):
        dataset = opened(root, lead=lead)
        clips = {(clip := dataset.clip("test", i)).episode: clip for i in range(dataset.size("test"))}
        for name in names:
            clip = clips[f"test/0/{name}.npz"]
            for t, move in enumerate(clip.actions.argmax(1)):
                np.testing.assert_array_equal(np.roll(clip.frames[t], move, 1), clip.frames[t + 1])


def test_frames_may_lie_in_a_film_beside_the_actions(root):
    for seed in (20, 21):
        path = write(root / "test" / "0" / f"{seed}.npz", actions=actions_of(seed))
        write_mp4(path.with_suffix(".mp4"), frames_of(seed).repeat(2, 1).repeat(2, 2), 10, crf=0)
    dataset = opened(root)
    clip = next(clip for i in range(4) if (clip := dataset.clip("test", i)).episode.endswith("21.npz"))
    assert clip.frames.shape == (FRAMES, SIZE, SIZE, 3)
    assert np.abs(clip.frames.astype(int) - frames_of(21)).mean() < 25
    np.testing.assert_array_equal(clip.actions.argmax(1), actions_of(21)[1:])
    before = dataset.fingerprint()
    write_mp4(root / "test" / "0" / "21.mp4", frames_of(22), 10)
    assert opened(root).fingerprint() != before, "a film is content too"


def test_numbers_a_frame_are_taken_as_they_are_and_zero_means_none(root):
    rows = np.random.default_rng(0).standard_normal((FRAMES, 2)).astype(np.float32)
    write(root / "test" / "0" / "00.npz", video=frames_of(0), actions=rows)
    dataset = opened(root, actions=2)
    assert dataset.size("test") == 1 and "action 2 is not one of 0 to 1" in dataset.report().skipped["test/1/11.npz"]
    np.testing.assert_array_equal(dataset.clip("test", 0).actions, rows[1:])
    without = opened(root, actions=0)
    assert without.action_dim == 0 and without.clip("test", 0).actions is None


BAD = {
    "no archive": lambda path: path.write_bytes(b"\x00" * 400),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-300]),
    "bit flipped": lambda path: path.write_bytes(flipped(path)),
    "no video": lambda path: write(path, actions=actions_of(0)),
    "no actions": lambda path: write(path, video=frames_of(0)),
    "floats": lambda path: write(path, video=frames_of(0) / 255.0, actions=actions_of(0)),
    "too short": lambda path: write(path, video=frames_of(0, 5), actions=actions_of(0, 5)),
    "few actions": lambda path: write(path, video=frames_of(0), actions=actions_of(0, 5)),
    "action 7": lambda path: write(path, video=frames_of(0), actions=np.full(FRAMES, 7)),
    "half actions": lambda path: write(path, video=frames_of(0), actions=np.full(FRAMES, 0.5)),
    "an object": lambda path: write(path, video=frames_of(0), actions=np.array([{}] * FRAMES, dtype=object)),
    "a huge claim": lambda path: path.write_bytes(huge()),
}


def flipped(path: Path) -> bytes:
    held = bytearray(path.read_bytes())
    held[300] ^= 0xFF
    return bytes(held)


def huge() -> bytes:
    """A small file whose array claims a terabyte."""
    header, whole = io.BytesIO(), io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": (10**6, 600, 600, 3)}
    )
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("video.npy", header.getvalue())
        archive.writestr("actions.npy", b"")
    return whole.getvalue()


@pytest.mark.parametrize("how", BAD)
def test_bad_files_are_left_out_and_named(root, how):
    BAD[how](root / "test" / "1" / "11.npz")
    dataset = opened(root)
    assert dataset.size("test") == 1 and dataset.clip("test", 0).episode == "test/0/10.npz"
    assert list(dataset.report().skipped) == ["test/1/11.npz"]
    reason = dataset.report().skipped["test/1/11.npz"]
    assert reason and "\n" not in reason and dataset.report().episodes == {"train": 3, "validation": 1, "test": 1}


def test_folders_that_cannot_be_used(root, tmp_path):
    for options, said in (({"root": ""}, "not set"), ({"root": str(tmp_path / "none")}, "no folder")):
        with pytest.raises(UserError, match=said):
            registry.build("dataset", "trajectory_npz", options, reader=None)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"no \.npz file"):
        opened(tmp_path / "empty").size("train")
    with pytest.raises(UserError, match=r"none of the 6 files .* too short"):
        opened(root, frames=400).size("train")


def test_the_fingerprint_is_of_content_not_of_place(root, tmp_path):
    said = opened(root).fingerprint()
    moved = tmp_path / "elsewhere" / "data"
    shutil.copytree(root, moved)
    assert opened(moved).fingerprint() == said == opened(root, memory_mb=1).fingerprint()
    assert opened(root, lead="from").fingerprint() != said != opened(root, train=2).fingerprint()
    write(moved / "test" / "1" / "11.npz", video=frames_of(5), actions=actions_of(11))
    assert opened(moved).fingerprint() != said


def test_the_cache_is_not_asked_about_files_that_changed(root):
    first = opened(root)
    assert first.size("test") == 2 and list((root.parent / "cache").rglob("*.json"))
    (root / "test" / "1" / "11.npz").write_bytes(b"gone")
    assert opened(root).size("test") == 1
    with pytest.raises(UserError, match="can no longer be read"):
        first.clip("test", 1)


def test_validation_has_a_folder_of_its_own_where_there_is_one(root):
    write(root / "val" / "a.npz", video=frames_of(30), actions=actions_of(30))
    dataset = opened(root)
    assert [dataset.size(split) for split in ("train", "validation", "test")] == [4, 1, 2]
    assert dataset.clip("validation", 0).episode == "val/a.npz"
    assert opened(root, train=3, test=1, validation=0).report().episodes == {"train": 3, "validation": 0, "test": 1}


def test_nothing_is_unpickled(tmp_path):
    path = write(tmp_path / "x.npz", actions=np.array([print], dtype=object))
    with pytest.raises(ReadError, match="is not read"):
        read_array(path, "actions")
    with pytest.raises(ReadError, match=r"not dataset\.actions=5"):
        read_actions(write(tmp_path / "y.npz", actions=np.zeros((FRAMES, 4))), FRAMES, 5, "to")
