"""A tokenizer judged alone: stage 1, then every clip of the suite there and back, and what its latents cost.

The same steps as zoo/evaluation.py with another middle: nothing is generated, so no generator is trained and no latents
are cached. Reconstructions lie in a stage folder of their own, with what was measured on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from benchmarks import harness, rate
from benchmarks import record as records
from benchmarks.contracts import Setting
from components.contracts import Clip
from zoo import compose, fitting
from zoo.evaluation import Evaluation
from zoo.progress import Bar
from zoo.rows import tokenizer_row
from zoo.stage_key import source_of
from zoo.store import DIGEST_KEY, StageDir, write_json

if TYPE_CHECKING:
    from torch import Tensor

    from benchmarks.contracts import Results


class Reconstruction(Evaluation):
    """One recipe's tokenizer judged by a suite that judges tokenizers."""

    main_axis: ClassVar[str] = "tokenizer"

    @cached_property
    def clips(self) -> list[Clip]:
        """The suite's episodes, as a tokenizer sees them: without poses and tours, by which nothing is told apart."""
        return [replace(clip, poses=None, actions=None, tour="") for clip in harness.episodes(self.suite, self.dataset)]

    @property
    def label(self) -> str:
        """The tokenizer, and what else the sweep set."""
        said = super().label
        known = "tokenizer" in self.recipe.point or said.startswith("tokenizer=")
        return said if known else f"tokenizer={self.recipe.part('tokenizer').name}, {said}"

    def check(self) -> None:
        """As for generators; and a clip that the tokenizer does not take is refused now where padding is off."""
        tokenizer = compose.build_tokenizer(self.recipe.part("tokenizer"))
        for shape in {clip.frames.shape[:3] for clip in self.clips}:
            fitting.fit(tokenizer, shape, pad=self.recipe.sample.pad)
        super().check()

    def train(self) -> None:
        """See that stage 1 is done, and load it."""
        _ = self.tokenizer

    @cached_property
    def tokenizer(self) -> Any:
        """The trained tokenizer, in eval mode, on the device of the recipe's trainer."""
        return self.pipeline.tokenizer().to(self.recipe.trainer.device)

    def reconstruct(self, video: np.ndarray) -> np.ndarray:
        """A true video uint8 [T, H, W, 3] there and back."""
        return Passes(self.tokenizer, pad=self.recipe.sample.pad).there_and_back(video)

    # ---------------------------------------------------------------------------------------------- keys and folders

    @cached_property
    def sample_key(self) -> dict[str, Any]:
        """Everything that influences the reconstructions."""
        suite = self.suite
        return {
            "tokenizer": self.pipeline.tokenizer_dir.name,
            "pad": self.recipe.sample.pad,
            "test": [self.dataset_reference.fingerprint, suite.split, suite.episodes, suite.frames],
            DIGEST_KEY: source_of("zoo.reconstruction", "zoo.fitting", "benchmarks.rate"),
        }

    @cached_property
    def sample_dir(self) -> StageDir:
        """Where the reconstructions are, or will be."""
        return self.pipeline.store.stage_dir("reconstruction", self.sample_key)

    @cached_property
    def controls_key(self) -> dict[str, Any]:
        """Without the tokenizer where no floor or ceiling looks through it, so that all tokenizers share them."""
        key = super().controls_key
        free = len(harness.without_tokenizer(self.suite, self.clips[0]).controls) == len(self.suite.controls)
        return {**key, "tokenizer": ""} if free else key

    # ------------------------------------------------------------------------------------------- there and back again

    def _generate(self) -> None:
        began = perf_counter()
        write_json(self.sample_dir.path / "recipe.json", self.recipe.to_dict())
        measured = self._measure()
        self.sample_dir.mark(
            "done",
            parents={"tokenizer": self.pipeline.tokenizer_dir.name},
            seconds=perf_counter() - began,
            seconds_per_frame=(measured.encode_seconds + measured.decode_seconds) / measured.frames,
            videos=len(self.clips),
            measured=asdict(measured),
        )
        self.seconds["sample"] = perf_counter() - began

    def _measure(self) -> rate.Measured:
        with Bar(f"reconstructing with {self.label}", len(self.clips)) as bar:

            def keep(place: int, video: np.ndarray) -> None:
                np.save(self._video(place), video)
                bar.advance()

            return measure(self.tokenizer, self.clips, pad=self.recipe.sample.pad, keep=keep)

    # --------------------------------------------------------------------------------------------------------- record

    def record(self, results: Results) -> records.Record:
        """What the row says, the costs of the latents beside the suite's metrics."""
        setting = Setting(self.suite.protocol, self.judged_on, self.suite.seed, self.suite.resamples)
        metrics, curves, per_video = rate.figures(self.measured, setting)
        told = replace(
            results,
            metrics=results.metrics | metrics,
            curves=results.curves | curves,
            per_video=results.per_video | per_video,
            versions=results.versions | {"metric.rate": rate.VERSION},
        )
        return tokenizer_row(self, told)

    @property
    def measured(self) -> rate.Measured:
        """What the reconstruction's folder keeps."""
        facts = dict(self.sample_dir.facts()["measured"])
        facts["shapes"] = [tuple(shape) for shape in facts["shapes"]]
        facts["by_bits"] = {int(bits): psnr for bits, psnr in facts["by_bits"].items()}
        return rate.Measured(**facts)


