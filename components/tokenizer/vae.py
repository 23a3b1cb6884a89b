"""The continuous tokenizer: a convolutional KL autoencoder of single frames, or of video with a causal time axis."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from pydantic import Field, model_validator
from torch import Tensor, nn

from components.causal_autoencoder import Decoder, Encoder, Shape
from components.causal_conv import Stream
from components.contracts import Latent
from components.latent_statistics import LatentStatistics
from zoo.component import Config, component
from zoo.errors import BadValue


@component(
    cite="kingma2014vae,rombach2022ldm,yu2024magvit2",
    note="causal 3-D convolutional KL-VAE; per-frame where temporal_factor is 1",
    gives={"continuous"},
)
class VAE(nn.Module):
    """KL-VAE (Kingma & Welling 2014; Rombach et al. 2022): L = E|x - D(μ + σε)| + β·KL(N(μ, σ²) ‖ N(0, 1)).

    Causal in time as MAGVIT-v2 (Yu et al. 2024), but norms are per frame, there is no attention, no perceptual and no
    adversarial term, and patches become channels at the door, which makes two CPU cores enough.
    """

    class Config(Config):
        """A 32×32 frame becomes 8×8×4 numbers by default."""

        channels: int = Field(4, ge=1, le=64, description="latent channels")
        spatial_factor: Literal[2, 4, 8, 16] = 4
        temporal_factor: Literal[1, 2, 4] = Field(1, description="1: every frame by itself, nothing mixes in time")
        patch: Literal[1, 2, 4] | None = Field(
            None, description="side of the pixel squares that become channels at the door; None: spatial_factor up to 4"
        )
        width: int = Field(128, ge=8, le=1024, multiple_of=8, description="channels of the finest level")
        multipliers: tuple[int, ...] = Field((1, 2, 2, 4), min_length=1, description="of width, level by level")
        depth: int = Field(1, ge=1, le=8, description="residual blocks in each level")
        kl_weight: float = Field(1e-6, ge=0.0, le=1.0, description="of the KL sum, against the sum over pixels")
        l1: float = Field(0.0, ge=0.0, le=1.0, description="share of |error|; the rest is squared error")

        @model_validator(mode="after")
        def _fits(self) -> VAE.Config:
            if self.patch is not None and self.patch > self.spatial_factor:
                raise ValueError(f"patch {self.patch} exceeds spatial_factor {self.spatial_factor}: lower patch")
            if any(multiplier < 1 for multiplier in self.multipliers):
                raise ValueError("multipliers must be 1 or more")
            return self

    kind: Literal["continuous"] = "continuous"
    causal = True
    trainable = True
    needs_discriminator = False

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.channels = config.channels
        self.spatial_factor: int = config.spatial_factor
        self.temporal_factor: int = config.temporal_factor
        shape = Shape(
            spatial_factor=config.spatial_factor,
            temporal_factor=config.temporal_factor,
            patch=config.patch or min(4, config.spatial_factor),
            width=config.width,
            multipliers=config.multipliers,
            depth=config.depth,
        )
        self.encoder = Encoder(shape, 2 * config.channels)
        self.decoder = Decoder(shape, config.channels)
        self.statistics = LatentStatistics(config.channels)

    def latent_frames(self, frames: int) -> int:
        """1 + (T-1)//k whole latent frames; 0 for no frames."""
        return 1 + (frames - 1) // self.temporal_factor if frames > 0 else 0

    def video_frames(self, latents: int) -> int:
        """1 + k·(F-1): the first latent frame is an image."""
        return 1 + (latents - 1) * self.temporal_factor if latents > 0 else 0

    def last_frame(self, latent: int) -> int:
        """Latent f covers frames k·(f-1)+1 … k·f, and latent 0 frame 0 alone."""
        return latent * self.temporal_factor

    def encode(self, video_bcthw: Tensor) -> Latent:
        """Video [B, 3, T, H, W] in [-1, 1] to the normalised posterior mean.

        Raises BadValue where T is not 1 + k·n or a side is no multiple of the spatial factor.
        """
        mean, _ = self._posterior(video_bcthw)
        return Latent(self.statistics.normalise(mean), self.spatial_factor, self.temporal_factor)

    def decode(self, latent: Latent) -> Tensor:
        """To video [B, 3, T, H, W]; about [-1, 1], not clipped."""
        return self._decode(self.statistics.denormalise(latent.z))

    @torch.no_grad()
    def decode_stream(self, z_chunks: Iterable[Tensor]) -> Iterator[Tensor]:
        """Normalised chunks [B, C, f, H, W], in order, to video chunks; each layer keeps two frames, however long."""
        stream: Stream = {}
        for z in z_chunks:
            yield self._decode(self.statistics.denormalise(z), stream)

    def training_losses(self, video_bcthw: Tensor, step: int) -> dict[str, Tensor]:
        """`loss`, `reconstruction`, `kl` (nats a latent position) and `psnr` (dB, on [-1, 1]).

        The posterior's noise is keyed by `step`, so that a resumed run repeats it.
        """
        mean, log_variance = self._posterior(video_bcthw)
        generator = torch.Generator(mean.device).manual_seed(step)
        noise = torch.randn(mean.shape, generator=generator, device=mean.device, dtype=mean.dtype)
        made = self._decode(mean + (0.5 * log_variance).exp() * noise)
        squared = F.mse_loss(made, video_bcthw)
        reconstruction = self.config.l1 * F.l1_loss(made, video_bcthw) + (1 - self.config.l1) * squared
        kl = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum()
        # Both terms as sums over the batch, divided by the number of pixel values: the balance of latent diffusion.
        loss = reconstruction + self.config.kl_weight * kl / video_bcthw.numel()
        kl_per_position = kl.detach() * self.channels / mean.numel()
        psnr = 10 * torch.log10(4 / squared.detach().clamp_min(1e-10))
        return {"loss": loss, "reconstruction": reconstruction.detach(), "kl": kl_per_position, "psnr": psnr}

    @torch.no_grad()
    def fit_statistics(self, videos: Iterable[Tensor]) -> None:
        """Measure the posterior means of `videos`, each [B, 3, T, H, W]; see LatentStatistics.fit."""
        self.statistics.fit(self._posterior(video)[0] for video in videos)

    def _posterior(self, video_bcthw: Tensor) -> tuple[Tensor, Tensor]:
        """Raw mean and log variance, each [B, C, F, H, W]."""
        self._check(video_bcthw)
        features = (
            self._each_frame(self.encoder, video_bcthw) if self.temporal_factor == 1 else self.encoder(video_bcthw)
        )
        # The posterior is float32 whatever the network runs in: exp and the KL want its range.
        mean, log_variance = features.float().chunk(2, dim=1)
        return mean, log_variance.clamp(-30.0, 20.0)

    def _decode(self, raw_bcfhw: Tensor, stream: Stream | None = None) -> Tensor:
        if self.temporal_factor == 1:
            return self._each_frame(self.decoder, raw_bcfhw).float()
        return self.decoder(raw_bcfhw, stream).float()

    @staticmethod
    def _each_frame(network: nn.Module, x_bcthw: Tensor) -> Tensor:
        """Every frame as a clip of its own, so that not even the memory layout mixes time."""
        made = network(rearrange(x_bcthw, "b c t h w -> (b t) c 1 h w"))
        return rearrange(made, "(b t) c 1 h w -> b c t h w", b=x_bcthw.shape[0])

    def _check(self, video_bcthw: Tensor) -> None:
        frames, height, width = video_bcthw.shape[2:]
        if frames < 1 or (frames - 1) % self.temporal_factor:
            raise BadValue(f"the vae takes 1 + {self.temporal_factor}·n frames, not {frames}: crop or pad the clip.")
        if height % self.spatial_factor or width % self.spatial_factor:
            raise BadValue(
                f"{height}×{width} frames do not divide by the vae's spatial factor {self.spatial_factor}: "
                "choose another dataset.size or tokenizer.spatial_factor."
            )
