from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from einops import rearrange

from components.contracts import Memory, Tokens, Window
from components.frame_visibility import visible_frames, with_memory
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
        return Layout(visible, frame_logits(visible, None, torch.float32), h * w, segments)

    def attend(
        self, sublayer: str, q: Tensor, k: Tensor, v: Tensor, layout: Layout, bias: Tensor | None = None
    ) -> Tensor:
        """See contracts.Attention; q [R, Lq, K, Dh] to the same shape."""
        mask = layout.plain.to(q.dtype) if bias is None else frame_logits(layout.visible, bias, q.dtype)
        if layout.segments is not None:
            return attend_segments(q, k, v, layout.segments, mask)
        q, k, v = (rearrange(a, "r l k d -> r k l d") for a in (q, k, v))
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=spread_mask(mask, layout.per_frame))
        return rearrange(out, "r k l d -> r l k d")
