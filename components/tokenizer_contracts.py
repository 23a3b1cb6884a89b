"""What a tokenizer and the quantiser inside it promise; letters in shapes as in contracts.py. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from components.carriers import Autoencoded, Latent, Quantised

if TYPE_CHECKING:
    from torch import Tensor


@runtime_checkable
class Quantizer(Protocol):
    """Continuous latents to a finite set of codes; an nn.Module built as ``Quantizer(config)``, used in a tokenizer."""

    channels: int
    """Of the latents it takes."""
    codes: int
    """How many there are."""
    factors: tuple[int, ...]
    """Sizes whose product is ``codes``, the last one fastest: token generators predict one digit per factor."""

    def forward(self, raw_bcfhw: Tensor) -> Quantised:
        """Raw latents [B, C, F, H, W] to the nearest codes; in training mode with loss terms and codebook updates."""
        ...

    def lookup(self, indices_bfhw: Tensor) -> Tensor:
        """long [B, F, H, W] to the codes [B, C, F, H, W]."""
        ...

    def unrounded(self, raw_bcfhw: Tensor) -> Tensor:
        """Raw latents where the codes live (bounded, normalised or projected as `forward` does), yet not codes."""
        ...

    def nearest(self, z_bcfhw: Tensor) -> Tensor:
        """Index long [B, F, H, W] of the code nearest to latents that live where the codes do, as sampled ones."""
        ...


@runtime_checkable
class Tokenizer(Protocol):
    """Video to latent and back; an nn.Module built as ``Tokenizer(config)``, normalisation inside its state dict.

    One with an option ``quantizer`` is built as ``Tokenizer(config, quantizer=…)``, None standing for ``none``.
    """

    kind: Literal["continuous", "discrete"]
    channels: int
    spatial_factor: int
    temporal_factor: int
    causal: bool
    """True when latent f depends on no video frame after the last one it covers."""
    trainable: bool
    """False where stage 1 has nothing to train and only measures the statistics."""
    needs_discriminator: bool
    """Whether stage 1 trains a discriminator beside it, made by ``discriminator()``."""
    training_latents: int
    """Latent frames of a training clip, where the recipe does not say: 1 where frames are on their own."""
    codes: int
    """Of the codebook; 0 for a continuous tokenizer."""
    factors: tuple[int, ...]
    """See Quantizer; () for a continuous tokenizer."""

    def latent_frames(self, frames: int) -> int:
        """How many whole latent frames `frames` video frames make (1 + (T-1)//k where the first frame is an image)."""
        ...

    def video_frames(self, latents: int) -> int:
        """How many video frames `latents` latent frames decode to: the lengths that `encode` takes."""
        ...

    def last_frame(self, latent: int) -> int:
        """Index of the last video frame that latent frame `latent` covers: its pose and time are that frame's."""
        ...

    def encode(self, video_bcthw: Tensor) -> Latent:
        """Video [B, 3, T, H, W] in [-1, 1], T = video_frames(F), to a normalised latent; deterministic (the mean).

        A discrete tokenizer gives codes as z, their indices, and what was quantised. Raises BadValue for other sizes.
        """
        ...

    def encode_stream(self, video_chunks: Iterable[Tensor]) -> Iterator[Latent]:
        """One ordered pass over pieces of a video, equal to encoding the whole (1e-5) where causal; memory is bounded.

        Pieces end where a latent frame ends: [B, 3, video_frames(n) - video_frames(m), H, W] for n > m.
        """
        ...

    def decode(self, latent: Latent) -> Tensor:
        """z (codes or not) to video [B, 3, T, H, W]; about [-1, 1], not clipped."""
        ...

    def decode_stream(self, z_chunks: Iterable[Tensor]) -> Iterator[Tensor]:
        """One ordered pass: chunks [B, C, f, H, W] to video chunks, equal to decoding the whole at once (1e-5)."""
        ...

    def autoencode(self, video_bcthw: Tensor, step: int) -> Autoencoded:
        """One training pass; its randomness is keyed by `step`, so that a resumed run repeats it."""
        ...

    def training_losses(self, video_bcthw: Tensor, step: int) -> dict[str, Tensor]:
        """Terms to log; ``loss`` is the sum of `autoencode`'s terms and the only one with a gradient."""
        ...

    def fit_statistics(self, videos: Iterable[Tensor]) -> None:
        """Measure per-channel mean and deviation of raw latents; call once, after training, before encode is used."""
        ...


@runtime_checkable
class DiscreteTokenizer(Tokenizer, Protocol):
    """What a tokenizer whose ``kind`` is discrete can besides."""

    def quantise(self, z_bcfhw: Tensor) -> Latent:
        """Any normalised latents to the nearest codes, normalised, and their indices."""
        ...

    def lookup(self, indices_bfhw: Tensor) -> Tensor:
        """long [B, F, H, W] to normalised codes [B, C, F, H, W]: the z of `encode` for its indices."""
        ...


@runtime_checkable
class AdversarialTokenizer(Tokenizer, Protocol):
    """What a tokenizer with perceptual or adversarial terms says besides; stage 1 reads it."""

    critic: Any
    """Its CriticOptions (components/critic_options.py): the weights, the start, the regulariser."""

    def discriminator(self) -> Any:
        """A new nn.Module: video [B, 3, T, H, W] to logits, real above fake."""
        ...

    @property
    def last_layer(self) -> Tensor:
        """The weight of the decoder's last layer, at which gradients of loss terms are weighed against each other."""
        ...
