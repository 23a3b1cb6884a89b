"""Finite scalar quantisation: every channel is rounded to a few levels of its own."""

from __future__ import annotations

import math

import torch
from einops import rearrange
from pydantic import Field, model_validator
from torch import Tensor, nn

from components.contracts import Quantised
from components.quantisation import full_precision, straight_through, usage
from components.token_digits import join_digits, split_digits
from zoo.component import Config, component

SLACK = 1e-3
"""How far the bounded value may exceed the outermost level, so that it is reached."""


@component(cite="mentzer2024fsq", note="channels rounded to a few levels each; no codebook, no loss terms")
class FSQ(nn.Module):
    """FSQ (Mentzer et al. 2024): q = round(f(z)) / ⌊L/2⌋ per channel, f(z) = h·tanh(z + s) - o, straight through round.

    h = (L-1)(1+ε)/2, o is a half for even L (whose levels are not symmetric) and s = artanh(o/h), so that f(0) = 0. The
    paper's h has 1-ε; 1+ε is vector-quantize-pytorch's. Index: the first channel is the fastest digit, as in both.
    """

    class Config(Config):
        """1,000 codes by default; the paper's 2^16 are ``levels: [8, 8, 8, 5, 5, 5]``."""

        levels: tuple[int, ...] = Field((8, 5, 5, 5), min_length=1, max_length=16, description="of every channel")

        @model_validator(mode="after")
        def _fits(self) -> FSQ.Config:
            if any(not 3 <= level <= 256 for level in self.levels):
                raise ValueError("levels lie in 3 … 256; for two levels choose quantizer lfq")
            if math.prod(self.levels) >= 2**31:
                raise ValueError("levels make 2^31 codes or more: lower some, or give fewer")
            return self

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.channels, self.codes = len(config.levels), math.prod(config.levels)
        # The last factor is the fastest digit, which is the first channel's.
        self.factors = tuple(reversed(config.levels))

    def forward(self, raw_bcfhw: Tensor) -> Quantised:
        """No terms; figures of usage."""
        bounded = self.unrounded(raw_bcfhw)
        indices = self.nearest(bounded)
        chosen = self.lookup(indices)
        z = straight_through(bounded, chosen) if self.training else chosen
        return Quantised(z, indices, {}, usage(indices, self.codes))

    def lookup(self, indices_bfhw: Tensor) -> Tensor:
        """Levels in [-1, 1], exact multiples of 1/⌊L/2⌋."""
        digits = split_digits(indices_bfhw, self.factors).flip(1)
        half = self._levels(indices_bfhw).div(2, rounding_mode="floor")
        return (digits - half) / half

    def unrounded(self, raw_bcfhw: Tensor) -> Tensor:
        """f(z)/⌊L/2⌋: latents where the codes live, before rounding."""
        with full_precision(raw_bcfhw):
            levels = self._levels(raw_bcfhw)
            reach = (levels - 1) * (1 + SLACK) / 2
            offset = torch.where(levels % 2 == 0, 0.5, 0.0)
            bounded = torch.tanh(raw_bcfhw.float() + torch.atanh(offset / reach)) * reach - offset
            return bounded / levels.div(2, rounding_mode="floor")

    def nearest(self, z_bcfhw: Tensor) -> Tensor:
        """Index of the nearest code to latents that are bounded already."""
        levels = self._levels(z_bcfhw)
        half = levels.div(2, rounding_mode="floor")
        digits = ((z_bcfhw.float() * half).round() + half).clamp_min(0).minimum(levels - 1)
        return join_digits(digits.flip(1), self.factors)

    def _levels(self, like: Tensor) -> Tensor:
        """float32 [C, 1, 1, 1]."""
        levels = torch.tensor(self.config.levels, dtype=torch.float32, device=like.device)
        return rearrange(levels, "c -> c 1 1 1")
