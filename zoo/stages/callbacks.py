"""What a training run does besides its steps: averages weights, seeds each step, shows progress, gathers the result."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, WeightAveraging
from torch import Tensor

from zoo.progress import Bar


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


class Finishing(Callback):
    """Notes the device, and collects whole weights from a sharded strategy while it still can."""

    def __init__(self) -> None:
        self.device = torch.device("cpu")
        self.gathered: dict[str, Tensor] | None = None

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.device = trainer.strategy.root_device
        if sharded(trainer.strategy):
            self.gathered = trainer.strategy.lightning_module_state_dict()
