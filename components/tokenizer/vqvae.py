"""VideoGPT's tokenizer: clips of video to a grid of codes, by strided 3-D convolutions and axial attention."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from pydantic import Field, model_validator
from torch import Tensor, nn

from components.axial_attention import AxialResBlock, Places
from components.clip_stream import in_clips
from components.contracts import Autoencoded, Latent, Quantizer
from components.quantizer_choice import SomeQuantizer
from components.video_tokenizer import State, VideoTokenizer
from zoo.component import Config, component


@component(
    cite="vandenoord2017vqvae,yan2021videogpt",
    note="VideoGPT's VQ-VAE: strided 3-D convolutions and axial attention, clip by clip, not causal",
    gives={"continuous", "discrete"},
)
class VQVAE(VideoTokenizer):
    """VQ-VAE (van den Oord et al. 2017) in VideoGPT's shape (Yan et al. 2021): L = |x - x̂|²/σ² + 0.25·commitment.

    Departs: a video is cut into clips of `clip` frames (the last may be shorter) that are encoded and decoded each by
    itself, so latent f depends on all frames of its clip, later ones too, and on nothing else: any length goes, memory
    is that of one clip, and the latents of a context never look beyond it. Group norms stand for batch norms, features
    are told their place in the clip, and squares of pixels may become channels at the door.

    The paper's size: ``width: 240, depth: 4, heads: 2, patch: 1, quantizer: {name: vq, codes: 2048, channels: 256}``.
    """

    first_is_image = False
    causal = False

    class Config(Config):
        """The paper's 4×4×4 by default: 16 frames of 32×32 become 4×8×8 codes."""

        spatial_factor: Literal[2, 4, 8, 16] = 4
        temporal_factor: Literal[1, 2, 4] = 4
        quantizer: SomeQuantizer = "vq"
        clip: int = Field(16, ge=1, le=256, description="video frames that are encoded together, by themselves")
        patch: Literal[1, 2] | None = Field(
            None, description="side of the pixel squares that become channels at the door; None: 2; 1: the paper"
        )
        width: int = Field(64, ge=16, le=1024, multiple_of=16, description="channels of every level")
        depth: int = Field(2, ge=1, le=16, description="attention residual blocks on either side of the codes")
        heads: int = Field(2, ge=1, le=16, description="of each axial attention")
        variance: float = Field(0.06, gt=0.0, description="of pixels in [-0.5, 0.5], by which the error is divided")

        @model_validator(mode="after")
        def _fits(self) -> VQVAE.Config:
            if self.clip % self.temporal_factor:
                raise ValueError(f"clip {self.clip} is no multiple of temporal_factor {self.temporal_factor}")
            if self.width % self.heads:
                raise ValueError(f"width {self.width} is no multiple of the {self.heads} heads")
            return self

    def __init__(self, config: Config, quantizer: Quantizer) -> None:
        super().__init__(
            channels=quantizer.channels,
            spatial_factor=config.spatial_factor,
            temporal_factor=config.temporal_factor,
            training_latents=config.clip // config.temporal_factor,
            quantizer=quantizer,
        )
        self.config = config
        self.encoder = _Encoder(config, quantizer.channels)
        self.decoder = _Decoder(config, quantizer.channels)

    def analyse(self, video_bcthw: Tensor, state: State | None = None) -> Tensor:
        """What the quantiser is given, clip by clip; a piece of a stream must hold whole clips."""
        return torch.cat([self.encoder(clip).float() for clip in video_bcthw.split(self.config.clip, dim=2)], dim=2)

    def synthesise(self, raw_bcfhw: Tensor, state: State | None = None) -> Tensor:
        """Raw latents to float32 video, clip by clip; a piece of a stream must hold whole clips."""
        return torch.cat([self.decoder(clip).float() for clip in raw_bcfhw.split(self.training_latents, dim=2)], dim=2)

    def encode_stream(self, video_chunks: Iterable[Tensor]) -> Iterator[Latent]:
        """Pieces of any k·n frames to latents, clip by clip: each when its clip is complete, the rest at the end."""
        return super().encode_stream(in_clips(video_chunks, self.config.clip))

    def decode_stream(self, z_chunks: Iterable[Tensor]) -> Iterator[Tensor]:
        """Normalised chunks of any length to video, clip by clip: each when complete, the rest at the end."""
        return super().decode_stream(in_clips(z_chunks, self.training_latents))

    def autoencode(self, video_bcthw: Tensor, step: int) -> Autoencoded:
        """Terms `reconstruction` and the quantiser's. No randomness of its own."""
        self.check(video_bcthw)
        chosen = self.quantizer(self.analyse(video_bcthw))
        made = self.synthesise(chosen.z)
        # The paper's pixels lie in [-0.5, 0.5]: its squared error is a quarter of ours.
        error = F.mse_loss(made, video_bcthw) / (4 * self.config.variance)
        return Autoencoded(made, video_bcthw, {"reconstruction": error, **chosen.terms}, chosen.figures, chosen.indices)


