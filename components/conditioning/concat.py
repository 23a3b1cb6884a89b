from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from components.contracts import Condition, Tokens
from zoo.component import Config, component

if TYPE_CHECKING:
    from torch import Tensor


class _Norm(nn.Module):
    """A plain pre-norm with its own scale and shift; the residual is not gated."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, x: Tensor, signal: Tensor, tokens: Tokens) -> tuple[Tensor, float]:
        return self.norm(x), 1.0


@component(cite="lu2023vdt", note="prompt, noise level, action and pose concatenated to every patch token")
class Concat(nn.Module):
    """Signals concatenated to every patch token [after Lu 2023, VDT]: x ← W [x; c] at the entry, plain pre-norm blocks.

    Departs from VDT, whose token concatenation puts tokens of given frames beside the noisy ones, along the sequence,
    and whose noise level modulates (adaLN). Given frames are tokens among the others here under any conditioning; what
    this part concatenates is c, along the channels, as the article behind this project reads VDT: prompt and timestep
    at every patch token. c is per frame and the same sum that adaLN is given, so that the two compare fairly. Weights:
    2 D² + D once, and 2 D for each sublayer and the head, where adaLN has 3 D² + 3 D for each of them: equal in budget
    only when the backbone is made wider.
    """

    class Config(Config):
        pass

    reads_text: bool = False

    def __init__(self, config: Concat.Config, *, width: int, heads: int = 1, text_width: int = 0) -> None:
        super().__init__()
        self.config = config
        self.width = width
        self.join = nn.Linear(2 * width, width)

    def enter(self, x: Tensor, signal: Tensor) -> Tensor:
        """x and signal [R, L, D] to [R, L, D]."""
        return self.join(torch.cat([x, signal.to(x.dtype)], dim=-1))

    def modulator(self) -> nn.Module:
        """A module (x [R, L, D], signal, tokens) → (LayerNorm(x), 1)."""
        return _Norm(self.width)

    def told(self, condition: Condition, tokens: Tokens) -> None:
        """Nothing: the prompt is part of the signal."""
        return None

    def reader(self) -> None:
        """None: no block reads the prompt's tokens."""
        return None
