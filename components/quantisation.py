"""What every quantiser does alike: full precision, a gradient straight through, figures of codebook use, factors."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

HEAD = 2**12
"""Codes that one head of a token generator tells apart; above it the index is split into digits."""


def factors_of(codes: int) -> tuple[int, ...]:
    """(codes,) up to HEAD; above it the fewest near-equal powers of two, larger ones first: 2^18 is (512, 512).

    A larger number that is no power of two has no such factors and stays whole.
    """
    if codes <= HEAD or codes & (codes - 1):
        return (codes,)
    bits, most = codes.bit_length() - 1, HEAD.bit_length() - 1
    digits = -(-bits // most)
    return tuple(2 ** (bits // digits + (digit < bits % digits)) for digit in range(digits))


def full_precision(x: Tensor) -> Any:
    """A context without autocast: distances, entropies and codebooks are float32 whatever the network runs in."""
    return nullcontext() if x.device.type == "meta" else torch.autocast(x.device.type, enabled=False)


def straight_through(x: Tensor, chosen: Tensor) -> Tensor:
    """The value of `chosen`, to the last bit, with the gradient of x (Bengio et al. 2013)."""
    return chosen.detach() + (x - x.detach())


@torch.no_grad()
def usage(indices: Tensor, codes: int) -> dict[str, Tensor]:
    """Scalars `codebook_use`, the share of codes in this batch, and `perplexity`, exp of the entropy of their shares.

    Runs of the sorted indices are counted, so memory is that of the batch however many codes there are. With fewer
    indices than codes, `codebook_use` is at most their quotient.
    """
    ordered = indices.flatten().sort().values
    starts = torch.cat([torch.zeros_like(ordered[:1]), (ordered[1:] != ordered[:-1]).long()])
    ones = torch.ones(len(ordered), device=indices.device)
    counts = torch.zeros_like(ones).index_add(0, starts.cumsum(0), ones)
    shares = counts / len(ordered)
    return {
        "codebook_use": (counts > 0).sum() / codes,
        "perplexity": torch.exp(-torch.xlogy(shares, shares).sum()),
    }
