"""Autoencoders of diffusers, tiny and randomly initialised, saved where a test wants them: nothing is downloaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import torch

WIDTHS = {"block_out_channels": (8, 8), "layers_per_block": 1, "norm_num_groups": 4}
DOWN_UP = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
COG = {"down_block_types": ("CogVideoXDownBlock3D",) * 4, "up_block_types": ("CogVideoXUpBlock3D",) * 4}
HALVES = ("encoder_block_out_channels", "decoder_block_out_channels")
DC = {
    f"{half}_{option}": value
    for half in ("encoder", "decoder")
    for option, value in (
        ("block_out_channels", (8, 8)),
        ("block_types", "ResBlock"),
        ("layers_per_block", (1, 1)),
        ("qkv_multiscales", ((), ())),
    )
}
LTX = {
    "latent_channels": 8,
    "block_out_channels": (8, 8),
    "down_block_types": ("LTXVideoDownBlock3D",) * 2,
    "decoder_block_out_channels": (8, 8),
    "layers_per_block": (1, 1, 1),
    "decoder_layers_per_block": (1, 1, 1),
    "spatio_temporal_scaling": (True, False),
    "decoder_spatio_temporal_scaling": (True, False),
    "decoder_inject_noise": (False, False, False),
    "upsample_residual": (False, False),
    "upsample_factor": (1, 1),
    "patch_size": 2,
}
WAN = {
    "base_dim": 8,
    "z_dim": 4,
    "dim_mult": [1, 1, 1, 1],
    "num_res_blocks": 1,
    "temperal_downsample": [False, True, True],
}
NORMAL = {"latents_mean": [0.1, -0.2, 0.3, 0.0], "latents_std": [1.5, 0.5, 2.0, 1.0]}

FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "kl": ("AutoencoderKL", {**WIDTHS, **DOWN_UP, "scaling_factor": 0.3611, "shift_factor": 0.1159}),
    "tiny": (
        "AutoencoderTiny",
        {
            "encoder_block_out_channels": (8, 8),
            "decoder_block_out_channels": (8, 8),
            "num_encoder_blocks": (1, 1),
            "num_decoder_blocks": (1, 1),
            "upsampling_scaling_factor": 2,
        },
    ),
    "vq": (
        "VQModel",
        {**WIDTHS, **DOWN_UP, "latent_channels": 3, "num_vq_embeddings": 16, "scaling_factor": 0.5},
    ),
    "dc": ("AutoencoderDC", {**DC, "latent_channels": 4, "scaling_factor": 0.41407}),
    "svd": (
        "AutoencoderKLTemporalDecoder",
        {"block_out_channels": (32, 32), "down_block_types": ("DownEncoderBlock2D",) * 2},
    ),
    "cogvideox": (
        "AutoencoderKLCogVideoX",
        {**COG, **WIDTHS, "block_out_channels": (8, 8, 8, 8), "latent_channels": 4, "scaling_factor": 0.7},
    ),
    "wan": ("AutoencoderKLWan", {**WAN, **NORMAL}),
    "wan22": (
        "AutoencoderKLWan",
        {
            **WAN,
            **NORMAL,
            "patch_size": 2,
            "in_channels": 12,
            "out_channels": 12,
            "is_residual": True,
            "scale_factor_spatial": 16,
        },
    ),
    "qwen": ("AutoencoderKLQwenImage", {**WAN, **NORMAL}),
    "ltx": ("AutoencoderKLLTXVideo", LTX),
    "ltx_denoising": ("AutoencoderKLLTXVideo", {**LTX, "timestep_conditioning": True}),
    "mochi": (
        "AutoencoderKLMochi",
        {
            "encoder_block_out_channels": (32, 32, 32, 32),
            "decoder_block_out_channels": (32, 32, 32, 32),
            "latent_channels": 4,
            "layers_per_block": (1, 1, 1, 1, 1),
            "latents_mean": NORMAL["latents_mean"],
            "latents_std": NORMAL["latents_std"],
        },
    ),
    "hunyuan": (
        "AutoencoderKLHunyuanVideo",
        {**WIDTHS, "block_out_channels": (8, 8, 8, 8), "latent_channels": 4, "scaling_factor": 0.476986},
    ),
    "hunyuan15": (
        "AutoencoderKLHunyuanVideo15",
        {"block_out_channels": (8, 8, 8, 8, 8), "latent_channels": 4, "layers_per_block": 1, "scaling_factor": 1.03682},
    ),
}
"""Family → class and the options of a tiny one."""


def tiny(family: str, seed: int = 0) -> Any:
    """One of FAMILIES with random weights, in eval mode; LTX with statistics, which it keeps as buffers."""
    name, options = FAMILIES[family]
    torch.manual_seed(seed)
    model = getattr(diffusers, name)(**options).eval()
    if family.startswith("ltx"):
        model.latents_mean.copy_(torch.linspace(-0.5, 0.5, 8))
        model.latents_std.copy_(torch.linspace(0.5, 2.0, 8))
    return model


def saved(family: str, folder: Path, seed: int = 0) -> Path:
    """The folder of a saved one."""
    tiny(family, seed).save_pretrained(folder)
    return folder
