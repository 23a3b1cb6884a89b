"""The one function behind every attention: softmax(q·kᵀ/√d + mask)·v inside the segments of a plan.

Segments of equal length go through one batched scaled_dot_product_attention, on the CPU and on GPUs, whatever rows they
lie in; rows are taken apart and joined by splits and concatenations, never by indices. Packed rows without a mask in
half precision go through one call of `varlen_attn` on CUDA where this torch has it; tests hold it against a stand-in,
and on a GPU against float64.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from einops import rearrange

from components.attention_plan import Group, Piece, Plan, Ragged, frame_logits, token_mask

if TYPE_CHECKING:
    from torch import Tensor

LARGEST_HEAD = 256
"""Channels of a head that the kernel for uneven sequences takes, at most."""


def attend(q: Tensor, k: Tensor, v: Tensor, plan: Plan, bias: Tensor | None = None) -> Tensor:
    """Attention within each segment.

    Args:
        q: [R, Lq, K, Dh].
        k, v: [R, Lk, K, Dh], what is remembered first.
        plan: of this sublayer.
        bias: [B, K, Fq, Fk], added to the logits of all tokens of a pair of frames.

    Returns:
        [R, Lq, K, Dh]; filler tokens give zeros.
    """
    rows = q.shape[0]
    if plan.ragged is not None and bias is None and takes_uneven(q):
        return rearrange(_uneven(q, k, v, plan.ragged), "(r l) k d -> r l k d", r=rows)
    parts = [_parts(x, plan) for x in (q, k, v)]
    logits = None if bias is None or plan.visible is None else frame_logits(plan.visible, bias, q.dtype)
    made: dict[tuple[int, int], Tensor] = {}
    for group in plan.groups:
        joined = (_joined([part[member] for member in group.members]) for part in parts)
        out = F.scaled_dot_product_attention(*joined, attn_mask=_mask(group, logits, plan, q.dtype))
        made |= zip(group.members, out.split(group.counts) if len(group.counts) > 1 else (out,), strict=True)
    return rearrange(_rows(made, plan), "(r l) k d -> r l k d", r=rows)


def _mask(group: Group, logits: Tensor | None, plan: Plan, dtype: torch.dtype) -> Tensor | None:
    if logits is not None:
        return token_mask(logits, group, plan.raster)
    return None if group.mask is None else group.mask.to(dtype)


def _joined(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _parts(x: Tensor, plan: Plan) -> dict[tuple[int, int], Tensor]:
    """Rows [R, L, K, Dh] to the segments [N, K, n, Dh] of every (piece, class); views where columns stay in order."""
    x = rearrange(x, "r l k d -> (r l) k d")
    alone = len(plan.pieces) == 1
    sizes = [piece.tokens if isinstance(piece, Piece) else piece for piece in plan.pieces]
    found = {}
    for p, (piece, own) in enumerate(zip(plan.pieces, (x,) if alone else x.split(sizes), strict=True)):
        if not isinstance(piece, Piece):
            continue
        if len(piece.cut.classes) == 1 and piece.order is None:
            ((groups, n),) = piece.cut.classes
            if groups == len(piece.units) == 1:  # the plain case of packed rows, at a third of the operations
                found[p, 0] = rearrange(own, "n k d -> 1 k n d")
            elif plan.groups[0].folded > 1:
                found[p, 0] = rearrange(own, "(u f g) k d -> u (g k) f d", u=len(piece.units), g=groups)
            else:
                found[p, 0] = rearrange(own, "(u f g n) k d -> (u g) k (f n) d", u=len(piece.units), g=groups, n=n)
            continue
        own = rearrange(own, "(u f s) k d -> (u f) s k d", u=len(piece.units), s=piece.cut.columns)
        own = own if piece.order is None else own.index_select(1, piece.order)
        widths = [groups * n for groups, n in piece.cut.classes]
        for c, ((_, n), some) in enumerate(zip(piece.cut.classes, own.split(widths, dim=1), strict=True)):
            found[p, c] = rearrange(some, "(u f) (g n) k d -> (u g) k (f n) d", u=len(piece.units), n=n)
    return found


def _rows(made: dict[tuple[int, int], Tensor], plan: Plan) -> Tensor:
    """The inverse of `_parts`: what was made of every (piece, class) to [(R L), K, Dh], zeros in filler."""
    like = next(iter(made.values()))
    lines = []
    for p, piece in enumerate(plan.pieces):
        if not isinstance(piece, Piece):
            lines.append(like.new_zeros(piece, like.shape[1], like.shape[3]))
            continue
        units, classes = len(piece.units), piece.cut.classes
        if len(classes) == 1 and piece.order is None:
            if classes[0][0] == units == 1:
                lines.append(rearrange(made[p, 0], "1 k n d -> n k d"))
            elif plan.groups[0].folded > 1:
                lines.append(rearrange(made[p, 0], "u (g k) f d -> (u f g) k d", g=classes[0][0]))
            else:
                lines.append(rearrange(made[p, 0], "(u g) k (f n) d -> (u f g n) k d", u=units, n=classes[0][1]))
            continue
        whole = torch.cat(
            [
                rearrange(made[p, c], "(u g) k (f n) d -> (u f) (g n) k d", u=units, n=n)
                for c, (_, n) in enumerate(classes)
            ],
            dim=1,
        )
        whole = whole if piece.back is None else whole.index_select(1, piece.back)
        lines.append(rearrange(whole, "u s k d -> (u s) k d"))
    return lines[0] if len(lines) == 1 else torch.cat(lines)


@cache
def uneven_kernel() -> Any:
    """Torch's attention over sequences of uneven length, slow to import; None before torch 2.10."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    return varlen_attn


def takes_uneven(q: Tensor) -> bool:
    """Whether the kernel for uneven sequences can be asked: CUDA from Ampere on, half precision, a head that fits."""
    return (
        q.is_cuda
        and q.dtype in (torch.float16, torch.bfloat16)
        and q.shape[-1] % 8 == 0
        and q.shape[-1] <= LARGEST_HEAD
        and torch.cuda.get_device_capability(q.device) >= (8, 0)
        and uneven_kernel() is not None
    )


def _uneven(q: Tensor, k: Tensor, v: Tensor, ragged: Ragged) -> Tensor:
    """All segments in one call, as they lie: [(R L), K, Dh]."""
    q, k, v = (rearrange(x, "r l k d -> (r l) k d") for x in (q, k, v))
    out = uneven_kernel()(q, k, v, ragged.bounds, ragged.bounds, ragged.longest, ragged.longest)
    return out if ragged.filler is None else out.masked_fill(rearrange(ragged.filler, "n -> n 1 1"), 0.0)
