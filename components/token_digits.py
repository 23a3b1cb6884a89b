"""Indices into a codebook as digits, one a factor, and back: what a token generator sees of a discrete tokenizer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

UNKNOWN = -1
"""Stands for every digit of a token that is masked or not made yet."""


def split_digits(indices_bfhw: Tensor, factors: Sequence[int]) -> Tensor:
    """long [B, F, H, W] to digits, float [B, G, F, H, W]; the last factor is the fastest."""
    digits, rest = [], indices_bfhw
    for size in reversed(factors):
        digits.append(rest % size)
        rest = rest // size
    return torch.stack(digits[::-1], dim=1).float()


def join_digits(z_bgfhw: Tensor, factors: Sequence[int]) -> Tensor:
    """The inverse: digits [B, G, F, H, W] to indices, long [B, F, H, W]."""
    indices = torch.zeros_like(z_bgfhw[:, 0], dtype=torch.long)
    for size, digit in zip(factors, z_bgfhw.unbind(1), strict=True):
        indices = indices * size + digit.round().long()
    return indices
