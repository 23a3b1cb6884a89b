"""Pairs of frames that must, or must not, look alike because of where the camera was: for the metrics of memory."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from benchmarks import per_frame
from benchmarks.contracts import Scored, Setting
from benchmarks.frame_error import mse_per_frame, shrink
from benchmarks.frame_types import REVISIT_GENERATED, UNSEEN, pose_gaps, same_view
from benchmarks.record import Part
from benchmarks.video_state import VideoValues

GAPS = ((32, 128), (129, 256), (257, None))
"""Frames since the place was last seen, both ends included."""
FAR = 1.5
"""Cells: a view of another place is at least this far away."""


def ages(poses_t4: np.ndarray, context: int, position: float, yaw: float, gap: int) -> np.ndarray:
    """Frames since the context last showed the view, float64 [T - context]; NaN where it never did, ``gap`` ago."""
    poses = np.asarray(poses_t4)
    age = np.subtract.outer(np.arange(context, len(poses)), np.arange(context))
    same = same_view(poses[context:], poses[:context], position, yaw) & (age >= gap)
    youngest = np.where(same, age, np.inf).min(1, initial=np.inf)
    return np.where(np.isfinite(youngest), youngest, np.nan)


def by_gap(videos: Sequence[VideoValues], age: int, column: int, setting: Setting) -> dict[str, Part]:
    """``gap32_128``, …: mean of ``column`` over frames whose column ``age`` lies there; ranges without are left out."""
    found = {}
    for low, high in GAPS:
        inside = [(v.values[:, age] >= low) & (v.values[:, age] <= (high or np.inf)) for v in videos]
        means = [per_frame.mean_of(v.values[rows, column]) for v, rows in zip(videos, inside, strict=True)]
        if not np.isnan(means).all():
            found[f"gap{low}_{high or 'end'}"] = per_frame.part(means, setting)
    return found


def recalled(video: Scored, kinds: np.ndarray, *, distractors: int, side: int, yaw: float, seed: int) -> np.ndarray:
    """1 where a revisiting frame is nearer to the truth than to each of K true frames of other views, else 0.

    Float64 [T - context], NaN off revisits and where no K other views are found. The K + 1 frames are views of which no
    two agree (FAR cells apart, or turned by 1.5 ``yaw``): were two of the others nearly one frame, luck would win more
    often than 1 / (K + 1). Drawn by (seed, episode), the same for every row of a table; compared on a side × side grid.
    """
    right = np.full(len(kinds), np.nan)
    rows = np.flatnonzero(kinds > UNSEEN)
    if not len(rows) or video.poses is None:
        return right
    at = rows + video.context
    name = int.from_bytes(hashlib.blake2b(video.episode.encode(), digest_size=8).digest(), "little")
    drawn, enough = _other_views(video.poses, at, distractors, yaw, np.random.default_rng([seed, name]))
    fake, real = shrink(video.fake[at], side), shrink(video.real, side)
    own = np.square(fake - real[at]).sum(1)
    wrong = np.stack([np.square(fake - real[column]).sum(1) for column in drawn.T]).min(0)
    right[rows] = np.where(enough, own <= wrong, np.nan)
    return right


def _other_views(
    poses_t4: np.ndarray, at: np.ndarray, count: int, yaw: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Frames [len(at), count], drawn one by one, no two of one view nor of that of ``at``; and where all were found."""
    cells, turn = pose_gaps(poses_t4, poses_t4)
    different = (cells >= FAR) | (turn >= 1.5 * yaw)
    luck, allowed = rng.random((len(at), len(poses_t4))), different[at]
    drawn, enough = np.zeros((len(at), count), dtype=int), np.ones(len(at), dtype=bool)
    for place in range(count):
        enough &= allowed.any(1)
        drawn[:, place] = np.where(allowed, luck, -1).argmax(1)
        allowed = allowed & different[drawn[:, place]]
    return drawn, enough


def consistency(video: Scored, kinds: np.ndarray, position: float, yaw: float, gap: int) -> np.ndarray:
    """[T - context, 2]: of the generated and of the true video, error of frame t to the frame s ≥ ``gap`` before of the
    same view, less its error to a view of another place in the same direction; both of them after the context.

    NaN off revisits of generated frames, and where no other place was seen in that direction.
    """
    table = np.full((len(kinds), 2), np.nan)
    rows = np.flatnonzero(kinds == REVISIT_GENERATED)
    if not len(rows) or video.poses is None:
        return table
    cells, turn = pose_gaps(video.poses[video.context :][rows], video.poses[video.context :])
    earlier = np.subtract.outer(rows, np.arange(len(kinds))) >= gap
    own = np.where((cells <= position) & (turn <= yaw) & earlier, cells + turn, np.inf).argmin(1)
    elsewhere = np.where((cells >= FAR) & (turn <= yaw), turn, np.inf)
    exists = np.isfinite(elsewhere.min(1))
    for column, frames in enumerate((video.fake[video.context :], video.real[video.context :])):
        gaps = [mse_per_frame(frames[rows], frames[other]) for other in (own, elsewhere.argmin(1))]
        table[rows, column] = np.where(exists, gaps[0] - gaps[1], np.nan)
    return table
