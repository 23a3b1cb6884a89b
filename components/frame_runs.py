"""Runs of frames of the same clips: one after the other, or cut out of a window, with all that is told of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, TypeVar

import torch

from components.contracts import Condition, Memory, Tokens, Window

if TYPE_CHECKING:
    from torch import Tensor


Described = TypeVar("Described", Window, Condition)
OF_THE_CLIP = frozenset({"text", "text_mask", "origin", "camera"})
"""Fields of a Condition that are told of a clip once; all others, and those of a Window, are told frame by frame."""


def rows_of(described: Described, rows: Sequence[int], frames: int) -> Described:
    """Window or condition of some clips of the batch, what is told frame by frame cut to the first `frames`."""
    told = {field.name: getattr(described, field.name) for field in fields(described)}
    columns = told.pop("columns", None)
    kept = {} if columns is None else {"columns": tuple(columns[b] for b in rows)}
    index = list(rows)
    for name, value in told.items():
        if value is not None:
            kept[name] = value[index] if name in OF_THE_CLIP else value[index, :frames]
    return replace(described, **kept)


def join_windows(first: Window, second: Window) -> Window:
    """Two windows of the same clips, one after the other."""
    pairs = ((getattr(first, name), getattr(second, name)) for name in ("times", "observed", "valid"))
    raster = None
    if first.raster is not None or second.raster is not None:
        raster = torch.cat([raster_flags(first), raster_flags(second)], dim=1)
    return Window(*(torch.cat(pair, dim=1) for pair in pairs), raster=raster)


def raster_flags(window: Window) -> Tensor:
    """`Window.raster`, or all False where there is none."""
    return torch.zeros_like(window.observed) if window.raster is None else window.raster


def join_conditions(first: Condition, second: Condition) -> Condition:
    """Conditions of two runs of frames of the same clips, one after the other."""

    def cat(a: Tensor | None, b: Tensor | None) -> Tensor | None:
        return None if a is None or b is None else torch.cat([a, b], dim=1)

    return replace(
        second,
        level=torch.cat([first.level, second.level], dim=1),
        actions=cat(first.actions, second.actions),
        poses=cat(first.poses, second.poses),
    )


def join_tokens(first: Tokens, second: Tokens) -> Tokens:
    """Tokens of two runs of frames of the same clips, both regular, one after the other."""

    def cat(name: str) -> Tensor:
        return torch.cat([getattr(first, name), getattr(second, name)], dim=1)

    frames = first.grids[0][0]
    return Tokens(
        x=cat("x"),
        place=cat("place"),
        sides=cat("sides"),
        clip=cat("clip"),
        frame=torch.cat([first.frame, second.frame + frames], dim=1),
        observed=cat("observed"),
        grids=tuple((f + g, h, w) for (f, h, w), (g, _, _) in zip(first.grids, second.grids, strict=True)),
        starts=first.starts,
    )


def join_memories(first: Memory, second: Memory) -> Memory:
    """What is remembered of two runs of frames, the second computed in sight of the first."""
    layers = tuple(
        {name: tuple(torch.cat(pair, dim=1) for pair in zip(a[name], b[name], strict=True)) for name in a}
        for a, b in zip(first.layers, second.layers, strict=True)
    )
    return Memory(
        join_tokens(first.tokens, second.tokens),
        join_windows(first.window, second.window),
        join_conditions(first.condition, second.condition),
        layers,  # type: ignore[arg-type]
    )


def repeat_frames(condition: Condition, levels: Sequence[Tensor]) -> Condition:
    """The same frames once for each of `levels` [B, F], at these levels."""
    joined = replace(condition, level=levels[0])
    for level in levels[1:]:
        joined = join_conditions(joined, replace(condition, level=level))
    return joined
