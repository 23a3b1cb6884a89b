"""Attention inside segments: equal-length runs of tokens go through one batched call, whatever rows they lie in.

Regular rows (`Tokens.regular`) need no index at all and are reshaped; any other batch is gathered by indices that are
computed once per batch. Both share the frame mask and the pairwise frame bias.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from einops import rearrange, repeat

from components.contracts import Tokens

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Segments:
    """N segments of equal length n, each inside one clip."""

    index: Tensor
    """long [N, n] into the flattened rows (R L)."""
    clip: Tensor
    """long [N]."""
    frames: int
    """How many frames of the clip a segment spans, or 0 where it lies within one frame and needs no mask."""


def _collect(tokens: Tokens, split: Callable[[Tensor], tuple[Tensor, int]]) -> tuple[Segments, ...]:
    """Group the segments that `split` makes of each clip's index grid [F, S] by (length, frames)."""
    length, device = tokens.x.shape[1], tokens.x.device
    found: dict[tuple[int, int], list[tuple[Tensor, Tensor]]] = {}
    for b, ((f, h, w), (row, start)) in enumerate(zip(tokens.grids, tokens.starts, strict=True)):
        first = row * length + start
        grid = rearrange(torch.arange(first, first + f * h * w, device=device), "(f s) -> f s", f=f)
        index, frames = split(grid)
        clip = torch.full((index.shape[0],), b, dtype=torch.long, device=device)
        found.setdefault((index.shape[1], frames), []).append((index, clip))
    return tuple(
        Segments(torch.cat([i for i, _ in group]), torch.cat([c for _, c in group]), frames)
        for (_, frames), group in found.items()
    )


def by_frame(tokens: Tokens) -> tuple[Segments, ...]:
    """One segment per (clip, frame)."""
    return _collect(tokens, lambda grid: (grid, 0))


def by_column(tokens: Tokens) -> tuple[Segments, ...]:
    """One segment per (clip, y, x), through time."""
    return _collect(tokens, lambda grid: (rearrange(grid, "f s -> s f"), grid.shape[0]))


def by_clip(tokens: Tokens) -> tuple[Segments, ...]:
    """One segment per clip: all its tokens."""
    return _collect(tokens, lambda grid: (rearrange(grid, "f s -> 1 (f s)"), grid.shape[0]))


def attend_segments(
    q: Tensor, k: Tensor, v: Tensor, segments: tuple[Segments, ...], mask: Tensor | None = None
) -> Tensor:
    """Attention within each segment; q, k, v [R, L, K, Dh]; mask float [B, 1 or K, F, F]; filler tokens give zeros."""
    rows = q.shape[0]
    flat = [rearrange(a, "r l k d -> (r l) k d") for a in (q, k, v)]
    outputs = []
    for group in segments:
        n = group.index.shape[1]
        picked = (rearrange(a.index_select(0, group.index.flatten()), "(s n) k d -> s k n d", n=n) for a in flat)
        extra = _segment_mask(group, mask)
        outputs.append(rearrange(F.scaled_dot_product_attention(*picked, attn_mask=extra), "s k n d -> (s n) k d"))
    where = torch.cat([group.index.flatten() for group in segments])
    joined = torch.cat(outputs)
    out = joined.new_zeros(flat[0].shape[0], *joined.shape[1:]).index_copy(0, where, joined)
    return rearrange(out, "(r l) k d -> r l k d", r=rows)


def _segment_mask(group: Segments, mask: Tensor | None) -> Tensor | None:
    if mask is None or not group.frames:
        return None
    own = mask[:, :, : group.frames, : group.frames].index_select(0, group.clip)
    return spread_mask(own, group.index.shape[1] // group.frames)


def spread_mask(mask: Tensor, per_frame: int) -> Tensor:
    """Frame mask [B, K, Fq, Fk] to token mask [B, K, Fq S, Fk S]."""
    if per_frame == 1:
        return mask
    return repeat(mask, "b k q m -> b k (q s) (m t)", s=per_frame, t=per_frame)


def frame_logits(visible: Tensor, bias: Tensor | None, dtype: torch.dtype) -> Tensor:
    """What is added to logits: bias [B, K, Fq, Fk] (or zero) where visible [B, Fq, Fk], minus infinity elsewhere."""
    seen = rearrange(visible, "b q k -> b 1 q k")
    inside = torch.zeros((), dtype=dtype, device=visible.device) if bias is None else bias.to(dtype)
    return torch.where(seen, inside, float("-inf"))


def require_regular(queries: Tokens, keys: Tokens) -> None:
    """Cached keys join queries row by row, so both must be regular and of the same picture size."""
    same = queries.regular and keys.regular and len(queries.grids) == len(keys.grids)
    if not same or queries.grids[0][1:] != keys.grids[0][1:]:
        raise ValueError("memory needs clips of one size, one per row; group clips of different sizes before sampling")