def measure(
    tokenizer: Any, clips: Sequence[Clip], *, pad: bool, keep: Callable[[int, np.ndarray], None] = lambda *_: None
) -> rate.Measured:
    """Every clip once, timed; then again with coarser latents, or with those before the quantiser.

    Args:
        keep: called with the place of each clip and its reconstruction.
    """
    names = [clip.episode or f"#{place}" for place, clip in enumerate(clips)]
    passes = Passes(tokenizer, pad)
    passes.there_and_back(clips[0].frames)  # the first pass of a process is slow, and no part of a timing
    passes.forget()
    psnr = {}
    for place, (name, clip) in enumerate(zip(names, clips, strict=True)):
        made = passes.there_and_back(clip.frames)
        keep(place, made)
        psnr[name] = passes.psnr(made, clip)
    found = rate.Measured(
        shapes=[clip.frames.shape[:3] for clip in clips],
        tokens=sum(z.shape[2] * z.shape[3] * z.shape[4] for z in passes.latents),
        channels=tokenizer.channels,
        psnr=psnr,
        encode_seconds=passes.encode_seconds,
        decode_seconds=passes.decode_seconds,
    )
    if tokenizer.kind == "discrete":
        used, entropy = rate.codebook(passes.indices)
        before = passes.psnr_of(passes.unquantised, clips, names)
        return replace(found, codes=tokenizer.codes, codes_used=used, entropy=entropy, unquantised=before)
    by_bits: dict[int, dict[str, float]] = {}
    for bits in range(1, rate.FINEST + 1):
        if bits not in rate.DRAWN and rate.coarse_enough(psnr, by_bits[bits - 1]):
            break
        by_bits[bits] = passes.psnr_of(at_precision(passes.latents, bits), clips, names)
    return replace(found, by_bits=by_bits)


@dataclass
class Passes:
    """Clips through one tokenizer, and what was seen of their latents; seconds count from pixels to pixels."""

    tokenizer: Any
    pad: bool

    def __post_init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Everything seen so far."""
        self.latents: list[Tensor] = []
        self.unquantised: list[Tensor] = []
        self.indices: list[np.ndarray] = []
        self.encode_seconds = self.decode_seconds = 0.0

    def there_and_back(self, video_thwc: np.ndarray) -> np.ndarray:
        """uint8 [T, H, W, 3] to the same shape, the latents remembered on the CPU."""
        import torch

        with torch.inference_mode():
            to, began = self._fit(video_thwc), perf_counter()
            parts = [_on_cpu(part) for part in fitting.encoded(self.tokenizer, [video_thwc], to, self._device)]
            self.encode_seconds += perf_counter() - began
            z = torch.cat([part.z for part in parts], dim=2)
            began = perf_counter()
            made = self._decode(z, to)
            self.decode_seconds += perf_counter() - began
        self.latents.append(z)
        if parts[0].indices is not None:
            self.indices.append(torch.cat([part.indices for part in parts], dim=1).numpy())
            self.unquantised.append(torch.cat([part.unquantised for part in parts], dim=2))
        return made

    def psnr_of(self, latents: Sequence[Tensor], clips: Sequence[Clip], names: Sequence[str]) -> dict[str, float]:
        """Of other latents of the same clips, decoded."""
        import torch

        with torch.inference_mode():
            each = zip(names, latents, clips, strict=True)
            return {name: self.psnr(self._decode(z, self._fit(clip.frames)), clip) for name, z, clip in each}

    @staticmethod
    def psnr(made: np.ndarray, clip: Clip) -> float:
        """Mean over frames, in dB: what the metric psnr says of the video."""
        from benchmarks.frame_error import psnr_per_frame

        return float(psnr_per_frame(made, np.asarray(clip.frames)).mean())

    def _decode(self, z_bcfhw: Tensor, to: fitting.Fit) -> np.ndarray:
        return np.concatenate(list(fitting.decoded(self.tokenizer, z_bcfhw, to, self._device)))

    def _fit(self, video_thwc: np.ndarray) -> fitting.Fit:
        frames, height, width = video_thwc.shape[:3]
        return fitting.fit(self.tokenizer, (frames, height, width), pad=self.pad)

    @property
    def _device(self) -> Any:
        import itertools

        first = next(itertools.chain(self.tokenizer.parameters(), self.tokenizer.buffers()), None)
        return "cpu" if first is None else first.device


def _on_cpu(latent: Any) -> Any:
    kept = {name: getattr(latent, name) for name in ("z", "unquantised", "indices")}
    return replace(latent, **{name: None if value is None else value.cpu() for name, value in kept.items()})


def at_precision(latents: Sequence[Tensor], bits: int) -> list[Tensor]:
    """Latents [1, C, F, h, w] on a uniform scale of 2^bits cells, one scale a channel over its range in all of them.

    A value becomes the centre of its cell, which is off by at most half a cell.
    """
    import torch

    flat = torch.cat([z.float().transpose(0, 1).flatten(1) for z in latents], dim=1)
    low, high = (end[None, :, None, None, None] for end in (flat.amin(1), flat.amax(1)))
    cell = ((high - low) / 2**bits).clamp_min(torch.finfo(torch.float32).tiny)
    made = []
    for z in latents:
        place = ((z.float() - low) / cell).floor().clamp(0, 2**bits - 1)
        made.append(torch.where(high > low, low + (place + 0.5) * cell, z.float()))
    return made
