from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from components.contracts import Tokens, Window
from components.token_rows import grid_of, lay_out, one_per_row, take_out
from zoo.component import Config, component

if TYPE_CHECKING:
    from torch import Tensor


@component(cite="dosovitskiy2021vit", note="one clip a row, padded to the longest")
class Padding:
    """The plain batch [Dosovitskiy 2021]: row b = clip b followed by filler, L = max over clips of F·H·W.

    Departs from it in that filler is marked (clip -1) and attention never computes it; it still passes every MLP.
    """

    one_size, rows, look_ahead = False, 0, 1

    class Config(Config):
        pass

    def __init__(self, config: Padding.Config) -> None:
        self.config = config

    def fill(self, sizes: Sequence[int]) -> list[list[int]]:
        """Every clip its own row."""
        return [[clip] for clip in range(len(sizes))]

    def kept(self, columns: int, span: tuple[int, int]) -> int:
        """All columns."""
        return columns

    def pack(self, patches: Sequence[Tensor], window: Window) -> Tokens:
        """Per-clip patches [F, H, W, D] to rows [B, L, D]; window slot f of clip b is patches[b][f]."""
        return lay_out(patches, window, one_per_row([grid_of(p) for p in patches]))

    def unpack(self, tokens: Tokens) -> list[Tensor]:
        """Rows back to per-clip [F, H, W, D], exactly."""
        return take_out(tokens)
