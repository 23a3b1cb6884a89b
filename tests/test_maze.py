"""The maze: revisits are exact, the picture agrees with a slow ray march, and no two splits share a world."""

from __future__ import annotations

import numpy as np
import pytest

from components import maze_world
from components.contracts import Dataset
from components.maze_world import (
    EYE_HEIGHT,
    FOG_LEVELS,
    FOG_REACH,
    POST_RADIUS,
    TEXELS_ACROSS,
    TEXELS_UP,
    WALL_HEIGHT,
    build_world,
)
from components.tour import KINDS, actions_between, wrap
from zoo import registry
from zoo.errors import BadValue


def maze(**options: object):
    return registry.build("dataset", "maze", {"frames": 120, "lap": [40, 50], "train": 12, **options})


def lap_of(clip: object) -> int:
    return int(clip.source.split("lap=")[1].split("/")[0])


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.startswith("wobbled")])
@pytest.mark.parametrize("supersample", [1, 2])
def test_second_lap_is_bit_identical(kind: str, supersample: int) -> None:
    data = maze(tours={kind: 1}, wobble=0, supersample=supersample)
    for index in range(3):
        clip = data.clip("train", index)
        lap = lap_of(clip)
        assert f"maze/{kind}/" in clip.source
        assert np.array_equal(clip.poses[lap:], clip.poses[:-lap])
        assert np.array_equal(clip.frames[lap:], clip.frames[:-lap])
        assert len(np.unique(clip.frames[:lap].reshape(lap, -1), axis=0)) > lap // 2  # it does move


@pytest.mark.parametrize("kind", KINDS)
def test_wobbled_laps_return_nearly(kind: str) -> None:
    clip = maze(tours={kind: 1}, wobble=1).clip("train", 0)
    lap = lap_of(clip)
    away = np.abs(clip.poses[lap:, :2] - clip.poses[:-lap, :2])
    assert 0.01 < away.max() <= 0.25
    assert not np.array_equal(clip.frames[lap:], clip.frames[:-lap])


def test_clip_keeps_the_contract() -> None:
    data = maze()
    assert isinstance(data, Dataset)
    clip = data.clip("test", 1)
    assert clip.frames.shape == (120, 32, 32, 3) and clip.frames.dtype == np.uint8
    assert clip.poses.shape == (120, 4) and clip.poses.dtype == np.float32
    assert clip.actions.shape == (119, data.action_dim) and clip.actions.dtype == np.float32
    again = maze().clip("test", 1)
    assert np.array_equal(again.frames, clip.frames) and np.array_equal(again.poses, clip.poses)
    assert len({data.clip(s, i).episode for s in ("train", "validation", "test") for i in range(5)}) == 15
    with pytest.raises(IndexError):
        data.clip("train", 12)


def test_actions_lead_from_pose_to_pose() -> None:
    poses = maze(wobble=1).clip("train", 3).poses.astype(np.float64)
    forward, left, turn = actions_between(poses).astype(np.float64).T
    yaw = poses[:-1, 3]
    reached = poses[:-1, :2] + np.stack(
        [np.cos(yaw) * forward - np.sin(yaw) * left, np.sin(yaw) * forward + np.cos(yaw) * left], 1
    )
    np.testing.assert_allclose(reached, poses[1:, :2], atol=1e-5)
    np.testing.assert_allclose(wrap(yaw + turn - poses[1:, 3]), 0, atol=1e-5)
    assert np.abs(turn).max() < 1.5  # wrapped: no jump of nearly a full turn


def test_walkers_look_where_they_go() -> None:
    actions = maze(tours={"loop": 1}, wobble=0, lap=[100, 100]).clip("train", 0).actions
    assert (actions[:, 0] > 0.04).all() and np.abs(actions[:, 1]).max() < 0.05


def test_render_does_not_depend_on_company() -> None:
    data = maze()
    poses = data.clip("train", 0).poses[:70]
    together = data.render("train", 0, poses)
    for t in (0, 1, 33, 69):
        assert np.array_equal(data.render("train", 0, poses[t : t + 1])[0], together[t])
    assert np.array_equal(together, data.clip("train", 0).frames[:70])


