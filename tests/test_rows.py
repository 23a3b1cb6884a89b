"""What lies beside a record: which episodes are shown, shared truths, and the type of every frame."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import synthetic_records as made

from benchmarks.leaderboard import collect
from benchmarks.record import read
from components.contracts import Clip
from zoo.rows import shown, write_row


def clip(episode: str, tour: str = "", shade: int = 0, poses: bool = True, frames: int = 80) -> Clip:
    """A camera that turns once in 40 frames, so that the second turn revisits the first."""
    pictures = np.full((frames, 16, 16, 3), shade, np.uint8)
    path = np.zeros((frames, 4), np.float32)
    path[:, 3] = 2 * np.pi * np.arange(frames) / 40
    return Clip(pictures, np.arange(frames) / 20, 20.0, poses=path if poses else None, episode=episode, tour=tour)


def test_one_episode_of_each_tour_is_shown_else_the_first_three():
    tours = ["loop", "loop", "spin", "loop", "spin", "out_and_back"]
    assert shown([clip(str(i), tour) for i, tour in enumerate(tours)]) == [0, 2, 5]
    assert shown([clip(str(i)) for i in range(5)]) == [0, 1, 2]
    assert shown([clip(str(i), "loop") for i in range(5)]) == [0, 1, 2]
    assert shown([clip("only")]) == [0]
    assert shown([]) == []


def test_the_types_of_the_frames_lie_beside_the_video_run_by_run(tmp_path):
    path = write_row(made.make("a", 1.0), tmp_path, [clip("e", "spin")], [clip("e").frames], 10)
    artifacts = read(path).artifacts
    facts = json.loads((tmp_path / artifacts["frames/e"]).read_text())
    assert (facts["fps"], facts["context"], facts["tour"]) == (20.0, 10, "spin")
    frames = [name for name, count in facts["types"] for _ in range(count)]
    assert len(frames) == 80
    assert set(frames[:10]) == {"context"}
    assert set(frames[12:32]) == {"unseen"}
    assert set(frames[42:48]) == {"revisit_context"}, "the second turn, where the first was given"
    assert set(frames[54:68]) == {"revisit_generated"}


def test_without_poses_no_types_are_written(tmp_path):
    path = write_row(made.make("a", 1.0), tmp_path, [clip("e", poses=False)], [clip("e").frames], 10)
    assert set(read(path).artifacts) == {"truth/e", "video/e", "strip/e"}


def test_rows_share_the_truth_and_nothing_beside_them_is_taken_for_a_record(tmp_path):
    clips = [clip("e", shade=1), clip("f", shade=2)]
    paths = [write_row(made.make(name, 1.0), tmp_path, clips, [c.frames for c in clips], 10) for name in ("a", "bb")]
    first, second = (read(path).artifacts for path in paths)
    assert first["truth/e"] == second["truth/e"] != first["truth/f"]
    assert first["video/e"] != second["video/e"]
    assert len(list(Path(tmp_path / "media").glob("truth-*.mp4"))) == 2
    collection = collect([tmp_path])
    assert len(collection.entries) == 2
    assert not collection.broken
