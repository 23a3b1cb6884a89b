"""How planners and training masks pick frames to look at: evenly spread, or nearest in pose. No torch.

Both the rollouts (sampling) and the masks of ``task: extend`` (training) choose through these functions, so that a
network is trained on the very windows it will be given.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zoo.errors import BadValue, UnmetNeed

if TYPE_CHECKING:
    import numpy as np

RECENT = 3
"""Most recent frames looked at beside the nearest ones: 3 of the 8 places that window 16, step 8 leaves."""

HEADING_WEIGHT = 2.0
"""Squared cells that a turn by 90 degrees counts for; a turn by 60 degrees is then as far as one cell."""

OLDER_FIRST = 1e-9
"""Squared cells per frame index: of equally near frames the oldest is taken: the likeliest to be given."""


def places_to_look(*, frames: int, observed: int, window: int, step: int) -> tuple[int, int]:
    """Check a planning request; gives (frames a step makes, frames it may look at), whose sum is at most `window`.

    Raises BadValue where the four numbers cannot be met. With step == window nothing can be looked at, so this is
    accepted only if one step makes every missing frame; the places those leave free may then still be looked at.
    """
    missing = frames - observed
    if frames < 0:
        raise BadValue(f"frames={frames} is negative. Ask for 1 frame or more.")
    if observed < 0:
        raise BadValue(f"observed={observed} is negative. Give 0 (nothing is given) or more.")
    if window < 1:
        raise BadValue(f"window={window} holds no frame. Give 1 or more, up to the window of training.")
    if step < 1:
        raise BadValue(f"step={step} makes no frame. Give 1 or more, less than window={window}.")
    if step > window:
        raise BadValue(f"step={step} does not fit into window={window}. Give step={max(1, window // 2)}, half of it.")
    if step < window:
        return step, window - step
    if missing > window:
        raise BadValue(
            f"step={step} fills window={window}, so no step could look at a finished frame, and {missing} frames are "
            f"missing. Give step={max(1, window // 2)}, or window={missing} and step={missing} for a single step."
        )
    return max(missing, 1), window - max(missing, 0)


def spread(start: int, stop: int, count: int) -> tuple[int, ...]:
    """At most `count` whole numbers evenly over start … stop-1, both ends included (start alone where count is 1).

    The floor of `count` points from start to just below stop; ascending, and all distinct where count <= stop - start.
    """
    if count < 1 or stop <= start:
        return ()
    gap = (stop - 0.001 - start) / max(1, count - 1)
    return tuple(sorted({int(start + i * gap) for i in range(count)}))


def checked_poses(poses: np.ndarray | None, frames: int, what: str) -> np.ndarray:
    """Poses as float64 [frames, 4]; raises UnmetNeed without poses, BadValue on a wrong shape or NaN."""
    import numpy as np

    if poses is None:
        raise UnmetNeed(
            f"{what} needs camera poses, and there are none. Use a data set that gives poses, such as dataset=maze, "
            "or choose a part that does not look at them."
        )
    poses = np.asarray(poses, dtype=np.float64)
    if poses.ndim != 2 or poses.shape[0] < frames or poses.shape[1] != 4:
        raise BadValue(f"{what} was given poses of shape {list(poses.shape)}; [{frames}, 4] (x, y, z, yaw) is needed.")
    if not np.isfinite(poses).all():
        raise BadValue(f"{what} was given poses with NaN or infinity. Repair the data set's poses.")
    return poses


def pose_features(poses: np.ndarray, weight: float = HEADING_WEIGHT) -> np.ndarray:
    """Poses [N, 4] to points [N, 5] whose squared distance is r² + weight · (1 − cos Δθ), in squared cells.

    |w(cos a, sin a) − w(cos b, sin b)|² = 2w²(1 − cos(a − b)) with w² = weight/2, and yaw needs no wrapping.
    """
    import numpy as np

    poses = np.asarray(poses, dtype=np.float64)
    scale = (weight / 2) ** 0.5
    return np.column_stack((poses[:, :3], scale * np.cos(poses[:, 3]), scale * np.sin(poses[:, 3])))


def nearest_in_pose(features: np.ndarray, wanted: Sequence[int], before: int, count: int) -> list[int]:
    """Of frames 0 … before-1, the `count` nearest to the frames `wanted`, taken in turns; ascending.

    Every wanted frame's nearest comes before anyone's second nearest; where there are fewer places than wanted frames,
    those that have their turn are spread evenly over `wanted`. Of equally near frames the oldest is taken.

    Args:
        features: `pose_features` of all frames, [N, 5].
        wanted: frames to be made.
        before: only frames below this index may be chosen.
        count: how many; fewer come back if `before` is smaller.
    """
    import numpy as np

    count = min(count, before)
    if count < 1:
        return []
    first = spread(0, len(wanted), count)
    turns = list(first) + sorted(set(range(len(wanted))) - set(first))
    wanted_l5 = features[[wanted[i] for i in turns]]
    candidates_m5 = features[:before]
    distance_lm = (
        np.einsum("ld,ld->l", wanted_l5, wanted_l5)[:, None]
        + np.einsum("md,md->m", candidates_m5, candidates_m5)[None]
        - 2 * wanted_l5 @ candidates_m5.T
        + OLDER_FIRST * np.arange(before)
    )
    # A full sort of every row would be most of the cost of a training mask: find the few nearest, then sort those.
    near_lk = np.argpartition(distance_lm, count - 1, axis=1)[:, :count]
    near_lk = np.take_along_axis(near_lk, np.argsort(np.take_along_axis(distance_lm, near_lk, 1), axis=1), 1)
    by_rank = dict.fromkeys(near_lk.T.ravel().tolist())
    return sorted(list(by_rank)[:count])
