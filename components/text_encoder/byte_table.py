from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from pydantic import Field
from torch import nn

from components.neighbour_mixing import NeighbourMixing
from zoo.component import Config, component

if TYPE_CHECKING:
    from torch import Tensor

FILLER = 0
"""Index of filler; byte b of the UTF-8 text has index b + 1."""


@component(
    cite="xue2022byt5",
    note="a small learned table of UTF-8 bytes, trained with the generator; no download",
    needs={"captions"},
)
class ByteTable(nn.Module):
    """Bytes as tokens [Xue 2022, ByT5]: e_s = T[byte_s] + P[s], any language, no vocabulary file.

    Departs from it: two small convolutions instead of a transformer.
    """

    class Config(Config):
        width: int = Field(64, ge=4, le=4096, description="channels of a token")
        length: int = Field(128, ge=1, le=4096, description="bytes kept of a prompt; the rest is cut off")
        reach: int = Field(5, ge=1, le=31, description="bytes that one convolution spans; odd")

    trainable: bool = True

    def __init__(self, config: ByteTable.Config) -> None:
        super().__init__()
        self.config = config
        self.width = config.width
        self.table = nn.Embedding(257, config.width, padding_idx=FILLER)
        self.place = nn.Parameter(0.1 * torch.randn(config.length, config.width))
        self.mixing = NeighbourMixing(width=config.width, reach=config.reach)

    def cut(self, caption: str) -> str | None:
        """See contracts.TextEncoder."""
        size = len(caption.encode("utf-8"))
        return f"{size} bytes, of which {self.config.length} are read" if size > self.config.length else None

    def encode(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Prompts to [B, S, E] and mask [B, S], S the longest one's bytes; an empty prompt is all False."""
        kept = [list(caption.encode("utf-8")[: self.config.length]) for caption in captions]
        longest = max((len(text) for text in kept), default=0)
        rows = [[byte + 1 for byte in text] + [FILLER] * (longest - len(text)) for text in kept]
        index = torch.tensor(rows, dtype=torch.long, device=self.place.device).reshape(len(kept), longest)
        mask = index != FILLER
        if longest == 0:
            return self.place.new_zeros(len(kept), 0, self.width), mask
        return self.mixing(self.table(index) + self.place[:longest], mask), mask
