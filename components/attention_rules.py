"""What every attention shares: its sublayers are rules, of which columns go together and which frames see which."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from einops import rearrange, repeat

from components.attend import attend
from components.attention_plan import Plan, frame_logits, plan
from components.column_cuts import Cut, Picture, pictures
from components.contracts import Memory, Tokens, Window
from components.frame_visibility import LatentRule, visible_frames, with_memory

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Rule:
    """Who looks at whom in one sublayer."""

    together: Callable[[Picture], Cut]
    """Which columns (y, x) of a picture."""
    frames_meet: bool = True
    """False: tokens of one frame alone."""
    latents: LatentRule | None = None
    """Which latent frames a latent frame sees; None is all."""


@dataclass(frozen=True)
class NextPlan:
    """What does not change from token to token of one frame of every clip."""

    logits: Tensor | None
    """float32 [B, 1, 1, Fk]: 0 or minus infinity; None where frames do not meet."""
    visible: Tensor | None
    """bool [B, 1, Fk]."""
    columns: int
    """S."""
    members: tuple[Tensor | None, ...]
    """Of every place the columns of its group, ascending, long [n]; None where that is all of them."""
    ranks: tuple[int, ...]
    """Of every place its number in its group."""


class RuledAttention:
    """contracts.Attention and token_contracts.RasterAttention for an attention that is a table of rules."""

    def __init__(self, rules: Mapping[str, Rule], places: bool = False) -> None:
        """`rules`: of the sublayers, in order; `places`: whether they ask where a column is, not only how many."""
        self.rules, self.places = rules, places
        self.sublayers: tuple[str, ...] = tuple(rules)
        self.crossing: frozenset[str] = frozenset(name for name, rule in rules.items() if rule.frames_meet)

    def layout(self, queries: Tokens, window: Window, memory: Memory | None = None) -> dict[str, Plan]:
        """See contracts.Attention."""
        seen = pictures(queries, window if self.places else None)
        keys = with_memory(window, memory)
        made = {}
        for name, rule in self.rules.items():
            cuts = {picture: rule.together(picture) for picture in set(seen)}
            visible = visible_frames(window, keys, rule.latents) if rule.frames_meet else None
            past = memory if rule.frames_meet else None
            made[name] = plan(queries, window, [cuts[picture] for picture in seen], visible, past)
        return made

    def attend(
        self, sublayer: str, q: Tensor, k: Tensor, v: Tensor, layout: dict[str, Plan], bias: Tensor | None = None
    ) -> Tensor:
        """See contracts.Attention; q [R, Lq, K, Dh] to the same shape."""
        return attend(q, k, v, layout[sublayer], bias)

    def layout_next(self, window: Window, memory: Memory | None, size: tuple[int, int]) -> dict[str, NextPlan]:
        """See token_contracts.RasterAttention."""
        columns, device = size[0] * size[1], window.times.device
        made = {}
        for name, rule in self.rules.items():
            visible = logits = None
            if rule.frames_meet:
                visible = visible_frames(window, with_memory(window, memory), rule.latents)
                logits = frame_logits(visible, None, torch.float32)
            members: list[Tensor | None] = [None] * columns
            ranks = [0] * columns
            for group in rule.together(Picture(columns, size)).members():
                index = None if len(group) == columns else torch.tensor(group, device=device)
                for rank, place in enumerate(group):
                    members[place], ranks[place] = index, rank
            made[name] = NextPlan(logits, visible, columns, tuple(members), tuple(ranks))
        return made

    def attend_next(
        self,
        sublayer: str,
        q: Tensor,
        own: tuple[Tensor, Tensor],
        past: tuple[Tensor, Tensor] | None,
        layout: dict[str, NextPlan],
        bias: Tensor | None = None,
    ) -> Tensor:
        """See token_contracts.RasterAttention; q [B, 1, K, Dh] to the same shape."""
        told, place = layout[sublayer], own[0].shape[1] - 1
        members = told.members[place]
        k, v = own if members is None else (x.index_select(1, members[: told.ranks[place] + 1]) for x in own)
        mask, here = None, k.shape[1]
        if past is not None:
            old = (rearrange(x, "b (f s) k d -> b f s k d", s=told.columns) for x in past)
            old = (x if members is None else x.index_select(2, members) for x in old)
            old = [rearrange(x, "b f n k d -> b (f n) k d") for x in old]
            k, v = (torch.cat([a.to(b.dtype), b], dim=1) for a, b in zip(old, (k, v), strict=True))
        if told.visible is not None and told.logits is not None:
            mask = told.logits.to(q.dtype) if bias is None else frame_logits(told.visible, bias, q.dtype)
            n = told.columns if members is None else len(members)
            before = repeat(mask[..., :-1], "b k q m -> b k q (m n)", n=n)
            mask = torch.cat([before, mask[..., -1:].expand(*mask.shape[:-1], here)], dim=-1)
        q, k, v = (rearrange(x, "b n k d -> b k n d") for x in (q, k, v))
        return rearrange(F.scaled_dot_product_attention(q, k, v, attn_mask=mask), "b k n d -> b n k d")
