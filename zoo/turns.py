"""Calls timed in turns: a busy machine slows all alike, so ratios can be believed where seconds cannot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter

import torch


def in_turns(
    calls: Sequence[Callable[[], object]], rounds: int, untimed: int = 1, done: Callable[[], None] = lambda: None
) -> list[list[float]]:
    """Seconds of each call in each of `rounds` rounds, a CUDA device's work waited for.

    Args:
        calls: what is timed.
        rounds: that are kept.
        untimed: rounds before these, in which kernels are chosen and allocators filled.
        done: called after every round, the untimed ones too.
    """
    wait = torch.cuda.synchronize if torch.cuda.is_initialized() else lambda: None
    taken: list[list[float]] = [[] for _ in calls]
    for number in range(untimed + rounds):
        for times, call in zip(taken, calls, strict=True):
            wait()
            began = perf_counter()
            call()
            wait()
            if number >= untimed:
                times.append(perf_counter() - began)
        done()
    return taken
