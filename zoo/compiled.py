"""``trainer.compile``: torch.compile of a network's blocks, in training and in sampling.

Blocks are compiled one by one and in place (`nn.Module.compile`), so blocks of one kind share their code, what is around
them (packing, masks, memory) stays plain Python, and names of weights stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

MODES = ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")
"""What torch.compile calls its modes; true is the first."""


def compile_regions(network: Any, mode: bool | str) -> int:
    """Compile the blocks that a network names by `regions()`, or else all of it; returns how many. Nothing for False."""
    if not mode:
        return 0
    regions = list(_regions(network))
    for module in regions:
        module.compile(mode="default" if mode is True else mode)
    return len(regions)


def _regions(network: Any) -> Iterable[Any]:
    """The blocks of the network, or of the backbone inside it."""
    for module in network.modules():
        if hasattr(module, "regions"):
            return module.regions()
    return [network]
