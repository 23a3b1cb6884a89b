"""Stage 1: trains a tokenizer on pieces of video, then fits its latent statistics."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from zoo.stages.data import TokenizerBatch, TokenizerBatches
from zoo.stages.optimiser import adamw, as_settings


class TokenizerStage(LightningModule):
    """Minimises the tokenizer's own `training_losses`; a tokenizer without weights only gets its statistics."""

    STATISTICS_CLIPS = 256
    """Pieces of video, drawn after those of training, from which the latent statistics are measured."""

    def __init__(self, tokenizer: Any, settings: Any) -> None:
        """`settings`: train.tokenizer, as an object or a mapping."""
        super().__init__()
        self.tokenizer = tokenizer
        self.settings = as_settings(settings)

    @property
    def trainable(self) -> bool:
        """False where there is nothing to train."""
        has_weights = any(p.requires_grad for p in self.tokenizer.parameters())
        return has_weights and bool(getattr(self.tokenizer, "trainable", True))

    def trained_modules(self) -> dict[str, nn.Module]:
        """What the stage's weight file holds."""
        return {"tokenizer": self.tokenizer}

    def training_step(self, batch: TokenizerBatch, batch_idx: int) -> Tensor:
        losses = self.tokenizer.training_losses(batch.video, self.global_step)
        self.log_dict({name: value.detach() for name, value in losses.items()}, batch_size=len(batch))
        return losses["loss"]

    def configure_optimizers(self) -> Any:
        return adamw(self.tokenizer.parameters(), self.settings)

    @torch.no_grad()
    def finish(self, batches: TokenizerBatches) -> None:
        """Fit the latent statistics with the final weights, on the module's device."""
        self.tokenizer.eval()
        self.tokenizer.fit_statistics(self._videos(batches))

    def _videos(self, batches: TokenizerBatches) -> Iterator[Tensor]:
        count = max(1, -(-self.STATISTICS_CLIPS // batches.batch))
        for step in range(batches.steps, batches.steps + count):
            yield batches[step].video.to(self.device)
