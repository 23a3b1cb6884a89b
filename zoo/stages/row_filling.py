"""Which clips a training step of stage 2 holds: so many drawn, so many of one size, or rows filled to a budget.

Each way is a pure function of (seed, step), whatever the number of processes: the step is made up whole and dealt out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

if TYPE_CHECKING:
    from components.contracts import Packing

Window = TypeVar("Window")
Draw = Callable[[int, np.random.Generator], Window]
"""Clip and generator to one training window of it."""
Shape = tuple[int, int, int]
"""Frames, height and width of a window of latents."""
Place = tuple[int, int, int]
"""An epoch, a position in it, and the clip that stands there."""


class StepClips(Protocol):
    """The clips of every step."""

    dealt: tuple[str, int]
    """What is dealt out over the processes, as a key of the recipe, and how many of it a step has."""

    def windows(self, step: int, rank: int, world: int, draw: Draw[Window]) -> list[Window]:
        """What process `rank` of `world` holds at `step`."""
        ...


class Drawn:
    """`batch` clips with replacement, each of any clip, or all of one bucket where there are several."""

    def __init__(self, buckets: Sequence[Sequence[int]], batch: int, seed: int) -> None:
        self.buckets, self.batch, self.seed = buckets, batch, seed
        self.dealt: tuple[str, int] = ("train.generator.batch", batch)
        self._odds = np.array([len(bucket) for bucket in buckets]) / sum(map(len, buckets))

    def windows(self, step: int, rank: int, world: int, draw: Draw[Window]) -> list[Window]:
        """One generator draws clips and their windows in turn, so those of other processes are drawn as well."""
        rng = np.random.default_rng([self.seed, step])
        bucket = self.buckets[rng.choice(len(self.buckets), p=self._odds) if len(self.buckets) > 1 else 0]
        return [draw(bucket[int(rng.integers(len(bucket)))], rng) for _ in range(self.batch)][rank::world]


class RowFilling:
    """`packing.rows` rows a step, filled with a stream of shuffled epochs in each of which every clip comes once."""

    ORDER, WINDOW = 1, 2
    """What else keys the generators, beside seed and epoch."""

    def __init__(self, sizes: Sequence[int], packing: Packing, seed: int) -> None:
        """`sizes`: tokens of a window of each clip, those that are dropped not counted."""
        self.sizes, self.packing, self.seed = sizes, packing, seed
        self.dealt: tuple[str, int] = ("packing.rows", packing.rows)
        self._next: int = 0
        self._steps: Iterator[list[list[Place]]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Light to send to loader processes, which fill their rows from the beginning."""
        return self.__dict__ | {"_next": 0, "_steps": None}

    def windows(self, step: int, rank: int, world: int, draw: Draw[Window]) -> list[Window]:
        """Neighbouring rows of the step; each window has a generator of its own, keyed by (seed, epoch, position)."""
        rows, share = self.rows_of(step), self.packing.rows // world
        return [
            draw(clip, np.random.default_rng([self.seed, epoch, position, self.WINDOW]))
            for row in rows[rank * share : (rank + 1) * share]
            for epoch, position, clip in row
        ]

    def rows_of(self, step: int) -> list[list[Place]]:
        """What is in each row of a step.

        Steps are asked for in ascending order as a rule; any other is reached from the beginning, for which nothing is
        read but sizes (0.3 to 0.7 ms a step of 4 rows at look_ahead=64).
        """
        if self._steps is None or step < self._next:
            self._next, self._steps = 0, self._filled()
        for rows in self._steps:
            self._next += 1
            if self._next > step:
                return rows
        raise AssertionError("the stream of epochs has no end")

    def _filled(self) -> Iterator[list[list[Place]]]:
        """The rows of all steps, one after the other; clips that no row has taken wait in the order of the stream."""
        stream, waiting = self._stream(), list[Place]()
        rows = list[list[int]]()
        while True:
            while len(waiting) < self.packing.look_ahead or len(rows) <= self.packing.rows:
                missing = max(self.packing.look_ahead - len(waiting), self.packing.rows)
                waiting += [next(stream) for _ in range(missing)]
                rows = self.packing.fill([self.sizes[clip] for *_, clip in waiting])
            taken = rows[: self.packing.rows]  # there is one more, so the last of these is as full as it gets
            yield [[waiting[i] for i in row] for row in taken]
            gone = {i for row in taken for i in row}
            waiting, rows = [clip for i, clip in enumerate(waiting) if i not in gone], []

    def _stream(self) -> Iterator[Place]:
        epoch = 0
        while True:
            order = np.random.default_rng([self.seed, epoch, self.ORDER]).permutation(len(self.sizes))
            yield from ((epoch, position, int(clip)) for position, clip in enumerate(order))
            epoch += 1


def step_clips(shapes: Sequence[Shape], packing: Packing | None, grain: Shape, batch: int, seed: int) -> StepClips:
    """The way that a packing asks for; any clips where there is none.

    Args:
        shapes: of the window of each clip, in latents.
        grain: latent frames, rows and columns of one token, for packings that count tokens.
    Raises BadValue for a clip that no row can hold.
    """
    if packing is None:
        return Drawn([range(len(shapes))], batch, seed)
    sizes = window_tokens(shapes, packing, grain)
    packing.fill([max(sizes)])
    if packing.rows:
        return RowFilling(sizes, packing, seed)
    return Drawn(_buckets(shapes) if packing.one_size else [range(len(shapes))], batch, seed)


def _buckets(shapes: Sequence[Shape]) -> list[list[int]]:
    """Clips by shape, the smallest shape first."""
    buckets: dict[Shape, list[int]] = {}
    for clip, shape in enumerate(shapes):
        buckets.setdefault(shape, []).append(clip)
    return [buckets[shape] for shape in sorted(buckets)]


def window_tokens(shapes: Sequence[Shape], packing: Packing, grain: Shape) -> list[int]:
    """Tokens of each window, those that are dropped not counted; the most that any mask makes of it.

    Frames given and frames to be made are grouped apart where a token spans several (components/tubelets.py).
    """
    most = [(frames - 2) // grain[0] + 2 if frames > 1 else 1 for frames, *_ in shapes]
    return [groups * kept for groups, (_, kept) in zip(most, _columns(shapes, packing, grain), strict=True)]


def kept_columns(shapes: Sequence[Shape], packing: Packing, grain: Shape) -> list[tuple[tuple[int, int], int]]:
    """Of each clip: height and width of its picture in tokens, and how many columns training keeps; [] if all are."""
    columns = _columns(shapes, packing, grain)
    return columns if any(kept < height * width for (height, width), kept in columns) else []


def _columns(shapes: Sequence[Shape], packing: Packing, grain: Shape) -> list[tuple[tuple[int, int], int]]:
    pictures = [(-(-height // grain[1]), -(-width // grain[2])) for _, height, width in shapes]
    counts = [height * width for height, width in pictures]
    span = min(counts), max(counts)
    return [(picture, packing.kept(count, span)) for picture, count in zip(pictures, counts, strict=True)]
