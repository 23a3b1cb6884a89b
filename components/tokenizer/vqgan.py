"""The adversarial discrete tokenizer: VQ-GAN on single frames, or inflated to video with a causal time axis."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from components.causal_autoencoder import Decoder, Encoder, Shape, check_shape
from components.causal_conv import CausalResBlock
from components.contracts import Autoencoded, Quantizer
from components.critic_options import CriticOptions
from components.discriminator import discriminator
from components.frame_attention import FrameAttention, quiet
from components.quantizer_choice import SomeQuantizer
from components.video_tokenizer import State, VideoTokenizer
from zoo.component import component


@component(
    cite="esser2021vqgan,ge2022tats",
    note="VQ-GAN per frame, or inflated to causal 3-D; L1, perceptual and late adversarial terms",
    gives={"continuous", "discrete"},
)
class VQGAN(VideoTokenizer):
    """VQ-GAN (Esser et al. 2021): L = E|x - x̂| + perceptual + λ·0.8·hinge + |sg(z) - e|² + 0.25·|z - sg(e)|².

    With `temporal_factor` above 1 the same network is inflated to video, 3×3 kernels to 3×3×3 (as TATS, Ge et al.
    2022), but causally as in MAGVIT-v2, so that 1 + k·n frames stream. The stage adds the perceptual and adversarial
    terms. Departs: 0.25 stands where the paper has it (its code weighs the other term), dead codes are restarted unless
    told not to, steps up are sub-pixel shuffles, norms have 8 groups, squares of pixels may become channels at the
    door, and attention is at the coarsest level alone.

    The paper's size: ``spatial_factor: 16, patch: 1, width: 128, multipliers: [1, 1, 2, 2, 4], depth: 2, quantizer:
    {name: vq, codes: 1024, channels: 256, ema: false, restart: 0}``, or 16384 codes.
    """

    class Config(CriticOptions):
        """A 32×32 frame becomes 8×8 codes by default."""

        spatial_factor: Literal[2, 4, 8, 16] = 4
        temporal_factor: Literal[1, 2, 4] = Field(1, description="1: every frame by itself, nothing mixes in time")
        quantizer: SomeQuantizer = Field({"name": "vq", "ema": False}, description="the paper's learns by gradient")
        patch: Literal[1, 2, 4] | None = Field(
            None, description="side of the pixel squares that become channels at the door; None: spatial_factor up to 4"
        )
        width: int = Field(96, ge=8, le=1024, multiple_of=8, description="channels of the finest level")
        multipliers: tuple[int, ...] = Field((1, 2, 2, 4), min_length=1, description="of width, level by level")
        depth: int = Field(1, ge=1, le=8, description="residual blocks in each level")
        attention: bool = Field(True, description="within each picture of the coarsest level")
        perceptual: float = Field(1.0, ge=0.0, le=100.0, description="weight of the perceptual distance; 0 is none")
        adversarial: float = Field(
            0.8, ge=0.0, le=100.0, description="weight of the hinge GAN term; 0 is no discriminator"
        )

        @model_validator(mode="after")
        def _fits(self) -> VQGAN.Config:
            check_shape(self)
            return self

    def __init__(self, config: Config, quantizer: Quantizer) -> None:
        super().__init__(
            channels=quantizer.channels,
            spatial_factor=config.spatial_factor,
            temporal_factor=config.temporal_factor,
            training_latents=1 if config.temporal_factor == 1 else 3,
            quantizer=quantizer,
        )
        self.config = self.critic = config
        self.needs_discriminator = config.adversarial > 0
        shape = Shape.of(config)
        self.encoder = Encoder(shape, quantizer.channels)
        self.decoder = Decoder(shape, quantizer.channels)
        if config.attention:  # next to the codes, between two residual blocks
            self.encoder.layers.extend([FrameAttention(shape.widths[-1]), _block(shape)])
            self.decoder.layers = nn.ModuleList([_block(shape), FrameAttention(shape.widths[-1]), *self.decoder.layers])

    def analyse(self, video_bcthw: Tensor, state: State | None = None) -> Tensor:
        """What the quantiser is given; each layer of a stream keeps two frames, however long."""
        return self.encoder(video_bcthw, state).float()

    def synthesise(self, raw_bcfhw: Tensor, state: State | None = None) -> Tensor:
        """Raw latents to float32 video; each layer of a stream keeps two frames, however long."""
        return self.decoder(raw_bcfhw, state).float()

    def autoencode(self, video_bcthw: Tensor, step: int) -> Autoencoded:
        """Terms `reconstruction` and the quantiser's. No randomness of its own."""
        self.check(video_bcthw)
        chosen = self.quantizer(self.analyse(video_bcthw))
        made = self.synthesise(chosen.z)
        terms = {"reconstruction": F.l1_loss(made, video_bcthw), **chosen.terms}
        return Autoencoded(made, video_bcthw, terms, chosen.figures, chosen.indices)

    def discriminator(self) -> nn.Module:
        """Per frame where frames are on their own, else in three dimensions."""
        return discriminator(self.critic, space_time=self.temporal_factor > 1)

    @property
    def last_layer(self) -> Tensor:
        """Of the decoder."""
        return self.decoder.conv_out.weight


def _block(shape: Shape) -> CausalResBlock:
    """Beside the attention; like it, close to the identity at first."""
    width = shape.widths[-1]
    block = CausalResBlock(width, width, time_kernel=shape.time_kernel)
    quiet(block.conv_out)
    return block
