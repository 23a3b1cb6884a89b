"""Teacher forcing for video in raster order: every frame to be made stands in the window twice, to be seen and to ask.

As content it holds its true tokens, which see each other; as a query it holds them one place later, so that the token
at a place has seen those before it and none after. Attention looks at `Window.raster` (components/frame_visibility.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from einops import rearrange

from components.contracts import Condition, Window
from components.frame_runs import join_windows, repeat_frames
from components.token_digits import UNKNOWN

if TYPE_CHECKING:
    from torch import Tensor


def one_place_later(z_bgfhw: Tensor) -> Tensor:
    """Each frame's tokens moved on by one in raster order; an unknown token comes first, the last falls out."""
    height = z_bgfhw.shape[-2]
    flat = rearrange(z_bgfhw, "b g f h w -> b g f (h w)")
    moved = torch.cat([torch.full_like(flat[..., :1], float(UNKNOWN)), flat[..., :-1]], dim=-1)
    return rearrange(moved, "b g f (h w) -> b g f h w", h=height)


def as_content(window: Window) -> Window:
    """Frames of true tokens, seen by later ones."""
    return Window(window.times, window.observed, window.valid, torch.zeros_like(window.observed))


def as_queries(window: Window) -> Window:
    """The frames to be made, each of them to be predicted token by token; slots of observed frames become filler."""
    asked = window.valid & ~window.observed
    return Window(window.times, torch.zeros_like(asked), asked, asked)


def two_streams(z_bgfhw: Tensor, window: Window, condition: Condition) -> tuple[Tensor, Window, Condition]:
    """2F slots: all frames as content (noise level 0), then those to be made as queries (noise level 1)."""
    queries = as_queries(window)
    levels = [torch.zeros_like(condition.level), queries.valid.to(condition.level.dtype)]
    z = torch.cat([z_bgfhw, one_place_later(z_bgfhw)], dim=2)
    return z, join_windows(as_content(window), queries), repeat_frames(condition, levels)
