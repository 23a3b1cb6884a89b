from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from components.contracts import Condition, Tokens
from components.token_rows import modulate
from zoo.component import Config, component

if TYPE_CHECKING:
    from torch import Tensor


class _Modulator(nn.Module):
    """Shift, scale and gate of one sublayer, computed per (clip, frame)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.project = nn.Sequential(nn.SiLU(), nn.Linear(width, 3 * width))
        nn.init.zeros_(self.project[1].weight)
        nn.init.zeros_(self.project[1].bias)

    def forward(self, x: Tensor, signal: Tensor, tokens: Tokens) -> tuple[Tensor, Tensor]:
        shift, scale, gate = self.project(signal).chunk(3, dim=-1)
        return modulate(self.norm(x), scale, shift, tokens), gate


@component(cite="peebles2023dit", note="adaptive layer norm: shift, scale and gate per frame, zero at the start")
class AdaLN(nn.Module):
    """adaLN-Zero [Peebles 2023]: x += gate(c) · f(LN(x) · (1 + scale(c)) + shift(c)), all three zero at the start.

    Departs from it: c is per frame, so that frames of one window may carry different noise levels, actions and poses.
    """

    class Config(Config):
        pass

    reads_text: bool = False

    def __init__(self, config: AdaLN.Config, *, width: int, heads: int = 1, text_width: int = 0) -> None:
        super().__init__()
        self.config = config
        self.width = width

    def enter(self, x: Tensor, signal: Tensor) -> Tensor:
        """The identity: signals enter inside the blocks. x, signal [R, L, D]."""
        return x

    def modulator(self) -> nn.Module:
        """A module (x [R, L, D], signal [B, F, D], tokens) → (input [R, L, D], gate [B, F, D])."""
        return _Modulator(self.width)

    def told(self, condition: Condition, tokens: Tokens) -> None:
        """Nothing: the prompt is part of the signal."""
        return None

    def reader(self) -> None:
        """None: no block reads the prompt's tokens."""
        return None
