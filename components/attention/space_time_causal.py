from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from pydantic import Field

from components.contracts import Memory, Tokens, Window
from components.frame_visibility import later_tokens, visible_frames, with_memory
from components.segments import (
    Segments,
    attend_segments,
    by_column,
    by_frame,
    frame_logits,
    require_regular,
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
    segments: dict[str, tuple[Segments, ...]] | None
    """Per sublayer; None where rows are regular."""
    seen_inside: Tensor | None = None
    """bool [(B F), 1, S, S]: who sees whom within a frame, where some are predicted in raster order; None is all."""


@component(
    cite="bertasius2021timesformer,yan2023teco",
    note="space within each frame, then causal time at each place with a configurable history",
)
class SpaceTimeCausal:
    """Divided space-time attention [Bertasius 2021]: tokens of one frame, then one place (y, x) through the frames.

    Departs from it: time is causal among latent frames, within `history`; observed frames see only each other and are
    seen by every latent frame whatever its time, so their keys and values can be cached and any plan can use them.
    """

    class Config(Config):
        history: Annotated[int, Field(ge=0)] | Literal["all"] = Field(
            "all", description="how many latent frames back a latent frame sees; 0 is itself alone"
        )

    sublayers: tuple[str, ...] = ("space", "time")
    crossing: frozenset[str] = frozenset({"time"})

    def __init__(self, config: SpaceTimeCausal.Config) -> None:
        self.config = config

    def _looks_back(self, elapsed: Tensor) -> Tensor:
        """Time of query minus time of key, in latent frames, to whether the query may look."""
        past = elapsed >= 0
        return past if self.config.history == "all" else past & (elapsed <= self.config.history)

    def layout(self, queries: Tokens, window: Window, memory: Memory | None = None) -> Layout:
        if memory is not None:
            require_regular(queries, memory.tokens)
        visible = visible_frames(window, with_memory(window, memory), self._looks_back)
        _, h, w = queries.grids[0]
        segments = None if queries.regular else {"space": by_frame(queries), "time": by_column(queries)}
        later = later_tokens(queries, window)
        inside = None if later is None else rearrange(~later, "b f q k -> (b f) 1 q k")
        return Layout(visible, frame_logits(visible, None, torch.float32), h * w, segments, inside)

    def layout_next(self, window: Window, memory: Memory | None, per_frame: int) -> Layout:
        """See contracts.RasterAttention."""
        visible = visible_frames(window, with_memory(window, memory), self._looks_back)
        return Layout(visible, frame_logits(visible, None, torch.float32), per_frame, None)

    def attend(
        self, sublayer: str, q: Tensor, k: Tensor, v: Tensor, layout: Layout, bias: Tensor | None = None
    ) -> Tensor:
        """See contracts.Attention; q [R, Lq, K, Dh] to the same shape."""
        mask = None
        if sublayer == "time":
            mask = layout.plain.to(q.dtype) if bias is None else frame_logits(layout.visible, bias, q.dtype)
        if layout.segments is not None:
            return attend_segments(q, k, v, layout.segments[sublayer], mask)
        rows, s = q.shape[0], layout.per_frame
        if sublayer == "space":
            q, k, v = (rearrange(a, "r (f s) k d -> (r f) k s d", s=s) for a in (q, k, v))
            out = F.scaled_dot_product_attention(q, k, v, attn_mask=layout.seen_inside)
            return rearrange(out, "(r f) k s d -> r (f s) k d", r=rows)
        q, k, v = (rearrange(a, "r (f s) k d -> (r s) k f d", s=s) for a in (q, k, v))
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=repeat(mask, "r k i j -> (r s) k i j", s=s))
        return rearrange(out, "(r s) k f d -> r (f s) k d", r=rows)

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
        (k, v), mask = own, None
        if sublayer == "time":
            place, s = k.shape[1] - 1, layout.per_frame
            k, v = k[:, -1:], v[:, -1:]
            if past is not None:
                k, v = (torch.cat([a[:, place::s].to(b.dtype), b], dim=1) for a, b in zip(past, (k, v), strict=True))
            mask = layout.plain.to(q.dtype) if bias is None else frame_logits(layout.visible, bias, q.dtype)
        q, k, v = (rearrange(a, "b n k d -> b k n d") for a in (q, k, v))
        return rearrange(F.scaled_dot_product_attention(q, k, v, attn_mask=mask), "b k n d -> b n k d")
