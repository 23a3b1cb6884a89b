"""No tokenizer at all: the pixels are the latent, so that a generator can be studied without reconstruction error."""

from __future__ import annotations

from typing import Literal

from einops import rearrange
from torch import Tensor

from components.contracts import Autoencoded
from components.video_tokenizer import State, VideoTokenizer
from zoo.component import Config, component


@component(
    cite=None, note="identity: pixels are the latent, by space-to-depth where spatial_factor > 1", gives={"continuous"}
)
class Pixels(VideoTokenizer):
    """z[c·f² + i·f + j, y, x] = video[c, f·y + i, f·x + j], normalised per channel: a bijection.

    Frame by frame, so causal, with nothing to train: stage 1 sees `trainable = False` and only fits the statistics.
    """

    class Config(Config):
        """The latent has 3·spatial_factor² channels."""

        spatial_factor: Literal[1, 2, 4, 8] = 1

    trainable = False

    def __init__(self, config: Config) -> None:
        factor = config.spatial_factor
        super().__init__(channels=3 * factor**2, spatial_factor=factor, temporal_factor=1)
        self.config = config

    def analyse(self, video_bcthw: Tensor, state: State | None = None) -> Tensor:
        """Squares of f·f pixels become channels."""
        f = self.spatial_factor
        return rearrange(video_bcthw, "b c t (h p) (w q) -> b (c p q) t h w", p=f, q=f)

    def synthesise(self, raw_bcfhw: Tensor, state: State | None = None) -> Tensor:
        """The inverse, exactly up to rounding."""
        f = self.spatial_factor
        return rearrange(raw_bcfhw, "b (c p q) t h w -> b c t (h p) (w q)", p=f, q=f).float()

    def autoencode(self, video_bcthw: Tensor, step: int) -> Autoencoded:
        """A zero loss that may be sent backward: there is nothing to learn."""
        self.check(video_bcthw)
        return Autoencoded(video_bcthw, video_bcthw, {"reconstruction": video_bcthw.new_zeros((), requires_grad=True)})
