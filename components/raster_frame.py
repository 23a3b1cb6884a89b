"""One frame of every clip while it is made token by token: what does not change from token to token, and what grows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from einops import repeat

from components.contracts import Condition, Memory, Tokens, Window
from components.token_rows import one_per_row

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class RasterFrame:
    """The state of raster decoding: of B clips one frame each, all at the same place of it."""

    window: Window
    """Of this frame alone, F = 1."""
    condition: Condition
    """Of this frame alone."""
    size: tuple[int, int]
    """Rows and columns of tokens."""
    memory: Memory | None
    """Of all frames that this one sees."""
    signal: Tensor
    """float [B, 1, D]."""
    layout: Any
    """The attention's own, from `RasterAttention.layout_next`."""
    biases: Tensor | None
    """[depth, B, K, 1, Fk], or None."""
    earlier: list[dict[str, tuple[Tensor, Tensor]]] = field(default_factory=list)
    """Per block: sublayer → keys and values [B, n, K, D/K] of the n tokens that went through."""
    place: int = 0
    """Of the next token, in raster order."""

    def past(self, block: int) -> Mapping[str, tuple[Tensor, Tensor]]:
        """Keys and values that a block remembers of other frames."""
        return {} if self.memory is None else self.memory.layers[block]

    def tokens(self, x: Tensor) -> Tokens:
        """The next token of every clip, x [B, D], as rows of one token."""
        clips, device = x.shape[0], x.device
        row, column = divmod(self.place, self.size[1])
        y_x = repeat(torch.tensor([row, column], device=device, dtype=torch.float32), "n -> b 1 n", b=clips)
        grids = ((1, 1, 1),) * clips
        return Tokens(
            x=x[:, None],
            place=torch.cat([self.window.times[..., None].float(), y_x], dim=-1),
            sides=torch.tensor(self.size, device=device, dtype=torch.float32).expand(clips, 1, 2),
            clip=torch.arange(clips, device=device)[:, None],
            frame=torch.zeros(clips, 1, dtype=torch.long, device=device),
            observed=self.window.observed,
            grids=grids,
            starts=one_per_row(grids),
        )
