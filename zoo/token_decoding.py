"""What the sampling engine lends a token objective: logits of one plan step, guidance applied, and keyed randomness."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

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
        self.calls = 0

    def predict(self, z: Tensor) -> Tensor:
        """See contracts.TokenDecoder."""
        level = torch.ones(z.shape[0], z.shape[2], device=z.device)
        self.calls += len(self.branches)
        return self.guidance.combine([branch.predict(z, level).float() for branch in self.branches])

    def uniform(self, channels: int, draw: int) -> Tensor:
        """See contracts.TokenDecoder."""
        return self.group.uniform(self.seed, draw, channels).to(self.branches[0].z_observed.device)
