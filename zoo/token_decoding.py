"""What the sampling engine lends a token objective: logits of one plan step, guidance applied, and keyed randomness."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from einops import rearrange

from components.contracts import Condition, Memory, Window
from components.frame_runs import join_conditions, join_windows
from components.token_digits import UNKNOWN
from components.token_streams import as_content, as_queries

if TYPE_CHECKING:
    from torch import Tensor

    from zoo.plan_group import Group
    from zoo.sight import Branch


class PlanDecoder:
    """A contracts.TokenDecoder over the branches of guidance; `calls` counts network calls, branches one by one."""

    def __init__(
        self, factors: tuple[int, ...], branches: Sequence[Branch], guidance: Any, group: Group, seed: int
    ) -> None:
        self.factors = factors
        self.branches, self.guidance, self.group, self.seed = branches, guidance, group, seed
        self.readers: list[RememberingReader | RecomputingReader] = []
        """One a branch, where frames are made token by token."""
        self.calls = 0

    def predict(self, z: Tensor) -> Tensor:
        """See contracts.TokenDecoder."""
        level = torch.ones(z.shape[0], z.shape[2], device=z.device)
        self.calls += len(self.branches)
        return self.guidance.combine([branch.predict(z, level).float() for branch in self.branches])

    def begin(self, slot: int) -> None:
        """See contracts.TokenDecoder."""
        if not self.readers:
            self.readers = [
                RememberingReader(branch) if branch.remembers else RecomputingReader(branch) for branch in self.branches
            ]
        for reader in self.readers:
            reader.begin(slot)

    def next(self, digits: Tensor) -> Tensor:
        """See contracts.TokenDecoder."""
        self.calls += len(self.readers)
        logits = [rearrange(reader.next(digits).float(), "b n -> b n 1 1 1") for reader in self.readers]
        return self.guidance.combine(logits)[..., 0, 0, 0]

    def finish(self, slot: int, z: Tensor) -> None:
        """See contracts.TokenDecoder."""
        if slot + 1 < self.group.latent_frames:  # nobody looks at the last
            self.calls += sum(reader.finish(slot, z) for reader in self.readers)

    def uniform(self, channels: int, draw: int) -> Tensor:
        """See contracts.TokenDecoder."""
        return self.group.uniform(self.seed, draw, channels).to(self.branches[0].z_observed.device)


def _told(branch: Branch, slot: int, level: float) -> tuple[Window, Condition]:
    """Window and condition of one frame to be made."""
    frame = branch.sight.frame(slot)
    window = frame[0]
    return window, branch.sight.condition(frame, torch.full_like(window.times, level), branch.keep)


class RememberingReader:
    """Reads tokens one by one for one branch: keys and values of all that came before are kept."""

    def __init__(self, branch: Branch) -> None:
        self.branch, self.network = branch, branch.network
        self.memory: Memory | None = branch.memory
        self.frame: Any = None

    def begin(self, slot: int) -> None:
        """Turn to a frame."""
        window, condition = _told(self.branch, slot, 1.0)
        self.frame = self.network.begin_frame(
            as_queries(window), condition, self.memory, tuple(self.branch.z_observed.shape[-2:])
        )

    def next(self, digits: Tensor) -> Tensor:
        """Digits [B, G] of the token before to logits [B, N]."""
        return self.network.next_token(digits, self.frame)

    def finish(self, slot: int, z: Tensor) -> int:
        """Remember a finished frame [B, G, H, W]; returns how many network calls that took."""
        window, condition = _told(self.branch, slot, 0.0)
        self.memory = self.network.remember(z[:, :, None], as_content(window), condition, memory=self.memory)
        return 1


class RecomputingReader:
    """The same without memory: every token is a whole pass over all frames so far."""

    def __init__(self, branch: Branch) -> None:
        self.branch, self.network = branch, branch.network
        self.seen: list[tuple[Tensor, Window, Condition]] = []
        if branch.sees:
            condition = branch.sight.condition(branch.sight.observed, branch.observed_level, branch.keep)
            self.seen.append((branch.z_observed, branch.sight.observed[0], condition))
        self.place, self.tokens = 0, branch.z_observed[:, :, :0]

    def begin(self, slot: int) -> None:
        """Turn to a frame."""
        window, condition = _told(self.branch, slot, 1.0)
        blank = self.branch.z_observed.new_full(
            (self.tokens.shape[0], *self.tokens.shape[1:2], 1, *self._size), UNKNOWN
        )
        self.place, self.tokens = 0, blank
        told = [*self.seen, (blank, as_queries(window), condition)]
        self.window, self.condition = told[0][1], told[0][2]
        for _, window, condition in told[1:]:
            self.window = join_windows(self.window, window)
            self.condition = join_conditions(self.condition, condition)

    @property
    def _size(self) -> tuple[int, int]:
        height, width = self.branch.z_observed.shape[-2:]
        return height, width

    def next(self, digits: Tensor) -> Tensor:
        """Digits [B, G] of the token before to logits [B, N]."""
        row, column = divmod(self.place, self._size[1])
        self.tokens[:, :, 0, row, column] = digits
        z = torch.cat([*(z for z, _, _ in self.seen), self.tokens], dim=2)
        self.place += 1
        return self.network(z, self.window, self.condition)[:, :, -1, row, column]

    def finish(self, slot: int, z: Tensor) -> int:
        """Take a finished frame [B, G, H, W] among those that are seen."""
        window, condition = _told(self.branch, slot, 0.0)
        self.seen.append((z[:, :, None], as_content(window), condition))
        return 0
