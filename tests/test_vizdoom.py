"""ViZDoom mazes: the second lap is the first, everything is repeatable, poses are in cells and radians."""

from __future__ import annotations

import math
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.contracts import Dataset
from components.doom_camera import open_camera
from components.doom_map import carve, map_text, wad_bytes
from zoo.errors import UserError


def test_without_the_engine_the_cure_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from components.dataset.vizdoom import VizDoom

    monkeypatch.setitem(sys.modules, "vizdoom", None)
    with pytest.raises(UserError, match=r"pip install 'spacetime-zoo\[vizdoom\]'"):
        VizDoom(VizDoom.Config())


@pytest.mark.parametrize("seed", range(20))
def test_corridors_hold_a_ring_and_hang_together(seed: int) -> None:
    free = carve(3, 0.3, np.random.default_rng(seed))
    assert free.shape == (7, 7)
    ring = np.zeros_like(free)
    ring[1:-1, 1:-1] = True
    ring[2:-2, 2:-2] = False
    assert free[ring].all() and not free[0].any() and not free[:, -1].any()
    reached = np.zeros_like(free)
    reached[1, 1] = True
    for _ in range(free.size):
        near = np.zeros_like(free)
        near[1:] |= reached[:-1]
        near[:-1] |= reached[1:]
        near[:, 1:] |= reached[:, :-1]
        near[:, :-1] |= reached[:, 1:]
        reached |= near & free
    assert (reached == free).all()


def test_the_wad_holds_three_lumps_and_the_map_closes_every_cell() -> None:
    rng = np.random.default_rng(0)
    free = carve(2, 0.3, rng)
    text = map_text(free, rng)
    wad = wad_bytes(text)
    kind, count, directory = struct.unpack("<4sii", wad[:12])
    entries = [struct.unpack("<ii8s", wad[directory + 16 * i : directory + 16 * (i + 1)]) for i in range(count)]
    assert kind == b"PWAD" and [name.rstrip(b"\0") for *_, name in entries] == [b"MAP01", b"TEXTMAP", b"ENDMAP"]
    offset, size, _ = entries[1]
    assert wad[offset : offset + size].decode() == text
    assert text.count("sector {") == free.sum()
    one_way = sum(int((free & ~np.roll(free, shift, axis)).sum()) for axis in (0, 1) for shift in (1, -1))
    assert text.count("blocking = true") == one_way
    assert text.count("sidedef {") == 4 * free.sum()  # four sides to a cell, whether wall or passage


@pytest.fixture(scope="module")
def world() -> Any:
    pytest.importorskip("vizdoom")
    from components.dataset.vizdoom import VizDoom

    return VizDoom(VizDoom.Config(frames=70, lap=(24, 30), train=2, validation=1, test=1))