def _strides(config: VQVAE.Config, patch: int) -> list[tuple[int, int, int]]:
    """Of each step down; time and space begin together."""
    time, space = config.temporal_factor.bit_length() - 1, (config.spatial_factor // patch).bit_length() - 1
    steps = [(2 if step < time else 1, 2 if step < space else 1) for step in range(max(time, space))]
    return [(t, s, s) for t, s in steps]


def _kernel(strides: tuple[int, int, int]) -> tuple[int, int, int]:
    """4 where a step strides, 3 where not: with one place of padding on either side both fit exactly."""
    t, h, w = (2 + stride for stride in strides)
    return t, h, w


class _Encoder(nn.Module):
    """Clip [B, 3, T, H, W] to [B, channels, T/k, H/f, W/f]."""

    def __init__(self, config: VQVAE.Config, channels: int) -> None:
        super().__init__()
        self.patch, width = config.patch or 2, config.width
        inputs, layers = 3 * self.patch**2, []
        for strides in _strides(config, self.patch):
            layers += [nn.Conv3d(inputs, width, _kernel(strides), strides, padding=1), nn.ReLU()]
            inputs = width
        layers += [nn.Conv3d(inputs, width, 3, padding=1), Places(width)]
        layers += [AxialResBlock(width, config.heads) for _ in range(config.depth)]
        layers += [nn.GroupNorm(8, width), nn.ReLU(), nn.Conv3d(width, channels, 1)]
        self.layers = nn.Sequential(*layers)

    def forward(self, video_bcthw: Tensor) -> Tensor:
        x = rearrange(video_bcthw, "b c t (h p) (w q) -> b (c p q) t h w", p=self.patch, q=self.patch)
        return self.layers(x)


class _Decoder(nn.Module):
    """Codes [B, channels, F, H/f, W/f] of a clip to [B, 3, k·F, H, W]: the encoder's mirror."""

    def __init__(self, config: VQVAE.Config, channels: int) -> None:
        super().__init__()
        self.patch, width = config.patch or 2, config.width
        pixels, strides = 3 * self.patch**2, list(reversed(_strides(config, self.patch)))
        layers: list[nn.Module] = [nn.Conv3d(channels, width, 1), Places(width)]
        layers += [AxialResBlock(width, config.heads) for _ in range(config.depth)]
        layers += [nn.GroupNorm(8, width), nn.ReLU()]
        for step in strides[:-1]:
            layers += [nn.ConvTranspose3d(width, width, _kernel(step), step, padding=1), nn.ReLU()]
        last = strides[-1] if strides else (1, 1, 1)
        layers += [nn.ConvTranspose3d(width, pixels, _kernel(last), last, padding=1)]
        self.layers = nn.Sequential(*layers)

    def forward(self, z_bcfhw: Tensor) -> Tensor:
        x = self.layers(z_bcfhw)
        return rearrange(x, "b (c p q) t h w -> b c t (h p) (w q)", p=self.patch, q=self.patch)
