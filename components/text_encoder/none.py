from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from zoo.component import Config, component

if TYPE_CHECKING:
    from torch import Tensor


@component(cite=None, note="no prompt")
class NoText(nn.Module):
    """No prompt: zero tokens of width zero. For worlds without captions, and the floor of the axis."""

    class Config(Config):
        pass

    width: int = 0
    trainable: bool = False

    def __init__(self, config: NoText.Config) -> None:
        super().__init__()
        self.config = config

    def cut(self, caption: str) -> str | None:
        """Nothing is read, and nothing missed."""
        return None

    def encode(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Empty embeddings [B, 0, 0] and mask [B, 0], on the CPU: move them as any batch."""
        return torch.zeros(len(captions), 0, 0), torch.zeros(len(captions), 0, dtype=torch.bool)
