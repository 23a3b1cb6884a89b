"""What every tokenizer of this zoo shares: frame counts, size checks, normalisation, the quantiser between two halves.

A tokenizer says how it analyses a video into raw latents, how it makes a video of them, and what it minimises; this
class makes the contract of it. Raw latents are those before normalisation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from components.contracts import Autoencoded, Latent, Quantizer
from components.latent_statistics import LatentStatistics
from zoo.errors import BadValue

State = dict[Any, Any]
"""What one streaming pass over one video remembers between its pieces; start with an empty one."""


class VideoTokenizer(nn.Module):
    """The contract of contracts.Tokenizer, given `analyse`, `synthesise` and `autoencode`.

    With `first_is_image` the first latent frame is one video frame and every other covers k: 1 + k·n frames. Without
    it every latent frame covers k: k·n frames.
    """

    kind: Literal["continuous", "discrete"] = "continuous"
    causal = True
    trainable = True
    needs_discriminator = False
    first_is_image = True

    def __init__(
        self,
        *,
        channels: int,
        spatial_factor: int,
        temporal_factor: int,
        training_latents: int = 1,
        quantizer: Any | None = None,
    ) -> None:
        super().__init__()
        self.channels, self.spatial_factor, self.temporal_factor = channels, spatial_factor, temporal_factor
        self.training_latents = training_latents
        self.quantizer: Any = quantizer
        if quantizer is not None:
            self.kind = "discrete"
            assert isinstance(quantizer, Quantizer)
        self.codes: int = 0 if quantizer is None else quantizer.codes
        self.factors: tuple[int, ...] = () if quantizer is None else quantizer.factors
        self.statistics = LatentStatistics(channels)

    # ------------------------------------------------------------------------------------------- to be given

    def analyse(self, video_bcthw: Tensor, state: State | None = None) -> Tensor:
        """Video to raw latents [B, C, F, H, W] before any quantiser; with `state`, the next piece of a stream."""
        raise TypeError(f"{type(self).__name__} does not say how it analyses a video")

    def synthesise(self, raw_bcfhw: Tensor, state: State | None = None) -> Tensor:
        """Raw latents to float32 video [B, 3, T, H, W]; with `state`, the next piece of a stream."""
        raise TypeError(f"{type(self).__name__} does not say how it makes a video")

    def autoencode(self, video_bcthw: Tensor, step: int) -> Autoencoded:
        """See contracts.Tokenizer."""
        raise TypeError(f"{type(self).__name__} does not say what it minimises")

    # ------------------------------------------------------------------------------------------ frame counts

    def latent_frames(self, frames: int) -> int:
        """1 + (T-1)//k whole latent frames, or T//k where the first is no image; 0 for no frames."""
        if not self.first_is_image:
            return frames // self.temporal_factor
        return 1 + (frames - 1) // self.temporal_factor if frames > 0 else 0

    def video_frames(self, latents: int) -> int:
        """1 + k·(F-1), or k·F where the first is no image."""
        if not self.first_is_image:
            return latents * self.temporal_factor
        return 1 + (latents - 1) * self.temporal_factor if latents > 0 else 0

    def last_frame(self, latent: int) -> int:
        """The last video frame that latent frame `latent` covers."""
        return self.video_frames(latent + 1) - 1

    # --------------------------------------------------------------------------------------------- there and back

    def encode(self, video_bcthw: Tensor) -> Latent:
        """Video [B, 3, T, H, W] in [-1, 1] to its normalised latent; see contracts.Tokenizer.

        Raises BadValue where T is no valid length or a side is no multiple of the spatial factor.
        """
        self.check(video_bcthw)
        return self._latent(self.analyse(video_bcthw))

    @torch.no_grad()
    def encode_stream(self, video_chunks: Iterable[Tensor]) -> Iterator[Latent]:
        """Pieces of a video, in order, to their latents; see contracts.Tokenizer."""
        state: State = {}
        for number, chunk in enumerate(video_chunks):
            self.check(chunk, first=number == 0)
            yield self._latent(self.analyse(chunk, state))

    def decode(self, latent: Latent) -> Tensor:
        """To video [B, 3, T, H, W]; about [-1, 1], not clipped."""
        return self.synthesise(self.statistics.denormalise(latent.z))

    @torch.no_grad()
    def decode_stream(self, z_chunks: Iterable[Tensor]) -> Iterator[Tensor]:
        """Normalised chunks [B, C, f, H, W], in order, to video chunks."""
        state: State = {}
        for z in z_chunks:
            yield self.synthesise(self.statistics.denormalise(z), state)

    def quantise(self, z_bcfhw: Tensor) -> Latent:
        """Any normalised latents to the nearest codes; a continuous tokenizer gives them back as they are."""
        raw = self.statistics.denormalise(z_bcfhw.float())
        if self.quantizer is None:
            return self._latent(raw)
        # Such latents live where the codes do, so what the quantiser does before it chooses is not done again.
        indices = self.quantizer.nearest(raw)
        return Latent(self.lookup(indices), self.spatial_factor, self.temporal_factor, indices, z_bcfhw)

    def lookup(self, indices_bfhw: Tensor) -> Tensor:
        """long [B, F, H, W] to normalised codes [B, C, F, H, W]."""
        return self.statistics.normalise(self.quantizer.lookup(indices_bfhw))

    def _latent(self, raw_bcfhw: Tensor) -> Latent:
        raw = raw_bcfhw.float()
        if self.quantizer is None:
            return Latent(self.statistics.normalise(raw), self.spatial_factor, self.temporal_factor)
        chosen = self.quantizer(raw)
        z, normal = self.statistics.normalise(chosen.z), self.statistics.normalise(self.quantizer.unrounded(raw))
        return Latent(z, self.spatial_factor, self.temporal_factor, chosen.indices, normal)

    # ------------------------------------------------------------------------------------------------- training

    def training_losses(self, video_bcthw: Tensor, step: int) -> dict[str, Tensor]:
        """`loss`, every term of it, the tokenizer's figures and `psnr` (dB, on [-1, 1])."""
        return summed(self.autoencode(video_bcthw, step))

    @torch.no_grad()
    def fit_statistics(self, videos: Iterable[Tensor]) -> None:
        """Measure the latents of `videos`, each [B, 3, T, H, W]; codes where there is a quantiser."""

        def raw(video: Tensor) -> Tensor:
            self.check(video)
            made = self.analyse(video).float()
            return made if self.quantizer is None else self.quantizer(made).z

        self.statistics.fit(raw(video) for video in videos)

    # --------------------------------------------------------------------------------------------------- checks

    @property
    def name(self) -> str:
        """Its key in a recipe."""
        return type(self).__module__.rpartition(".")[2]

    def check(self, video_bcthw: Tensor, *, first: bool = True) -> None:
        """Raise BadValue unless `encode` takes such a video; pieces of a stream after the first are k·n long."""
        frames, height, width = video_bcthw.shape[2:]
        k, ahead = self.temporal_factor, 1 if self.first_is_image and first else 0
        if frames < 1 or (frames - ahead) % k:
            wanted = f"1 + {k}·n" if ahead else f"{k}·n"
            raise BadValue(f"the {self.name} takes {wanted} frames, not {frames}: crop or pad the clip.")
        if height % self.spatial_factor or width % self.spatial_factor:
            raise BadValue(
                f"{height}×{width} frames do not divide by the {self.name}'s spatial factor {self.spatial_factor}: "
                "choose another dataset.size or tokenizer.spatial_factor."
            )


def summed(made: Autoencoded, further: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
    """Terms and figures of a training pass, detached, with their sum as `loss`; `further` terms are added to it."""
    terms = {**made.terms, **(further or {})}
    loss = torch.stack([term.float() for term in terms.values()]).sum()
    squared = (made.video.detach().float() - made.target).square().mean()
    psnr = 10 * torch.log10(4 / squared.clamp_min(1e-10))
    logged = {name: term.detach() for name, term in {**terms, **made.figures}.items()}
    return {"loss": loss, **logged, "psnr": psnr}
