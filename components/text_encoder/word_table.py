"""Prompts word by word, from a small table that is trained with the generator and needs no vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING

import torch
from pydantic import Field
from torch import nn

from components.neighbour_mixing import NeighbourMixing
from components.word_vocabulary import pieces
from zoo.component import Config, component

if TYPE_CHECKING:
    from torch import Tensor

HASHES = 2


@component(
    cite="svenstrup2017hash",
    note="a small learned table of words, found by two hashes, trained with the generator; no vocabulary, no download",
    needs={"captions"},
)
class WordTable(nn.Module):
    """Hash embeddings (Svenstrup et al. 2017): e_s = T[h₁(word_s)] + T[h₂(word_s)] + P[s]; words in lower case.

    Two words are confused only where both hashes collide. Departs from it: the two rows are added with equal weights;
    two small convolutions follow, which let a word hear its neighbours.
    """

    class Config(Config):
        width: int = Field(64, ge=4, le=4096, description="channels of a token")
        length: int = Field(64, ge=1, le=4096, description="words and marks kept of a prompt; the rest is cut off")
        rows: int = Field(2048, ge=16, le=1_000_000, description="rows of the table")
        reach: int = Field(3, ge=1, le=31, description="words that one convolution spans; odd")

    trainable: bool = True

    def __init__(self, config: WordTable.Config) -> None:
        super().__init__()
        self.config = config
        self.width = config.width
        self.table = nn.Embedding(config.rows, config.width)
        self.place = nn.Parameter(0.1 * torch.randn(config.length, config.width))
        self.mixing = NeighbourMixing(width=config.width, reach=config.reach)

    def cut(self, caption: str) -> str | None:
        """See contracts.TextEncoder."""
        size = len(pieces(caption))
        return f"{size} words, of which {self.config.length} are read" if size > self.config.length else None

    def encode(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Prompts to [B, S, E] and mask [B, S], S the longest one's words; an empty prompt is all False."""
        kept = [pieces(caption)[: self.config.length] for caption in captions]
        longest = max(map(len, kept), default=0)
        filler = [0] * HASHES
        rows = [[self._rows(word) for word in words] + [filler] * (longest - len(words)) for words in kept]
        device = self.place.device
        index = torch.tensor(rows, dtype=torch.long, device=device).reshape(len(kept), longest, HASHES)
        lengths = torch.tensor([len(words) for words in kept], device=device)
        mask = torch.arange(longest, device=device) < lengths[:, None]
        if longest == 0:
            return self.place.new_zeros(len(kept), 0, self.width), mask
        return self.mixing(self.table(index).sum(dim=2) + self.place[:longest], mask), mask

    def _rows(self, word: str) -> list[int]:
        """The halves of one digest: the same on every machine, as Python's own hash is not."""
        digest = blake2b(word.encode("utf-8"), digest_size=8 * HASHES).digest()
        return [int.from_bytes(digest[8 * n : 8 * n + 8], "little") % self.config.rows for n in range(HASHES)]
