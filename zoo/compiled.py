"""``trainer.compile``: torch.compile of a network's blocks, in training and in sampling.

Blocks are compiled one by one and in place (`nn.Module.compile`): blocks of one kind share their code, what is around
them (packing, masks, memory) stays plain Python, and names of weights stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def compile_regions(network: Any, mode: bool | str) -> int:
    """Compile the blocks that a network, or the backbone inside it, names by `regions()`; returns how many.

    Nothing where mode is False, and of modules that name no blocks (tokenizers, text encoders).
    """
    if not mode:
        return 0
    regions = list(_regions(network))
    for module in regions:
        module.compile(mode="default" if mode is True else mode)
    return len(regions)


def _regions(network: Any) -> Iterable[Any]:
    for module in network.modules():
        if hasattr(module, "regions"):
            return module.regions()
    return ()
