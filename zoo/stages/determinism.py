"""Torch's deterministic switch, as training leaves it and without the part that only costs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch.utils import deterministic


@contextlib.contextmanager
def deterministic_while_training() -> Iterator[None]:
    """Lightning leaves torch's deterministic switch on; sampling after training decides for itself.

    With that switch torch also writes over every new tensor, for code that reads what it never wrote. Ours does not,
    and the writing took a tenth of a step of a small network.
    """
    before, warn = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    filled = deterministic.fill_uninitialized_memory  # pyright: ignore[reportAttributeAccessIssue]
    deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warn)
        deterministic.fill_uninitialized_memory = filled  # pyright: ignore[reportAttributeAccessIssue]
