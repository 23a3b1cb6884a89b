"""Where the peers run: on the CPU in float32, or on a GPU under bfloat16 autocast, as one trains there."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from zoo.errors import UnmetNeed


def device(cuda: int) -> AbstractContextManager[object]:
    """Within it, tensors and networks are made there.

    Raises:
        UnmetNeed: a GPU is asked for and there is none.
    """
    if cuda and not torch.cuda.is_available():
        raise UnmetNeed("cuda=1 needs a GPU that this torch can use: `python -m zoo doctor` lists what it sees.")
    return torch.device("cuda" if cuda else "cpu")


def dtype() -> torch.dtype:
    """Of large products there."""
    return torch.float32 if torch.get_default_device().type == "cpu" else torch.bfloat16


def autocast(always: bool = False) -> AbstractContextManager[object]:
    """bfloat16 autocast, on a CPU only where it is asked for."""
    kind = torch.get_default_device().type
    return torch.autocast(kind, torch.bfloat16) if always or kind == "cuda" else nullcontext()
