"""Camera tours through a block world: closed paths that return, so that what was seen must be seen again.

A tour is one lap, exactly periodic, then optionally disturbed by a smooth wobble that never repeats. Free of rendering:
any world with a grid of free cells can be toured. x grows with the column, y with the row; yaw turns from +x to +y.
"""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from typing import Literal, get_args

import numpy as np

TourKind = Literal["loop", "wobbled_loop", "spin", "out_and_back"]
KINDS: tuple[TourKind, ...] = get_args(TourKind)

TURN = 0.35
"""Cells of walking that one radian of turning on the spot takes as long as."""
ROUNDING = 0.8
"""Length in cells over which corners are rounded."""
WOBBLE_CELLS, WOBBLE_YAW = 0.12, 0.25
"""Bounds of the wobble in x, in y, and in radians."""

Cell = tuple[int, int]
Leg = tuple[float, float, float, float]
"""x, y, yaw (unwrapped) at a knot, and the length of the leg that ends there."""


def wrap(angle: np.ndarray) -> np.ndarray:
    """Radians to (-π, π]."""
    return np.pi - (np.pi - angle) % (2 * np.pi)


def draw_tour(
    kind: TourKind, free_yx: np.ndarray, *, frames: int, lap: int, wobble: bool, height: float, rng: np.random.Generator
) -> np.ndarray:
    """Poses float32 [frames, 4] (x, y, z = height, yaw in (-π, π]) of one tour, `lap` frames a round.

    Without wobble, frame t + lap has bit for bit the pose of frame t; a wobbled_loop is a loop that always wobbles.

    Args:
        free_yx: bool [rows, columns]; the ring just inside the solid border must be free, and all free cells connected.
    """
    knots = {"loop": _loop, "wobbled_loop": _loop, "spin": _spin, "out_and_back": _out_and_back}[kind](free_yx, rng)
    round_lap = _sample(np.asarray(knots), lap, rng.random())
    poses = np.empty((frames, 4))
    poses[:, [0, 1, 3]] = round_lap[np.arange(frames) % lap]
    poses[:, 2] = height
    if wobble or kind == "wobbled_loop":
        poses[:, :2] += WOBBLE_CELLS * _smooth_noise(frames, 2, rng)
        poses[:, 3] += WOBBLE_YAW * _smooth_noise(frames, 1, rng)[:, 0]
    poses[:, 3] = wrap(poses[:, 3])
    return poses.astype(np.float32)


def tour_name(kind: TourKind, wobble: bool) -> str:
    """What tables call it: ``loop``, ``wobbled_loop``, ``spin``, ``wobbled_spin``, …"""
    return f"wobbled_{kind}" if wobble and not kind.startswith("wobbled_") else kind


def actions_between(poses: np.ndarray) -> np.ndarray:
    """Actions float32 [T-1, 3] that lead from pose to pose: forward, left (cells, in the agent's frame), yaw change."""
    poses = poses.astype(np.float64)
    dx, dy = np.diff(poses[:, 0]), np.diff(poses[:, 1])
    cos, sin = np.cos(poses[:-1, 3]), np.sin(poses[:-1, 3])
    return np.stack([cos * dx + sin * dy, cos * dy - sin * dx, wrap(np.diff(poses[:, 3]))], axis=1).astype(np.float32)


def _loop(free_yx: np.ndarray, rng: np.random.Generator) -> list[Leg]:
    """Once around the ring corridor, either way round."""
    rows, columns = free_yx.shape
    corners = [(1, 1), (1, columns - 2), (rows - 2, columns - 2), (rows - 2, 1)]
    if rng.random() < 0.5:
        corners.reverse()
    knots = _walk([*corners, corners[0]], yaw=None)
    x, y, yaw, _ = knots[-1]
    # The last corner, which closes the lap, turns the same way as the others.
    return [*knots, (x, y, yaw + np.sign(knots[2][2] - knots[1][2]) * np.pi / 2, 0.0)]


