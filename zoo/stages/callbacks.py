"""What a training run does besides its steps: averages weights, seeds each step, shows progress, gathers the result."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, WeightAveraging
from torch import Tensor, nn

from zoo.progress import Bar
from zoo.stages.data import to_video


def sharded(strategy: Any) -> bool:
    """True for a strategy, by name or instance, under which no process holds the whole model."""
    name = (strategy if isinstance(strategy, str) else type(strategy).__name__).lower().replace("_", "")
    return any(part in name for part in ("fsdp", "deepspeed", "modelparallel"))


class AverageWeights(WeightAveraging):
    """w̄ ← d·w̄ + (1-d)·w after every step n, with d = min(decay, (1+n)/(10+n)), so that short runs forget their start.

    Buffers are copied, not averaged: counts and fitted statistics have no mean.
    """

    def __init__(self, decay: float) -> None:
        def average(averaged: list[Tensor], current: list[Tensor], count: Tensor) -> None:
            n = int(count)
            torch._foreach_lerp_(averaged, current, 1 - min(decay, (1 + n) / (10 + n)))  # pyright: ignore[reportPrivateImportUsage]

        super().__init__(use_buffers=False, multi_avg_fn=average)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        # Lightning skips `on_train_end` for a run that was resumed at its very last step.
        if trainer.global_step >= trainer.max_steps and self._average_model is not None:
            self._copy_average_to_current(pl_module)


class StepSeeds(Callback):
    """Seeds torch's global generators from (seed, step, rank), so dropout inside a network resumes exactly, too."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        state = np.random.SeedSequence([self.seed, trainer.global_step, trainer.global_rank, 2]).generate_state(1)
        torch.manual_seed(int(state[0]))


class TrainingProgress(Callback):
    """Draws the bar, and remembers the last logged losses."""

    def __init__(self, description: str, start: int, total: int) -> None:
        self.bar = Bar(description, total, start)
        self.losses: dict[str, float] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            self.bar.__enter__()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *args: Any) -> None:
        if trainer.is_global_zero:
            self.bar.advance(note=f"loss {float(outputs['loss']):.4g}")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.losses = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self._close(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._close(trainer)

    def _close(self, trainer: Trainer) -> None:
        if trainer.is_global_zero and hasattr(self.bar, "_began"):
            self.bar.__exit__()


class Reconstructions(Callback):
    """Writes fixed pieces of training video beside what the tokenizer makes of them, at five points of a training.

    Truth left, reconstruction right, one clip a row; with the weights of that step, at the end with the final ones.
    Nothing of the training notices: no random number, mode or codebook changes. Left out under a sharded strategy.
    """

    POINTS, CLIPS, STILLS = 5, 4, 16
    LEAST_SIDE = 128
    """Small frames are enlarged by a whole number up to about this side."""

    def __init__(self, batches: Any, folder: Path, steps: int) -> None:
        self.batches, self.folder = batches, folder
        self.at = {round(steps * k / self.POINTS) for k in range(1, self.POINTS)} - {0, steps}

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        if trainer.global_step in self.at:
            self.write(trainer, pl_module)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if trainer.global_step >= trainer.max_steps:
            self.write(trainer, pl_module)

    def write(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """``step_0000200.mp4`` in the folder, by rank 0."""
        if not trainer.is_global_zero or sharded(trainer.strategy):
            return
        from components.video_file import write_mp4

        tokenizer: Any = pl_module.tokenizer
        truth, fps = self._truth(tokenizer)
        with _undisturbed(tokenizer), trainer.precision_plugin.forward_context():
            weight = next(tokenizer.parameters(), torch.zeros(()))
            made = tokenizer.decode(tokenizer.encode(to_video(truth).to(pl_module.device, weight.dtype)))
        pixels = ((made.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).cpu()
        sheet = np.concatenate([truth, rearrange(pixels, "b c t h w -> b t h w c").numpy()], axis=3)
        rows = rearrange(sheet, "b t h w c -> t (b h) w c")
        scale = max(1, self.LEAST_SIDE // min(truth.shape[2:4]))
        write_mp4(self.folder / f"step_{trainer.global_step:07d}.mp4", rows, fps, scale=scale)

    def _truth(self, tokenizer: Any) -> tuple[np.ndarray, float]:
        """The starts of the first clips of the most frequent size, uint8 [B, T, H, W, 3], and frames per second.

        As long as a training clip; of tokenizers trained on single frames, some frames on end.
        """
        batches = self.batches
        chosen = max(batches.groups, key=len)[: self.CLIPS]
        frames = batches.frames
        if frames == 1:
            longest = min(batches.cache.shape(index)[0] for index in chosen)
            frames = tokenizer.video_frames(tokenizer.latent_frames(min(self.STILLS, longest)))
        truth = np.stack([batches.piece(index, 0, frames) for index in chosen])
        return truth, batches.cache.facts(chosen[0]).fps


@contextlib.contextmanager
def _undisturbed(module: nn.Module) -> Iterator[None]:
    """Eval mode without gradients; modes and random states are afterwards as before."""
    modes = {part: part.training for part in module.modules()}
    devices = list({p.device for p in module.parameters() if p.device.type == "cuda"})
    try:
        with torch.random.fork_rng(devices=devices), torch.no_grad():
            module.eval()
            yield
    finally:
        for part, training in modes.items():
            part.training = training


class Finishing(Callback):
    """Notes the device, and collects whole weights from a sharded strategy while it still can."""

    def __init__(self) -> None:
        self.device = torch.device("cpu")
        self.gathered: dict[str, Tensor] | None = None

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.device = trainer.strategy.root_device
        if sharded(trainer.strategy):
            self.gathered = trainer.strategy.lightning_module_state_dict()
