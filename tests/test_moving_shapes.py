"""Captioned shapes: the caption is measured in the pixels, and test combinations are new to training."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from components.contracts import Dataset
from components.dataset import moving_shapes
from zoo import registry
from zoo.errors import BadValue


def shapes(**options: object):
    return registry.build("dataset", "moving_shapes", {"train": 3000, "test": 300, "validation": 100, **options})


def measure(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centre [T, 2] and area [T] of what differs from the corner's colour, and that colour."""
    back = frames[0, 0, 0].astype(float)
    cover = np.abs(frames - back).sum(-1)
    cover = cover / cover.max()
    y, x = np.mgrid[: frames.shape[1], : frames.shape[2]]
    area = cover.sum((1, 2))
    return np.stack([(cover * x).sum((1, 2)) / area, (cover * y).sum((1, 2)) / area], 1), area, back


@pytest.mark.parametrize("split", ["train", "test"])
def test_caption_is_what_is_seen(split: str) -> None:
    data = shapes()
    for index in range(150):
        clip = data.clip(split, index)
        words = clip.caption.split()
        centre, area, back = measure(clip.frames)
        moved = centre[-1] - centre[0]
        colour = clip.frames.reshape(-1, 3)[np.abs(clip.frames - back).sum(-1).argmax()]
        assert np.abs(back - moving_shapes.BACKGROUNDS[words[-2]]).max() <= 1, clip.caption
        assert np.abs(colour.astype(int) - moving_shapes.COLOURS[words[1]]).max() <= 1, clip.caption
        assert (clip.frames[:, [0, -1]] == back).all() and (clip.frames[:, :, [0, -1]] == back).all()  # never cut off
        motion = " ".join(words[3 : words.index("on")])
        if direction := moving_shapes.MOTIONS[motion]:
            assert moved @ direction > 4 and abs(moved @ direction[::-1]) < 0.5, clip.caption
            assert (np.diff(centre @ direction) > 0).all(), clip.caption
        elif motion == "moves in a circle":
            assert np.abs(moved).max() < 0.5 and centre.std(0).min() > 1, clip.caption
        elif motion in ("grows", "shrinks"):
            assert (area[-1] > 2 * area[0]) == (motion == "grows") and np.abs(moved).max() < 0.5, clip.caption
        else:
            assert motion == "stands still" and (clip.frames == clip.frames[0]).all()


def test_every_shape_is_drawn_differently() -> None:
    areas = {}
    for number, shape in enumerate(moving_shapes.SHAPES):
        frames = moving_shapes._draw((0, number, 7, 0), 64, 64, 1, np.random.default_rng(0))
        areas[shape] = measure(frames)[1][0]
    assert min(abs(a - b) for a, b in combinations(areas.values(), 2)) > 10, areas


def test_tested_combinations_are_never_trained_but_their_pairs_are() -> None:
    data = shapes()
    found = {s: [data.combination(s, i) for i in range(data.size(s))] for s in ("train", "validation", "test")}
    triples = {s: {c[:3] for c in found[s]} for s in found}
    assert not triples["train"] & triples["test"] and not triples["validation"] & triples["test"]
    assert len(triples["test"]) > 20
    captions = {s: {moving_shapes.caption(c) for c in found[s]} for s in found}
    assert not captions["train"] & captions["test"]
    for a, b in combinations(range(3), 2):
        assert {(c[a], c[b]) for c in triples["test"]} <= {(c[a], c[b]) for c in triples["train"]}


def test_sizes_take_turns_and_clips_repeat() -> None:
    data = shapes(sizes=[[24, 40], [16, 16]], frames=5)
    assert isinstance(data, Dataset) and data.action_dim == 0
    assert [data.clip("train", i).frames.shape for i in range(3)] == [(5, 24, 40, 3), (5, 16, 16, 3), (5, 24, 40, 3)]
    again = shapes(sizes=[[24, 40], [16, 16]], frames=5)
    assert np.array_equal(again.clip("test", 9).frames, data.clip("test", 9).frames)
    assert shapes().fingerprint() == shapes().fingerprint() != shapes(seed=1).fingerprint()
    assert shapes(frames=1).clip("train", 0).frames.shape[0] == 1


@pytest.mark.parametrize("bad", [{"sizes": []}, {"sizes": [[8, 32]]}, {"frames": 0}])
def test_bad_options_are_refused(bad: dict) -> None:
    with pytest.raises(BadValue):
        shapes(**bad)
