from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from einops import rearrange, repeat

from components.contracts import Memory, Tokens, Window
from components.frame_visibility import later_tokens, visible_frames, with_memory
from components.segments import (
    Segments,
    attend_segments,
    by_clip,
    frame_logits,
    require_regular,
    spread_mask,
)
from zoo.component import Config, component

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """Masks and indices of one batch."""

    visible: Tensor
    """bool [B, Fq, Fk]."""
    plain: Tensor
    """float32 [B, 1, Fq, Fk]: 0 where visible, minus infinity elsewhere."""
    per_frame: int
    """Tokens a frame, in regular rows."""
    segments: tuple[Segments, ...] | None
    """None where rows are regular."""
    later: Tensor | None = None
    """bool [B, 1, Fq·S, Fk·S]: what comes later in a frame predicted in raster order; None where there is none."""


@component(cite="vaswani2017attention,arnab2021vivit", note="every token sees every token of its clip")
class Full:
    """ViViT's joint space-time attention [Arnab 2021, model 1]: softmax(q kᵀ / √d + bias) v over all tokens of a clip.

    Departs from it so that memory is exact: observed frames see only observed frames. Latent frames see everything.
    """

    class Config(Config):
        pass

    sublayers: tuple[str, ...] = ("full",)
    crossing: frozenset[str] = frozenset({"full"})

    def __init__(self, config: Full.Config) -> None:
        self.config = config

    def layout(self, queries: Tokens, window: Window, memory: Memory | None = None) -> Layout:
        if memory is not None:
            require_regular(queries, memory.tokens)
        visible = visible_frames(window, with_memory(window, memory))
        _, h, w = queries.grids[0]
        segments = None if queries.regular else by_clip(queries)
        later = later_tokens(queries, window)
        if later is not None:
            f_q, f_k = visible.shape[1:]
            own = torch.eye(f_q, dtype=torch.bool, device=later.device)[None, :, None, :, None]
            later = rearrange(rearrange(later, "b f q k -> b f q 1 k") & own, "b f q g k -> b 1 (f q) (g k)")
            later = F.pad(later, ((f_k - f_q) * h * w, 0))
        return Layout(visible, frame_logits(visible, None, torch.float32), h * w, segments, later)

    def layout_next(self, window: Window, memory: Memory | None, per_frame: int) -> Layout:
        """See contracts.RasterAttention."""
        visible = visible_frames(window, with_memory(window, memory))
        return Layout(visible, frame_logits(visible, None, torch.float32), per_frame, None)

    def attend(
        self, sublayer: str, q: Tensor, k: Tensor, v: Tensor, layout: Layout, bias: Tensor | None = None
    ) -> Tensor:
        """See contracts.Attention; q [R, Lq, K, Dh] to the same shape."""
        mask = layout.plain.to(q.dtype) if bias is None else frame_logits(layout.visible, bias, q.dtype)
        if layout.segments is not None:
            return attend_segments(q, k, v, layout.segments, mask)
        q, k, v = (rearrange(a, "r l k d -> r k l d") for a in (q, k, v))
        mask = spread_mask(mask, layout.per_frame)
        if layout.later is not None:
            mask = mask.masked_fill(layout.later, float("-inf"))
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return rearrange(out, "r k l d -> r l k d")

    def attend_next(
        self,
        sublayer: str,
        q: Tensor,
        own: tuple[Tensor, Tensor],
        past: tuple[Tensor, Tensor] | None,
        layout: Layout,
        bias: Tensor | None = None,
    ) -> Tensor:
        """See contracts.RasterAttention; q [B, 1, K, Dh] to the same shape."""
        mask = layout.plain.to(q.dtype) if bias is None else frame_logits(layout.visible, bias, q.dtype)
        k, v = own
        before, here = mask[..., :-1], mask[..., -1:].expand(*mask.shape[:-1], k.shape[1])
        if past is not None:
            k, v = (torch.cat([a.to(b.dtype), b], dim=1) for a, b in zip(past, own, strict=True))
            before = repeat(before, "b k q m -> b k q (m s)", s=layout.per_frame)
        q, k, v = (rearrange(a, "b n k d -> b k n d") for a in (q, k, v))
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=torch.cat([before, here], dim=-1))
        return rearrange(out, "b k n d -> b n k d")
