"""The optimiser both stages share: AdamW, linear warm-up, cosine decay to zero, all functions of the step alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn


def as_settings(settings: Any) -> Any:
    """`train.*` settings with attributes, from an object that has them or from a mapping."""
    return SimpleNamespace(**settings) if isinstance(settings, Mapping) else settings


def learning_rate_factor(step: int, *, steps: int, warmup: int) -> float:
    """What the peak learning rate is multiplied by at `step` (from 0): up over `warmup` steps, then half a cosine."""
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, steps - warmup))))


def _late_factor(own_step: int, start: int, *, steps: int, warmup: int) -> float:
    """The factor of an optimiser's `own_step` (from 0) that began at `start`: the training's, times its own warm-up."""
    common = learning_rate_factor(start + own_step, steps=steps, warmup=warmup)
    return common if start == 0 else common * min(1.0, (own_step + 1) / (warmup + 1))


def adamw(
    parameters: Iterable[nn.Parameter],
    settings: Any,
    *,
    lr: float | None = None,
    start: int = 0,
    betas: tuple[float, float] = (0.9, 0.999),
) -> dict[str, Any]:
    """What `configure_optimizers` returns. Weight decay touches matrices only, not biases or gains.

    Args:
        lr: peak learning rate; None takes that of the settings.
        start: the training's step that is this optimiser's first: it warms up from there and then follows the
            training's one cosine.
    """
    trained = [p for p in parameters if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": float(getattr(settings, "weight_decay", 0.0))},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    peak = float(settings.lr if lr is None else lr)
    optimizer = torch.optim.AdamW([group for group in groups if group["params"]], lr=peak, betas=betas)
    steps, warmup = int(settings.steps), int(getattr(settings, "warmup", 0))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: _late_factor(step, start, steps=steps, warmup=min(warmup, steps // 2))
    )
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
