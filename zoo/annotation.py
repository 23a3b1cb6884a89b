"""Captions that a captioner wrote, with where they come from: a manifest that data sets of videos read. No torch.

path, caption, split, source, licence   as components/video_manifest.py reads them
caption_source                          synthetic | truth
captioner, weights, confidence          who said it, a hash of its weights, and how sure it was
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from zoo.errors import UserError
from zoo.progress import track
from zoo.store import atomic_file

if TYPE_CHECKING:
    from components.contracts import Clip
    from zoo.stages.cache import LatentEpisode

AT_ONCE = 64
"""Clips described together."""


@dataclass(frozen=True)
class Annotation:
    """One line of the manifest."""

    path: str
    """Relative to the folder of videos; of data sets without files, the episode."""
    caption: str
    split: str = ""
    source: str = ""
    licence: str = ""
    caption_source: Literal["synthetic", "truth"] = "synthetic"
    captioner: str = ""
    weights: str = ""
    """16 hex digits over the captioner's weights; empty where it has none."""
    confidence: float = 1.0


def describe(captioner: Any, clips: Iterable[Clip], total: int, *, name: str, weights: str) -> Iterator[Annotation]:
    """Annotations of the clips, in their order, with a progress bar; `name` and `weights` are the captioner's."""
    source: Literal["synthetic", "truth"] = "truth" if name == "oracle" else "synthetic"
    for some in _chunks(track(clips, "captioning", total)):
        for clip, said in zip(some, captioner.describe(some), strict=True):
            yield Annotation(
                clip.episode, said.caption, "", clip.source, clip.licence, source, name, weights, said.confidence
            )


def _chunks(clips: Iterable[Clip]) -> Iterator[list[Clip]]:
    some: list[Clip] = []
    for clip in clips:
        some.append(clip)
        if len(some) == AT_ONCE:
            yield some
            some = []
    if some:
        yield some


def write_manifest(path: Path, rows: Sequence[Annotation]) -> Path:
    """Write the annotations as CSV in UTF-8; the file appears whole or not at all."""
    names = [field.name for field in fields(Annotation)]
    with atomic_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows({**row.__dict__, "confidence": f"{row.confidence:.4f}"} for row in rows)
    return path


def read_manifest(path: Path) -> list[Annotation]:
    """What `write_manifest` wrote. Raises UserError for a file that is broken."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [Annotation(**{**line, "confidence": float(line["confidence"])}) for line in csv.DictReader(file)]  # type: ignore[arg-type]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is no manifest of captions ({error}): delete it and run again.") from error


@dataclass
class CaptionedLatents:
    """A cache of latent episodes of which a share says what the captioner said, in place of the true caption.

    Which episodes these are depends on (seed, episode) alone: an episode keeps its caption for the whole training. One
    without a true caption always takes the captioner's.
    """

    latents: Any
    said: Mapping[str, str]
    """Episode → the captioner's words."""
    share: float
    seed: int

    def __len__(self) -> int:
        return len(self.latents)

    def episode(self, index: int) -> LatentEpisode:
        """As the cache's own, with the caption to train on."""
        episode = self.latents.episode(index)
        synthetic = episode.caption is None or draw(self.seed, episode.name) < self.share
        return replace(episode, caption=self.said[episode.name]) if synthetic else episode

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "latents":  # not there yet while a copy is being unpickled
            raise AttributeError(name)
        return getattr(self.latents, name)


def draw(seed: int, episode: str) -> float:
    """A number in [0, 1) that (seed, episode) decides."""
    said = hashlib.sha256(f"{seed} {episode}".encode(errors="surrogateescape")).digest()
    return int.from_bytes(said[:8], "big") / 2**64
