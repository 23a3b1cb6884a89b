"""A transformer over the frames of a clip: every frame sees its tokens and those of a few frames before it, no later.

Each layer looks back at `history` frames, its own included, so a stream keeps history - 1 frames of keys and values a
layer, and attention costs time and memory linear in the length of the clip.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import nn

from components.sinusoid import sinusoid

if TYPE_CHECKING:
    from torch import Tensor

State = dict[Any, Any]
"""What every part remembers between the pieces of one clip; start with an empty one."""


@dataclass(frozen=True)
class Span:
    """Consecutive frames that attend in one call, and the frames that they look at."""

    queries: slice
    """Among the new frames."""
    keys: slice
    """Among the remembered frames followed by the new ones."""
    ages: Tensor
    """long [queries, keys]: how many frames the key stands before the query; may be negative or too old."""


def spans(new: int, past: int, history: int, device: torch.device) -> list[Span]:
    """`new` frames after `past` remembered ones, `history` at a time: no call sees more than 2·history - 1 frames."""
    made = []
    for start in range(0, new, history):
        end = min(start + history, new)
        first = max(0, past + start - history + 1)
        query = torch.arange(past + start, past + end, device=device)
        key = torch.arange(first, past + end, device=device)
        made.append(Span(slice(start, end), slice(first, past + end), query[:, None] - key[None, :]))
    return made


class WindowedAttention(nn.Module):
    """softmax(q·k/√d + b(Δt))·v over the tokens of frames at most history - 1 old; b is learned per head and age.

    b starts as ALiBi's straight lines (Press et al. 2022) so that ages which training clips are too short for stay
    sensible. Ages are differences, so nothing depends on where in a video a piece begins.
    """

    def __init__(self, width: int, heads: int, history: int) -> None:
        super().__init__()
        self.heads, self.history = heads, history
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        slopes = 2.0 ** (-8.0 * torch.arange(1, heads + 1) / heads)
        self.age_bias = nn.Parameter(-slopes[:, None] * torch.arange(history))

    def forward(self, x_bfnd: Tensor, state: State | None = None) -> Tensor:
        """[B, F, N, D] to the same shape: N tokens a frame."""
        frames, tokens = x_bfnd.shape[1:3]
        q, k, v = rearrange(self.qkv(x_bfnd), "b f n (three h d) -> three b h f n d", three=3, h=self.heads)
        past = 0
        if state is not None:
            if self in state:
                past = state[self][0].shape[2]
                k, v = (
                    torch.cat([kept.to(new.dtype), new], dim=2) for kept, new in zip(state[self], (k, v), strict=True)
                )
            kept = slice(max(0, past + frames - self.history + 1), past + frames)
            state[self] = (k[:, :, kept].clone(), v[:, :, kept].clone())  # a view would keep the whole piece alive
        made = []
        for span in spans(frames, past, self.history, x_bfnd.device):
            seen = [rearrange(part[:, :, span.keys], "b h f n d -> b h (f n) d") for part in (k, v)]
            asked = rearrange(q[:, :, span.queries], "b h f n d -> b h (f n) d")
            made.append(F.scaled_dot_product_attention(asked, *seen, attn_mask=self._mask(span, tokens).to(q.dtype)))
        return self.out(rearrange(torch.cat(made, dim=2), "b h (f n) d -> b f n (h d)", n=tokens))

    def _mask(self, span: Span, tokens: int) -> Tensor:
        """Float [H, queries·N, keys·N]: the bias of the age, -inf where the key is in the future or forgotten."""
        bias = self.age_bias[:, span.ages.clamp(0, self.history - 1)]
        hidden = (span.ages < 0) | (span.ages >= self.history)
        return repeat(bias.masked_fill(hidden, float("-inf")), "h q k -> h (q n) (k m)", n=tokens, m=tokens)


class TemporalBlock(nn.Module):
    """x + attention(norm(x)), then x + MLP(norm(x))."""

    def __init__(self, width: int, heads: int, history: int) -> None:
        super().__init__()
        self.norm_attention, self.norm_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = WindowedAttention(width, heads, history)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x_bfnd: Tensor, state: State | None = None) -> Tensor:
        x = x_bfnd + self.attention(self.norm_attention(x_bfnd), state)
        return x + self.mlp(self.norm_mlp(x))


@dataclass(frozen=True)
class TemporalShape:
    """The size of a temporal transformer."""

    stride: int
    """Latent positions a side that one token stands for."""
    width: int
    layers: int
    heads: int
    history: int
    """Frames a layer looks back at, its own included."""


class TemporalState(nn.Module):
    """h_t = H(z_0 … z_{t-1}): what the latents before frame t say of it, at every latent position (TECO's state).

    Squares of `stride` × `stride` positions become tokens and are spread out again; the tokens of a frame carry their
    place as fixed sinusoids, so frames may have any size: sides that `stride` does not divide are padded with zeros.
    The sequence is shifted by one frame behind a learned start token; with L layers h_t depends on the last
    1 + L·(history - 1) latents before t and on no others.
    """

    def __init__(self, shape: TemporalShape, inputs: int, outputs: int) -> None:
        super().__init__()
        self.stride, self.width = shape.stride, shape.width
        self.start = nn.Parameter(0.02 * torch.randn(shape.width))
        self.gather = nn.Linear(inputs * shape.stride**2, shape.width)
        self.blocks = nn.ModuleList(TemporalBlock(shape.width, shape.heads, shape.history) for _ in range(shape.layers))
        self.norm = nn.LayerNorm(shape.width)
        self.spread = nn.Linear(shape.width, outputs * shape.stride**2)

    def forward(self, z_bcfhw: Tensor, state: State | None = None) -> Tensor:
        """Latents [B, C, F, H, W] to states [B, outputs, F, H, W]; with `state`, the next piece of a stream."""
        height, width = z_bcfhw.shape[3:]
        rows, columns = -(-height // self.stride), -(-width // self.stride)
        padded = F.pad(z_bcfhw, (0, columns * self.stride - width, 0, rows * self.stride - height))
        layout = {"hs": self.stride, "ws": self.stride}
        told = self.gather(rearrange(padded, "b c f (h hs) (w ws) -> b f (h w) (c hs ws)", **layout))
        before = repeat(self.start.to(told.dtype), "d -> b 1 n d", b=told.shape[0], n=told.shape[2])
        if state is not None:
            before = state.get(self, before)
            state[self] = told[:, -1:].clone()
        x = torch.cat([before, told[:, :-1]], dim=1) + self._places(rows, columns).to(told)
        for block in self.blocks:
            x = block(x, state)
        h = rearrange(self.spread(self.norm(x)), "b f (h w) (c hs ws) -> b c f (h hs) (w ws)", h=rows, **layout)
        return h[..., :height, :width]

    def _places(self, rows: int, columns: int) -> Tensor:
        """[rows·columns, D]: sinusoids of y, then of x."""
        device = self.start.device
        y, x = (sinusoid(torch.arange(n, device=device), self.width // 2) for n in (rows, columns))
        return torch.cat(
            [repeat(y, "h d -> (h w) d", w=columns), repeat(x, "w d -> (h w) d", h=rows)],
            dim=-1,
        )
