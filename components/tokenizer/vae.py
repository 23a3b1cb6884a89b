"""The continuous tokenizer: a convolutional KL autoencoder of single frames, or of video with a causal time axis."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from components.causal_autoencoder import Decoder, Encoder, Shape, check_shape
from components.contracts import Autoencoded
from components.critic_options import CriticOptions
from components.discriminator import discriminator
from components.video_tokenizer import State, VideoTokenizer
from zoo.component import component


@component(
    cite="kingma2014vae,rombach2022ldm,yu2024magvit2",
    note="causal 3-D convolutional KL-VAE; per-frame where temporal_factor is 1",
    gives={"continuous"},
)
class VAE(VideoTokenizer):
    """KL-VAE (Kingma & Welling 2014; Rombach et al. 2022): L = E|x - D(μ + σε)| + β·KL(N(μ, σ²) ‖ N(0, 1)).

    Causal in time as MAGVIT-v2 (Yu et al. 2024), but norms are per frame, there is no attention, and patches become
    channels at the door, which makes two CPU cores enough. Perceptual and adversarial terms are off unless weighted.
    """

    class Config(CriticOptions):
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
            check_shape(self)
            return self

    def __init__(self, config: Config) -> None:
        super().__init__(
            channels=config.channels,
            spatial_factor=config.spatial_factor,
            temporal_factor=config.temporal_factor,
            training_latents=1 if config.temporal_factor == 1 else 3,
        )
        self.config = self.critic = config
        self.needs_discriminator = config.adversarial > 0
        shape = Shape.of(config)
        self.encoder = Encoder(shape, 2 * config.channels)
        self.decoder = Decoder(shape, config.channels)

    def analyse(self, video_bcthw: Tensor, state: State | None = None) -> Tensor:
        """The posterior mean [B, C, F, H, W]; each layer of a stream keeps two frames, however long."""
        return self._posterior(video_bcthw, state)[0]

    def synthesise(self, raw_bcfhw: Tensor, state: State | None = None) -> Tensor:
        """Raw latents to float32 video; each layer of a stream keeps two frames, however long."""
        return self.decoder(raw_bcfhw, state).float()

    def autoencode(self, video_bcthw: Tensor, step: int) -> Autoencoded:
        """Terms `reconstruction` and `kl_term`; figure `kl` (nats a latent position).

        The posterior's noise is keyed by `step`, so that a resumed run repeats it.
        """
        self.check(video_bcthw)
        mean, log_variance = self._posterior(video_bcthw)
        generator = torch.Generator(mean.device).manual_seed(step)
        noise = torch.randn(mean.shape, generator=generator, device=mean.device, dtype=mean.dtype)
        made = self.synthesise(mean + (0.5 * log_variance).exp() * noise)
        squared = F.mse_loss(made, video_bcthw)
        reconstruction = self.config.l1 * F.l1_loss(made, video_bcthw) + (1 - self.config.l1) * squared
        kl = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum()
        # Both terms as sums over the batch, divided by the number of pixel values: the balance of latent diffusion.
        terms = {"reconstruction": reconstruction, "kl_term": self.config.kl_weight * kl / video_bcthw.numel()}
        return Autoencoded(made, video_bcthw, terms, {"kl": kl.detach() * self.channels / mean.numel()})

    def discriminator(self) -> nn.Module:
        """Per frame where frames are on their own, else in three dimensions."""
        return discriminator(self.critic, space_time=self.temporal_factor > 1)

    @property
    def last_layer(self) -> Tensor:
        """Of the decoder."""
        return self.decoder.conv_out.weight

    def _posterior(self, video_bcthw: Tensor, state: State | None = None) -> tuple[Tensor, Tensor]:
        """Raw mean and log variance, each [B, C, F, H, W]."""
        features = self.encoder(video_bcthw, state)
        # The posterior is float32 whatever the network runs in: exp and the KL want its range.
        mean, log_variance = features.float().chunk(2, dim=1)
        return mean, log_variance.clamp(-30.0, 20.0)