def test_poses_in_walls_are_refused() -> None:
    for x, y in ((0.5, 3.5), (-4.0, 1.5), (1.5, 99.0)):
        with pytest.raises(BadValue, match="free cell"):
            maze().render("test", 0, np.array([[x, y, EYE_HEIGHT, 0.0]], np.float32))


@pytest.mark.parametrize("kind", KINDS)
def test_tours_keep_clear_of_walls_and_posts(kind: str) -> None:
    data = maze(tours={kind: 1}, wobble=1, frames=400, train=60, lap=[60, 250])
    for index in range(60):
        world, poses = data._world(data.world_seed("train", index)), data._tour("train", index)[3]
        for cell_y, cell_x in np.argwhere(world.solid):
            near = np.clip(poses[:, :2], [cell_x, cell_y], [cell_x + 1, cell_y + 1])
            assert np.hypot(*(poses[:, :2] - near).T).min() > 0.1
        for x, y, _ in world.posts:
            assert np.hypot(poses[:, 0] - x, poses[:, 1] - y).min() > POST_RADIUS + 0.05


def test_splits_share_no_maze() -> None:
    data = maze(train=30, validation=30, test=30)
    seeds = {split: {data.world_seed(split, i) for i in range(30)} for split in ("train", "validation", "test")}
    assert all(len(s) == 30 for s in seeds.values())
    assert not seeds["train"] & seeds["test"] and not seeds["train"] & seeds["validation"]
    assert not seeds["validation"] & seeds["test"]
    assert len({data._world(seed).atlas.tobytes() for s in seeds.values() for seed in s}) == 90


def test_world_has_a_ring_pillars_and_no_two_walls_alike() -> None:
    for seed in range(20):
        world = build_world((seed,), blocks=7, landmarks=5)
        solid = world.solid
        assert solid[[0, -1]].all() and solid[:, [0, -1]].all()
        ring = np.zeros_like(solid)
        ring[1:-1, 1:-1] = True
        ring[2:-2, 2:-2] = False
        assert not solid[ring].any() and solid[2:-2, 2:-2].any()
        textures = world.atlas.reshape(-1, FOG_LEVELS, TEXELS_ACROSS, TEXELS_UP + 2)[:, 0]
        assert len(np.unique(textures.reshape(len(textures), -1), axis=0)) == len(textures) >= 24
        assert len(world.posts) >= 3 and len(np.unique(world.post_colours, axis=0)) == len(world.posts)


def test_shares_of_tours_hold_for_any_few_episodes() -> None:
    data = maze(train=200)
    kinds = [data._kind("train", i) for i in range(200)]
    assert abs(sum(k == "loop" for k, _ in kinds) - 80) <= 4
    assert abs(sum(k == "spin" for k, _ in kinds) - 60) <= 4
    assert abs(sum(w for _, w in kinds) - 100) <= 4
    assert abs(sum(w for k, w in kinds if k == "loop") - 40) <= 6
    laps = [data._tour("train", i)[1] for i in range(40)]
    assert 40 <= min(laps) < max(laps) <= 50


def march(world: maze_world.MazeWorld, pose: np.ndarray, left: float, up: float) -> tuple[float, int | None, tuple]:
    """The slow truth for one ray: what a point that creeps along it meets (depth, kind, detail)."""
    x, y, z, yaw = pose.astype(np.float64)
    ray_x, ray_y = np.cos(yaw) - left * np.sin(yaw), np.sin(yaw) + left * np.cos(yaw)
    t = np.arange(0, 12, 5e-4)
    px, py, pz = x + t * ray_x, y + t * ray_y, z + t * up
    cells = np.floor([px, py]).astype(int)
    in_wall = world.solid[tuple(np.clip(cells[::-1], 0, len(world.solid) - 1))]
    in_post = np.array([(np.hypot(px - a, py - b) < POST_RADIUS) & (pz < tall) for a, b, tall in world.posts])
    at = int(np.argmax((pz < 0) | (pz >= WALL_HEIGHT) | in_wall | in_post.any(0)))
    if not 0 <= pz[at] < WALL_HEIGHT:
        return t[at], None, (pz[at] < 0,)
    if in_post[:, at].any():
        return t[at], 1, (int(in_post[:, at].argmax()),)
    cell, moved_x = cells[:, at], cells[0, at] != cells[0, at - 1]
    side = (0 if ray_x > 0 else 1) if moved_x else (2 if ray_y > 0 else 3)
    across = (py[at] if moved_x else px[at]) % 1.0
    return t[at], 2, ((cell[1] * world.solid.shape[1] + cell[0]) * 4 + side, across, pz[at])


