"""Stage 0, where it is asked for: trains a captioner on a curated set of captioned clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from components.captioned_frames import evenly
from zoo.caption_accuracy import accuracy
from zoo.errors import UnmetNeed
from zoo.stages.data import to_video
from zoo.stages.optimiser import adamw, as_settings
from zoo.stages.outside import Outside

if TYPE_CHECKING:
    from components.contracts import Clip
    from zoo.stages.cache import FrameCache


@dataclass(frozen=True)
class CaptionBatch:
    """Clips of one size with their captions."""

    video: Tensor
    """float [B, 3, T, H, W] in [-1, 1]."""
    captions: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.captions)

    def to(self, *args: Any, **kwargs: Any) -> CaptionBatch:
        return replace(self, video=self.video.to(*args, **kwargs))

    def pin_memory(self) -> CaptionBatch:
        return replace(self, video=self.video.pin_memory())


class CaptionBatches:
    """Item `step` is that step's CaptionBatch. A size is drawn first, by how many curated clips have it."""

    def __init__(
        self,
        cache: FrameCache,
        *,
        frames: int,
        clips: int,
        batch: int,
        steps: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        """Raises UnmetNeed where no clip has a caption.

        Args:
            frames: evenly spaced ones taken of every clip.
            clips: the curated set: so many captioned clips, the first of the split.
        """
        self.cache, self.frames, self.batch, self.steps, self.seed = cache, frames, batch, steps, seed
        self.rank, self.world = rank, world
        self.dealt = ("train.captioner.batch", batch)
        self.curated = [index for index in range(len(cache)) if cache.facts(index).caption][:clips]
        """Their numbers in the cache."""
        if not self.curated:
            raise UnmetNeed(
                "no training clip has a caption for the captioner to learn from: add a manifest with captions for some "
                "of them, or name a pretrained captioner (captioner.model=coca_ViT-B-32 captioner.pretrained=…)."
            )
        groups: dict[tuple[int, ...], list[int]] = {}
        for index in self.curated:
            groups.setdefault(cache.shape(index)[1:3], []).append(index)
        self._groups = [groups[size] for size in sorted(groups)]
        self._weights = np.array([len(group) for group in self._groups]) / len(self.curated)

    @property
    def captions(self) -> list[str]:
        """Those of the curated set."""
        return [self.cache.facts(index).caption or "" for index in self.curated]

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> CaptionBatch:
        rng = np.random.default_rng([self.seed, step])
        group = self._groups[rng.choice(len(self._groups), p=self._weights)]
        chosen = [group[number] for number in rng.integers(len(group), size=self.batch)]
        mine = chosen[self.rank :: self.world]
        video = np.stack([self.cache.frames(i)[evenly(self.cache.shape(i)[0], self.frames)] for i in mine])
        return CaptionBatch(to_video(video), tuple(self.cache.facts(index).caption or "" for index in mine))


class CaptionerStage(LightningModule):
    """Minimises the captioner's own loss; `finish` measures it on clips that it never saw."""

    def __init__(self, captioner: Any, settings: Any, held_out: Sequence[Clip]) -> None:
        """`settings`: train.captioner, as an object or a mapping; `held_out`: captioned clips to judge it by."""
        super().__init__()
        self.settings = as_settings(settings)
        self.trainable = bool(captioner.trainable)
        self.captioner = captioner if self.trainable else None
        self._captioner, self._held_out = Outside(captioner), Outside(held_out)

    def trained_modules(self) -> dict[str, nn.Module]:
        """What the stage's weight file holds; nothing of a captioner that came as it is."""
        return {} if self.captioner is None else {"captioner": self.captioner}

    def configure_optimizers(self) -> Any:
        return adamw(self.parameters(), self.settings)

    def training_step(self, batch: CaptionBatch, batch_idx: int) -> Tensor:
        loss = self._captioner.module.loss(batch.video, batch.captions)
        self.log("loss", loss.detach(), batch_size=len(batch))
        return loss

    @torch.no_grad()
    def finish(self, batches: Any) -> dict[str, Any]:
        """Facts for the stage's folder: caption accuracy on the held-out clips."""
        return {"accuracy": accuracy(self._captioner.module, self._held_out.module)}
