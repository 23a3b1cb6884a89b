"""No tokenizer at all: the pixels are the latent, so that a generator can be studied without reconstruction error."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

import torch
from einops import rearrange
from torch import Tensor, nn

from components.contracts import Latent
from components.latent_statistics import LatentStatistics
from zoo.component import Config, component
from zoo.errors import BadValue


@component(
    cite=None, note="identity: pixels are the latent, by space-to-depth where spatial_factor > 1", gives={"continuous"}
)
class Pixels(nn.Module):
    """z[c·f² + i·f + j, y, x] = video[c, f·y + i, f·x + j], normalised per channel: a bijection.

    Frame by frame, so causal, with nothing to train: stage 1 sees `trainable = False` and only fits the statistics.
    """

    class Config(Config):
        """The latent has 3·spatial_factor² channels."""

        spatial_factor: Literal[1, 2, 4, 8] = 1

    kind: Literal["continuous"] = "continuous"
    causal = True
    trainable = False
    needs_discriminator = False
    temporal_factor = 1

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.spatial_factor: int = config.spatial_factor
        self.channels = 3 * config.spatial_factor**2
        self.statistics = LatentStatistics(self.channels)

    def latent_frames(self, frames: int) -> int:
        """One latent frame a frame."""
        return frames

    def video_frames(self, latents: int) -> int:
        """One frame a latent frame."""
        return latents

    def last_frame(self, latent: int) -> int:
        """Itself."""
        return latent

    def encode(self, video_bcthw: Tensor) -> Latent:
        """Video [B, 3, T, H, W] in [-1, 1] to [B, 3·f², T, H/f, W/f]; BadValue where f does not divide a side."""
        return Latent(self.statistics.normalise(self._unshuffle(video_bcthw)), self.spatial_factor, 1)

    def decode(self, latent: Latent) -> Tensor:
        """Back to the video [B, 3, T, H, W], exactly up to rounding."""
        raw = self.statistics.denormalise(latent.z)
        f = self.spatial_factor
        return rearrange(raw, "b (c p q) t h w -> b c t (h p) (w q)", p=f, q=f)

    @torch.no_grad()
    def decode_stream(self, z_chunks: Iterable[Tensor]) -> Iterator[Tensor]:
        """Chunks [B, C, f, H, W], in order, to video chunks; nothing is remembered between them."""
        for z in z_chunks:
            yield self.decode(Latent(z, self.spatial_factor, 1))

    def training_losses(self, video_bcthw: Tensor, step: int) -> dict[str, Tensor]:
        """A zero `loss` that may be sent backward: there is nothing to learn."""
        return {"loss": video_bcthw.new_zeros((), requires_grad=True)}

    @torch.no_grad()
    def fit_statistics(self, videos: Iterable[Tensor]) -> None:
        """Measure the channels of `videos`, each [B, 3, T, H, W]; see LatentStatistics.fit."""
        self.statistics.fit(self._unshuffle(video) for video in videos)

    def _unshuffle(self, video_bcthw: Tensor) -> Tensor:
        height, width = video_bcthw.shape[3:]
        f = self.spatial_factor
        if height % f or width % f:
            raise BadValue(
                f"{height}×{width} frames do not divide by the spatial factor {f}: "
                "choose another dataset.size or tokenizer.spatial_factor."
            )
        return rearrange(video_bcthw, "b c t (h p) (w q) -> b (c p q) t h w", p=f, q=f)