def colour_of(world: maze_world.MazeWorld, depth: float, kind: int | None, detail: tuple) -> np.ndarray | None:
    """The colour that the met thing has at that depth; None for posts (their light is tested by eye)."""
    light = 1 - (1 - maze_world.FOG_DARKEST) * min(depth / FOG_REACH, 1)
    if kind is None:
        return (world.floor if detail[0] else world.ceiling) * light
    if kind == 1:
        return None
    face, across, z = detail
    textures = world.atlas.view(np.uint8).reshape(-1, FOG_LEVELS, TEXELS_ACROSS, TEXELS_UP + 2, 4)
    texture = textures[world.face_row[face] // (FOG_LEVELS * TEXELS_ACROSS * (TEXELS_UP + 2)), 0]
    return texture[int(across * TEXELS_ACROSS), 1 + int(z / WALL_HEIGHT * TEXELS_UP), :3] * light


def test_picture_and_depth_agree_with_a_slow_march() -> None:
    size, wrong_colour, wrong_depth, posts, total = 12, 0, 0, 0, 0
    for index in range(4):
        data = maze(size=size, supersample=1, landmarks=8)
        pose = data.clip("train", index).poses[7 * index]
        world = data._world(data.world_seed("train", index))
        image = data.render("train", index, pose[None])[0].astype(float)
        depth = data.depth("train", index, pose[None])[0]
        for row in range(size):
            for column in range(size):
                left, up = 1 - (column + 0.5) / size * 2, 1 - (row + 0.5) / size * 2
                met, kind, detail = march(world, pose, left, up)
                total += 1
                posts += kind == 1
                wrong_depth += abs(met - depth[row, column]) > 5e-3
                expected = colour_of(world, met, kind, detail)
                wrong_colour += expected is not None and np.abs(expected - image[row, column]).max() > 8
    # A creeping point may fall on the other side of an edge; everything else must agree.
    assert wrong_depth <= 0.01 * total and wrong_colour <= 0.02 * total and posts > 0, (
        wrong_depth,
        wrong_colour,
        posts,
    )


def test_supersampling_is_the_mean_of_four() -> None:
    fine = maze(size=64, supersample=1).clip("train", 0)
    coarse = maze(size=32, supersample=2).clip("train", 0)
    mean = fine.frames.reshape(-1, 32, 2, 32, 2, 3).astype(float).mean((2, 4))
    assert np.abs(coarse.frames - mean).max() <= 0.5


def test_fingerprint_follows_options_and_nothing_else() -> None:
    assert maze().fingerprint() == maze().fingerprint()
    assert len({maze(**o).fingerprint() for o in ({}, {"seed": 1}, {"size": 64}, {"wobble": 0.2}, {"test": 3})}) == 5


def test_edition_is_raised_when_the_pictures_change() -> None:
    """If this fails and you meant it, raise EDITION in components/dataset/maze.py, then restate the figures."""
    from components.dataset.maze import EDITION

    frames = registry.build("dataset", "maze", {"frames": 60, "train": 4}).clip("train", 2).frames
    assert EDITION == 1
    np.testing.assert_allclose(frames.mean((0, 1, 2)), GOLDEN_MEAN, atol=0.5)


GOLDEN_MEAN = (117.516, 103.696, 115.527)


@pytest.mark.parametrize("bad", [{"tours": {"walk": 1}}, {"tours": {"loop": -1}}, {"lap": [90, 60]}, {"size": 4}])
def test_bad_options_are_refused(bad: dict) -> None:
    with pytest.raises(BadValue):
        maze(**bad)


def test_depth_never_exceeds_the_maze() -> None:
    data = maze()
    depth = data.depth("train", 0, data.clip("train", 0).poses[:20])
    assert depth.shape == (20, 32, 32) and (depth > 0).all() and depth.max() < 7 * np.sqrt(2)