def _spin(free_yx: np.ndarray, rng: np.random.Generator) -> list[Leg]:
    """Once around oneself, in the middle of a free cell."""
    row, column = rng.permutation(np.argwhere(free_yx))[0]
    yaw, turn = rng.uniform(-np.pi, np.pi), rng.choice([-2 * np.pi, 2 * np.pi])
    return [(column + 0.5, row + 0.5, yaw, 0.0), (column + 0.5, row + 0.5, yaw + turn, 2 * np.pi * TURN)]


def _out_and_back(free_yx: np.ndarray, rng: np.random.Generator) -> list[Leg]:
    """The shortest way to a distant cell, about-turn, the same way back, about-turn."""
    cells = rng.permutation(np.argwhere(free_yx))
    start = (int(cells[0][0]), int(cells[0][1]))
    before, order = breadth_first(free_yx, start)
    path = [order[rng.integers(len(order) // 2, len(order))]]  # from the farther half
    while path[-1] != start:
        path.append(before[path[-1]])
    knots = _walk(path[::-1], yaw=None)
    knots = _about_turn(knots, rng)
    knots += _walk(path, yaw=knots[-1][2])[1:]
    return _about_turn(knots, rng)


def _about_turn(knots: list[Leg], rng: np.random.Generator) -> list[Leg]:
    x, y, yaw, _ = knots[-1]
    return [*knots, (x, y, yaw + float(rng.choice([-np.pi, np.pi])), np.pi * TURN)]


def _walk(path: list[Cell], yaw: float | None) -> list[Leg]:
    """Straight legs between cell centres; the yaw jumps at corners (rounded later) and is continued from `yaw`."""
    knots: list[Leg] = []
    for (row, column), (next_row, next_column) in pairwise(path):
        heading = float(np.arctan2(next_row - row, next_column - column))
        yaw = heading if yaw is None else yaw + float(wrap(np.asarray(heading - yaw)))
        length = float(np.hypot(next_row - row, next_column - column))
        knots.append((column + 0.5, row + 0.5, yaw, 0.0))
        knots.append((next_column + 0.5, next_row + 0.5, yaw, length))
    return knots


def breadth_first(free_yx: np.ndarray, start: Cell) -> tuple[dict[Cell, Cell], list[Cell]]:
    """The cell before each cell on the shortest way from `start`, and all cells by distance."""
    before, order, queue = {start: start}, [], deque([start])
    while queue:
        row, column = cell = queue.popleft()
        order.append(cell)
        for near in ((row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)):
            if free_yx[near] and near not in before:
                before[near] = cell
                queue.append(near)
    return before, order


def _sample(knots_n4: np.ndarray, lap: int, phase: float) -> np.ndarray:
    """`lap` evenly spaced states (x, y, yaw) of the closed path, its corners rounded by a circular moving average."""
    at = np.cumsum(knots_n4[:, 3])
    dense = max(2048, 4 * lap)
    share = np.arange(dense) / dense
    states = np.stack([np.interp(share * at[-1], at, knots_n4[:, axis]) for axis in range(3)], axis=1)
    winding = np.outer(share, [0.0, 0.0, knots_n4[-1, 2] - knots_n4[0, 2]])
    width = max(1, round(ROUNDING / at[-1] * dense))
    kernel = np.zeros(dense)
    kernel[np.arange(-(width // 2), width - width // 2)] = 1 / width
    spectrum = np.fft.rfft(states - winding, axis=0) * np.fft.rfft(kernel)[:, None]
    smooth = np.fft.irfft(spectrum, n=dense, axis=0)
    position = (np.arange(lap) / lap + phase) % 1.0
    around = np.concatenate([smooth, smooth[:1]])
    sampled = np.stack([np.interp(position, np.arange(dense + 1) / dense, around[:, axis]) for axis in range(3)], 1)
    return sampled + np.outer(position, [0.0, 0.0, knots_n4[-1, 2] - knots_n4[0, 2]])


def _smooth_noise(frames: int, channels: int, rng: np.random.Generator) -> np.ndarray:
    """Sums of three slow sine waves with periods that share no multiple; in [-1, 1], [frames, channels]."""
    periods = rng.uniform(30, 140, (3, 1, channels))
    phases = rng.uniform(0, 2 * np.pi, (3, 1, channels))
    return np.sin(2 * np.pi * np.arange(frames)[:, None] / periods + phases).mean(axis=0)
