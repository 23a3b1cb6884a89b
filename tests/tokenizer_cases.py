"""Every tokenizer of the registry at tiny size, built as a recipe builds it: what the contract tests walk.

A name in the registry without a case here fails test_tokenizer_contract.py: a new tokenizer is tested unasked.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch

from zoo import compose
from zoo.recipe import Part


@dataclass(frozen=True)
class Case:
    """One tokenizer with its options; `family` names a wrapped autoencoder of tests/tiny_autoencoders.py."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    family: str = ""
    decoder_looks_ahead: bool = False
    """Latents are causal, as `causal` says, but the decoder of this one sees later latents."""

    @property
    def id(self) -> str:
        inner = self.options.get("quantizer", "")
        inner = inner if isinstance(inner, str) else inner["name"]
        said = "-".join(f"{key}={value}" for key, value in self.options.items() if key in SHOWN)
        return "-".join(part for part in (self.name, self.family, inner, said) if part)


SHOWN = ("temporal_factor", "spatial_factor", "adversarial", "attention", "clip")
NARROW: dict[str, Any] = {"width": 8, "multipliers": (1, 1), "patch": 2}
VQ = {"name": "vq", "codes": 16, "channels": 4}
GRADIENT_VQ = {"name": "vq", "codes": 16, "channels": 4, "ema": False}
PAPER_VQ = {"name": "vq", "codes": 16, "channels": 8, "projection": 4, "l2": True}
LFQ = {"name": "lfq", "bits": 6, "inv_temperature": 1.0}
FSQ = {"name": "fsq", "levels": (5, 4, 3)}
TECO: dict[str, Any] = {
    **NARROW,
    "state_width": 16,
    "state_layers": 1,
    "state_heads": 2,
    "state_channels": 4,
    "history": 2,
}
CRITIC: dict[str, Any] = {"critic_width": 8, "critic_depth": 2}

CASES = (
    Case("pixels", {"spatial_factor": 1}),
    Case("pixels", {"spatial_factor": 4}),
    *(Case("vae", {**NARROW, "temporal_factor": k}) for k in (1, 2, 4)),
    Case("vae", {**NARROW, **CRITIC, "spatial_factor": 8, "temporal_factor": 2, "adversarial": 0.1, "perceptual": 0.1}),
    Case("vqvae", {"width": 16, "depth": 1, "quantizer": VQ}),
    Case("vqvae", {"width": 16, "depth": 1, "quantizer": LFQ, "clip": 8, "temporal_factor": 2}),
    Case("vqvae", {"width": 16, "depth": 1, "quantizer": FSQ, "clip": 4, "temporal_factor": 1, "spatial_factor": 2}),
    Case("vqgan", {**NARROW, **CRITIC, "quantizer": GRADIENT_VQ}),
    Case("vqgan", {**NARROW, **CRITIC, "quantizer": PAPER_VQ, "temporal_factor": 4}),
    Case("vqgan", {**NARROW, **CRITIC, "quantizer": LFQ, "temporal_factor": 2, "attention": False}),
    *(Case("magvit2", {**NARROW, **CRITIC, "quantizer": LFQ, "temporal_factor": k}) for k in (1, 2, 4)),
    Case("magvit2", {**NARROW, **CRITIC, "quantizer": FSQ}),
    Case("magvit2", {**NARROW, **CRITIC, "quantizer": VQ}),
    Case("magvit2", {**NARROW, "quantizer": "none", "adversarial": 0.0}),
    Case("teco", {**TECO, "quantizer": "none"}),
    Case("teco", {**TECO, "quantizer": PAPER_VQ}),
    Case("teco", {**TECO, "quantizer": FSQ, "state_stride": 1}),
    Case("diffusers", family="kl"),
    Case("diffusers", {"statistics": "fitted"}, family="wan"),
    Case("diffusers", family="cogvideox"),
    Case("diffusers", family="ltx", decoder_looks_ahead=True),
)

DEFAULTS = ("vae", "vqvae", "vqgan", "magvit2", "teco")
"""Those that train, which are also learned from at their default options."""

_SAVED = tempfile.TemporaryDirectory(prefix="autoencoders")


@cache
def _model(family: str) -> str:
    from tiny_autoencoders import saved

    return str(saved(family, Path(_SAVED.name) / family))


def build(case: Case, seed: int = 0) -> Any:
    """With random weights none of which is zero, and statistics that are not 0 and 1: nothing hides behind a zero."""
    torch.manual_seed(seed)
    options = {**case.options, "model": _model(case.family)} if case.family else dict(case.options)
    tokenizer = compose.build_tokenizer(Part(name=case.name, options=options))
    with torch.no_grad():
        for parameter in tokenizer.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn_like(parameter))
        tokenizer.statistics.mean.add_(torch.linspace(-0.3, 0.3, tokenizer.channels))
        tokenizer.statistics.std.mul_(torch.linspace(0.5, 2.0, tokenizer.channels))
    return tokenizer


def settled(case: Case) -> Any:
    """`build` in eval mode, its codebook, where it learns one, taken from a batch."""
    tokenizer = build(case)
    with torch.no_grad():
        tokenizer.train().autoencode(video(tokenizer, 4, clips=2, seed=9), 0)
    return tokenizer.eval()


def video(tokenizer: Any, latents: int, *, clips: int = 1, seed: int = 1) -> torch.Tensor:
    """Smooth random clips [B, 3, T, H, W] of `latents` latent frames; every frame differs from its neighbours."""
    side = max(16, 2 * tokenizer.spatial_factor)
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(clips, 3, tokenizer.video_frames(latents), side // 4, side // 4, generator=generator) * 2 - 1
    return coarse.repeat_interleave(4, 3).repeat_interleave(4, 4)
