"""Which frame may look at which: one boolean matrix per clip, from which every attention derives its token mask."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from einops import rearrange

from components.contracts import Memory, Window

if TYPE_CHECKING:
    from torch import Tensor


def with_memory(window: Window, memory: Memory | None) -> Window:
    """The window of all keys: memory's frames followed by the queries' own."""
    if memory is None:
        return window
    past = memory.window
    return Window(
        times=torch.cat([past.times, window.times], dim=1),
        observed=torch.cat([past.observed, window.observed], dim=1),
        valid=torch.cat([past.valid, window.valid], dim=1),
    )


def visible_frames(queries: Window, keys: Window, latent_rule: Callable[[Tensor], Tensor] | None = None) -> Tensor:
    """bool [B, Fq, Fk]: observed keys are seen by all of their clip, latent keys by latent queries under `latent_rule`.

    Args:
        queries, keys: the keys end with the queries' own frames.
        latent_rule: from time of query minus time of key, float [B, Fq, Fk], to bool: which latent frames a latent
            frame may see; None is all.

    A filler slot is seen by nobody but itself, so that no row of the softmax is empty.
    """
    q_latent, k_observed = rearrange(~queries.observed, "b q -> b q 1"), rearrange(keys.observed, "b k -> b 1 k")
    among_latents = q_latent & ~k_observed
    if latent_rule is not None:
        elapsed = rearrange(queries.times, "b q -> b q 1") - rearrange(keys.times, "b k -> b 1 k")
        among_latents = among_latents & latent_rule(elapsed)
    real = rearrange(queries.valid, "b q -> b q 1") & rearrange(keys.valid, "b k -> b 1 k")
    f_q, f_k = queries.times.shape[1], keys.times.shape[1]
    itself = torch.eye(f_q, f_k, dtype=torch.bool, device=real.device).roll(f_k - f_q, dims=1)
    return (real & (k_observed | among_latents)) | itself
