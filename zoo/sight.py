"""What the network is told of the frames of one plan step, and how one branch of guidance predicts with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from components.contracts import Condition, Memory, Step, Window
from components.frame_runs import join_conditions, join_windows

if TYPE_CHECKING:
    from zoo.sampling import Request


class Sight:
    """What the network is told of the frames of one plan step: places in time, actions, poses, text."""

    def __init__(
        self,
        group: list[tuple[int, Step]],
        requests: Sequence[Request],
        text: tuple[Tensor, Tensor] | None,
        device: torch.device,
    ) -> None:
        self.videos = [video for video, _ in group]
        self.text = None if text is None else tuple(part[self.videos].to(device) for part in text)
        asked = [requests[video] for video in self.videos]
        self.origin = _stacked([None if r.poses is None else r.poses[0] for r in asked], device)
        self.observed = self._frames([step.observed for _, step in group], group, asked, True, device)
        self.latent = self._frames([step.latent for _, step in group], group, asked, False, device)

    @staticmethod
    def _frames(
        chosen: list[tuple[int, ...]], group: list[tuple[int, Step]], asked: list[Request], given: bool, device: Any
    ) -> tuple[Window, Tensor | None, Tensor | None]:
        index = torch.tensor(chosen, dtype=torch.long).reshape(len(group), -1)
        start = torch.tensor([step.latent[0] for _, step in group])[:, None]
        flags = torch.full(index.shape, True, device=device)
        window = Window((index - start).float().to(device), flags if given else ~flags, flags)
        picks = list(zip(asked, index, strict=True))
        actions = _stacked([None if r.actions is None else r.actions[i] for r, i in picks], device)
        poses = _stacked([None if r.poses is None else r.poses[i] for r, i in picks], device)
        return window, actions, poses

    def frame(self, slot: int) -> tuple[Window, Tensor | None, Tensor | None]:
        """One of the frames to be made, as the window of its own."""
        window, *signals = self.latent
        one = slice(slot, slot + 1)
        cut = Window(window.times[:, one], window.observed[:, one], window.valid[:, one])
        actions, poses = (None if signal is None else signal[:, one] for signal in signals)
        return cut, actions, poses

    def condition(self, frames: tuple[Window, Tensor | None, Tensor | None], level: Tensor, keep: Any) -> Condition:
        """The Condition of these frames, with dropped what the guidance branch does not keep."""
        _, actions, poses = frames
        text, mask = self.text if self.text is not None else (None, None)
        camera = torch.full((level.shape[0],), bool(keep.get("camera", True)), device=level.device)
        if mask is not None and not keep.get("text", True):
            mask = torch.zeros_like(mask)
        return Condition(level, text, mask, actions, poses, self.origin, camera)


def _stacked(rows: list[Tensor | None], device: Any) -> Tensor | None:
    """One row a video, or None unless every video has it."""
    known = [row for row in rows if row is not None]
    return torch.stack(known).to(device) if len(known) == len(rows) else None


class Branch:
    """One conditioning of guidance: predicts the latent frames, with observed frames remembered or recomputed."""

    def __init__(
        self, network: Any, remember: bool, sight: Sight, z_observed: Tensor, observed_level: Tensor, keep: Any
    ) -> None:
        self.network, self.sight, self.keep = network, sight, keep
        self.z_observed, self.observed_level = z_observed, observed_level
        self.memory: Memory | None = None
        self.sees, self.remembers = z_observed.shape[2] > 0, remember
        if remember and self.sees:
            condition = sight.condition(sight.observed, observed_level, keep)
            self.memory = self.network.remember(z_observed, sight.observed[0], condition)

    def predict(self, z: Tensor, t: Tensor) -> Tensor:
        window = self.sight.latent[0]
        condition = self.sight.condition(self.sight.latent, t, self.keep)
        if self.memory is not None or not self.sees:
            return self.network(z, window, condition, memory=self.memory)
        past_window = self.sight.observed[0]
        past = self.sight.condition(self.sight.observed, self.observed_level, self.keep)
        joint = join_windows(past_window, window), join_conditions(past, condition)
        return self.network(torch.cat([self.z_observed, z], dim=2), *joint)[:, :, self.z_observed.shape[2] :]
