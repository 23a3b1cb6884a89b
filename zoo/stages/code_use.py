"""Which codes of a codebook are in use, and how evenly."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class CodeUse:
    """Counts codes; memory is that of the codes seen, not of the codebook."""

    def __init__(self, codes: int) -> None:
        self.codes = codes
        self.seen = 0
        self._names = torch.zeros(0, dtype=torch.long)
        self._counts = torch.zeros(0, dtype=torch.long)

    def add(self, indices: Tensor) -> None:
        """Count indices of any shape."""
        names, counts = torch.unique(indices, return_counts=True)
        joined, place = torch.unique(torch.cat([self._names, names.cpu()]), return_inverse=True)
        total = torch.zeros(len(joined), dtype=torch.long)
        self._counts = total.index_add_(0, place, torch.cat([self._counts, counts.cpu()]))
        self._names = joined
        self.seen += indices.numel()

    @property
    def used(self) -> int:
        """How many codes were seen."""
        return len(self._names)

    @property
    def share(self) -> float:
        """Of the codebook, in [0, 1]."""
        return self.used / self.codes

    @property
    def reached(self) -> float:
        """Of the codes that so many places could show at all: what tells a collapse from a small sample."""
        return self.used / max(1, min(self.codes, self.seen))

    @property
    def perplexity(self) -> float:
        """exp of the entropy of the codes' frequencies: how many equally frequent codes would say as much."""
        share = self._counts.double() / max(1, self.seen)
        return math.exp(float(-(share * share.log()).sum()))
