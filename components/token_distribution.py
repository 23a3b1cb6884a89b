"""What logits over the digits of tokens say: how many nats a known token costs, and what is drawn from them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def token_nats(logits: Tensor, z: Tensor, factors: Sequence[int], smoothing: float = 0.0) -> Tensor:
    """Cross-entropy [B, F, H, W] of tokens z [B, G, F, H, W] under logits [B, N, F, H, W], summed over their digits."""
    parts = logits.float().split(list(factors), dim=1)
    nats = [
        F.cross_entropy(part, digit.long(), reduction="none", label_smoothing=smoothing)
        for part, digit in zip(parts, z.unbind(1), strict=True)
    ]
    return torch.stack(nats).sum(0)


def draw_digits(
    logits: Tensor, factors: Sequence[int], uniform: Tensor, *, temperature: float = 1.0, top_k: int = 0
) -> tuple[Tensor, Tensor]:
    """Tokens from logits [B, N, …], by the inverse of the distribution function at uniform numbers [B, G, …].

    Args:
        temperature: divides the logits; 0 takes the likeliest digit.
        top_k: only the k likeliest values of a digit can be drawn; 0 is all.

    Returns:
        Digits, float [B, G, …], and the log probability [B, …] of the tokens, that of all digits together.
    """
    digits, log_p = [], torch.zeros_like(uniform[:, 0])
    for part, u in zip(logits.float().split(list(factors), dim=1), uniform.unbind(1), strict=True):
        if 0 < top_k < part.shape[1]:
            part = part.masked_fill(part < part.topk(top_k, dim=1).values[:, -1:], float("-inf"))
        said = F.log_softmax(part / temperature if temperature > 0 else part, dim=1)
        if temperature > 0:
            below = said.exp().cumsum(1)
            # Kept off 1, so that rounding never reaches a value that cannot be drawn.
            digit = (below <= u.clamp(max=1 - 1e-6)[:, None] * below[:, -1:]).sum(1)
        else:
            digit = said.argmax(1)
        log_p = log_p + said.gather(1, digit[:, None])[:, 0]
        digits.append(digit.to(uniform.dtype))
    return torch.stack(digits, dim=1), log_p
