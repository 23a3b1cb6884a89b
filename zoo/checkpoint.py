"""Checkpoints that survive: atomic files with a checksum and a predecessor, exact resume, a stop at the first NaN.

Lightning's own "atomic" save stages in $TMPDIR and moves, which a kill can cut short over the good file; it leaves
SIGTERM with exit code 0 and trains on through NaN. This file is what replaces those three.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, Checkpoint
from lightning.pytorch.plugins.io import CheckpointIO
from torch import Tensor

from zoo.errors import UserError
from zoo.progress import say
from zoo.stages.weights import BadCheckpoint, first_line
from zoo.store import atomic_file, writing

LAST = "last.ckpt"
PREVIOUS = "previous.ckpt"
CHECKSUMS = "checkpoints.sha256"


class TrainingDiverged(UserError):
    """A loss or gradient that is not finite; the message names step, sources and the last good checkpoint."""

    exit_code = 3


class Preempted(SystemExit):
    """SIGTERM arrived: the checkpoint is written, the process exits with 143."""

    def __init__(self) -> None:
        super().__init__(143)


class Interrupted(SystemExit):
    """Ctrl-C: the checkpoint is written, the process exits with 130; the same command goes on from there."""

    def __init__(self) -> None:
        super().__init__(130)


# ------------------------------------------------------------------------------------------- files that survive


def sha256(path: Path) -> str:
    """Of a file's bytes, in hex."""
    total = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            total.update(block)
    return total.hexdigest()


class AtomicCheckpointIO(CheckpointIO):
    """Writes beside the target, syncs, renames; keeps the previous file and the checksums of both.

    The checksums of old and new are written before the rename, so a kill at any point leaves at least one file that
    matches.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write `checkpoint` to `path`; what was there becomes ``previous.ckpt``. Raises StorageError when refused."""
        path = Path(path)
        with writing(path), atomic_file(path) as temporary:
            with open(temporary, "wb") as file:
                torch.save(checkpoint, file)
            kept = [other for other in (path, path.with_name(PREVIOUS)) if other.exists()]
            _write_checksums(path.parent, [sha256(temporary), *(sha256(other) for other in kept)])
            if path.exists():
                _keep(path, path.with_name(PREVIOUS))

    def load_checkpoint(self, path: Any, map_location: Any | None = None, weights_only: bool | None = None) -> Any:
        """Tensors and plain values only; nothing in the file can run code. Raises BadCheckpoint when it is broken."""
        try:
            return torch.load(path, map_location=map_location or "cpu", weights_only=True)
        except FileNotFoundError:
            raise
        except Exception as error:  # torch raises a different type for every way a zip can be broken
            raise BadCheckpoint(f"{path} is no readable checkpoint ({first_line(error)}): delete it.") from error

    def remove_checkpoint(self, path: Any) -> None:
        """Delete a checkpoint and its predecessor."""
        for other in (Path(path), Path(path).with_name(PREVIOUS), Path(path).with_name(CHECKSUMS)):
            other.unlink(missing_ok=True)


def _write_checksums(folder: Path, sums: list[str]) -> None:
    with atomic_file(folder / CHECKSUMS) as temporary:
        temporary.write_text("".join(f"{one}\n" for one in dict.fromkeys(sums)))


def _keep(path: Path, previous: Path) -> None:
    """`previous` becomes what `path` is, and `path` stays, so there is no moment without a file."""
    beside = previous.with_name(f".{previous.name}.{os.getpid()}.tmp")
    beside.unlink(missing_ok=True)
    try:
        os.link(path, beside)
    except OSError:  # a file system without hard links
        shutil.copy2(path, beside)
    os.replace(beside, previous)


