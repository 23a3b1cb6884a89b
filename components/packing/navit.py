from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from components.contracts import Tokens, Window
from components.token_rows import grid_of, lay_out, one_per_row, take_out
from zoo.component import Config, component

if TYPE_CHECKING:
    from torch import Tensor


@component(cite="dehghani2023navit", note="many clips a row, of any size and length, up to a token budget")
class Navit:
    """Patch n' pack [Dehghani 2023]: clips share rows of at most `budget` tokens and never look at each other.

    Departs from it: first-fit decreasing by default (24 clips of 1 to 16 frames leave 8 % filler, the paper's next-fit
    23 %), no token dropping (every patch must be predicted), and clips of one size get a row each, free of filler.
    """

    class Config(Config):
        budget: int = Field(
            0, ge=0, description="tokens a row; 0, or less than the longest clip, means the longest clip"
        )
        fit: Literal["first_decreasing", "next"] = Field("first_decreasing", description="how clips are put into rows")

    def __init__(self, config: Navit.Config) -> None:
        self.config = config

    def pack(self, patches: Sequence[Tensor], window: Window) -> Tokens:
        """Per-clip patches [F, H, W, D] to rows [R, L, D]; window slot f of clip b is patches[b][f]."""
        grids = [grid_of(p) for p in patches]
        if len(set(grids)) == 1:
            return lay_out(patches, window, one_per_row(grids))
        sizes = [f * h * w for f, h, w in grids]
        budget = max(self.config.budget, *sizes)
        fit = _next_fit if self.config.fit == "next" else _first_fit_decreasing
        return lay_out(patches, window, fit(sizes, budget))

    def unpack(self, tokens: Tokens) -> list[Tensor]:
        """Rows back to per-clip [F, H, W, D], exactly."""
        return take_out(tokens)


def _next_fit(sizes: Sequence[int], budget: int) -> list[tuple[int, int]]:
    """Clips in order; a new row as soon as one does not fit."""
    starts, row, column = [], 0, 0
    for size in sizes:
        if column + size > budget:
            row, column = row + 1, 0
        starts.append((row, column))
        column += size
    return starts


def _first_fit_decreasing(sizes: Sequence[int], budget: int) -> list[tuple[int, int]]:
    """Largest clip first, each into the first row that still holds it."""
    starts, used = [(0, 0)] * len(sizes), []
    for b in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
        row = next((r for r, taken in enumerate(used) if taken + sizes[b] <= budget), len(used))
        if row == len(used):
            used.append(0)
        starts[b] = (row, used[row])
        used[row] += sizes[b]
    return starts
