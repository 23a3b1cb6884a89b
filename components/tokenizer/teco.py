"""The temporally consistent tokenizer: frames are coded given the frame before and decoded given all before them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from pydantic import Field, model_validator
from torch import Tensor, nn

from components.causal_autoencoder import Decoder, Encoder, Shape, check_shape
from components.causal_conv import CausalConv3d
from components.contracts import Autoencoded
from components.critic_options import CriticOptions
from components.discriminator import discriminator
from components.quantizer_choice import QuantizerChoice
from components.temporal_transformer import TemporalShape, TemporalState
from components.video_tokenizer import State, VideoTokenizer
from zoo.component import component


@component(
    cite="yan2023teco",
    note="codes a frame given the last one, decodes it given a temporal state of all before; continuous or VQ",
    gives={"continuous", "discrete"},
)
class TECO(VideoTokenizer):
    """TECO (Yan et al. 2023): z_t = E(x_{t-1}, x_t), h_t = H(z_{<t}), x̂_t = D(z_t, h_t), on a random share of frames.

    Departs from it: no MaskGit prior (the generator is another axis), pixels and no VQ-GAN before it, no quantiser
    unless chosen but a small KL as the vae's, no actions, and a history of bounded length, so that any video streams.

    As in the paper h_t sees z before t alone, a learned start token stands before the first latent and a learned start
    frame (here one colour, so that any size works) before the first frame; perceptual and adversarial terms are none.
    """

    class Config(CriticOptions):
        """A 32×32 frame becomes 8×8×4 numbers and a 4×4 temporal state by default.

        The paper's size for 64×64 frames of DMLab, with patches in the place of its VQ-GAN: ``{spatial_factor: 8,
        width: 256, multipliers: [1, 2], depth: 4, state_stride: 8, state_width: 1024, state_layers: 8, state_heads: 16,
        state_channels: 64, history: 300, drop: 0.9, quantizer: {name: vq, codes: 1024, channels: 64, projection: 32,
        l2: true, ema: false}}`` and ``train.tokenizer.frames: 300``. For Minecraft's 128×128: spatial_factor 16,
        depth 6, state_stride 4, state_layers 12 and 128 channels of both kinds.
        """

        quantizer: QuantizerChoice = Field(
            "none", description="none: continuous latents with a KL; or a quantiser, the paper's being vq"
        )
        channels: int = Field(4, ge=1, le=64, description="latent channels; a quantiser brings its own number")
        spatial_factor: Literal[2, 4, 8, 16] = 4
        patch: Literal[1, 2, 4] | None = Field(
            None, description="side of the pixel squares that become channels at the door; None: spatial_factor up to 4"
        )
        width: int = Field(112, ge=8, le=1024, multiple_of=8, description="channels of the finest level")
        multipliers: tuple[int, ...] = Field((1, 2, 2, 4), min_length=1, description="of width, level by level")
        depth: int = Field(1, ge=1, le=8, description="residual blocks in each level")
        state_stride: int = Field(2, ge=1, le=16, description="latent positions a side that one temporal token covers")
        state_width: int = Field(96, ge=8, le=4096, description="of the temporal transformer")
        state_layers: int = Field(2, ge=1, le=48, description="of the temporal transformer")
        state_heads: int = Field(4, ge=1, le=64, description="of the temporal transformer")
        state_channels: int = Field(16, ge=1, le=1024, description="of the temporal state at each latent position")
        history: int = Field(4, ge=1, le=4096, description="latent frames each layer of the transformer looks back at")
        drop: float = Field(0.5, ge=0.0, lt=1.0, description="share of a training clip's frames that is not decoded")
        kl_weight: float = Field(1e-6, ge=0.0, le=1.0, description="of the KL sum, against the sum over pixels")
        l1: float = Field(0.0, ge=0.0, le=1.0, description="share of |error|; the rest is squared error")

        @model_validator(mode="after")
        def _fits(self) -> TECO.Config:
            check_shape(self)
            if self.state_width % 4 or self.state_width % self.state_heads:
                raise ValueError(f"state_width {self.state_width} must divide by 4 and by state_heads")
            return self

    def __init__(self, config: Config, quantizer: Any | None = None) -> None:
        super().__init__(
            channels=config.channels if quantizer is None else quantizer.channels,
            spatial_factor=config.spatial_factor,
            temporal_factor=1,
            # Half of the frames of such a clip have a full history behind them, as nearly all of a long video do.
            training_latents=2 * config.history,
            quantizer=quantizer,
        )
        self.config = self.critic = config
        self.needs_discriminator = config.adversarial > 0
        shape = Shape.of(config)
        self.encoder = Encoder(shape, self.channels * (2 if quantizer is None else 1))
        # Its door is two frames wide: x_{t-1} and x_t.
        self.encoder.conv_in = CausalConv3d(6 * shape.patch**2, shape.widths[0], time_kernel=1)
        self.first = nn.Parameter(torch.zeros(3))
        self.temporal = TemporalState(
            TemporalShape(
                stride=config.state_stride,
                width=config.state_width,
                layers=config.state_layers,
                heads=config.state_heads,
                history=config.history,
            ),
            self.channels,
            config.state_channels,
        )
        self.decoder = Decoder(shape, self.channels + config.state_channels)

    def analyse(self, video_bcthw: Tensor, state: State | None = None) -> Tensor:
        """The posterior mean, or what the quantiser is given [B, C, T, H, W]; a stream keeps one frame."""
        features = self._features(video_bcthw, state)
        return features if self.quantizer is not None else features.chunk(2, dim=1)[0]

    def synthesise(self, raw_bcfhw: Tensor, state: State | None = None) -> Tensor:
        """Raw latents to float32 video; a stream keeps `history` frames of keys and values in each layer."""
        return self.decoder(self._told(raw_bcfhw, state)).float()

    def autoencode(self, video_bcthw: Tensor, step: int) -> Autoencoded:
        """Terms `reconstruction` and `kl_term` or the quantiser's; figure `kl` (nats a position) or the quantiser's.

        The posterior's noise and the frames that are decoded, of each clip its own, are keyed by `step`.
        """
        self.check(video_bcthw)
        generator = torch.Generator(video_bcthw.device).manual_seed(step)
        features = self._features(video_bcthw)
        z, indices, terms, figures = self._bottleneck(features, generator, video_bcthw.numel())
        frames = self.decoded_frames(len(video_bcthw), video_bcthw.shape[2], generator)
        made = self.decoder(_frames(self._told(z), frames)).float()
        target = _frames(video_bcthw, frames)
        squared = F.mse_loss(made, target)
        reconstruction = self.config.l1 * F.l1_loss(made, target) + (1 - self.config.l1) * squared
        return Autoencoded(made, target, {"reconstruction": reconstruction, **terms}, figures, indices)

    def decoded_frames(self, clips: int, frames: int, generator: torch.Generator) -> Tensor:
        """DropLoss: which frames of each clip are decoded in training, long [B, n], ascending; all equally likely.

        The paper draws with replacement and once for a batch; ours without, and for each clip, which varies less.
        """
        count = max(1, round((1 - self.config.drop) * frames))
        drawn = torch.rand(clips, frames, generator=generator, device=generator.device)
        return drawn.argsort(dim=1)[:, :count].sort(dim=1).values

    def discriminator(self) -> nn.Module:
        """Per frame: the frames decoded in training do not follow one another."""
        return discriminator(self.critic, space_time=False)

    @property
    def last_layer(self) -> Tensor:
        """Of the decoder."""
        return self.decoder.conv_out.weight

    def _features(self, video_bcthw: Tensor, state: State | None = None) -> Tensor:
        """What the encoder says of every frame, given the one before it: float32."""
        clips, _, _, height, width = video_bcthw.shape
        before = repeat(self.first.to(video_bcthw), "c -> b c 1 h w", b=clips, h=height, w=width)
        if state is not None:
            before = state.get(self.encoder, before)
            state[self.encoder] = video_bcthw[:, :, -1:].clone()
        pairs = torch.cat([torch.cat([before, video_bcthw[:, :, :-1]], dim=2), video_bcthw], dim=1)
        return self.encoder(pairs).float()

    def _told(self, raw_bcfhw: Tensor, state: State | None = None) -> Tensor:
        """What the decoder is told of every frame: its latent, and the state that the latents before it leave."""
        return torch.cat([raw_bcfhw, self.temporal(raw_bcfhw, state).to(raw_bcfhw.dtype)], dim=1)

    def _bottleneck(
        self, features: Tensor, generator: torch.Generator, pixels: int
    ) -> tuple[Tensor, Tensor | None, Mapping[str, Tensor], Mapping[str, Tensor]]:
        """Latents in training, their indices, terms and figures: codes, or a draw from the posterior with its KL."""
        if self.quantizer is not None:
            chosen = self.quantizer(features)
            return chosen.z, chosen.indices, chosen.terms, chosen.figures
        mean, log_variance = features.chunk(2, dim=1)
        log_variance = log_variance.clamp(-30.0, 20.0)
        noise = torch.randn(mean.shape, generator=generator, device=mean.device, dtype=mean.dtype)
        kl = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum()
        z = mean + (0.5 * log_variance).exp() * noise
        # Against sums over the pixels, as in the vae: the balance of latent diffusion.
        return (
            z,
            None,
            {"kl_term": self.config.kl_weight * kl / pixels},
            {"kl": kl.detach() * self.channels / z.numel()},
        )


def _frames(x_bcfhw: Tensor, frames_bn: Tensor) -> Tensor:
    """The frames [B, n] of each clip: [B, C, n, H, W]."""
    clips = rearrange(torch.arange(len(x_bcfhw), device=x_bcfhw.device), "b -> b 1")
    return rearrange(rearrange(x_bcfhw, "b c f h w -> b f c h w")[clips, frames_bn], "b n c h w -> b c n h w")
