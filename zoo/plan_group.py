"""The plan steps of several videos as one batch of tensors: what they see, where their frames stand, which noise."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from components.contracts import Step
from components.token_digits import UNKNOWN
from zoo.canvas import Canvas

if TYPE_CHECKING:
    from zoo.sampling import Request


@dataclass(frozen=True)
class Group:
    """The plan steps of some videos that fit into one batch."""

    steps: list[tuple[int, Step]]
    """(video, its step); all of equal shape."""
    requests: Sequence[Request]
    canvases: Sequence[Canvas]

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def rolling(self) -> bool:
        """Whether the steps set the levels of their frames themselves."""
        return self.steps[0][1].levels is not None

    @property
    def latent_frames(self) -> int:
        return len(self.steps[0][1].latent)

    def observed(self) -> Tensor:
        """[B, C, Fo, H, W]."""
        return torch.stack([self.canvases[video].read(step.observed) for video, step in self.steps])

    def latent(self, seed: int) -> Tensor:
        """What the frames to be made are now [B, C, F, H, W]: noise, or where the last step left them."""
        rows = []
        for video, step in self.steps:
            canvas, episode = self.canvases[video], self.requests[video].episode
            frames = [
                canvas.in_progress[frame][1]
                if frame in canvas.in_progress
                else unit_noise(seed, episode, frame, 0, canvas.shape)
                for frame in step.latent
            ]
            rows.append(torch.stack(frames, dim=1))
        return torch.stack(rows)

    def unknown(self) -> Tensor:
        """Frames of tokens none of which is known [B, G, F, H, W]."""
        digits, height, width = self.canvases[self.steps[0][0]].shape
        return torch.full((len(self), digits, self.latent_frames, height, width), float(UNKNOWN))

    def uniform(self, seed: int, draw: int, channels: int) -> Tensor:
        """Uniform numbers in [0, 1) [B, channels, F, H, W], keyed by (seed, episode, frame, draw)."""
        rows = []
        for video, step in self.steps:
            shape, episode = (channels, *self.canvases[video].shape[1:]), self.requests[video].episode
            rows.append(torch.stack([unit_uniform(seed, episode, frame, draw, shape) for frame in step.latent], dim=1))
        return torch.stack(rows)

    def levels(self) -> Tensor:
        """Where the frames to be made stand [B, F]."""
        return torch.tensor([[self.canvases[video].level(f) for f in step.latent] for video, step in self.steps])

    def asked_levels(self) -> Tensor:
        """Where the plan wants them [B, F]."""
        return torch.tensor([step.levels for _, step in self.steps], dtype=torch.float32)

    def noise(self, seed: int, draw: int) -> Tensor:
        """Fresh unit noise [B, C, F, H, W]."""
        rows = [
            torch.stack(
                [
                    unit_noise(
                        seed, self.requests[video].episode, frame, _draw(step, i, draw), self.canvases[video].shape
                    )
                    for i, frame in enumerate(step.latent)
                ],
                dim=1,
            )
            for video, step in self.steps
        ]
        return torch.stack(rows)

    def generated(self) -> Tensor:
        """bool [B, Fo]: which observed frames were made rather than given."""
        rows = [[self.canvases[video].was_made(f) for f in step.observed] for video, step in self.steps]
        return torch.tensor(rows, dtype=torch.bool)

    def history_noise(self, seed: int) -> Tensor:
        """Unit noise for observed frames [B, C, Fo, H, W], the same whenever a frame is looked at."""
        rows = [
            torch.stack(
                [
                    unit_noise(seed, self.requests[video].episode, f, -1, self.canvases[video].shape)
                    for f in step.observed
                ],
                dim=1,
            )
            for video, step in self.steps
        ]
        return torch.stack(rows)

    def keep(self, z: Tensor) -> int:
        """Put the frames [B, C, F, H, W] onto the canvases; returns how many are finished by it."""
        made = 0
        for row, (video, step) in enumerate(self.steps):
            levels = step.levels or (0.0,) * len(step.latent)
            for slot, (frame, level) in enumerate(zip(step.latent, levels, strict=True)):
                if level == 0:
                    self.canvases[video].finish(frame, z[row, :, slot])
                    made += 1
                else:
                    self.canvases[video].hold(frame, level, z[row, :, slot])
        return made


def _draw(step: Step, slot: int, draw: int) -> int | str:
    return draw if step.levels is None else f"level {step.levels[slot]:.6f}"


def key(*parts: Any) -> int:
    """56 bits that depend on all of `parts`."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:7], "big")


def unit_uniform(seed: int, episode: str, frame: int, draw: int, shape: tuple[int, int, int]) -> Tensor:
    """Uniform numbers for one latent frame [C, H, W], keyed like noise, made on the CPU."""
    keyed = torch.Generator().manual_seed(key(seed, episode, frame, f"tokens {draw}"))
    return torch.rand(shape, generator=keyed)


def unit_noise(seed: int, episode: str, frame: int, draw: int | str, shape: tuple[int, int, int]) -> Tensor:
    """Unit noise of one latent frame [C, H, W], keyed by (seed, episode, frame, draw), made on the CPU."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(key(seed, episode, frame, draw)))
