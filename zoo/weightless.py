"""Modules whose numbers are never written: built to be counted, or to refuse what they cannot be, whatever their size.

Their storage is asked for and left untouched, so it takes no memory. The device ``meta`` would do as well, but for the
arithmetic of initial weights torch imports its compiler there, which takes seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_IN_PLACE = (torch.Tensor.normal_, torch.Tensor.uniform_, torch.Tensor.zero_, torch.Tensor.fill_)
_FRESH = (torch.randn, torch.rand, torch.zeros, torch.ones)


class _NothingWritten(TorchFunctionMode):
    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function in _IN_PLACE or getattr(function, "__module__", "") == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        if function in _FRESH:
            return torch.empty(*args, **{key: value for key, value in kwargs.items() if key != "generator"})
        return function(*args, **kwargs)


@contextmanager
def weightless() -> Iterator[None]:
    """What is built inside has shapes and no numbers; read none of them."""
    with _NothingWritten():
        yield
