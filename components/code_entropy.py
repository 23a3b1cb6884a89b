"""Entropies of a soft choice among the 2^K sign codes c of latents z: p(c|z) = softmax over c of 2·τ·z·c.

The exponent is a sum over bits, so p(c|z) is a product, Π σ(4·τ·z_k·c_k), and the entropy of one latent is the sum of
its bits' entropies, exactly. The entropy of the mean distribution is at most the sum of its bits' entropies, with
equality where bits are independent over the batch. All in nats; z is float32 [N, K].
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import reduce
from torch import Tensor

from components.across_processes import mean
from components.token_digits import split_digits

FULL_BITS = 12
"""Above 2^12 codes the full entropies, which build [N, 2^K], are refused by quantisers."""


def sample_entropy(z_nk: Tensor, inv_temperature: float) -> Tensor:
    """E[H(p(c|z))] bit by bit: a scalar. Equal to `full_sample_entropy`."""
    # With a = -|4τz| both terms are small where the choice is sure: nothing cancels.
    a_nk = -(4 * inv_temperature * z_nk).abs()
    return (F.softplus(a_nk) - a_nk * a_nk.sigmoid()).sum(1).mean()


def codebook_entropy(z_nk: Tensor, inv_temperature: float) -> Tensor:
    """The sum of the bits' H(E[p(c_k|z_k)]): a scalar. An upper bound of `full_codebook_entropy`."""
    logits_nk = 4 * inv_temperature * z_nk
    return _entropy(mean(torch.stack([logits_nk.sigmoid(), (-logits_nk).sigmoid()]).mean(1))).sum()


def full_sample_entropy(z_nk: Tensor, inv_temperature: float) -> Tensor:
    """E[H(p(c|z))] over all 2^K codes: a scalar; memory [N, 2^K]."""
    log_nc = _log_probabilities(z_nk, inv_temperature)
    return -(log_nc.exp() * log_nc).sum(1).mean()


def full_codebook_entropy(z_nk: Tensor, inv_temperature: float) -> Tensor:
    """H(E[p(c|z)]) over all 2^K codes: a scalar; memory [N, 2^K]."""
    return _entropy(mean(_log_probabilities(z_nk, inv_temperature).exp().mean(0))[:, None]).sum()


def _log_probabilities(z_nk: Tensor, inv_temperature: float) -> Tensor:
    bits = z_nk.shape[1]
    codes_ck = 2 * split_digits(torch.arange(2**bits, device=z_nk.device), (2,) * bits) - 1
    return (2 * inv_temperature * z_nk @ codes_ck.T).log_softmax(1)


def _entropy(p_cn: Tensor) -> Tensor:
    """Of each column [N]. Shares of zero give zero, and no infinite gradient."""
    tiny = torch.finfo(p_cn.dtype).tiny
    return reduce(-p_cn * p_cn.clamp_min(tiny).log(), "c n -> n", "sum")
