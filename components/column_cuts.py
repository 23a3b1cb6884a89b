"""Which of a picture's columns through time (y, x) attend together: the cut of a picture into groups."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from components.contracts import Tokens, Window

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Picture:
    """The columns of one clip, in the order of its tokens."""

    columns: int
    """S, how many there are."""
    sides: tuple[int, int]
    """Rows and columns of the whole picture."""
    kept: tuple[tuple[int, int], ...] | None = None
    """(y, x) of every column where some are dropped; None is all, row by row."""

    def places(self) -> Sequence[tuple[int, int]]:
        """(y, x) of every column."""
        h, w = self.sides
        return self.kept if self.kept is not None else [(y, x) for y in range(h) for x in range(w)]


@dataclass(frozen=True)
class Cut:
    """A picture's S columns as groups; groups of one size are brought side by side."""

    classes: tuple[tuple[int, int], ...]
    """(how many groups, columns in each)."""
    order: tuple[int, ...] | None = None
    """The columns, group by group; None where they lie so already."""

    @property
    def whole(self) -> bool:
        """Whether all columns are one group."""
        return len(self.classes) == 1 and self.classes[0][0] == 1

    @property
    def columns(self) -> int:
        """S."""
        return sum(groups * size for groups, size in self.classes)

    def members(self) -> list[list[int]]:
        """Every group's columns, ascending."""
        order, at, made = self.order or tuple(range(self.columns)), 0, []
        for groups, size in self.classes:
            made += [list(order[at + i * size : at + (i + 1) * size]) for i in range(groups)]
            at += groups * size
        return made


def whole_picture(picture: Picture) -> Cut:
    """All columns together."""
    return Cut(((1, picture.columns),))


def each_place(picture: Picture) -> Cut:
    """Every column by itself."""
    return Cut(((picture.columns, 1),))


def by_label(labels: Sequence[Hashable]) -> Cut:
    """Columns of the same label together."""
    groups: dict[Hashable, list[int]] = {}
    for column, label in enumerate(labels):
        groups.setdefault(label, []).append(column)
    sized: dict[int, list[list[int]]] = {}
    for group in groups.values():
        sized.setdefault(len(group), []).append(group)
    classes = tuple((len(alike), size) for size, alike in sized.items())
    order = tuple(column for alike in sized.values() for group in alike for column in group)
    return Cut(classes, None if order == tuple(range(len(labels))) else order)


def pictures(tokens: Tokens, window: Window | None) -> list[Picture]:
    """Of every clip, the places of its columns with it if a window is given: where some are dropped, they are read from
    the tokens, one wait for the device.
    """
    if window is None or window.columns is None:
        return [Picture(h * w, (h, w)) for _, h, w in tokens.grids]
    made = []
    firsts = [
        tokens.place[row, at : at + h * w] for (_, h, w), (row, at) in zip(tokens.grids, tokens.starts, strict=True)
    ]
    for places, dropped in zip(_lists(firsts), window.columns, strict=True):
        kept = tuple((int(y), int(x)) for _, y, x in places)
        made.append(Picture(len(kept), (dropped.shape[0], dropped.shape[1]), kept))
    return made


def _lists(parts: Sequence[Tensor]) -> list[list[list[float]]]:
    """Tensors [n, 3] as lists, in one copy."""
    flat, made, at = torch.cat(list(parts)).tolist(), [], 0
    for part in parts:
        made.append(flat[at : at + len(part)])
        at += len(part)
    return made