def test_the_second_lap_is_bit_identical_to_the_first(world: Any) -> None:
    clip = world.clip("train", 0)
    lap = lap_of(clip)
    assert clip.source.startswith("vizdoom/loop/lap=") and clip.source.endswith("/wobble=0") and 24 <= lap <= 30
    assert (clip.frames[lap:] == clip.frames[:-lap]).all()
    assert (clip.poses[lap:] == clip.poses[:-lap]).all()
    assert not (clip.frames[lap // 2 :] == clip.frames[: -(lap // 2)]).all((1, 2, 3)).any()


def lap_of(clip: Any) -> int:
    return int(clip.source.split("lap=")[1].split("/")[0])


def test_filming_again_gives_the_same_bits_and_other_episodes_other_ones(world: Any) -> None:
    again = type(world)(world.config).clip("train", 0)
    clip = world.clip("train", 0)
    assert (again.frames == clip.frames).all() and (again.poses == clip.poses).all()
    others = [world.clip("train", 1), world.clip("validation", 0), world.clip("test", 0)]
    assert all((other.frames[0] != clip.frames[0]).any() for other in others)
    assert len({other.episode for other in [clip, *others]}) == 4
    seeds = {split: {world.world_seed(split, i) for i in range(world.size(split))} for split in world.report().episodes}
    assert len(set.union(*seeds.values())) == 4
    with pytest.raises(IndexError):
        world.clip("test", 1)


def test_poses_are_in_cells_and_radians_and_actions_lead_from_one_to_the_next(world: Any) -> None:
    assert isinstance(world, Dataset)
    clip = world.clip("train", 0)
    assert clip.frames.shape == (70, 32, 32, 3) and clip.frames.dtype == np.uint8
    assert clip.poses.shape == (70, 4) and clip.poses.dtype == np.float32
    assert clip.actions.shape == (69, world.action_dim) and clip.actions.dtype == np.float32
    assert ((clip.poses[:, :2] > 1) & (clip.poses[:, :2] < 6)).all()
    assert (np.abs(clip.poses[:, 3]) <= np.pi + 1e-6).all() and np.ptp(clip.poses[:, 3]) > 3
    x, y, _, yaw = clip.poses.T.astype(np.float64)
    forward, left, turn = clip.actions.T
    np.testing.assert_allclose(x[:-1] + np.cos(yaw[:-1]) * forward - np.sin(yaw[:-1]) * left, x[1:], atol=1e-5)
    np.testing.assert_allclose(y[:-1] + np.sin(yaw[:-1]) * forward + np.cos(yaw[:-1]) * left, y[1:], atol=1e-5)
    np.testing.assert_allclose(np.exp(1j * (yaw[:-1] + turn)), np.exp(1j * yaw[1:]), atol=1e-5)
    assert np.median(forward) > 0.1  # the tour looks where it goes
    assert world.fingerprint() == type(world)(world.config).fingerprint()
    assert world.fingerprint() != type(world)(world.config.model_copy(update={"seed": 1})).fingerprint()


def test_heading_turns_from_x_to_y_as_the_pose_convention_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen from the same spot, what stands straight ahead at yaw 0 lies to the right after a turn to the left."""
    pytest.importorskip("vizdoom")
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(3)
    wad = wad_bytes(map_text(carve(3, 0.3, rng), rng))
    with open_camera(wad, tall=False) as camera:
        ahead, pose = camera.shoot(1.5, 1.5, 0.0)
        right, turned = camera.shoot(1.5, 1.5, 0.3)
        game = camera._game
    assert pose[3] == 0 and abs(turned[3] - 0.3) < 1e-4
    shift = round(80 * np.tan(0.3))  # 90 degrees of view over 160 pixels
    middle, moved = ahead[60, 60:100].astype(int), right[60].astype(int)
    errors = [np.abs(moved[60 + s : 100 + s] - middle).mean() for s in range(-50, 51)]
    assert abs(int(np.argmin(errors)) - 50 - shift) <= 4
    assert not list(tmp_path.iterdir())  # the engine writes into a folder of its own
    assert not game.is_running()


def test_the_engine_is_closed_even_when_filming_fails() -> None:
    pytest.importorskip("vizdoom")
    rng = np.random.default_rng(0)
    wad = wad_bytes(map_text(carve(2, 0.3, rng), rng))
    with pytest.raises(ZeroDivisionError), open_camera(wad, tall=False) as camera:
        raise ZeroDivisionError
    assert not camera._game.is_running()


@pytest.mark.parametrize(("size", "source"), [(8, 16), (32, 120), (120, 120), (7, 120)])
def test_shrinking_averages_areas(size: int, source: int) -> None:
    from components.dataset.vizdoom import shrink

    picture = np.random.default_rng(0).integers(0, 256, (source, source + 8, 3)).astype(np.uint8)
    small = shrink(picture, size).astype(float)
    assert small.shape == (size, size, 3)
    common = math.gcd(size, source)
    fine = picture[:, 4:-4].astype(float).repeat(size // common, 0).repeat(size // common, 1)  # both sizes divide it
    oracle = fine.reshape(size, source // common, size, source // common, 3).mean((1, 3))
    assert np.abs(small - oracle).max() <= 0.51
