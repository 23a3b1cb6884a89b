"""How a stage holds a frozen module without owning it."""

from __future__ import annotations

from typing import Any


class Outside:
    """Keeps a frozen module out of its owner's parameters, checkpoints and weight averages."""

    def __init__(self, module: Any) -> None:
        self.module = module

    def __deepcopy__(self, memo: dict[int, Any]) -> Outside:
        return self
