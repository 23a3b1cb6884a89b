"""Videos through a frozen tokenizer, for the latent cache."""

from __future__ import annotations

import hashlib
import itertools
from typing import Any

import numpy as np
import torch
from einops import rearrange

from zoo.stages.data import to_video


@torch.inference_mode()
def encode_videos(tokenizer: Any, frames_bthwc: np.ndarray) -> np.ndarray:
    """uint8 [B, T, H, W, 3], T of whole latents, to normalised latents [B, F, C, h, w], on the tokenizer's device."""
    training = tokenizer.training
    tokenizer.eval()
    weight = next(itertools.chain(tokenizer.parameters(), tokenizer.buffers()), torch.empty(0))
    z_bcfhw = tokenizer.encode(to_video(frames_bthwc).to(weight.device)).z
    tokenizer.train(training)
    return rearrange(z_bcfhw.float().cpu(), "b c f h w -> b f c h w").contiguous().numpy()


def weights_hash(tokenizer: Any) -> str:
    """16 hex digits over every tensor of a tokenizer: what its latents depend on, besides its code."""
    total = hashlib.sha256(type(tokenizer).__name__.encode())
    for name, value in sorted(tokenizer.state_dict().items()):
        array = value.detach().cpu().contiguous()
        total.update(f"{name} {array.dtype} {tuple(array.shape)}".encode())
        total.update(array.reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()[:16]
