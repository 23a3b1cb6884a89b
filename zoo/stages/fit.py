"""Runs one stage under Lightning: trainer, callbacks, loggers, exact resume, weights at the end."""

from __future__ import annotations

import contextlib
import logging
import resource
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch.utils.data import DataLoader

from zoo.checkpoint import (
    AtomicCheckpointIO,
    Interrupted,
    Keeper,
    NaNGuard,
    Preempted,
    check_owner,
    good_checkpoint,
)
from zoo.compiled import compile_regions
from zoo.errors import BadValue, UnmetNeed
from zoo.progress import say
from zoo.stages.callbacks import AverageWeights, Finishing, StepSeeds, TrainingProgress, sharded
from zoo.stages.determinism import deterministic_while_training
from zoo.stages.optimiser import as_settings
from zoo.stages.weights import WEIGHTS, read_weights, write_weights
from zoo.store import StageDir, StorageError, process_rank


def fit(
    stage: Any, batches: Any, stage_dir: StageDir, trainer_settings: Any, settings: Any, resume: bool = True
) -> dict[str, Any]:
    """Train `stage` to its last step unless `stage_dir` is done, write its weights, and return the facts of the run.

    Args:
        stage: a TokenizerStage or GeneratorStage; on return its modules hold the final (averaged) weights, in eval
            mode. What its `finish` returns joins the facts, and its `watchers`, if any, look on.
        batches: item `step` is that step's batch; has `dealt` (key of the recipe and number of what
            is dealt out over the processes), `steps`, `seed`, `rank` and `world`.
        trainer_settings: the recipe's `trainer`: accelerator, devices, strategy, precision, log_every,
            checkpoint_every.
        settings: the recipe's `train.<stage>`: steps, ema (0 for none), grad_clip (0 for none).
        resume: go on from the folder's last good checkpoint; False starts over.

    Raises:
        Preempted, Interrupted: after saving, on SIGTERM and Ctrl-C.
        UserError: TrainingDiverged, StorageError, BadCheckpoint.
    """
    settings, trainer_settings = as_settings(settings), as_settings(trainer_settings)
    with stage_dir.lock():
        if stage_dir.done and (stage_dir.path / WEIGHTS).exists():
            read_weights(stage_dir.path / WEIGHTS, stage.trained_modules())
            stage.eval()
            return stage_dir.facts()
        stage_dir.mark("running")
        try:
            with _quiet(), deterministic_while_training():
                facts = _run(stage, batches, stage_dir, trainer_settings, settings, resume)
        except BaseException as error:
            ended = _marked(stage_dir, error)
            if ended is error:
                raise
            raise ended from error
        stage_dir.mark("done", **facts)
        if process_rank() == 0:
            AtomicCheckpointIO().remove_checkpoint(stage_dir.path / "last.ckpt")
            say(f"{stage_dir.stage}: wrote {stage_dir.path / WEIGHTS}")
    if torch.distributed.is_initialized():
        torch.distributed.barrier()  # the other ranks read the weights next, which rank 0 alone writes
    return {**stage_dir.facts(), **facts}


def _marked(stage_dir: StageDir, error: BaseException) -> BaseException:
    """Write down how training ended; returns what to raise for it."""
    if isinstance(error, SIGTERMException):
        error = Preempted()
    elif isinstance(error, KeyboardInterrupt) or (isinstance(error, SystemExit) and error.code == 1):
        error = Interrupted()  # Lightning turns a second Ctrl-C into exit code 1
    state = {Preempted: "preempted", Interrupted: "interrupted"}.get(type(error), "failed")
    with contextlib.suppress(StorageError):
        stage_dir.mark(state, **({} if isinstance(error, SystemExit) else {"error": str(error)[:2000]}))  # type: ignore[arg-type]
    return error


def _run(
    stage: Any, batches: Any, stage_dir: StageDir, trainer_settings: Any, settings: Any, resume: bool
) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "steps": 0,
        "seconds": 0.0,
        "losses": {},
        "resumed_from": None,
        "parameters": sum(p.numel() for module in stage.trained_modules().values() for p in module.parameters()),
    }
    finishing = Finishing()
    if stage.trainable and settings.steps > 0:
        facts |= _train(stage, batches, stage_dir, trainer_settings, settings, resume, finishing)
    began = time.monotonic()
    stage.eval()
    batches.rank, batches.world = 0, 1
    stage.to(finishing.device)
    facts |= stage.finish(batches) or {}
    stage.to("cpu")
    facts["seconds"] += time.monotonic() - began
    if process_rank() == 0:
        metadata = {"stage": stage_dir.name, "steps": str(facts["steps"])}
        write_weights(stage_dir.path / WEIGHTS, stage.trained_modules(), metadata, gathered=finishing.gathered)
    return facts | {"peak_memory_bytes": peak_memory()}


