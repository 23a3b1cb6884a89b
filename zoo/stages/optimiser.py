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


def adamw(parameters: Iterable[nn.Parameter], settings: Any) -> dict[str, Any]:
    """What `configure_optimizers` returns. Weight decay touches matrices only, not biases or gains."""
    trained = [p for p in parameters if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": float(getattr(settings, "weight_decay", 0.0))},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW([group for group in groups if group["params"]], lr=float(settings.lr))
    steps, warmup = int(settings.steps), int(getattr(settings, "warmup", 0))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: learning_rate_factor(step, steps=steps, warmup=min(warmup, steps // 2))
    )
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
