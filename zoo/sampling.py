"""Turns a rollout plan into latents: batches over videos, remembers observed frames, goes on where it was stopped.

The planner says which frames to make and which to look at; this engine calls the network and the solver, and knows
nothing of either's inside. Plans count latent frames. The same (seed, episode, frame) draws the same noise whatever the
batch size (zoo/plan_group.py); frames and progress may live on disk (zoo/canvas.py).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from components import given_ends
from components.contracts import Step, TokenObjective
from zoo.canvas import Canvas, Cost, Journal, Show
from zoo.plan_group import Group, key
from zoo.sight import Branch, Sight
from zoo.token_decoding import PlanDecoder

if TYPE_CHECKING:
    import numpy as np

Done = Callable[[int], None]


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
    closing: Tensor | None = None
    """float [C, Fl, H, W]: latent frames given at the end of the video; None as if none were."""


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
    show: Show = lambda z_cfhw: z_cfhw
    """Finished frames to the latents that planners which look at content are shown."""

    @torch.inference_mode()
    def generate(self, requests: Sequence[Request], done: Done = lambda made: None) -> list[Tensor]:
        """Latents [C, F, H, W] of every request, given frames included; `done(n)` is told of every n frames made."""
        canvases, _ = self.paint(requests, done)
        return [canvas.read(range(canvas.frames)) for canvas in canvases]

    @torch.inference_mode()
    def paint(
        self, requests: Sequence[Request], done: Done = lambda made: None, folder: Path | None = None
    ) -> tuple[list[Canvas], Cost]:
        """The finished canvases of the requests, and what they cost.

        Args:
            folder: keep frames and progress in files here, so that memory does not grow with the length and a rollout
                that was stopped goes on where it was; the folder then belongs to exactly these requests and settings.
        """
        canvases = [
            Canvas(
                request.context,
                request.frames,
                None if folder is None else folder / f"{video:04d}.latent",
                self.show,
                request.closing,
            )
            for video, request in enumerate(requests)
        ]
        journal = Journal.open(folder, canvases)
        plans = [self._plan(request, canvas) for request, canvas in zip(requests, canvases, strict=True)]
        for video, (plan, canvas) in enumerate(zip(plans, canvases, strict=True)):
            journal.replay(video, canvas, plan)
        if journal.cost.frames_made:
            done(journal.cost.frames_made)
        text = self._encode_text(requests)
        while self._round(requests, canvases, plans, text, journal, done):
            journal.save(canvases)
        return canvases, journal.cost

    def _round(
        self,
        requests: Sequence[Request],
        canvases: list[Canvas],
        plans: list[Iterator[Step]],
        text: tuple[Tensor, Tensor] | None,
        journal: Journal,
        done: Done,
    ) -> bool:
        """One plan step of every video that is not finished; False when all are."""
        began = perf_counter()
        pending = [(video, step) for video, plan in enumerate(plans) if (step := next(plan, None)) is not None]
        before = journal.cost.frames_made
        for group in _alike(pending, canvases, self.batch):
            done(self._make(Group(group, requests, canvases), text, journal.cost))
        for video, _ in pending:
            journal.steps[video] += 1
        if pending:
            journal.cost.seconds_by_step.append(perf_counter() - began)
            journal.cost.frames_by_step.append(journal.cost.frames_made - before)
        return bool(pending)

    def _plan(self, request: Request, canvas: Canvas) -> Iterator[Step]:
        poses: np.ndarray | None = None if request.poses is None else request.poses.cpu().numpy()
        return given_ends.planned(
            self.rollout,
            frames=request.frames,
            observed=request.context.shape[1],
            closing=0 if request.closing is None else request.closing.shape[1],
            window=self.window,
            step=self.step,
            seed=key(self.seed, request.episode),
            poses=poses,
            features=canvas.looks,
        )

    def _encode_text(self, requests: Sequence[Request]) -> tuple[Tensor, Tensor] | None:
        if self.text_encoder.width == 0:
            return None
        return self.text_encoder.encode([request.prompt for request in requests])

    def _make(self, group: Group, text: tuple[Tensor, Tensor] | None, cost: Cost) -> int:
        """Take the latent frames of one plan step as far as the step says; returns how many frames it finished."""
        device = next(self.network.parameters()).device
        sight = Sight(group.steps, group.requests, text, device)
        z_observed = group.observed().to(device)
        remembers = self.cache and not group.rolling  # a rolling step calls the network once: nothing to save
        branches = [
            Branch(self.network, remembers, sight, *self._shown(z_observed, group, keep), keep)
            for keep in self.guidance.branches
        ]
        cost.network_calls += sum(branch.memory is not None for branch in branches) * len(group)
        made = group.keep(self._filled(group, branches, device, cost))
        cost.frames_made += made
        return made

    def _filled(self, group: Group, branches: Sequence[Branch], device: torch.device, cost: Cost) -> Tensor:
        """The latent frames of one plan step [B, C, F, H, W]: walked by the solver, or decoded by a token objective."""
        if isinstance(self.objective, TokenObjective):
            decoder = PlanDecoder(self.network.factors, branches, self.guidance, group, self.seed)
            z = self.objective.decode(group.unknown().to(device), decoder)
            cost.network_calls += decoder.calls * len(group)
            return z
        z = group.latent(self.seed).to(device)

        def estimate(z: Tensor, t: Tensor) -> Tensor:
            """The guided clean estimate of z at levels t [B, F]."""
            cost.network_calls += len(branches) * len(group)
            return self.guidance.combine([self.objective.clean(branch.predict(z, t), z, t) for branch in branches])

        again = None if group.rolling else estimate
        for hop, (t, s) in enumerate(self._hops(group, device)):
            # Keyed by the step of the walk, or, where frames stand at levels of their own, by the levels walked to.
            fresh = lambda: group.noise(self.seed, hop + 1).to(z)  # noqa: B023, E731
            z = self.solver.step(z, estimate(z, t), t, s, self.objective, fresh, again)
        return z

    def _hops(self, group: Group, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
        """The levels [B, F] between which the solver steps: its own from noise to clean, or the one the plan asks."""
        if group.rolling:
            yield group.levels().to(device), group.asked_levels().to(device)
            return
        shape = (len(group), group.latent_frames)
        for t, s in pairwise(self.solver.times(self.objective)):
            yield torch.full(shape, float(t), device=device), torch.full(shape, float(s), device=device)

    def _shown(self, z_observed: Tensor, group: Group, keep: Any) -> tuple[Tensor, Tensor]:
        """Observed frames as a branch sees them, and their levels [B, Fo].

        Generated history is slightly re-noised, so that the network trusts its own errors less; a branch may see all
        history at a level of its own, or none.
        """
        if not keep.get("history", True):
            z_observed = z_observed[:, :, :0]
        level = torch.zeros(z_observed.shape[0], z_observed.shape[2], device=z_observed.device)
        if not level.numel():
            return z_observed, level
        level = torch.where(group.generated().to(level.device), self.stabilisation, level)
        level = level.clamp_min(float(keep.get("history_level", 0.0)))
        if not level.any():
            return z_observed, level
        alpha, sigma = (part[:, None, :, None, None] for part in self.objective.alpha_sigma(level))
        noised = alpha * z_observed + sigma * group.history_noise(self.seed).to(z_observed)
        return torch.where(level[:, None, :, None, None] > 0, noised, z_observed), level


def _alike(pending: list[tuple[int, Step]], canvases: list[Canvas], batch: int) -> Iterator[list[tuple[int, Step]]]:
    """Group plan steps of equal shape, at most `batch` videos a group: plans of one batch may differ."""
    groups: dict[tuple, list[tuple[int, Step]]] = defaultdict(list)
    for video, step in pending:
        rolling = step.levels is not None
        groups[(len(step.observed), len(step.latent), rolling, *canvases[video].shape)].append((video, step))
    for group in groups.values():
        for start in range(0, len(group), batch):
            yield group[start : start + batch]