def _train(
    stage: Any,
    batches: Any,
    stage_dir: StageDir,
    trainer_settings: Any,
    settings: Any,
    resume: bool,
    finishing: Finishing,
) -> dict[str, Any]:
    if not resume and process_rank() == 0:
        AtomicCheckpointIO().remove_checkpoint(stage_dir.path / "last.ckpt")
    start = good_checkpoint(stage_dir.path) if resume else None
    step = 0 if start is None else check_owner(stage_dir.path, start, stage_dir.name)
    if start is not None:
        say(f"{stage_dir.stage}: going on from step {step} ({start})")
    keeper = Keeper(stage_dir.path, stage_dir.name, every=int(getattr(trainer_settings, "checkpoint_every", 500)))
    ema = float(getattr(settings, "ema", 0.0))
    if ema and sharded(getattr(trainer_settings, "strategy", "auto")):
        raise UnmetNeed(
            "weight averaging keeps a whole copy of the model, which a sharded strategy forbids: set ema=0."
        )
    average = [AverageWeights(ema)] if ema else []
    progress = TrainingProgress(f"training {stage_dir.stage}", step, int(settings.steps))
    watchers = stage.watchers(batches, stage_dir.path) if hasattr(stage, "watchers") else []
    # Lightning clips for one optimiser only; a stage of two does it by hand.
    clip = float(getattr(settings, "grad_clip", 0.0)) if stage.automatic_optimization else 0.0
    trainer = _trainer(
        [*average, StepSeeds(batches.seed), NaNGuard(stage_dir.path), progress, *watchers, finishing, keeper],
        stage_dir.path / "logs" / f"from_{step:07d}",
        trainer_settings,
        settings,
        clip,
    )
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    for module in stage.trained_modules().values():
        compile_regions(module, getattr(trainer_settings, "compile", False))
    stage.train()
    # On a CPU a batch costs 1 to 8 ms of a step of hundreds, and a loader process takes a core from the training.
    workers = 0 if trainer.strategy.root_device.type == "cpu" else 2
    trainer.fit(stage, datamodule=StepData(batches, workers), ckpt_path=start, weights_only=True)
    return {
        "steps": trainer.global_step,
        "seconds": keeper.spent,
        "losses": progress.losses,
        "resumed_from": step if start is not None else None,
        "precision": trainer.precision,
        "device": _device_name(finishing.device),
        "devices": trainer.world_size,
    }


def _trainer(callbacks: list[Callback], logs: Path, trainer_settings: Any, settings: Any, clip: float) -> Trainer:
    accelerator = getattr(trainer_settings, "accelerator", "auto")
    on_cpu = accelerator == "cpu" or not torch.cuda.is_available()
    return Trainer(
        accelerator=accelerator,
        devices=getattr(trainer_settings, "devices", "auto"),
        strategy=getattr(trainer_settings, "strategy", "auto"),
        precision=resolve_precision(getattr(trainer_settings, "precision", "auto"), accelerator),
        max_steps=int(settings.steps),
        max_epochs=-1,
        gradient_clip_val=clip or None,
        deterministic=True if on_cpu else "warn",
        logger=_loggers(logs),
        log_every_n_steps=int(getattr(trainer_settings, "log_every", 50)),
        callbacks=callbacks,
        plugins=[AtomicCheckpointIO()],
        default_root_dir=logs,
        use_distributed_sampler=False,
        limit_val_batches=0,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def _loggers(logs: Path) -> list[Any]:
    """One folder per start, so that going on never overwrites what was logged before."""
    with contextlib.suppress(FileNotFoundError):
        (logs / "metrics.csv").unlink()  # of an earlier start from this very step
    root, name, version = logs.parent.parent, logs.parent.name, logs.name
    return [CSVLogger(root, name=name, version=version), TensorBoardLogger(root, name=name, version=version)]


def resolve_precision(precision: Any, accelerator: str) -> Any:
    """Of `auto`: bfloat16 autocast where a CUDA device has it, else float32 (a CPU without AMX is 40 times slower)."""
    if precision != "auto":
        return precision
    cuda = accelerator in {"auto", "gpu", "cuda"} and torch.cuda.is_available()
    return "bf16-mixed" if cuda and torch.cuda.is_bf16_supported() else "32-true"


# -------------------------------------------------------------------------------------------------------- data


class StepData(LightningDataModule):
    """The loader of a run: starts at the trainer's step, and deals the global batch out over the ranks."""

    def __init__(self, batches: Any, workers: int) -> None:
        super().__init__()
        self.batches, self.workers = batches, workers

    def train_dataloader(self) -> DataLoader[Any]:
        trainer = self.trainer
        assert trainer is not None
        key, count = self.batches.dealt
        if count % trainer.world_size:
            raise BadValue(
                f"{key}={count} cannot be dealt out evenly to {trainer.world_size} processes: choose a multiple of "
                "their number."
            )
        self.batches.rank, self.batches.world = trainer.global_rank, trainer.world_size
        steps = _Steps(trainer.global_step, self.batches.steps)
        pin = trainer.strategy.root_device.type == "cuda"
        return DataLoader(self.batches, sampler=steps, batch_size=None, num_workers=self.workers, pin_memory=pin)  # type: ignore[arg-type]


class _Steps:
    """Steps still to be made. It has no length on purpose: Lightning then counts steps, not places in an epoch."""

    def __init__(self, start: int, end: int) -> None:
        self.start, self.end = start, end

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.start, self.end))


# ------------------------------------------------------------------------------------------------- surroundings


def peak_memory() -> int:
    """Bytes: of the CUDA device where one was used, else of the whole process so far."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated()
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


_NOISE = (
    r".*does not have many workers.*",
    r".*sync_dist=True.*",
    r".*isinstance\(treespec, LeafSpec\).*",
    r"Experiment logs directory .* exists and is not empty.*",
)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence Lightning's tips and the warnings that do not apply here, each by its text; all others are shown."""
    loggers = [logging.getLogger(f"lightning.{part}") for part in ("pytorch", "fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for text in _NOISE:
                warnings.filterwarnings("ignore", message=text)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
