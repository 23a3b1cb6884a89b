from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from components.contracts import Tokens, Window
from components.token_rows import grid_of, lay_out, one_per_row, take_out
from zoo.component import Config, component
from zoo.errors import BadValue

if TYPE_CHECKING:
    from torch import Tensor


@component(cite="podell2024sdxl", note="every batch of one size and length: no filler, nothing is packed")
class Bucket:
    """Buckets by size [Podell 2024]: a step draws one size, p(size) ∝ clips of it, then its clips; L = F·H·W.

    Departs from it: a bucket is one exact length, height and width of latents, so nothing is resized or cropped.
    """

    one_size, rows, look_ahead = True, 0, 1

    class Config(Config):
        pass

    def __init__(self, config: Bucket.Config) -> None:
        self.config = config

    def fill(self, sizes: Sequence[int]) -> list[list[int]]:
        """Every clip its own row."""
        return [[clip] for clip in range(len(sizes))]

    def kept(self, columns: int, span: tuple[int, int]) -> int:
        """All columns."""
        return columns

    def pack(self, patches: Sequence[Tensor], window: Window) -> Tokens:
        """Per-clip patches [F, H, W, D], all of one size, to regular rows [B, F·H·W, D].

        Raises BadValue where sizes differ: a batch like that is of no bucket.
        """
        grids = [grid_of(p) for p in patches]
        if len(set(grids)) > 1:
            sizes = ", ".join("×".join(map(str, grid)) for grid in sorted(set(grids))[:4])
            raise BadValue(
                f"packing 'bucket' takes clips of one size together, and these are of {sizes} tokens: group them by "
                "size, or choose packing=navit or packing=padding."
            )
        return lay_out(patches, window, one_per_row(grids))

    def unpack(self, tokens: Tokens) -> list[Tensor]:
        """Rows back to per-clip [F, H, W, D], exactly."""
        return take_out(tokens)
