"""Floors and ceilings: what they copy, and that every one of the folder keeps the contract."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.contracts import Control
from components.contracts import Clip
from zoo import registry
from zoo.errors import UnmetNeed

RECONSTRUCTED = {"mean_frame", "downscaled"}
"""Floors of tokenizers, which see all of a clip, as a tokenizer does."""


@pytest.fixture
def clip() -> Clip:
    rng = np.random.default_rng(0)
    poses = np.zeros((10, 4), np.float32)
    poses[:, 0] = [0, 1, 2, 3, 4, 3, 2.2, 1, 0, 3.6]
    poses[:, 3] = [0, 0, 0, 0, 3.1, 0, 0, 0, 0, -3.1]
    return Clip(rng.integers(0, 256, (10, 8, 8, 3), np.uint8), np.arange(10.0), 1.0, poses=poses, episode="e")


def invert(video: np.ndarray) -> np.ndarray:
    return 255 - video


def test_all_controls_are_here():
    assert {"mean_context", "copy_last", "copy_nearest_pose", "reconstruction"} <= set(registry.names("control"))


@pytest.mark.parametrize("name", registry.names("control"))
def test_every_control_gives_a_whole_video_and_keeps_the_context(name, clip):
    control = registry.build("control", name)
    assert isinstance(control, Control) and control.role in ("floor", "ceiling")
    before = clip.frames.copy()
    video = control.make(clip, 5, invert)
    assert video.shape == clip.frames.shape and video.dtype == np.uint8
    np.testing.assert_array_equal(video[:5], clip.frames[:5])
    np.testing.assert_array_equal(clip.frames, before)
    if control.role == "floor" and name not in (*RECONSTRUCTED, "another_video"):  # which turns without others to show
        future = np.concatenate([before[:5], invert(before[5:])])
        peek = Clip(future, clip.times, 1.0, poses=clip.poses, episode=clip.episode)
        np.testing.assert_array_equal(control.make(peek, 5, invert), video, "a floor must not see the future")


def test_what_each_copies(clip):
    def make(name, **options):
        return registry.build("control", name, options).make(clip, 5, invert)[5:]

    assert (make("copy_last") == clip.frames[4]).all()
    wanted = clip.frames[:5].astype(float).mean(0)
    assert np.abs(make("mean_context").astype(float) - wanted).max() <= 0.5
    # back along the line, then nearest to frame 4: 3.1 and -3.1 radians are almost the same direction
    np.testing.assert_array_equal(make("copy_nearest_pose"), clip.frames[[3, 2, 1, 0, 4]])
    np.testing.assert_array_equal(make("reconstruction"), invert(clip.frames[5:]))
    assert registry.build("control", "copy_nearest_pose", {"role": "ceiling"}).role == "ceiling"


def test_the_latest_of_equal_poses_is_copied(clip):
    poses = np.zeros_like(clip.poses)
    same = Clip(clip.frames, clip.times, 1.0, poses=poses)
    video = registry.build("control", "copy_nearest_pose").make(same, 5, None)
    assert (video[5:] == clip.frames[4]).all()


def test_unmet_needs_are_said(clip):
    blind = Clip(clip.frames, clip.times, 1.0)
    with pytest.raises(UnmetNeed, match="poses"):
        registry.build("control", "copy_nearest_pose").make(blind, 5, None)
    with pytest.raises(UnmetNeed, match="tokenizer"):
        registry.build("control", "reconstruction").make(clip, 5, None)
