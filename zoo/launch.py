"""Sweep points as processes of their own, where one point has several ranks.

Lightning starts rank 1 by running the command line again: that of a whole sweep would sweep again on every rank. So
each point's resolved recipe is written to a file of its own, and each point is a fresh command that names it.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from zoo.errors import UserError
from zoo.progress import say
from zoo.store import Store, atomic_file

if TYPE_CHECKING:
    from zoo.recipe import Recipe
    from zoo.settings import TrainerSettings


def several_ranks(trainer: TrainerSettings) -> bool:
    """Whether training would run as more than one process."""
    devices = trainer.devices
    if isinstance(devices, int) and devices >= 0:
        return devices > 1
    if isinstance(devices, list):
        return len(devices) > 1
    import torch

    return trainer.accelerator != "cpu" and torch.cuda.device_count() > 1


def write_point(recipe: Recipe, store: Store) -> Path:
    """The resolved recipe of one point as a recipe file, in a folder named by its hash."""
    plain = {key: value for key, value in recipe.to_dict().items() if key not in ("name", "point")}
    path = store.root / "points" / recipe.hash() / f"{recipe.name}.yaml"
    with atomic_file(path) as temporary:
        temporary.write_text(yaml.safe_dump(plain, sort_keys=True, allow_unicode=True), encoding="utf-8")
    return path


def apart(points: Sequence[Recipe], store: Store, reuse: str) -> None:
    """Run every point to its record, one after the other. Raises UserError for the first that fails."""
    for number, recipe in enumerate(points, start=1):
        path = write_point(recipe, store)
        say(f"point {number} of {len(points)}: {path}")
        code = subprocess.run([sys.executable, "-m", "zoo.run", f"recipe={path}", f"reuse={reuse}"]).returncode
        if code == 130:
            raise KeyboardInterrupt
        if code:
            raise UserError(f"point {number} ({path}) ended with exit code {code}; its own words stand above.")


def part_ways() -> None:
    """End the process group of a distributed training: generating and judging are rank 0's alone."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
