"""FLOPs and memory of single network calls, counted on tensors without storage: nothing is computed, no GPU is needed.

Every multiplication and addition of a matrix product or convolution counts (so 2 a multiply-add); pointwise work does
not. Memory is what is alive at the worst moment, in float32, as the sampling engine runs it. Attention is counted as
fused kernels run it, which never keep the matrix of scores.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from components.contracts import Condition, Memory, Window
from zoo import compose

if TYPE_CHECKING:
    from zoo.recipe import Recipe

TEXT_TOKENS = 8
"""Of the stand-in prompt."""


@dataclass(frozen=True)
class Call:
    """What one network call costs, for one video."""

    flops: float
    peak_bytes: int
    """Activations alive at the worst moment, inputs left out."""


class Live(TorchDispatchMode):
    """Bytes of the storages that operators make and somebody still holds; `peak` is the most at one time."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = operator(*args, **(kwargs or {}))
        given = {tensor.untyped_storage()._cdata for tensor in _tensors(args)}
        for tensor in _tensors(made if isinstance(made, (tuple, list)) else (made,)):
            self._see(tensor.untyped_storage(), given)
        return made

    def _see(self, storage: Any, given: set[int]) -> None:
        """A view of what was given (a weight, an input) or a result written in place is no new storage."""
        key, size = storage._cdata, storage.nbytes()
        if key in self._known or key in given:
            return
        self._known.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._gone, key, size)

    def _gone(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size


def _tensors(values: Iterable[Any]) -> list[Tensor]:
    """Tensors among an operator's arguments or results, which nest one level at most."""
    flat = [item for value in values for item in (value if isinstance(value, (tuple, list)) else (value,))]
    return [item for item in flat if isinstance(item, Tensor)]


class _Fused(torch.autograd.Function):
    """The result of attention, its numbers left out; keeps for backward what fused kernels keep."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out = q.new_empty(*q.shape[:-1], v.shape[-1])
        ctx.save_for_backward(q, k, v, out)
        return out


class FusedAttention(TorchFunctionMode):
    """Attention as one operator that makes its result alone; keeps its FLOPs, 2·N·Lq·Lk·(Dq + Dv)."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is not F.scaled_dot_product_attention:
            return function(*args, **(kwargs or {}))
        q, k, v = args[:3]
        rows = q.shape[:-2].numel()
        self.flops += 2 * rows * q.shape[-2] * k.shape[-2] * (q.shape[-1] + v.shape[-1])
        return _Fused.apply(q, k, v)


def counted(forward: Callable[[], Any]) -> tuple[Call, Any]:
    """What `forward()` costs without gradients, and what it gave (tensors of the device ``meta``)."""
    counter, live, attention = FlopCounterMode(display=False), Live(), FusedAttention()
    with torch.no_grad(), torch.device("meta"), counter, live, attention:
        made = forward()
    return Call(counter.get_total_flops() + attention.flops, live.peak), made


def trained(forward: Callable[[], Any]) -> tuple[float, int]:
    """FLOPs of `forward()` and the bytes it keeps for the backward pass, every storage once."""
    kept: dict[int, Any] = {}

    def keep(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, torch.nn.Parameter):
            storage = tensor.untyped_storage()
            kept[storage._cdata] = storage  # held: a storage that is freed could lend its address to another
        return tensor

    counter, attention = FlopCounterMode(display=False), FusedAttention()
    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    with torch.device("meta"), counter, attention, hooks:
        forward()
    return counter.get_total_flops() + attention.flops, sum(storage.nbytes() for storage in kept.values())


class NetworkCost:
    """Counts the network calls of one video, once for every shape that occurs. Batch 1, weights on no device."""

    def __init__(self, recipe: Recipe, sizes: compose.Sizes, text_width: int, latent_hw: tuple[int, int]) -> None:
        self.sizes, self.text_width, self.latent_hw = sizes, text_width, latent_hw
        self.poses = recipe.part("pose_encoding").name != "none"
        with torch.device("meta"):
            self.network = compose.build_network(recipe, sizes, text_width).eval()
        self._calls: dict[tuple[int, int, bool], Call] = {}
        self._memories: dict[int, tuple[Call, Memory]] = {}
        self._tokens: dict[int, Call] = {}
        self._growths: dict[int, Call] = {}

    def inputs(self, observed: int, latent: int, device: str = "meta") -> tuple[Tensor, Window, Condition]:
        """Latents [1, C, F, H, W] of the first `observed` and last `latent` frames, and what is told of them."""
        frames = observed + latent
        with torch.device(device):
            marks = torch.cat([torch.full((1, n), flag) for n, flag in ((observed, True), (latent, False))], dim=1)
            window = Window(torch.zeros(1, frames), marks, torch.full((1, frames), True))
            condition = Condition(
                level=torch.ones(1, frames),
                text=torch.zeros(1, TEXT_TOKENS, self.text_width) if self.text_width else None,
                text_mask=torch.ones(1, TEXT_TOKENS, dtype=torch.bool) if self.text_width else None,
                actions=torch.zeros(1, frames, self.sizes.action_dim) if self.sizes.action_dim else None,
                poses=torch.zeros(1, frames, 4) if self.poses else None,
                origin=torch.zeros(1, 4) if self.poses else None,
            )
            return torch.zeros(1, self.sizes.channels, frames, *self.latent_hw), window, condition

    def call(self, observed: int, latent: int, *, remembered: bool) -> Call:
        """One prediction of `latent` frames, observed ones remembered or computed along with them."""
        key = (observed, latent, remembered and observed > 0)
        if key not in self._calls:
            memory = self._remember(observed)[1] if key[2] else None
            inputs = self.inputs(0 if key[2] else observed, latent)
            self._calls[key] = counted(lambda: self.network(*inputs, memory=memory))[0]
        return self._calls[key]

    def remember(self, observed: int) -> Call:
        """One memory pass over observed frames."""
        return self._remember(observed)[0]

    def memory_bytes(self, observed: int) -> int:
        """Keys and values that the memory of `observed` frames holds, all blocks together."""
        return kept_bytes(
            part for layer in self._remember(observed)[1].layers for pair in layer.values() for part in pair
        )

    def raster_calls(self, observed: int, latent: int, *, remembered: bool) -> list[tuple[int, Call]]:
        """`latent` frames made token by token, each then remembered for the next: (how often, which call), …."""
        tokens = prod(self.latent_hw)
        if not remembered:
            return [(tokens, self.call(observed + made, 1, remembered=False)) for made in range(latent)]
        frames = [(tokens, self._token(observed + made)) for made in range(latent)]
        return frames + [(1, self._grown(observed + made)) for made in range(latent - 1)]

    def _token(self, seen: int) -> Call:
        """One token of a frame that sees `seen` others: the mean over its places, as FLOPs rise evenly with these."""
        if seen not in self._tokens:
            _, window, condition = self.inputs(0, 1)
            memory = self._remember(seen)[1] if seen else None
            window = replace(window, raster=window.valid)
            begun, frame = counted(lambda: self.network.begin_frame(window, condition, memory, self.latent_hw))
            token = torch.zeros(1, self.sizes.channels, device="meta")
            first, second = (counted(lambda: self.network.next_token(token, frame))[0] for _ in range(2))
            tokens = prod(self.latent_hw)
            mean = begun.flops / tokens + first.flops + (second.flops - first.flops) * (tokens - 1) / 2
            self._tokens[seen] = Call(mean, max(begun.peak_bytes, second.peak_bytes))
        return self._tokens[seen]

    def _grown(self, seen: int) -> Call:
        """One frame that was made, remembered in sight of `seen` others."""
        if seen not in self._growths:
            memory = self._remember(seen)[1] if seen else None
            z, window, condition = self.inputs(0, 1)
            window = replace(window, raster=~window.valid)
            self._growths[seen] = counted(lambda: self.network.remember(z, window, condition, memory=memory))[0]
        return self._growths[seen]

    def _remember(self, observed: int) -> tuple[Call, Memory]:
        if observed not in self._memories:
            inputs = self.inputs(observed, 0)
            self._memories[observed] = counted(lambda: self.network.remember(*inputs))
        return self._memories[observed]


def kept_bytes(tensors: Iterable[Tensor] | Sequence[Tensor]) -> int:
    """Bytes of the storages behind tensors, each counted once."""
    storages = {tensor.untyped_storage()._cdata: tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(storages.values())
