"""Which frames of a video could be remembered: from poses alone, each frame is unseen or a revisit. Torch-free."""

from __future__ import annotations

import numpy as np

CONTEXT, UNSEEN, REVISIT_CONTEXT, REVISIT_GENERATED = -1, 0, 1, 2
NAMES = {UNSEEN: "unseen", REVISIT_CONTEXT: "revisit_context", REVISIT_GENERATED: "revisit_generated"}

POSITION = 0.5
"""Cells: two poses no further apart than this …"""
YAW = 0.35
"""… and turned by no more than this (radians, 20°) show the same view."""
GAP = 32
"""Frames: a revisit is a return after at least this long, not the same moment going on."""


def same_view(left_n4: np.ndarray, right_m4: np.ndarray, position: float = POSITION, yaw: float = YAW) -> np.ndarray:
    """bool [N, M]: which poses (x, y, z, yaw) show the same view, within cells and radians."""
    cells, turn = pose_gaps(left_n4, right_m4)
    return (cells <= position) & (turn <= yaw)


def pose_gaps(left_n4: np.ndarray, right_m4: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distances in cells and absolute wrapped differences of yaw in radians, each float64 [N, M]."""
    left, right = np.asarray(left_n4, dtype=np.float64), np.asarray(right_m4, dtype=np.float64)
    cells = np.sqrt(sum(np.subtract.outer(left[:, axis], right[:, axis]) ** 2 for axis in range(3)))
    turn = np.subtract.outer(left[:, 3], right[:, 3])
    return cells, np.abs(np.arctan2(np.sin(turn), np.cos(turn)))


def frame_types(
    poses_t4: np.ndarray, context: int, *, position: float = POSITION, yaw: float = YAW, gap: int = GAP
) -> np.ndarray:
    """int8 [T]: −1 context, 0 unseen, 1 revisit of a context frame, 2 revisit of a generated frame only.

    Frame t revisits frame s when both show the same view (``position`` cells, ``yaw`` radians) and t − s ≥ ``gap``.
    """
    poses = np.asarray(poses_t4)
    index = np.arange(len(poses))
    match = same_view(poses, poses, position, yaw) & (np.subtract.outer(index, index) >= gap)
    kinds = np.full(len(poses), UNSEEN, dtype=np.int8)
    kinds[match[:, context:].any(1)] = REVISIT_GENERATED
    kinds[match[:, :context].any(1)] = REVISIT_CONTEXT
    kinds[:context] = CONTEXT
    return kinds
