from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from components.contracts import Condition, Tokens
from components.modulation import Modulator
from zoo.component import Config, component

if TYPE_CHECKING:
    from torch import Tensor


@component(cite="peebles2023dit", note="adaptive layer norm: shift, scale and gate per frame, zero at the start")
class AdaLN(nn.Module):
    """adaLN-Zero [Peebles 2023]: x += gate(c) · f(LN(x) · (1 + scale(c)) + shift(c)), all three zero at the start.

    Departs from it: c is per frame, so that frames of one window may carry different noise levels, actions and poses.
    The prompt is in c as the mean of its tokens. Weights: 3 D² + 3 D for each modulated sublayer, which are those of a
    block's attention, its MLP and the head.
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
        return Modulator(self.width)

    def told(self, condition: Condition, tokens: Tokens) -> None:
        """Nothing: the prompt is part of the signal."""
        return None

    def reader(self) -> None:
        """None: no block reads the prompt's tokens."""
        return None
