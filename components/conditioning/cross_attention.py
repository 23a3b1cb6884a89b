from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import nn

from components.contracts import Condition, Tokens
from components.modulation import Modulator
from zoo.component import Config, component

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class _Group:
    """Clips of equally many tokens, wherever in the rows these lie."""

    index: Tensor
    """long [N, n] into the flattened rows (R L)."""
    clip: Tensor
    """long [N]."""


def _by_clip(tokens: Tokens) -> tuple[_Group, ...]:
    """The tokens of every clip but filler, grouped by how many there are, so that few calls read all prompts."""
    owner = tokens.clip.flatten()
    counts = torch.bincount(owner + 1, minlength=len(tokens.grids) + 1).tolist()
    runs = torch.argsort(owner, stable=True).split(counts)[1:]  # filler's run, of clip -1, is the first
    members: dict[int, list[int]] = {}
    for clip, run in enumerate(runs):
        members.setdefault(len(run), []).append(clip)
    return tuple(
        _Group(torch.stack([runs[clip] for clip in clips]), torch.tensor(clips, device=owner.device))
        for size, clips in members.items()
        if size
    )


@dataclass(frozen=True)
class _Told:
    """What every reader looks at, and which queries look at it."""

    text: Tensor
    """float [B, S + 1, E]: the learned null, then the prompt's tokens."""
    visible: Tensor
    """bool [B, 1, 1, S + 1]: always True at the null."""
    groups: tuple[_Group, ...] | None
    """None where row b is clip b, all of it."""


class _Reader(nn.Module):
    """x += out(softmax(q kᵀ / √d) v), q from LN(x), k and v from the prompt; `out` is zero at the start."""

    def __init__(self, width: int, heads: int, text_width: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(text_width, 2 * width)
        self.out = nn.Linear(width, width)
        for layer in (self.query, self.key_value):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor, told: _Told, tokens: Tokens) -> Tensor:
        """Tokens [R, L, D] to the same shape."""
        q = rearrange(self.query(self.norm(x)), "r l (k d) -> r k l d", k=self.heads)
        text = self.key_value(told.text.to(self.key_value.weight.dtype))
        k, v = rearrange(text, "b s (n k d) -> n b k s d", n=2, k=self.heads)
        if told.groups is None:
            read = F.scaled_dot_product_attention(q, k, v, attn_mask=told.visible)
        else:
            read = _read_apart(q, k, v, told.visible, told.groups)
        return x + self.out(rearrange(read, "r k l d -> r l (k d)"))


def _read_apart(q: Tensor, k: Tensor, v: Tensor, visible: Tensor, groups: tuple[_Group, ...]) -> Tensor:
    """Each clip's queries, wherever in the rows they lie, at its own prompt; filler reads zeros. q [R, K, L, Dh]."""
    flat = rearrange(q, "r k l d -> (r l) k d")
    read = []
    for group in groups:
        own = rearrange(flat.index_select(0, group.index.flatten()), "(s n) k d -> s k n d", s=len(group.clip))
        out = F.scaled_dot_product_attention(own, k[group.clip], v[group.clip], attn_mask=visible[group.clip])
        read.append(rearrange(out, "s k n d -> (s n) k d"))
    where, joined = torch.cat([group.index.flatten() for group in groups]), torch.cat(read)
    return rearrange(torch.zeros_like(flat).index_copy(0, where, joined), "(r l) k d -> r k l d", r=q.shape[0])


@component(
    cite="chen2024pixart,peebles2023dit",
    note="every block reads the prompt's tokens by cross-attention; per-frame signals modulate as adaLN-Zero does",
)
class CrossAttention(nn.Module):
    """Cross-attention to the prompt in every block [Chen 2024, PixArt-α]: x += W softmax(q kᵀ / √d) v, W = 0 at first.

    Departs from it: noise level, action, pose and observed flag modulate each sublayer by weights of its own (there one
    projection for all blocks); queries are normalised, keys and values come from the encoder's tokens without an MLP
    before them; and a learned null that is always visible stands beside the prompt, so a dropped prompt is the null
    alone. Where there is no text encoder this is adaLN.

    Weights: those of adaLN, per block 2 D² + 2 E D + 6 D for text of width E, and E once; the signal, which holds no
    mean of the prompt here, saves E D + 2 D.
    """

    class Config(Config):
        pass

    reads_text: bool = True

    def __init__(self, config: CrossAttention.Config, *, width: int, heads: int = 1, text_width: int = 0) -> None:
        super().__init__()
        self.config = config
        self.width, self.heads, self.text_width = width, heads, text_width
        self.reads_text = text_width > 0
        if self.reads_text:
            self.null = nn.Parameter(0.02 * torch.randn(text_width))

    def enter(self, x: Tensor, signal: Tensor) -> Tensor:
        """The identity: signals enter inside the blocks. x, signal [R, L, D]."""
        return x

    def modulator(self) -> nn.Module:
        """A module (x [R, L, D], signal [B, F, D], tokens) → (input [R, L, D], gate [B, F, D])."""
        return Modulator(self.width)

    def told(self, condition: Condition, tokens: Tokens) -> _Told | None:
        """The prompt's tokens with the null before them, and whose they are; None without a text encoder."""
        if not self.reads_text:
            return None
        clips = condition.level.shape[0]
        text = repeat(self.null, "e -> b 1 e", b=clips)
        visible = torch.ones(clips, 1, dtype=torch.bool, device=text.device)
        if condition.text is not None:
            mask = condition.text_mask
            seen = torch.ones_like(condition.text[..., 0], dtype=torch.bool) if mask is None else mask
            text = torch.cat([text, condition.text.to(text.dtype)], dim=1)
            visible = torch.cat([visible, seen], dim=1)
        return _Told(text, rearrange(visible, "b s -> b 1 1 s"), None if tokens.regular else _by_clip(tokens))

    def reader(self) -> nn.Module | None:
        """A new module (x [R, L, D], told, tokens) → x; None without a text encoder."""
        return _Reader(self.width, self.heads, self.text_width) if self.reads_text else None
