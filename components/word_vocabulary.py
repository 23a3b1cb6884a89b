"""A vocabulary of whole words, learned from captions and kept in a buffer, so that it travels with the weights."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

FILLER, START, END, UNKNOWN = 0, 1, 2, 3
SPECIAL = 4
"""How many numbers stand for no word."""
LETTERS = 32
"""Bytes kept of a word."""
_PIECES = re.compile(r"\w+(?:['’-]\w+)*|[.,;:!?]")


def pieces(caption: str) -> list[str]:
    """Words and marks in lower case: "A red circle." → ["a", "red", "circle", "."]."""
    return _PIECES.findall(caption.lower())


class WordVocabulary(nn.Module):
    """Words and their numbers. The size is fixed, so that the shapes of weights do not depend on what was learned."""

    spelling: Tensor

    def __init__(self, size: int) -> None:
        """`size` counts the special numbers too; all is empty until `learn` or until weights are loaded."""
        super().__init__()
        self.size = size
        self.register_buffer("spelling", torch.zeros(size, LETTERS, dtype=torch.uint8))

    def learn(self, captions: Iterable[str]) -> None:
        """Take the most frequent words of the captions, as many as fit; ties go by the alphabet."""
        counts = Counter(word.encode()[:LETTERS] for caption in captions for word in pieces(caption))
        kept = sorted(counts, key=lambda word: (-counts[word], word))[: self.size - SPECIAL]
        table = np.zeros((self.size, LETTERS), dtype=np.uint8)
        for number, word in enumerate(kept, start=SPECIAL):
            table[number, : len(word)] = np.frombuffer(word, dtype=np.uint8)
        self.spelling.copy_(torch.from_numpy(table))

    def words(self) -> list[str]:
        """The word of every number; "" where it has none."""
        rows = self.spelling.cpu().numpy()
        return [bytes(row).rstrip(b"\0").decode(errors="replace") for row in rows]

    def encode(self, captions: Sequence[str], length: int) -> Tensor:
        """Numbers [B, S] on the buffer's device: START, at most `length` words, END, FILLER; S fits the longest."""
        known = {word: number for number, word in enumerate(self.words()) if word}
        rows = [[known.get(_kept(word), UNKNOWN) for word in pieces(caption)[:length]] for caption in captions]
        rows = [[START, *row, END] for row in rows]
        longest = max(map(len, rows))
        padded = [row + [FILLER] * (longest - len(row)) for row in rows]
        return torch.tensor(padded, dtype=torch.long, device=self.spelling.device)

    def decode(self, rows: Tensor) -> list[str]:
        """Numbers [B, S] to captions: up to END, special numbers left out, marks set against the word before them."""
        words = self.words()
        captions = []
        for row in rows.tolist():
            said = row[: row.index(END)] if END in row else row
            text = " ".join(words[number] for number in said if number >= SPECIAL and words[number])
            captions.append(re.sub(r" ([.,;:!?])", r"\1", text))
        return captions


def _kept(word: str) -> str:
    return word.encode()[:LETTERS].decode(errors="replace")
