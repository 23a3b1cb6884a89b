"""A backbone that reads tokens and answers with logits: what a token objective trains in place of the backbone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from components.contracts import Condition, Memory, Window


class TokenNetwork(nn.Module):
    """Digits [B, G, F, H, W], or a list of [G, F_b, H_b, W_b], to logits [B, N, F, H, W] likewise.

    Every factor has a table with one row more than it has values, for the unknown; a token is the sum over its digits.
    """

    def __init__(self, backbone: Any, factors: Sequence[int], embedding: int) -> None:
        """`backbone` reads `embedding` channels and answers with the sum of the factors."""
        super().__init__()
        self.factors = tuple(factors)
        self.tables = nn.ModuleList(nn.Embedding(size + 1, embedding) for size in factors)
        self.backbone = backbone

    @property
    def grain(self) -> tuple[int, int, int]:
        """See contracts.Backbone."""
        return self.backbone.grain

    def embed(self, z: Tensor) -> Tensor:
        """Digits [..., G, F, H, W] to [..., C, F, H, W]."""
        told = [
            table(torch.where(digit < 0, size, digit).long())
            for table, size, digit in zip(self.tables, self.factors, z.unbind(-4), strict=True)
        ]
        return rearrange(torch.stack(told).sum(0), "... f h w c -> ... c f h w")

    def forward(
        self, z: Sequence[Tensor] | Tensor, window: Window, condition: Condition, memory: Memory | None = None
    ) -> Sequence[Tensor] | Tensor:
        """See contracts.Backbone."""
        x = self.embed(z) if isinstance(z, Tensor) else [self.embed(clip) for clip in z]
        return self.backbone(x, window, condition, memory=memory)

    def begin_frame(self, window: Window, condition: Condition, memory: Memory | None, size: tuple[int, int]) -> Any:
        """See contracts.RasterBackbone."""
        return self.backbone.begin_frame(window, condition, memory, size)

    def next_token(self, digits: Tensor, frame: Any) -> Tensor:
        """Digits [B, G] of the token before the next one, to logits [B, N]."""
        return self.backbone.next_token(self.embed(digits[..., None, None, None])[..., 0, 0, 0], frame)

    def remember(self, z: Tensor, window: Window, condition: Condition, **past: Any) -> Memory:
        """See contracts.Backbone."""
        return self.backbone.remember(self.embed(z), window, condition, **past)
