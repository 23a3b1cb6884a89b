"""How planners choose finished frames by what they show: as unlike each other as can be, or most like the newest.

What a frame shows is a vector (contracts.Features); distances are squared and Euclidean. No torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from zoo.errors import BadValue, UnmetNeed

if TYPE_CHECKING:
    import numpy as np

    from components.contracts import Features


class Seen:
    """What finished frames show, asked for once a frame: a plan of N frames asks for at most N vectors."""

    def __init__(self, features: Features | None, frames: int, what: str) -> None:
        """`what` names the asker in errors. Raises UnmetNeed without features."""
        if features is None:
            raise UnmetNeed(
                f"{what} chooses frames by what they show, and nobody shows it: pass features=, as the sampling engine "
                "does, or choose a rollout that does not look at frames, such as rollout=long_range."
            )
        self._ask, self._what = features, what
        self._known = bytearray(frames)
        self._vectors_fd: np.ndarray | None = None

    def of(self, frames: Sequence[int]) -> np.ndarray:
        """Vectors [n, D] of finished frames. Raises BadValue for vectors of a wrong shape, or NaN."""
        import numpy as np

        new = [frame for frame in frames if not self._known[frame]]
        if new:
            answer_nd = np.asarray(self._ask(new), dtype=np.float64)
            width = None if self._vectors_fd is None else self._vectors_fd.shape[1]
            if answer_nd.ndim != 2 or len(answer_nd) != len(new) or width not in (None, answer_nd.shape[1]):
                raise BadValue(
                    f"{self._what} was given features of shape {list(answer_nd.shape)} for {len(new)} frames; "
                    f"[{len(new)}, {width or 'D'}] is needed."
                )
            if not np.isfinite(answer_nd).all():
                raise BadValue(
                    f"{self._what} was given features with NaN or infinity among frames {new[0]} to {new[-1]}: these "
                    "frames are broken. Train the generator longer, or with a lower learning rate."
                )
            if self._vectors_fd is None:
                self._vectors_fd = np.zeros((len(self._known), answer_nd.shape[1]))
            self._vectors_fd[new] = answer_nd
            for frame in new:
                self._known[frame] = 1
        return np.zeros((0, 0)) if self._vectors_fd is None else self._vectors_fd[list(frames)]


def squared_distances(points_nd: np.ndarray, point_d: np.ndarray) -> np.ndarray:
    """[N] of the points to one point. From differences, so that equal frames are at exactly the same distance."""
    import numpy as np

    return np.square(points_nd - point_d).sum(axis=1)


def farthest_first(points_nd: np.ndarray, chosen: Sequence[int], count: int) -> list[int]:
    """`chosen` rows and then, up to `count` in all, always the row that is farthest from its nearest chosen one.

    Farthest-point selection (Gonzalez 1985): O(N · count). Of equally far rows the first is taken; with nothing chosen
    that is row 0. The result is in order of choice and has no duplicates.
    """
    import numpy as np

    picked: list[int] = []
    gap_n = np.full(len(points_nd), np.inf)
    while len(picked) < min(count, len(points_nd)):
        row = chosen[len(picked)] if len(picked) < len(chosen) else int(gap_n.argmax())
        picked.append(row)
        np.minimum(gap_n, squared_distances(points_nd, points_nd[row]), out=gap_n)
        gap_n[row] = -1  # also where another chosen row shows the very same
    return picked


def most_alike(points_nd: np.ndarray, *, length: int, before: int, apart: int) -> Iterator[int]:
    """Rows below `before`, best first: how much the `length` rows that end there are like the newest `length`.

    A stretch in a row is compared, so that a place is told from another that looks like it, and one way from the way
    back. Of equally alike rows the first is taken; rows with fewer than `length - 1` before them are left out.

    Args:
        points_nd: what frames show, in order of time; the last one is the newest.
        length: how many rows are compared; lowered to how many there are.
        before: only rows below this are given.
        apart: rows given are at least so many rows from each other.
    """
    import numpy as np

    length = max(1, min(length, len(points_nd)))
    ends = before - (length - 1)
    if ends < 1:
        return
    unlike_m = np.zeros(ends)
    for offset in range(length):
        newest_d = points_nd[len(points_nd) - length + offset]
        unlike_m += squared_distances(points_nd[offset : offset + ends], newest_d)
    while np.isfinite(unlike_m[best := int(unlike_m.argmin())]):
        yield best + length - 1
        unlike_m[max(0, best - apart + 1) : best + apart] = np.inf
