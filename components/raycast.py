"""A first-person view of a block world: rays step from grid line to grid line (Amanatides & Woo 1987), all at once.

Every column of every frame is one ray, cast together with all others in float32; pixels are then filled from a packed
texture atlas, a few frames at a time so that the work stays in the processor's cache.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from components.maze_world import (
    FOG_LEVELS,
    FOG_REACH,
    POST_RADIUS,
    TEXELS_ACROSS,
    TEXELS_UP,
    WALL_HEIGHT,
    MazeWorld,
    fog,
    pack,
)

PIXELS_AT_ONCE = 1 << 16
NEAR = 1e-6


@dataclass(frozen=True)
class Columns:
    """What the ray of every column met; arrays [N, W]. Distances are along the view axis, in cells."""

    wall: np.ndarray
    texture: np.ndarray
    """int32: where the wall's texture column starts in the atlas."""
    post: np.ndarray
    """float32: distance to the nearest landmark that stands before the wall, else inf."""
    post_index: np.ndarray
    post_light: np.ndarray
    """float32 in [0, 1]: how squarely the post is hit."""


def render(world: MazeWorld, poses: np.ndarray, *, size: int, supersample: int = 1) -> np.ndarray:
    """Poses [N, 4] in free cells to uint8 [N, size, size, 3]; 90° field of view.

    Args:
        supersample: rays per pixel along each side (1 or 2).

    Raises:
        ValueError: a pose inside a wall or outside the maze.
    """
    fine = size * supersample
    columns = cast(world, poses, fine)
    slopes = _slopes(fine)
    out = np.empty((len(poses), size, size, 3), np.uint8)
    step = max(1, PIXELS_AT_ONCE // fine**2)
    for begin in range(0, len(poses), step):
        part = slice(begin, min(begin + step, len(poses)))
        packed = _fill(world, columns, part, poses[part, 2].astype(np.float32), slopes)
        if supersample == 2:
            packed = _halve(packed)
        out[part] = packed.view(np.uint8).reshape(*packed.shape, 4)[..., :3]
    return out


def depth(world: MazeWorld, poses: np.ndarray, *, size: int) -> np.ndarray:
    """Distance along the view axis, in cells, at the centre of every pixel: float32 [N, size, size]."""
    columns = cast(world, poses, size)
    slopes = _slopes(size)
    eye = poses[:, 2].astype(np.float32)[:, None, None]
    slope = slopes[None, :, None]
    below, above = eye / np.maximum(-slope, NEAR), (WALL_HEIGHT - eye) / np.maximum(slope, NEAR)
    result = np.minimum(columns.wall[:, None, :], np.where(slope < 0, below, above))
    frame, column = np.nonzero(np.isfinite(columns.post))
    distance = columns.post[frame, column][:, None]
    z = eye[frame, 0] + distance * slopes
    tall = world.posts[columns.post_index[frame, column], 2][:, None] if len(frame) else z[:0]
    result[frame, :, column] = np.where((z >= 0) & (z < tall), distance, result[frame, :, column])
    return result


def _slopes(size: int) -> np.ndarray:
    """Rise per unit of depth of each pixel row, or of each column to the right: float32 [size], top row first."""
    return (1.0 - (np.arange(size, dtype=np.float32) + 0.5) * (2.0 / size)).astype(np.float32)


def cast(world: MazeWorld, poses: np.ndarray, columns: int) -> Columns:
    """Cast one ray per column of every frame."""
    inside = np.floor(poses[:, :2]).astype(np.int64)
    limit = np.array(world.solid.shape[::-1])
    cell = np.clip(inside, 0, limit - 1)
    bad = (cell != inside).any(axis=1) | world.solid[cell[:, 1], cell[:, 0]]
    if bad.any():
        raise ValueError(f"pose {poses[bad][0].tolist()} is not in a free cell of the maze")
    yaw = poses[:, 3].astype(np.float64)
    cos, sin = np.cos(yaw).astype(np.float32)[:, None], np.sin(yaw).astype(np.float32)[:, None]
    left = _slopes(columns)[None, :]  # +1 at the left edge of a 90° view, -1 at the right edge
    ray_x, ray_y = cos - left * sin, sin + left * cos
    x, y = (np.broadcast_to(poses[:, axis, None].astype(np.float32), ray_x.shape) for axis in (0, 1))
    distance, face, across = _march(world.solid, *(a.reshape(-1) for a in (x, y, ray_x, ray_y)))
    level = np.minimum(distance * ((FOG_LEVELS - 1) / FOG_REACH) + 0.5, FOG_LEVELS - 1).astype(np.int32)
    texel = np.minimum(across * TEXELS_ACROSS, TEXELS_ACROSS - 1).astype(np.int32)
    texture = world.face_row[face] + (level * TEXELS_ACROSS + texel) * (TEXELS_UP + 2)
    wall = distance.reshape(ray_x.shape)
    return Columns(wall, texture.reshape(ray_x.shape), *_meet_posts(world, x, y, ray_x, ray_y, wall))


def _march(
    solid: np.ndarray, x: np.ndarray, y: np.ndarray, ray_x: np.ndarray, ray_y: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Flat rays [R] to distance, face (cell * 4 + side) and the place across the face in [0, 1)."""
    width, blocked = solid.shape[1], solid.reshape(-1)
    ray_x = np.where(np.abs(ray_x) < NEAR, np.float32(NEAR), ray_x)
    ray_y = np.where(np.abs(ray_y) < NEAR, np.float32(NEAR), ray_y)
    cell_x, cell_y = np.floor(x), np.floor(y)
    pace_x, pace_y = np.abs(1 / ray_x), np.abs(1 / ray_y)
    next_x = (cell_x + (ray_x > 0) - x) / ray_x
    next_y = (cell_y + (ray_y > 0) - y) / ray_y
    move_x = np.where(ray_x > 0, 1, -1).astype(np.int32)
    move_y = np.where(ray_y > 0, width, -width).astype(np.int32)
    cell = (cell_y * width + cell_x).astype(np.int32)
    distance, face = np.empty_like(x), np.empty(len(x), np.int32)
    alive = np.arange(len(x))
    while len(alive):
        along_x = next_x < next_y
        reached = np.where(along_x, next_x, next_y)
        cell = cell + np.where(along_x, move_x, move_y)
        hit = blocked[cell]
        done = alive[hit]
        distance[done] = reached[hit]
        side = np.where(along_x, (1 - move_x) // 2, 2 + (move_y < 0))
        face[done] = (cell * 4 + side)[hit]
        keep = ~hit
        next_x = (next_x + np.where(along_x, pace_x, 0))[keep]
        next_y = (next_y + np.where(along_x, 0, pace_y))[keep]
        alive, cell, move_x, move_y = alive[keep], cell[keep], move_x[keep], move_y[keep]
        pace_x, pace_y = pace_x[keep], pace_y[keep]
    place = np.where(face % 4 < 2, y + distance * ray_y, x + distance * ray_x)
    return distance, face, place - np.floor(place)


def _meet_posts(
    world: MazeWorld, x: np.ndarray, y: np.ndarray, ray_x: np.ndarray, ray_y: np.ndarray, wall: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The nearest post before the wall: distance (inf where none), its index, and how squarely it is hit."""
    nearest = np.full(wall.shape, np.inf, np.float32)
    index, light = np.zeros(wall.shape, np.int32), np.zeros(wall.shape, np.float32)
    length = 1 / np.sqrt(ray_x**2 + ray_y**2)
    for number, (post_x, post_y, _) in enumerate(world.posts):
        away_x, away_y = post_x - x, post_y - y
        aside = (away_x * ray_y - away_y * ray_x) * length  # of the post's axis from the ray, in cells
        ahead = (away_x * ray_x + away_y * ray_y) * length
        half_chord = np.sqrt(np.maximum(POST_RADIUS**2 - aside**2, 0))
        distance = (ahead - half_chord) * length
        seen = (half_chord > 0) & (distance > 0) & (distance < wall) & (distance < nearest)
        nearest = np.where(seen, distance, nearest)
        index = np.where(seen, np.int32(number), index)
        light = np.where(seen, half_chord / POST_RADIUS, light)
    return nearest, index, light.astype(np.float32)


def _fill(world: MazeWorld, columns: Columns, part: slice, eye: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    """Packed pixels uint32 [n, H, W] of some frames."""
    scale = TEXELS_UP / WALL_HEIGHT
    up = (columns.wall[part, None, :] * np.float32(scale)) * slopes[None, :, None]
    up += (eye * np.float32(scale) + np.float32(1))[:, None, None]
    np.clip(up, 0, TEXELS_UP + 1, out=up)
    where = up.astype(np.int32)
    where += columns.texture[part, None, :]
    pixels = world.atlas.take(where, mode="clip")
    flat = _floor_and_ceiling(world, eye, slopes)
    np.copyto(pixels, flat[:, :, None], where=pixels == 0)
    _draw_posts(world, columns, part, eye, slopes, pixels)
    return pixels


def _floor_and_ceiling(world: MazeWorld, eye: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    """Packed colour of each pixel row where no wall is: uint32 [n, H]."""
    steep = np.maximum(np.abs(slopes), NEAR)[None, :]
    up = slopes[None, :] > 0
    far = np.where(up, WALL_HEIGHT - eye[:, None], eye[:, None]) / steep
    return pack(np.where(up[..., None], world.ceiling, world.floor) * fog(far)[..., None])


def _draw_posts(
    world: MazeWorld, columns: Columns, part: slice, eye: np.ndarray, slopes: np.ndarray, pixels: np.ndarray
) -> None:
    """Draw landmarks over the walls behind them; a pale band marks the top of each."""
    frame, column = np.nonzero(np.isfinite(columns.post[part]))
    if not len(frame):
        return
    distance = columns.post[part][frame, column]
    index = columns.post_index[part][frame, column]
    shade = ((0.5 + 0.5 * columns.post_light[part][frame, column]) * fog(distance))[:, None]
    z = eye[frame, None] + distance[:, None] * slopes[None, :]
    tall = world.posts[index, 2][:, None]
    colour = np.where(
        z > tall - 0.15, pack(255 * shade.repeat(3, 1))[:, None], pack(world.post_colours[index] * shade)[:, None]
    )
    pixels[frame, :, column] = np.where((z >= 0) & (z < tall), colour, pixels[frame, :, column])


def _halve(packed: np.ndarray) -> np.ndarray:
    """Mean of 2×2 packed pixels, two bytes at a time in 16-bit lanes: uint32 [n, H, W] to [n, H/2, W/2]."""
    lanes = np.uint32(0x00FF00FF)
    mean = np.zeros((packed.shape[0], packed.shape[1] // 2, packed.shape[2] // 2), np.uint32)
    for shift in (np.uint32(0), np.uint32(8)):
        part = (packed >> shift) & lanes
        total = part[:, ::2, ::2] + part[:, 1::2, ::2] + part[:, ::2, 1::2] + part[:, 1::2, 1::2]
        mean |= (((total + np.uint32(0x00020002)) >> np.uint32(2)) & lanes) << shift
    return mean
