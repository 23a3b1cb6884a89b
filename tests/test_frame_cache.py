"""The frame cache: what comes out is what the data set gave, however often the build was cut short. No torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from components.contracts import Clip, DataReport, ReadError
from zoo.stages.cache import FrameCache


class ToyData:
    """Three sizes or lengths; clip 4 cannot be read."""

    action_dim = 2
    shapes = ((9, 8, 8), (9, 8, 8), (9, 8, 16), (5, 8, 8), None, (9, 8, 8))

    def fingerprint(self) -> str:
        return "0123456789abcdef0123"

    def size(self, split: str) -> int:
        return len(self.shapes)

    def report(self) -> DataReport:
        return DataReport({"train": len(self.shapes)})

    def clip(self, split: str, index: int) -> Clip:
        if self.shapes[index] is None:
            raise ReadError("no picture in it")
        rng = np.random.default_rng(index)
        length = self.shapes[index][0]
        return Clip(
            frames=rng.integers(0, 256, size=(*self.shapes[index], 3), dtype=np.uint8),
            times=np.arange(length) / 10,
            fps=10.0,
            actions=rng.normal(size=(length - 1, 2)).astype(np.float32),
            poses=rng.normal(size=(length, 4)).astype(np.float32),
            caption=f"clip {index}",
            episode=f"e{index}",
        )


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> FrameCache:
    return FrameCache(ToyData(), "train", tmp_path_factory.mktemp("cache"), workers=1).fill()


def test_frame_cache_gives_the_clips_and_names_the_broken_one(frames: FrameCache) -> None:
    assert len(frames) == 5
    assert frames.skipped == {"000004": "no picture in it"}
    for index, number in enumerate([0, 1, 2, 3, 5]):
        mine, truth = frames.clip(index), ToyData().clip("train", number)
        for name in ("frames", "times", "actions", "poses"):
            np.testing.assert_array_equal(getattr(mine, name), getattr(truth, name))
        assert (mine.caption, mine.episode, mine.fps) == (truth.caption, truth.episode, truth.fps)


def test_frame_cache_goes_on_where_it_stopped(tmp_path: Path) -> None:
    class Counting(ToyData):
        asked: list[int] = []

        def clip(self, split: str, index: int) -> Clip:
            self.asked.append(index)
            if index == 3 and self.asked.count(3) == 1:
                raise RuntimeError("killed")
            return super().clip(split, index)

    with pytest.raises(RuntimeError):
        FrameCache(Counting(), "train", tmp_path, workers=1).fill()  # type: ignore[arg-type]
    again = FrameCache(Counting(), "train", tmp_path, workers=1)  # type: ignore[arg-type]
    assert not again.complete
    again.fill()
    assert Counting.asked == [0, 1, 2, 3, 3, 4, 5]
    assert len(again) == 5


def test_frame_cache_in_processes_is_the_same(
    tmp_path: Path, frames: FrameCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zoo.stages.cache.POOL_AFTER", 0.0)
    pooled = FrameCache(ToyData(), "train", tmp_path, workers=2).fill()  # type: ignore[arg-type]
    assert pooled.skipped == frames.skipped
    for index in range(len(frames)):
        np.testing.assert_array_equal(pooled.frames(index), frames.frames(index))
        assert pooled.facts(index) == frames.facts(index)
