"""Training steps on rows of packed clips, measured: against each clip alone, and in turns with other calls.

Every clip in the batch is held against the same clip alone. What the steps take turns with when they are timed
(padding, a large matrix product) is made here too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from zoo.call_cost import FusedAttention

if TYPE_CHECKING:
    from zoo.mixed_batch import MixedBatch

MATRIX = 1024
"""Side of the matrices whose product is timed beside the steps."""


@dataclass
class Steps:
    """Training steps of one network on one batch: packed together, or size by size where the packing wants one size."""

    network: Any
    batch: MixedBatch

    def __post_init__(self) -> None:
        alone = getattr(getattr(self.network, "packing", None), "one_size", False)
        self.parts = self.batch.by_size() if alone else [self.batch]
        self.optimiser = torch.optim.AdamW(self.network.parameters(), 1e-6)

    def forward(self) -> list[Sequence[Tensor]]:
        """Answers without gradients, part by part."""
        with torch.no_grad():
            return [self.network(list(part.zs), part.window, part.condition) for part in self.parts]

    def step(self) -> None:
        """Forward, backward, AdamW; the gradients of all parts are added up first."""
        self.optimiser.zero_grad()
        for part in self.parts:
            loss_of(self.network, part, len(self.batch)).backward()
        self.optimiser.step()


def loss_of(network: Any, batch: MixedBatch, clips: int) -> Tensor:
    """Sum over clips of each clip's mean squared error, divided by `clips`: every clip counts the same."""
    made = network(list(batch.zs), batch.window, batch.condition)
    each = [(out.float() - target).square().mean() for out, target in zip(made, batch.targets, strict=True)]
    return torch.stack(each).sum() / clips


def differences(network: Any, batch: MixedBatch, done: Callable[[], None]) -> tuple[list[float], float]:
    """max |packed − alone| / max |alone|: of each clip's answer, and of the gradient (by tensor, the worst)."""

    def gradients() -> list[Tensor]:
        found = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in network.parameters()]
        network.zero_grad()
        return found

    steps = Steps(network, batch)
    order = [b for part in steps.parts for b in _places(batch, part)]
    answers = dict(zip(order, [out for outs in steps.forward() for out in outs], strict=True))
    for part in steps.parts:
        loss_of(network, part, len(batch)).backward()
    together = gradients()
    forward = []
    for b in range(len(batch)):
        one = batch.of([b])
        with torch.no_grad():
            (alone,) = network(list(one.zs), one.window, one.condition)
        forward.append(_gap(answers[b], alone))
        loss_of(network, one, len(batch)).backward()
        done()
    alone_all = gradients()
    most = max(float(g.abs().max()) for g in alone_all)
    return forward, max(_gap(a, b, 1e-3 * most) for a, b in zip(together, alone_all, strict=True))


def _places(batch: MixedBatch, part: MixedBatch) -> list[int]:
    """Which clips of the batch stand in a part, in its order."""
    at = {id(z): b for b, z in enumerate(batch.zs)}
    return [at[id(z)] for z in part.zs]


def _gap(a: Tensor, b: Tensor, floor: float = 1e-12) -> float:
    return float((a - b).abs().max()) / max(float(b.abs().max()), floor)


def packed_rows(network: Any, batch: MixedBatch) -> list[tuple[int, int, int]]:
    """(rows, tokens a row, of them filler) of every call of a step; [] where the backbone packs nothing."""
    packing, seen = getattr(network, "packing", None), []
    if packing is None:
        return []

    class Watched:
        """The packing, and what it was seen to do."""

        def __getattr__(self, name: str) -> Any:
            return getattr(packing, name)

        def pack(self, *args: Any) -> Any:
            tokens = packing.pack(*args)
            seen.append((*tokens.clip.shape, int((tokens.clip < 0).sum())))
            return tokens

    network.packing = Watched()
    try:
        Steps(network, batch).forward()
    finally:
        network.packing = packing
    return seen


def useful_flops(network: Any, batch: MixedBatch) -> float:
    """Of one forward pass over every clip alone, where nothing is filler."""
    counter, attention = FlopCounterMode(display=False), FusedAttention()
    with torch.no_grad(), counter, attention:
        for b in range(len(batch)):
            one = batch.of([b])
            network(list(one.zs), one.window, one.condition)
    return float(counter.get_total_flops() + attention.flops)


def matrix_product(device: str) -> Callable[[], object]:
    """A product of two large matrices."""
    a, b = torch.randn(2, MATRIX, MATRIX, device=device)
    return partial(torch.matmul, a, b)
