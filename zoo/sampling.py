"""Turns a rollout plan into latents: batches over videos, remembers observed frames, draws the same noise for the same
(seed, episode, frame) whatever the batch size.

The planner says which frames to make and which to look at; this engine calls the network and the solver, and knows
nothing of either's inside. Plans count latent frames.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from components.contracts import Step
from zoo.sight import Branch, Sight

if TYPE_CHECKING:
    import numpy as np


@dataclass
class Request:
    """One video to make: its given latents and what is known of every frame of it."""

    episode: str
    """Keys the noise."""
    context: Tensor
    """float [C, Fc, H, W]: given latent frames; Fc may be 0."""
    frames: int
    """Latent frames in all, given ones included."""
    actions: Tensor | None = None
    """float [F, A]."""
    poses: Tensor | None = None
    """float [F, 4]."""
    prompt: str = ""


@dataclass
class Cost:
    """What a rollout cost, for the record."""

    network_calls: int = 0
    """Forward passes of one video's window, summed over videos (guidance branches and memory passes count)."""
    frames_made: int = 0
    seconds_by_step: list[float] = field(default_factory=list)
    """Wall seconds of each round of plan steps, in order."""


@dataclass(frozen=True)
class Engine:
    """Everything sampling needs, already composed. `network` is in eval mode and on its device."""

    network: Any
    objective: Any
    solver: Any
    guidance: Any
    rollout: Any
    text_encoder: Any
    window: int
    step: int
    seed: int = 0
    stabilisation: float = 0.0
    """Noise level put on observed frames that were generated, and told to the network (Diffusion Forcing uses 0.02)."""
    cache: bool = True
    """Remember keys and values of observed frames over the denoising steps; off recomputes them (equal to 1e-5)."""
    batch: int = 8

    @torch.inference_mode()
    def generate(self, requests: Sequence[Request], done: Callable[[int], None] = lambda made: None) -> list[Tensor]:
        """Latents [C, F, H, W] of every request, given frames included; `done(n)` is told of every n frames made."""
        videos, _ = self.generate_with_cost(requests, done)
        return videos

    @torch.inference_mode()
    def generate_with_cost(
        self, requests: Sequence[Request], done: Callable[[int], None] = lambda made: None
    ) -> tuple[list[Tensor], Cost]:
        """As `generate`, with the network calls and seconds it took."""
        from time import perf_counter

        canvases = [_canvas(request) for request in requests]
        text = self._encode_text(requests)
        plans = [self._plan(request) for request in requests]
        cost = Cost()
        while True:
            began = perf_counter()
            pending = [(video, step) for video, plan in enumerate(plans) if (step := next(plan, None)) is not None]
            if not pending:
                return canvases, cost
            for group in _alike(pending, canvases, self.batch):
                made = self._make(group, requests, canvases, text, cost)
                done(made)
            cost.seconds_by_step.append(perf_counter() - began)

    def _plan(self, request: Request) -> Iterator[Step]:
        poses: np.ndarray | None = None if request.poses is None else request.poses.cpu().numpy()
        return self.rollout.plan(
            frames=request.frames,
            observed=request.context.shape[1],
            window=self.window,
            step=self.step,
            seed=_key(self.seed, request.episode),
            poses=poses,
        )

    def _encode_text(self, requests: Sequence[Request]) -> tuple[Tensor, Tensor] | None:
        if self.text_encoder.width == 0:
            return None
        return self.text_encoder.encode([request.prompt for request in requests])

    def _make(
        self,
        group: list[tuple[int, Step]],
        requests: Sequence[Request],
        canvases: list[Tensor],
        text: tuple[Tensor, Tensor] | None,
        cost: Cost,
    ) -> int:
        """Make the latent frames of one plan step for a group of videos and write them onto the canvases."""
        device = next(self.network.parameters()).device
        sight = Sight(group, requests, text, device)
        z_observed = torch.stack([canvases[v][:, list(s.observed)] for v, s in group]).to(device)
        z_observed, observed_level = self._stabilise(z_observed, group, requests)
        z = self._noise(group, requests, canvases, draw=0).to(device)
        z = self._denoise(z, z_observed, observed_level, sight, group, requests, canvases, cost)
        for row, (video, step) in enumerate(group):
            canvases[video][:, list(step.latent)] = z[row].to(canvases[video])
        made = sum(len(step.latent) for _, step in group)
        cost.frames_made += made
        return made

    def _denoise(
        self,
        z: Tensor,
        z_observed: Tensor,
        observed_level: Tensor,
        sight: Sight,
        group: list[tuple[int, Step]],
        requests: Sequence[Request],
        canvases: list[Tensor],
        cost: Cost,
    ) -> Tensor:
        branches = [
            Branch(self.network, self.cache, sight, z_observed, observed_level, keep) for keep in self.guidance.branches
        ]
        cost.network_calls += sum(branch.memory is not None for branch in branches) * len(group)
        levels = self.solver.times(self.objective)
        for number, (t_now, t_next) in enumerate(pairwise(levels)):
            t = torch.full((z.shape[0], z.shape[2]), float(t_now), device=z.device)
            s = torch.full_like(t, float(t_next))
            cleans = [self.objective.clean(branch.predict(z, t), z, t) for branch in branches]
            cost.network_calls += len(branches) * len(group)
            fresh = lambda: self._noise(group, requests, canvases, draw=number + 1).to(z)  # noqa: B023, E731
            z = self.solver.step(z, self.guidance.combine(cleans), t, s, self.objective, fresh)
        return z

    def _stabilise(
        self, z_observed: Tensor, group: list[tuple[int, Step]], requests: Sequence[Request]
    ) -> tuple[Tensor, Tensor]:
        """Slightly re-noise generated history, so that the network trusts its own errors less."""
        generated = torch.tensor(
            [[frame >= requests[v].context.shape[1] for frame in s.observed] for v, s in group],
            dtype=torch.bool,
            device=z_observed.device,
        ).reshape(z_observed.shape[0], z_observed.shape[2])
        level = generated * torch.tensor(self.stabilisation, device=z_observed.device)
        if self.stabilisation == 0 or not generated.any():
            return z_observed, level
        alpha, sigma = (part[:, None, :, None, None] for part in self.objective.alpha_sigma(level))
        noise = torch.stack(
            [
                torch.stack([_noise(self.seed, requests[v].episode, f, -1, z_observed[0, :, 0]) for f in s.observed], 1)
                for v, s in group
            ]
        ).to(z_observed)
        noised = alpha * z_observed + sigma * noise
        return torch.where(generated[:, None, :, None, None], noised, z_observed), level

    def _noise(
        self, group: list[tuple[int, Step]], requests: Sequence[Request], canvases: list[Tensor], draw: int
    ) -> Tensor:
        rows = [
            torch.stack([_noise(self.seed, requests[v].episode, f, draw, canvases[v][:, 0]) for f in s.latent], dim=1)
            for v, s in group
        ]
        return torch.stack(rows)


def _canvas(request: Request) -> Tensor:
    channels, given, height, width = request.context.shape
    canvas = torch.zeros(channels, request.frames, height, width)
    canvas[:, :given] = request.context.float().cpu()
    return canvas


def _alike(pending: list[tuple[int, Step]], canvases: list[Tensor], batch: int) -> Iterator[list[tuple[int, Step]]]:
    """Group plan steps of equal shape, at most `batch` videos a group: plans of one batch may differ."""
    groups: dict[tuple, list[tuple[int, Step]]] = defaultdict(list)
    for video, step in pending:
        shape = canvases[video].shape
        groups[(len(step.observed), len(step.latent), shape[0], *shape[2:])].append((video, step))
    for group in groups.values():
        for start in range(0, len(group), batch):
            yield group[start : start + batch]


def _key(*parts: Any) -> int:
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:7], "big")


def _noise(seed: int, episode: str, frame: int, draw: int, like: Tensor) -> Tensor:
    """Unit noise of one latent frame [C, H, W], keyed by (seed, episode, frame, draw), made on the CPU."""
    generator = torch.Generator().manual_seed(_key(seed, episode, frame, draw))
    return torch.randn(like.shape, generator=generator)
