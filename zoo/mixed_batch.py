"""A batch of latents of mixed sizes and lengths that nobody trained on: random numbers in the shapes of true clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from components.contracts import Condition, Window
from components.frame_runs import rows_of

if TYPE_CHECKING:
    from components.contracts import Clip

OBSERVED = 0.25
"""Share of a clip's frames that are given, rounded down."""


@dataclass(frozen=True)
class MixedBatch:
    """What one network call is given, and what it should say."""

    zs: tuple[Tensor, ...]
    """[C, F_b, H_b, W_b]."""
    targets: tuple[Tensor, ...]
    window: Window
    condition: Condition

    def __len__(self) -> int:
        return len(self.zs)

    def of(self, members: Sequence[int]) -> MixedBatch:
        """Some of the clips, the window as long as the longest of them."""
        rows = list(members)
        frames = max(self.zs[b].shape[1] for b in rows)
        zs, targets = (tuple(part[b] for b in rows) for part in (self.zs, self.targets))
        return MixedBatch(zs, targets, rows_of(self.window, rows, frames), rows_of(self.condition, rows, frames))

    def to(self, device: str) -> MixedBatch:
        """On another device."""
        zs, targets = (tuple(one.to(device) for one in part) for part in (self.zs, self.targets))
        return MixedBatch(zs, targets, moved(self.window, device), moved(self.condition, device))

    def by_size(self) -> list[MixedBatch]:
        """Batches of clips of one size and length."""
        groups: dict[torch.Size, list[int]] = {}
        for b, z in enumerate(self.zs):
            groups.setdefault(z.shape, []).append(b)
        return [self.of(members) for members in groups.values()]


def moved(told: Any, device: str) -> Any:
    """A dataclass with its tensors on another device."""
    values = {each.name: getattr(told, each.name) for each in fields(told)}
    return replace(told, **{name: value.to(device) for name, value in values.items() if isinstance(value, Tensor)})


def lengths(count: int, longest: int, seed: int) -> list[int]:
    """Video frames of each clip, 1 … longest, the first clip being the longest."""
    drawn = np.random.default_rng(seed).integers(1, longest + 1, count)
    return [longest, *(int(n) for n in drawn[1:])]


def mixed_batch(clips: Sequence[Clip], tokenizer: Any, channels: int, text_encoder: Any, seed: int) -> MixedBatch:
    """Unit noise in the shapes of the clips' latents, the first quarter of the frames given, levels drawn."""
    draw = torch.Generator().manual_seed(seed)
    factor, shapes = tokenizer.spatial_factor, []
    for clip in clips:
        frames, height, width = clip.frames.shape[:3]
        shapes.append((max(1, tokenizer.latent_frames(frames)), -(-height // factor), -(-width // factor)))
    most = max(frames for frames, _, _ in shapes)
    count = torch.tensor([frames for frames, _, _ in shapes])[:, None]
    slots = torch.arange(most).expand(len(clips), -1)
    valid, given = slots < count, (count * OBSERVED).long()
    observed = slots < given
    level = torch.where(observed | ~valid, 0.0, torch.rand(len(clips), 1, generator=draw).expand(-1, most))
    zs, targets = (tuple(torch.randn(channels, *shape, generator=draw) for shape in shapes) for _ in range(2))
    text, mask = (None, None)
    if text_encoder.width:
        with torch.no_grad():
            text, mask = text_encoder.encode([clip.caption or "" for clip in clips])
    return MixedBatch(zs, targets, Window((slots - given).float(), observed, valid), Condition(level, text, mask))
