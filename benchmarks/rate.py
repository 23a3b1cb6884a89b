"""What a tokenizer's latents cost and what their precision buys: bits a pixel, rate and distortion, codebook use.

Bits are counted plainly, without an entropy coder: a discrete token costs log₂ of the codebook, a continuous value the
bits of the coarsest uniform scale (one per channel, over its range in the suite's latents) at which PSNR falls by no
more than 0.1 dB. Numbers come from zoo/reconstruction.py; here they become figures of a record. Torch-free.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.contracts import Setting
from benchmarks.record import Curve, Metric, Part
from benchmarks.stats import mean_interval

VERSION = "1"
CURVE = "rate_distortion"
"""The curve whose t is bits a pixel, and whose mean is PSNR."""
DROP = 0.1
"""dB that a coarser scale may cost."""
DRAWN = range(1, 9)
"""Bits a value at which a continuous tokenizer's curve has its points."""
FINEST, FLOAT = 16, 32
"""Bits a value up to which a scale is looked for, and those of a value that no scale serves."""


@dataclass(frozen=True)
class Measured:
    """Sums over the suite's clips, and PSNR clip by clip (episode → dB); plain data, as a stage folder keeps it."""

    shapes: list[tuple[int, int, int]]
    """Frames, height and width of each clip, as it was given."""
    tokens: int
    """Places of the latent grids, padding included: what must be kept."""
    channels: int
    """Values at each place."""
    psnr: dict[str, float]
    """Of the reconstruction."""
    encode_seconds: float
    decode_seconds: float
    codes: int = 0
    """0: continuous."""
    codes_used: int = 0
    entropy: float = 0.0
    """Nats a token, of the shares of the codes."""
    unquantised: dict[str, float] = field(default_factory=dict)
    """Of discrete tokenizers: what is decoded from the latents before the quantiser."""
    by_bits: dict[int, dict[str, float]] = field(default_factory=dict)
    """Of continuous tokenizers: bits a value → PSNR."""

    @property
    def frames(self) -> int:
        """Video frames in all."""
        return sum(frames for frames, _, _ in self.shapes)

    @property
    def pixels(self) -> int:
        """Video pixels in all; a pixel is three values."""
        return sum(math.prod(shape) for shape in self.shapes)

    def rate(self, bits: float) -> float:
        """Bits a pixel at so many bits a token (discrete) or a value (continuous)."""
        return bits * self.tokens * (1 if self.codes else self.channels) / self.pixels


def codebook(indices: Sequence[np.ndarray]) -> tuple[int, float]:
    """How many codes occur, and the entropy of their shares in nats: its exponential is the perplexity."""
    counts = np.unique(np.concatenate([np.asarray(one).ravel() for one in indices]), return_counts=True)[1]
    shares = counts / counts.sum()
    return len(counts), float(-(shares * np.log(shares)).sum())


def coarse_enough(psnr: Mapping[str, float], at: Mapping[str, float]) -> bool:
    """Whether the mean over videos has fallen by no more than `DROP`."""
    return float(np.mean(list(at.values()))) >= float(np.mean(list(psnr.values()))) - DROP


def needed_bits(measured: Measured) -> int:
    """Bits of a token, or of a value at the coarsest scale that serves."""
    serve = [bits for bits, psnr in sorted(measured.by_bits.items()) if coarse_enough(measured.psnr, psnr)]
    return serve[0] if serve else FLOAT


def figures(
    measured: Measured, setting: Setting
) -> tuple[dict[str, Metric], dict[str, Curve], dict[str, dict[str, float]]]:
    """Metrics, curves and values per video; none of the metrics is ranked, since each is a price or an explanation."""
    bits = math.log2(measured.codes) if measured.codes else needed_bits(measured)
    frames = measured.frames
    said: dict[str, tuple[float, str, str]] = {
        "bits_per_pixel": (measured.rate(bits), "", f"continuous: uniform scale, {DROP} dB; discrete: log2 codes"),
        "latent_values": (measured.tokens * measured.channels / frames, "a frame", ""),
        "latent_tokens": (measured.tokens / frames, "a frame", ""),
        "encode_fps": (frames / measured.encode_seconds, "frames/s", "a timing, clip by clip"),
        "decode_fps": (frames / measured.decode_seconds, "frames/s", "a timing, clip by clip"),
    }
    if measured.codes:
        said["codebook_use"] = (measured.codes_used / measured.codes, "", "share of all codes that occur")
        said["perplexity"] = (math.exp(measured.entropy), "codes", "")
    metrics = {name: _plain(name, *figure, measured, setting) for name, figure in said.items()}
    per_video: dict[str, dict[str, float]] = {}
    if measured.codes:
        loss = {episode: measured.unquantised[episode] - value for episode, value in measured.psnr.items()}
        per_video["quantisation_loss"] = loss
        whole = _part(list(loss.values()), setting)
        key = setting.key("quantisation_loss", VERSION, measured.shapes, before_minus_after="PSNR")
        metrics["quantisation_loss"] = Metric(**whole.model_dump(), higher_is_better=None, key=key, unit="dB")
    return metrics, {CURVE: _curve(measured, bits, setting)}, per_video


def _part(values: Sequence[float], setting: Setting) -> Part:
    """Mean over videos, with its interval."""
    known = np.asarray(values, dtype=np.float64)
    return Part(value=float(known.mean()), n=known.size, interval=mean_interval(known, setting.resamples, setting.seed))


def _plain(name: str, value: float, unit: str, how: str, measured: Measured, setting: Setting) -> Metric:
    key = setting.key(name, VERSION, measured.shapes, **({"how": how} if how else {}))
    return Metric(value=float(value), n=len(measured.shapes), higher_is_better=None, key=key, unit=unit)


def _curve(measured: Measured, bits: float, setting: Setting) -> Curve:
    """One point of a discrete tokenizer; of a continuous one a point for each of `DRAWN`."""
    points = {bits: measured.psnr} if measured.codes else {b: measured.by_bits[b] for b in DRAWN}
    rates = [measured.rate(b) for b in points]
    found = [_part(list(psnr.values()), setting) for psnr in points.values()]
    ends = [figure.interval or (None, None) for figure in found]
    return Curve(
        t=rates,
        mean=[figure.value for figure in found],
        lo=[low for low, _ in ends],
        hi=[high for _, high in ends],
        unit="dB",
        videos_t=rates,
        videos={episode: [psnr[episode] for psnr in points.values()] for episode in measured.psnr},
    )
