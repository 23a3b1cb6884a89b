"""Sums and means over the processes of a distributed run; the identity in a single one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed


def processes() -> tuple[int, int]:
    """(rank, how many)."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


@torch.no_grad()
def total(x: Tensor) -> Tensor:
    """The sum over processes, without gradient; the same on each."""
    if processes()[1] > 1:
        x = x.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(x)
    return x


def mean(x: Tensor) -> Tensor:
    """The mean over processes, with the gradient of every process's share; the same on each."""
    count = processes()[1]
    return _Sum.apply(x) / count if count > 1 else x


@torch.no_grad()
def dealt(rows: Tensor) -> Tensor:
    """Row i from process i modulo their number, so that all processes hold the same rows and each gives its share."""
    rank, count = processes()
    if count == 1:
        return rows
    mine = torch.arange(len(rows), device=rows.device) % count == rank
    return total(torch.where(mine[:, None], rows, 0))


class _Sum(torch.autograd.Function):
    """A sum over processes; what each of them gets back is the sum of their gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return total(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return total(grad)
