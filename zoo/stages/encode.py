"""Videos through a frozen tokenizer, for the latent cache."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from einops import rearrange

from zoo.fitting import Fit, encoded
from zoo.latent_form import Form, LatentForm


@torch.inference_mode()
def encode_videos(tokenizer: Any, videos: Sequence[np.ndarray], form: Form = "quantised") -> np.ndarray:
    """uint8 videos [T, H, W, 3] of one size, T of whole latents, to what a generator sees [B, F, C, h, w].

    On the tokenizer's device, and piece by piece: `videos` may be memory-mapped and of any length.
    `form`: what is kept of a latent (zoo/latent_form.py).
    """
    training = tokenizer.training
    tokenizer.eval()
    weight = next(itertools.chain(tokenizer.parameters(), tokenizer.buffers()), torch.empty(0))
    frames, height, width = videos[0].shape[:3]
    whole = Fit((frames, height, width), (frames, height, width))
    of = LatentForm(tokenizer, form).of
    parts = [of(part).float().cpu() for part in encoded(tokenizer, videos, whole, weight.device)]
    tokenizer.train(training)
    return rearrange(torch.cat(parts, dim=2), "b c f h w -> b f c h w").contiguous().numpy()


def weights_hash(tokenizer: Any) -> str:
    """16 hex digits over every tensor of a tokenizer: what its latents depend on, besides its code."""
    total = hashlib.sha256(type(tokenizer).__name__.encode())
    for name, value in sorted(tokenizer.state_dict().items()):
        array = value.detach().cpu().contiguous()
        total.update(f"{name} {array.dtype} {tuple(array.shape)}".encode())
        total.update(array.reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()[:16]
