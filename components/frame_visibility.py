"""Which frame may look at which: one boolean matrix per clip, from which every attention derives its token mask."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from einops import rearrange

from components.contracts import Memory, Window
from components.frame_runs import join_windows, raster_flags

if TYPE_CHECKING:
    from torch import Tensor

LatentRule = Callable[["Tensor", "Tensor"], "Tensor"]
"""From times of queries [B, Fq, 1] and of keys [B, 1, Fk], in latent frames, to whether a latent frame sees another."""


def with_memory(window: Window, memory: Memory | None) -> Window:
    """The window of all keys: memory's frames followed by the queries' own."""
    if memory is None:
        return window
    return join_windows(memory.window, window)


def visible_frames(queries: Window, keys: Window, latent_rule: LatentRule | None = None) -> Tensor:
    """bool [B, Fq, Fk]: observed keys are seen by all of their clip, latent keys by latent queries under `latent_rule`.

    Args:
        queries, keys: the keys end with the queries' own frames.
        latent_rule: which latent frames a latent frame may see; None is all.

    A filler slot is seen by nobody but itself, so that no row of the softmax is empty. Where frames are predicted token
    by token (`Window.raster`), time is causal among latent frames whatever the rule, and such a frame sees, of the
    others, strictly earlier ones, and is seen by itself alone.
    """
    q_latent, k_observed = rearrange(~queries.observed, "b q -> b q 1"), rearrange(keys.observed, "b k -> b 1 k")
    among_latents = q_latent & ~k_observed
    asking_time, asked_time = rearrange(queries.times, "b q -> b q 1"), rearrange(keys.times, "b k -> b 1 k")
    if keys.raster is not None:
        asking = rearrange(raster_flags(queries), "b q -> b q 1")
        causal = torch.where(asking, asking_time > asked_time, asking_time >= asked_time)
        among_latents = among_latents & causal & ~rearrange(keys.raster, "b k -> b 1 k")
    if latent_rule is not None:
        among_latents = among_latents & latent_rule(asking_time, asked_time)
    real = rearrange(queries.valid, "b q -> b q 1") & rearrange(keys.valid, "b k -> b 1 k")
    f_q, f_k = queries.times.shape[1], keys.times.shape[1]
    itself = torch.eye(f_q, f_k, dtype=torch.bool, device=real.device).roll(f_k - f_q, dims=1)
    return (real & (k_observed | among_latents)) | itself
