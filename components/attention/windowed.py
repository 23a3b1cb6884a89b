from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from pydantic import Field

from components.attention_rules import Rule, RuledAttention
from components.column_cuts import Cut, Picture, by_label
from zoo.component import Config, component

if TYPE_CHECKING:
    from torch import Tensor


@component(cite="liu2022videoswin", note="local windows of frames, rows and columns, then windows shifted by half")
class Windowed(RuledAttention):
    """Video Swin [Liu 2022]: attention within windows of frames × rows × columns, then within windows moved by half.

    Departs from it: windows cut off by the border stay small, no wrapping around; no bias of relative places; the time
    window binds latent frames among each other alone. All observed frames are seen through the window of a place, and
    see only each other, so that they can be cached.
    """

    class Config(Config):
        frames: int = Field(4, ge=1, description="latent frames of a window")
        rows: int = Field(4, ge=1, description="rows of tokens in a window")
        columns: int = Field(4, ge=1, description="columns of tokens in a window")

    def __init__(self, config: Windowed.Config) -> None:
        self.config = config
        super().__init__({"window": self._rule(shifted=False), "shifted": self._rule(shifted=True)}, places=True)

    def _rule(self, shifted: bool) -> Rule:
        return Rule(partial(self._cells, shifted=shifted), latents=partial(self._same_block, shifted=shifted))

    def _cells(self, picture: Picture, *, shifted: bool) -> Cut:
        """Places of one window together; a side that fits into one window is not shifted, as in Swin."""
        sizes = (self.config.rows, self.config.columns)
        moved = [
            size - size // 2 if shifted and side > size else 0 for size, side in zip(sizes, picture.sides, strict=True)
        ]
        return by_label([((y + moved[0]) // sizes[0], (x + moved[1]) // sizes[1]) for y, x in picture.places()])

    def _same_block(self, asking: Tensor, asked: Tensor, *, shifted: bool) -> Tensor:
        """Whether times of queries and of keys fall into one block of `frames`."""
        size = self.config.frames
        moved = size - size // 2 if shifted else 0
        return ((asking + moved) / size).floor() == ((asked + moved) / size).floor()
