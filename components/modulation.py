"""Adaptive layer norm of one sublayer, which more than one conditioning uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from components.contracts import Tokens
from components.token_rows import modulate

if TYPE_CHECKING:
    from torch import Tensor


class Modulator(nn.Module):
    """adaLN-Zero [Peebles 2023]: LN(x) · (1 + scale(c)) + shift(c), and gate(c); 3 D² + 3 D weights, zero at the start.

    Departs from it: c is per frame, so that frames of one window may carry different noise levels, actions and poses.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.project = nn.Sequential(nn.SiLU(), nn.Linear(width, 3 * width))
        nn.init.zeros_(self.project[1].weight)
        nn.init.zeros_(self.project[1].bias)

    def forward(self, x: Tensor, signal: Tensor, tokens: Tokens) -> tuple[Tensor, Tensor]:
        """x [R, L, D] and signal [B, F, D] to the sublayer's input [R, L, D] and its gate [B, F, D]."""
        shift, scale, gate = self.project(signal).chunk(3, dim=-1)
        return modulate(self.norm(x), scale, shift, tokens), gate
