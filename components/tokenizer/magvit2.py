from __future__ import annotations

from typing import Annotated, Any, Literal

import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from components.causal_autoencoder import Decoder, Encoder, Shape, check_shape
from components.contracts import Autoencoded
from components.critic_options import CriticOptions
from components.discriminator import discriminator
from components.quantizer_choice import QuantizerChoice
from components.video_tokenizer import State, VideoTokenizer
from zoo.component import component


@component(
    cite="yu2024magvit2",
    note="causal 3-D CNN of 1 + k·n frames, lookup-free codes, adaptive norms in the decoder; CPU size by default",
    gives={"continuous", "discrete"},
)
class MAGVIT2(VideoTokenizer):
    """MAGVIT-v2 (Yu et al. 2024): x̂ = D(q(E(x))), L = ‖x - x̂‖² + entropy and commitment of q + perceptual + GAN.

    Ours pads the past with the first frame (the paper with zeros, a variant we leave out), normalises every frame by
    itself, tells the decoder's adaptive norms of each latent frame's mean features, and strides time last, not first.
    """

    class Config(CriticOptions):
        """A 32×32 frame becomes 8×8 codes, nine frames three by default, in about a million parameters.

        The paper's size: spatial_factor 8, patch 1, width 128, multipliers (1, 2, 2, 4), depth 4, quantizer
        {name: lfq, bits: 18}, critic_width 128, critic_depth 5; 17 frames of 128×128.
        """

        quantizer: QuantizerChoice = Field("lfq", description="lfq, fsq or vq, with its options; none is continuous")
        channels: int = Field(8, ge=1, le=64, description="latent channels of the continuous variant, quantizer none")
        spatial_factor: Literal[2, 4, 8, 16] = 4
        temporal_factor: Literal[1, 2, 4] = Field(4, description="1: every frame by itself, nothing mixes in time")
        patch: Literal[1, 2, 4] | None = Field(
            None, description="side of the pixel squares that become channels at the door; None: spatial_factor up to 4"
        )
        width: int = Field(40, ge=8, le=1024, multiple_of=8, description="channels of the finest level")
        multipliers: tuple[Annotated[int, Field(ge=1)], ...] = Field(
            (1,), min_length=1, description="of width, level by level; the last one repeats"
        )
        depth: int = Field(1, ge=1, le=8, description="residual blocks in each level")
        adaptive_norm: bool = Field(True, description="tell each level of the decoder of the latents by adaptive norms")
        l1: float = Field(0.0, ge=0.0, le=1.0, description="share of |error|; the rest is squared error")
        perceptual: float = Field(0.1, ge=0.0, le=100.0, description="weight of the perceptual distance; 0 is none")
        adversarial: float = Field(
            0.1, ge=0.0, le=100.0, description="weight of the hinge GAN term; 0 is no discriminator"
        )
        regulariser: Literal["none", "r1", "lecam"] = Field("lecam", description="of the discriminator")

        @model_validator(mode="after")
        def _fits(self) -> MAGVIT2.Config:
            check_shape(self)
            return self

    def __init__(self, config: Config, *, quantizer: Any | None = None) -> None:
        channels = config.channels if quantizer is None else quantizer.channels
        super().__init__(
            channels=channels,
            spatial_factor=config.spatial_factor,
            temporal_factor=config.temporal_factor,
            training_latents=1 if config.temporal_factor == 1 else 3,
            quantizer=quantizer,
        )
        self.config = self.critic = config
        self.needs_discriminator = config.adversarial > 0
        shape = Shape.of(config)
        self.encoder = Encoder(shape, channels)
        self.decoder = Decoder(shape, channels, style=config.width if config.adaptive_norm else 0)

    def analyse(self, video_bcthw: Tensor, state: State | None = None) -> Tensor:
        """Features [B, C, F, H, W] before any quantiser; each layer of a stream keeps two frames, however long."""
        return self.encoder(video_bcthw, state).float()

    def synthesise(self, raw_bcfhw: Tensor, state: State | None = None) -> Tensor:
        """Raw latents to float32 video; each layer of a stream keeps two frames, however long."""
        return self.decoder(raw_bcfhw, state).float()

    def autoencode(self, video_bcthw: Tensor, step: int) -> Autoencoded:
        """Terms `reconstruction` and those of the quantiser, whose figures are passed on."""
        self.check(video_bcthw)
        raw = self.analyse(video_bcthw)
        chosen = None if self.quantizer is None else self.quantizer(raw)
        made = self.synthesise(raw if chosen is None else chosen.z)
        squared = F.mse_loss(made, video_bcthw)
        terms = {"reconstruction": self.config.l1 * F.l1_loss(made, video_bcthw) + (1 - self.config.l1) * squared}
        if chosen is None:
            return Autoencoded(made, video_bcthw, terms)
        return Autoencoded(made, video_bcthw, {**terms, **chosen.terms}, chosen.figures, chosen.indices)

    def discriminator(self) -> nn.Module:
        """Blur-pooled; in three dimensions where frames are compressed together."""
        return discriminator(self.critic, space_time=self.temporal_factor > 1, blur=True)

    @property
    def last_layer(self) -> Tensor:
        """Of the decoder."""
        return self.decoder.conv_out.weight