def good_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint of a run folder whose bytes match their checksum; None where none was ever written.

    A broken newest one is passed over with a loud line. Raises BadCheckpoint where files exist and none is whole.
    """
    sums = folder / CHECKSUMS
    known = set(sums.read_text().split()) if sums.exists() else set()
    broken = []
    for path in (folder / LAST, folder / PREVIOUS):
        if not path.exists():
            continue
        if sha256(path) in known:
            if broken:
                say(f"WARNING: {broken[0]} is damaged (its checksum does not match); going on from {path.name} instead")
            return path
        broken.append(path)
    if broken:
        names = " and ".join(path.name for path in broken)
        raise BadCheckpoint(
            f"{names} in {folder} are damaged: delete {folder} to train this stage again from its start."
        )
    return None


# ------------------------------------------------------------------------------------------------- callbacks


class Keeper(Checkpoint):
    """Saves every `every` steps and every `seconds`, and when asked to stop; carries the stage's name and seconds.

    SIGTERM and the first Ctrl-C finish the step, save and stop; a second Ctrl-C stops at once, without saving.
    Lightning runs Checkpoint callbacks last, so the averaged weights of the step are already in.
    """

    POLL = 10
    """Steps between the agreements of several ranks on whether to save: a time differs from rank to rank."""

    def __init__(self, folder: Path, stage: str, *, every: int, seconds: float = 120.0) -> None:
        self.folder, self.stage, self.every, self.seconds = folder, stage, every, seconds
        self.spent = 0.0
        """Seconds of training, earlier runs of the same stage included."""
        self._asked: type[SystemExit] | None = None
        self._handlers: dict[int, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._began = self._saved = time.monotonic()
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._handlers[number] = signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._asked is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._asked = Interrupted if number == signal.SIGINT else Preempted
        say("stopping after this step" + (" (Ctrl-C again: at once)" if number == signal.SIGINT else ""))

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        step = trainer.global_step
        asked, late = self._asked, time.monotonic() - self._saved >= self.seconds
        if trainer.world_size > 1:
            asked, late = self._agree(trainer, step, asked, late)
        if asked is not None or late or step % self.every == 0 or step == trainer.max_steps:
            self.save(trainer)
        if asked is not None:
            raise asked

    def _agree(
        self, trainer: Trainer, step: int, asked: type[SystemExit] | None, late: bool
    ) -> tuple[type[SystemExit] | None, bool]:
        """What any rank wants, all want, decided on the same steps everywhere."""
        if step % self.POLL:
            return None, False
        codes = torch.tensor([(asked is not None) + (asked is Preempted), late], device=trainer.strategy.root_device)
        stop, late_anywhere = trainer.strategy.reduce(codes.float(), reduce_op="max").long().tolist()
        return (None, Interrupted, Preempted)[stop], bool(late_anywhere)

    def save(self, trainer: Trainer) -> None:
        """Write the checkpoint now."""
        now = time.monotonic()
        self.spent += now - self._began
        self._began = self._saved = now
        trainer.save_checkpoint(self.folder / LAST, weights_only=False)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.spent += time.monotonic() - self._began
        self.release()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self.release()

    def release(self) -> None:
        """Give the signals back to whoever had them."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint["zoo"] = {"stage": self.stage, "seconds": self.spent}

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self.spent = float(checkpoint["zoo"]["seconds"])


def check_owner(folder: Path, path: Path, stage: str) -> int:
    """The step at which a checkpoint was written. Raises BadCheckpoint where it is not of `stage`."""
    checkpoint = AtomicCheckpointIO().load_checkpoint(path)
    owner = checkpoint.get("zoo", {}).get("stage") if isinstance(checkpoint, dict) else None
    if owner != stage:
        raise BadCheckpoint(
            f"{path} belongs to another recipe (it says '{owner}', this is '{stage}'): delete {folder} and run again."
        )
    return int(checkpoint["global_step"])


class NaNGuard(Callback):
    """Stops at the first loss or gradient that is not finite, before it reaches the weights."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._batch: Any = None

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._batch = batch

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        if not bool(torch.isfinite(loss)):
            self._stop(trainer, f"the loss is {loss.item()}")

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        if getattr(trainer.precision_plugin, "scaler", None) is not None:
            return  # float16: the scaler expects infinite gradients and skips those steps itself
        gradients = [p.grad for p in pl_module.parameters() if p.grad is not None]
        if gradients and not bool(torch.isfinite(torch.nn.utils.get_total_norm(gradients))):
            self._stop(trainer, "a gradient is not finite")

    def _stop(self, trainer: Trainer, what: str) -> None:
        saved = self.folder / LAST
        last = f"the last good checkpoint is {saved}" if saved.exists() else "no checkpoint was written yet"
        sources = ", ".join(dict.fromkeys(getattr(self._batch, "episodes", ()))) or "unknown"
        raise TrainingDiverged(
            f"training diverged: {what} at step {trainer.global_step} (batch of {sources}); {last}; "
            "lower the learning rate (train.*.lr) or grad_clip, or look at those sources."
        )
