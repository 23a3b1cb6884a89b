"""How planners that work from coarse to fine walk a video: keyframes, grids, and blocks with finished frames around.

Lists of finished frames are ascending. No torch.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from typing import NamedTuple

from components.frame_choice import spread


class Block(NamedTuple):
    """Frames to be made in one step; `finished[start:stop]` lie between them, and `around` more may be looked at."""

    latent: tuple[int, ...]
    start: int
    stop: int
    around: int


def keyframes(*, frames: int, observed: int, window: int, step: int) -> tuple[int, tuple[int, ...]]:
    """(frames a step makes from here on, keyframes): one step's worth, from the first missing frame to the last.

    Where one step cannot make all, a step leaves two places, for a frame before what it makes and one after.
    """
    if frames - observed > step:
        step = min(step, max(1, window - 2))
    return step, spread(observed, frames, step)


def grid(finished: list[int], frames: int, stride: int) -> list[int]:
    """The missing frames a level makes: from the first on, `stride` apart, moved on by one past finished ones."""
    done = bytearray(frames)
    for frame in finished:
        done[frame] = 1
    chosen = []
    index = done.find(0) - 1 + stride if 0 in done else frames
    while index < frames:
        if done[index]:
            index += 1
        else:
            chosen.append(index)
            index += stride
    return chosen


def level_stride(*, level: int, levels: int, missing: int, step: int) -> int:
    """Of level 2 … `levels`, as in FDM (Harvey et al. 2022): ⌊(missing/(step − 1))^((levels − level)/(levels − 1))⌋."""
    return max(1, int((missing / max(1, step - 1)) ** ((levels - level) / (levels - 1))))


def blocks(wanted: list[int], finished: list[int], *, window: int, step: int) -> Iterator[Block]:
    """Walks the `wanted` frames in order of time, at most `step` at once; resumed, puts what was made into `finished`.

    A block is as many of the next frames as leave two places beside the finished frames that lie between them; the last
    block of all, which may hold fewer, leaves no more.
    """
    first = 0
    while first < len(wanted):
        for size in range(step, 0, -1):
            latent = wanted[first : first + size]
            start, stop = bisect_left(finished, latent[0]), bisect_right(finished, latent[-1])
            around = window - size - (stop - start)
            if around >= 2 or size == 1:
                yield Block(tuple(latent), start, stop, around)
                break
        first += len(latent)
        for frame in latent:
            insort(finished, frame)
