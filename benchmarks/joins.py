"""Steps between frames and how large one of them is beside the others: what seams and stitches are measured by.

A step is the root mean square of the difference of two frames, in grey levels. A jump counts in typical steps: the
median step of the video or of its truth, whichever is smaller, so that a restless video (noise) earns nothing by its
restlessness. A video that stands still where its truth moves has no jump to show; it is given the largest, that of a
video that went steadily away through all its frames and came back in one.
"""

from __future__ import annotations

import numpy as np

STILL = 0.1
"""Share of the truth's typical step below which a video stands still."""
LEAST = 0.25
"""Grey levels: a truth whose typical step is smaller stands still itself, and nothing can be said of its joins."""


def step(left_hwc: np.ndarray, right_hwc: np.ndarray) -> float:
    """Root mean square difference of two uint8 frames, in grey levels."""
    return float(np.sqrt(np.square(left_hwc.astype(np.float32) - right_hwc.astype(np.float32)).mean()))


def steps(video_thwc: np.ndarray) -> np.ndarray:
    """float64 [T - 1]."""
    x = video_thwc.astype(np.float32)
    return np.sqrt(np.square(np.diff(x, axis=0)).mean((1, 2, 3), dtype=np.float64))


def typical(video_thwc: np.ndarray) -> float:
    """Median step; 0 of a single frame."""
    found = steps(video_thwc)
    return float(np.median(found)) if len(found) else 0.0


def relative(jump: float, own: float, true: float, frames: int) -> float:
    """A jump in typical steps, at most ``frames`` - 1; 1 is as smooth as inside. ``own``, ``true``: typical steps."""
    most = float(frames - 1)
    return most if own < STILL * true else min(jump / min(own, true), most)
