from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from components.contracts import Tokens, Window
from components.token_rows import grid_of, lay_out, one_per_row, starts_of, take_out
from zoo.component import Config, component
from zoo.errors import BadValue

if TYPE_CHECKING:
    from torch import Tensor


@component(cite="dehghani2023navit", note="many clips a row, of any size and length, up to a token budget")
class Navit:
    """Patch n' pack [Dehghani 2023]: clips share rows of at most `budget` tokens and never look at each other.

    Departs from it: first-fit decreasing by default, over the next `look_ahead` clips where rows are filled (1 to 3 %
    filler with clips of 1 to 16 frames of 16 to 256 tokens; next-fit, the paper's, 9 to 23 %); whole columns through
    time are dropped, their share linear in the picture's columns n where it follows resolution: drop · (n - n_min) /
    (n_max - n_min). Clips of one size get a row each, free of filler.
    """

    one_size = False

    class Config(Config):
        budget: int = Field(0, ge=0, description="tokens a row, dropped ones not counted; 0 means the longest clip")
        rows: int = Field(
            0, ge=0, description="rows that a step fills with a shuffled epoch; 0 packs train.generator.batch clips"
        )
        fit: Literal["first_decreasing", "next"] = Field("first_decreasing", description="how clips are put into rows")
        look_ahead: int = Field(
            64, ge=1, le=4096, description="clips that wait to be put into a step's rows, by first_decreasing"
        )
        drop: Annotated[float, Field(ge=0, lt=1)] = Field(
            0.0, description="share of a picture's columns, through all frames, that training leaves out"
        )
        drop_by: Literal["constant", "resolution"] = Field(
            "constant", description="drop the same share of every clip, or from none of the smallest picture's up to it"
        )

        @model_validator(mode="after")
        def _rows_have_a_length(self) -> Navit.Config:
            if self.rows and not self.budget:
                raise ValueError(f"rows={self.rows} are filled up to a budget: set packing.budget, in tokens, as well")
            return self

    def __init__(self, config: Navit.Config) -> None:
        self.config = config
        self.rows, self.look_ahead = config.rows, config.look_ahead

    def fill(self, sizes: Sequence[int]) -> list[list[int]]:
        """See contracts.Packing. Raises BadValue where the budget is smaller than a clip."""
        longest = max(sizes)
        budget = self.config.budget or longest
        if budget < longest:
            raise BadValue(
                f"packing.budget={budget} tokens a row cannot hold a clip of {longest} tokens: raise it to {longest} "
                "or more (0 takes the longest clip's), or make clips smaller by train.generator.window, backbone.patch "
                "or dataset.size."
            )
        return _next_fit(sizes, budget) if self.config.fit == "next" else _first_fit_decreasing(sizes, budget)

    def kept(self, columns: int, span: tuple[int, int]) -> int:
        """How many of a picture's columns training sees, at least one."""
        fewest, most = span
        share = self.config.drop
        if self.config.drop_by == "resolution" and most > fewest:
            share *= (columns - fewest) / (most - fewest)
        return max(1, round(columns * (1 - share)))

    def pack(self, patches: Sequence[Tensor], window: Window) -> Tokens:
        """Per-clip patches [F, H, W, D] to rows [R, L, D]; window slot f of clip b is patches[b][f].

        A budget binds rows that clips of several sizes share; it keeps nobody from a longer clip at sampling.
        """
        grids = [grid_of(p) for p in patches]
        if len(set(grids)) == 1:
            return lay_out(patches, window, one_per_row(grids))
        sizes = [f * h * w for f, h, w in grids]
        return lay_out(patches, window, starts_of(self.fill(sizes), sizes))

    def unpack(self, tokens: Tokens) -> list[Tensor]:
        """Rows back to per-clip [F, H, W, D], exactly."""
        return take_out(tokens)


def _next_fit(sizes: Sequence[int], budget: int) -> list[list[int]]:
    """Clips in order; a new row as soon as one does not fit."""
    rows: list[list[int]] = []
    left = 0
    for clip, size in enumerate(sizes):
        if not rows or size > left:
            rows.append([])
            left = budget
        rows[-1].append(clip)
        left -= size
    return rows


def _first_fit_decreasing(sizes: Sequence[int], budget: int) -> list[list[int]]:
    """Largest clip first, each into the first row that still holds it; the row of clip 0 first, then the fullest.

    Left alone, some of these rows come out the same again: those that a step takes are packed as they were filled.
    """
    rows: list[list[int]] = []
    left: list[int] = []
    for clip in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
        row = next((r for r, room in enumerate(left) if sizes[clip] <= room), len(rows))
        if row == len(rows):
            rows.append([])
            left.append(budget)
        rows[row].append(clip)
        left[row] -= sizes[clip]
    return [rows[r] for r in sorted(range(len(rows)), key=lambda r: (0 not in rows[r], left[r]))]
