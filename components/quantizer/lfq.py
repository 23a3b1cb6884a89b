"""Lookup-free quantisation: the sign of every channel is one bit of the index."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from pydantic import Field, model_validator
from torch import Tensor, nn

from components import code_entropy
from components.contracts import Quantised
from components.quantisation import factors_of, full_precision, straight_through, usage
from components.token_digits import join_digits, split_digits
from zoo.component import Config, component


@component(
    cite="yu2024magvit2",
    note="MAGVIT-v2's lookup-free signs, entropies factorised per bit: no codebook is ever built",
)
class LFQ(nn.Module):
    """MAGVIT-v2 (Yu et al. 2024): q = sign(z), L = w_e·(E[H(p(c|z))] - γ·H(E[p(c|z)])) + w_c·|z - sg[q]|².

    p(c|z) = softmax over c of 2·τ·z·c. Both entropies are sums over bits, so 2^18 codes cost what 18 channels cost: the
    first is exact, the second bounds that of the paper from above (components/code_entropy.py).

    The first channel is the most significant bit, and zero counts as -1, both as in vector-quantize-pytorch. At τ = 100
    the entropies have a gradient only where |z| is below about 0.02 (softmax of ±400·z): the commitment term keeps
    latents within reach of it; a lower `inv_temperature` widens it.
    """

    class Config(Config):
        """1,024 codes by default; MAGVIT-v2's are ``bits: 18``."""

        bits: int = Field(10, ge=1, le=30, description="latent channels; 2^bits codes")
        entropy: Literal["factorised", "full"] = Field("factorised", description="full: up to 2^12 codes, for checks")
        entropy_weight: float = Field(0.1, ge=0.0, le=100.0, description="w_e, of both entropies")
        diversity: float = Field(2.5, ge=0.0, le=100.0, description="γ, of the entropy of the codebook's use")
        commitment: float = Field(0.25, ge=0.0, le=100.0, description="w_c, of the squared distance to the code")
        inv_temperature: float = Field(100.0, gt=0.0, le=10000.0, description="τ of the soft choice")

        @model_validator(mode="after")
        def _fits(self) -> LFQ.Config:
            if self.entropy == "full" and self.bits > code_entropy.FULL_BITS:
                raise ValueError(f"entropy: full stops at {code_entropy.FULL_BITS} bits: choose entropy: factorised")
            return self

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.channels, self.codes = config.bits, 2**config.bits
        self.factors = factors_of(self.codes)

    def forward(self, raw_bcfhw: Tensor) -> Quantised:
        """Terms `entropy` and `commitment`; figures `sample_entropy` and `codebook_entropy` in nats, and usage."""
        with full_precision(raw_bcfhw):
            raw = raw_bcfhw.float()
            signs = torch.where(raw > 0, 1.0, -1.0)
            indices = self.nearest(raw)
            figures = usage(indices, self.codes)
            if not self.training:
                return Quantised(signs, indices, {}, figures)
            terms, entropies = self._terms(rearrange(raw, "b c f h w -> (b f h w) c"))
            terms["commitment"] = self.config.commitment * F.mse_loss(raw, signs)
            return Quantised(straight_through(raw, signs), indices, terms, {**figures, **entropies})

    def lookup(self, indices_bfhw: Tensor) -> Tensor:
        """Codes of -1 and 1."""
        return 2 * split_digits(indices_bfhw, (2,) * self.channels) - 1

    def unrounded(self, raw_bcfhw: Tensor) -> Tensor:
        """The latents as they are: they live where the codes do."""
        return raw_bcfhw.float()

    def nearest(self, z_bcfhw: Tensor) -> Tensor:
        """Index of the nearest code: Σ 2^k·1[z > 0], k counted from the last channel."""
        return join_digits((z_bcfhw > 0).float(), (2,) * self.channels)

    def _terms(self, z_nk: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        full = self.config.entropy == "full"
        of_sample = code_entropy.full_sample_entropy if full else code_entropy.sample_entropy
        of_codebook = code_entropy.full_codebook_entropy if full else code_entropy.codebook_entropy
        sample = of_sample(z_nk, self.config.inv_temperature)
        codebook = of_codebook(z_nk, self.config.inv_temperature)
        term = self.config.entropy_weight * (sample - self.config.diversity * codebook)
        return {"entropy": term}, {"sample_entropy": sample.detach(), "codebook_entropy": codebook.detach()}
