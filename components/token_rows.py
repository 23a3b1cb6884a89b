"""Rows of tokens: laying clips side by side, taking them back out, and spreading per-frame signals over tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from einops import rearrange, repeat

from components.contracts import Tokens, Window

if TYPE_CHECKING:
    from torch import Tensor

Grid = tuple[int, int, int]


def grid_of(patches: Tensor) -> Grid:
    """(F, H, W) of one clip's patches [F, H, W, D]."""
    f, h, w = patches.shape[:3]
    return (f, h, w)


def one_per_row(grids: Sequence[Grid]) -> tuple[tuple[int, int], ...]:
    """Starts (row, first column) that give every clip its own row."""
    return tuple((row, 0) for row in range(len(grids)))


def starts_of(rows: Sequence[Sequence[int]], sizes: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Rows of clips, side by side without a gap, to the start (row, first column) of every clip of `sizes` tokens."""
    starts = [(0, 0)] * len(sizes)
    for row, clips in enumerate(rows):
        column = 0
        for clip in clips:
            starts[clip] = (row, column)
            column += sizes[clip]
    return tuple(starts)


def kept_columns(patches: Sequence[Tensor], window: Window) -> list[Tensor]:
    """Per-clip [F, H, W, D] to [F, kept, 1, D] in (y, x) order; as they are where the window drops no columns."""
    if window.columns is None:
        return list(patches)
    return [rearrange(p[:, kept], "f n d -> f n 1 d") for p, kept in zip(patches, window.columns, strict=True)]


def put_back(patches: Sequence[Tensor], window: Window) -> list[Tensor]:
    """The inverse of `kept_columns`: per-clip [F, H, W, D], zero where a column was dropped."""
    if window.columns is None:
        return list(patches)
    wholes = []
    for p, kept in zip(patches, window.columns, strict=True):
        blank = p.new_zeros(p.shape[0], *kept.shape, p.shape[-1])
        wholes.append(blank.masked_scatter(rearrange(kept, "h w -> h w 1"), p))
    return wholes


def lay_out(patches: Sequence[Tensor], window: Window, starts: Sequence[tuple[int, int]]) -> Tokens:
    """Per-clip patches [F, H, W, D] to rows, clip b beginning at starts[b]; gaps are filler (zeros, clip -1).

    Rows are as long as the fullest one. Clips that share a row must be given in ascending columns without overlap.
    With `window.columns`, patches are those kept and each knows its true place.
    """
    grids = tuple(grid_of(p) for p in patches)
    starts = tuple(starts)
    if len(set(grids)) == 1 and starts == one_per_row(grids) and window.columns is None:
        return _regular(torch.stack(list(patches)), window, grids, starts)
    rows: dict[int, list[int]] = {}
    for b, (row, _) in sorted(enumerate(starts), key=lambda item: item[1]):
        rows.setdefault(row, []).append(b)
    sizes = [f * h * w for f, h, w in grids]
    length = max(starts[members[-1]][1] + sizes[members[-1]] for members in rows.values())

    lines, filler = [], patches[0].new_zeros(length, patches[0].shape[-1])
    for members in rows.values():
        line, column = [], 0
        for b in members:
            line += [filler[: starts[b][1] - column], rearrange(patches[b], "f h w d -> (f h w) d")]
            column = starts[b][1] + sizes[b]
        lines.append(torch.cat([*line, filler[: length - column]]))
    clip, frame, *place = _geometry(grids, starts, (len(rows), length), window)
    of_clip = clip.clamp(min=0)
    time = torch.where(clip < 0, 0.0, window.times.float()[of_clip, frame])
    y, x, height, width = (each.float() for each in place)
    return Tokens(
        x=torch.stack(lines),
        place=torch.stack([time, y, x], dim=-1),
        sides=torch.stack([height, width], dim=-1),
        clip=clip,
        frame=frame,
        observed=window.observed[of_clip, frame] & (clip >= 0),
        grids=grids,
        starts=starts,
    )


def _geometry(
    grids: Sequence[Grid], starts: Sequence[tuple[int, int]], shape: tuple[int, int], window: Window
) -> Tensor:
    """long [6, R, L]: every token's clip, frame, row and column, and the rows and columns of its picture.

    Worked out on the host and sent in one piece: a kernel for each clip and fact would keep a GPU waiting.
    """
    facts = np.zeros((6, *shape), np.int64)
    facts[0], facts[4:] = -1, 1
    for b, ((f, h, w), (row, start)) in enumerate(zip(grids, starts, strict=True)):
        kept = np.ones((h, w), bool) if window.columns is None else window.columns[b].cpu().numpy()
        own = facts[:, row, start : start + f * h * w]
        own[0], own[1], own[2:4] = b, np.repeat(np.arange(f), h * w), np.tile(kept.nonzero(), f)
        own[4:] = np.array(kept.shape)[:, None]
    return torch.from_numpy(facts).to(window.times.device, non_blocking=True)


def _regular(x: Tensor, window: Window, grids: tuple[Grid, ...], starts: tuple[tuple[int, int], ...]) -> Tokens:
    """All clips of one size, x [B, F, H, W, D]: everything by broadcasting."""
    f, h, w = grids[0]
    device, clips = x.device, len(grids)
    y, col = torch.arange(h, device=device), torch.arange(w, device=device)
    time = repeat(window.times[:, :f].float(), "b f -> b (f h w)", h=h, w=w)
    y, col = (
        repeat(y.float(), "h -> b (f h w)", b=clips, f=f, w=w),
        repeat(col.float(), "w -> b (f h w)", b=clips, f=f, h=h),
    )
    return Tokens(
        x=rearrange(x, "b f h w d -> b (f h w) d"),
        place=torch.stack([time, y, col], dim=-1),
        sides=torch.tensor([h, w], dtype=torch.float32, device=device).expand(clips, f * h * w, 2),
        clip=repeat(torch.arange(clips, device=device), "b -> b n", n=f * h * w),
        frame=repeat(torch.arange(f, device=device), "f -> b (f n)", b=clips, n=h * w),
        observed=repeat(window.observed[:, :f], "b f -> b (f n)", n=h * w),
        grids=grids,
        starts=starts,
    )


def take_out(tokens: Tokens) -> list[Tensor]:
    """The inverse of `lay_out`: per-clip [F, H, W, D]."""
    if tokens.regular:
        f, h, w = tokens.grids[0]
        return list(rearrange(tokens.x, "b (f h w) d -> b f h w d", f=f, h=h, w=w))
    return [
        rearrange(tokens.x[row, start : start + f * h * w], "(f h w) d -> f h w d", f=f, h=h, w=w)
        for (f, h, w), (row, start) in zip(tokens.grids, tokens.starts, strict=True)
    ]


def per_token(signal_bfd: Tensor, tokens: Tokens) -> Tensor:
    """A per-frame signal [B, F, D] at every token [R, L, D]; filler gets some clip's values, which nobody reads."""
    if tokens.regular:
        f, h, w = tokens.grids[0]
        return repeat(signal_bfd[:, :f], "b f d -> b (f n) d", n=h * w)
    slot = tokens.clip.clamp(min=0) * signal_bfd.shape[1] + tokens.frame
    flat = rearrange(signal_bfd, "b f d -> (b f) d").index_select(0, slot.flatten())
    return rearrange(flat, "(r l) d -> r l d", r=slot.shape[0])


class _ScaledSum(torch.autograd.Function):
    """base + scale · x, x [B, F, n, D]; base and scale like it, or [B, F, 1, D].

    By hand because autograd's own addcmul makes two more passes over x in each direction.
    """

    @staticmethod
    def forward(ctx: Any, base: Tensor, x: Tensor, scale: Tensor) -> Tensor:
        ctx.save_for_backward(x, scale)
        ctx.shared = base.shape[2] == 1 != x.shape[2]
        return torch.addcmul(base, x, scale)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # type: ignore[override]
        x, scale = ctx.saved_tensors
        told = grad * x
        told = told if scale.shape == x.shape else told.sum(2, keepdim=True)
        return grad.sum(2, keepdim=True) if ctx.shared else grad, grad * scale, told


def _scaled_sum(base: Tensor, x: Tensor, scale: Tensor) -> Tensor:
    """base + scale · x in one pass, whatever autocast made of the three."""
    dtype = torch.promote_types(torch.promote_types(base.dtype, x.dtype), scale.dtype)
    return _ScaledSum.apply(base.to(dtype), x.to(dtype), scale.to(dtype))


def modulate(x: Tensor, scale_bfd: Tensor, shift_bfd: Tensor, tokens: Tokens) -> Tensor:
    """x · (1 + scale) + shift, with scale and shift per (clip, frame); broadcast where rows are regular."""
    if tokens.regular:
        f = tokens.grids[0][0]
        x = rearrange(x, "b (f n) d -> b f n d", f=f)
        scale, shift = rearrange(1 + scale_bfd, "b f d -> b f 1 d"), rearrange(shift_bfd, "b f d -> b f 1 d")
        return rearrange(_scaled_sum(shift, x, scale), "b f n d -> b (f n) d")
    shift, scale = per_token(shift_bfd, tokens), per_token(1 + scale_bfd, tokens)
    return _scaled_sum(shift[:, :, None], x[:, :, None], scale[:, :, None])[:, :, 0]


def add_gated(x: Tensor, branch: Tensor, gate: Tensor | float, tokens: Tokens) -> Tensor:
    """x + gate · branch; the gate is 1 or per (clip, frame) [B, F, D]."""
    if not isinstance(gate, torch.Tensor):
        return x + gate * branch if gate != 1 else x + branch
    if tokens.regular:
        f = tokens.grids[0][0]
        x, branch = (rearrange(a, "b (f n) d -> b f n d", f=f) for a in (x, branch))
        return rearrange(_scaled_sum(x, branch, rearrange(gate, "b f d -> b f 1 d")), "b f n d -> b (f n) d")
    return _scaled_sum(x[:, :, None], branch[:, :, None], per_token(gate, tokens)[:, :, None])[:, :, 0]
