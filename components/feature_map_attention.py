"""Attention over the positions of feature maps: between the convolutions of a network that computes frame by frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from einops import rearrange
from torch import nn

from components.attention_sublayer import AttentionSublayer, Sight
from components.contracts import Attention, Condition, Memory, Tokens, Window
from components.token_rows import lay_out, one_per_row, per_token

if TYPE_CHECKING:
    from torch import Tensor

KeysValues = Mapping[str, "tuple[Tensor, Tensor]"]


class Call:
    """What the layers of one network call read, and the keys and values that they leave behind.

    Args:
        attention: the policy of every block.
        window: of the frames in this call, B clips of F frames.
        memory: of the observed frames; its tokens' geometry is worked out anew at each resolution.
        signal: float [B, F, D].
        condition: of the frames in this call.
        biases: pose bias of each attention block [N, B, K, Fq, Fk], or None.
    """

    def __init__(
        self,
        attention: Attention,
        window: Window,
        memory: Memory | None,
        signal: Tensor,
        condition: Condition,
        biases: Tensor | None,
    ) -> None:
        self.condition = condition
        self.attention, self.window, self.memory = attention, window, memory
        self.signal, self.biases = signal, biases
        self.per_frame = rearrange(signal, "b f d -> (b f) d")
        self.clips, self.frames = signal.shape[:2]
        self.sights: dict[int, Sight] = {}
        """Per level."""
        self.kept: list[KeysValues] = []
        """Per attention block, of the sublayers in which frames meet."""

    def tokens(self, x: Tensor) -> Tensor:
        """Feature maps [(B F), D, H, W] as rows of tokens [B, F·H·W, D]."""
        return rearrange(x, "(b f) d h w -> b (f h w) d", b=self.clips)

    def pictures(self, x: Tensor, like: Tensor) -> Tensor:
        """The inverse of `tokens`."""
        return rearrange(x, "b (f h w) d -> (b f) d h w", f=self.frames, h=like.shape[2])


def map_tokens(window: Window, size: tuple[int, int]) -> Tokens:
    """One clip per row, F frames of H × W positions; x is empty of meaning."""
    clips, frames = window.times.shape
    blank = torch.zeros(clips, frames, *size, 1, device=window.times.device)
    return lay_out(list(blank), window, one_per_row([(frames, *size)] * clips))


class LevelEntry(nn.Module):
    """The door of a resolution that has attention: where its positions are told, and how signals reach its tokens."""

    def __init__(self, level: int, width: int, heads: int, signal: int, position: Any, conditioning: Any) -> None:
        """`conditioning` is a factory that knows the text's width already."""
        super().__init__()
        self.level, self.width = level, width
        self.position = position(width=width, heads=heads)
        self.conditioning = conditioning(width=width, heads=heads)
        self.told = nn.Linear(signal, width)

    def forward(self, x: Tensor, call: Call) -> Tensor:
        """Feature maps [(B F), D, H, W] to the same shape; all geometry of this resolution is worked out here, once."""
        size, memory = (x.shape[2], x.shape[3]), call.memory
        tokens, signal = map_tokens(call.window, size), self.told(call.signal)
        if memory is not None:
            memory = replace(memory, tokens=map_tokens(memory.window, size))
        layout = call.attention.layout(tokens, call.window, memory)
        rotary = self.position.rotary(tokens.place, tokens.sides)
        told = self.conditioning.told(call.condition, tokens)
        call.sights[self.level] = Sight(call.attention, tokens, layout, signal, rotary, told)
        h, place = call.tokens(x), self.position.embed(tokens.place, tokens.sides)
        h = h if place is None else h + place.to(h.dtype)
        return call.pictures(self.conditioning.enter(h, per_token(signal, tokens)), like=x)


class MapAttention(nn.Module):
    """The recipe's attention sublayers, in order, over the positions of a feature map in all frames."""

    def __init__(self, entry: LevelEntry, number: int, *, heads: int, qk_norm: bool, attention: Attention) -> None:
        super().__init__()
        self.level, self.number = entry.level, number
        modulator = entry.conditioning.modulator
        self.sublayers = nn.ModuleDict(
            {name: AttentionSublayer(name, entry.width, heads, qk_norm, modulator()) for name in attention.sublayers}
        )
        self.reader = entry.conditioning.reader()

    def forward(self, x: Tensor, call: Call) -> Tensor:
        """Feature maps [(B F), D, H, W] to the same shape."""
        h, sight = call.tokens(x), call.sights[self.level]
        past: KeysValues = call.memory.layers[self.number] if call.memory is not None else {}
        kept = {}
        for name, sublayer in self.sublayers.items():
            crosses = name in call.attention.crossing
            bias = call.biases[self.number] if crosses and call.biases is not None else None
            h, own = sublayer(h, sight, past.get(name), bias)
            if crosses:
                kept[name] = own
        call.kept.append(kept)
        h = h if self.reader is None else self.reader(h, sight.told, sight.tokens)
        return call.pictures(h, like=x)
