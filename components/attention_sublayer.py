"""One attention sublayer as a backbone owns it: projections, norms of heads and residual, whoever looks at whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import nn

from components.contracts import Attention, Condition, Memory, PoseEncoding, Tokens
from components.dense import dense
from components.rotary import turned
from components.token_rows import add_gated

if TYPE_CHECKING:
    from torch import Tensor


class HeadNorm(nn.Module):
    """RMS norm over the channels of each head, in float32 whatever comes in."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x: Tensor) -> Tensor:
        """[..., size] to the same shape, float32."""
        return F.rms_norm(x.float(), x.shape[-1:], self.weight.float(), 1e-6)


@dataclass(frozen=True)
class Sight:
    """What every attention sublayer at one resolution reads in one network call."""

    attention: Attention
    tokens: Tokens
    """Of the queries; their x is not read."""
    layout: Any
    """The attention's own, from `Attention.layout`."""
    signal: Tensor
    """float [B, F, D], D being the width of the tokens."""
    rotary: tuple[Tensor, Tensor] | None = None
    """The position's own, from `Position.rotary`."""
    told: Any = None
    """The conditioning's own, from `Conditioning.told`."""


class AttentionSublayer(nn.Module):
    """x += gate · out(attend(q, k, v)), with q, k and v projected from the modulated x."""

    def __init__(self, name: str, width: int, heads: int, qk_norm: bool, modulator: nn.Module) -> None:
        super().__init__()
        self.name, self.heads = name, heads
        self.modulator = modulator
        self.qkv = nn.Linear(width, 3 * width)
        self.norm_q = HeadNorm(width // heads) if qk_norm else nn.Identity()
        self.norm_k = HeadNorm(width // heads) if qk_norm else nn.Identity()
        self.out = nn.Linear(width, width)
        for layer in (self.qkv, self.out):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self, x: Tensor, sight: Sight, past: tuple[Tensor, Tensor] | None, bias: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Tokens x [R, L, D] to the same shape, and the keys and values of x alone [R, L, K, D/K].

        Args:
            x: the tokens that `sight` describes.
            sight: geometry, masks and signal of this call.
            past: remembered keys and values, which stand before x's own; None where frames do not meet.
            bias: [B, K, Fq, Fk], or None.
        """
        q, k, v, gate = self._projected(x, sight)
        kept = (k, v)
        if past is not None:
            k, v = torch.cat([past[0].to(k.dtype), k], dim=1), torch.cat([past[1].to(v.dtype), v], dim=1)
        out = sight.attention.attend(self.name, q, k, v, sight.layout, bias)
        return self._added(x, out, gate, sight), kept

    def next_token(
        self,
        x: Tensor,
        sight: Sight,
        past: tuple[Tensor, Tensor] | None,
        earlier: tuple[Tensor, Tensor] | None,
        bias: Tensor | None,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """One token of every clip, x [B, 1, D], to the same shape, and its frame's keys and values so far.

        Args:
            past: remembered keys and values of the frames it sees.
            earlier: those of its own frame's earlier tokens; None at the first.
            bias: [B, K, 1, Fk], or None.
        """
        q, k, v, gate = self._projected(x, sight)
        own = (k, v)
        if earlier is not None:
            own = (torch.cat([earlier[0], k], dim=1), torch.cat([earlier[1], v], dim=1))
        out = sight.attention.attend_next(self.name, q, own, past, sight.layout, bias)  # type: ignore[attr-defined]
        return self._added(x, out, gate, sight), own

    def _projected(self, x: Tensor, sight: Sight) -> tuple[Tensor, Tensor, Tensor, Any]:
        h, gate = self.modulator(x, sight.signal, sight.tokens)
        q, k, v = (rearrange(part, "r l (k d) -> r l k d", k=self.heads) for part in self._of_tokens(h))
        q, k = turned(self.norm_q(q), sight.rotary), turned(self.norm_k(k), sight.rotary)
        return q.to(v.dtype), k.to(v.dtype), v, gate

    def _of_tokens(self, h: Tensor) -> Sequence[Tensor]:
        """Queries, keys and values [R, L, D] of tokens [R, L, D]."""
        if h.is_cuda:  # what counts there is how many kernels are started
            return self.qkv(h).chunk(3, dim=-1)
        # One product each, of slices of one weight: heads of a place then lie side by side, so that attention through
        # time can take them as they lie, and no gradients are joined.
        parts = zip(self.qkv.weight.chunk(3), self.qkv.bias.chunk(3), strict=True)
        return [dense(h, w, b) for w, b in parts]

    def _added(self, x: Tensor, out: Tensor, gate: Any, sight: Sight) -> Tensor:
        return add_gated(
            x, dense(rearrange(out, "r l k d -> r l (k d)"), self.out.weight, self.out.bias), gate, sight.tokens
        )


def pose_bias(pose_encoding: PoseEncoding, condition: Condition, memory: Memory | None) -> Tensor | None:
    """[depth, B, K, Fq, Fk] for every attention block, zero for clips whose camera is dropped; None without poses."""
    poses = condition.poses
    if poses is None:
        return None
    keys = poses if memory is None else torch.cat([memory.condition.poses, poses], dim=1)
    bias = pose_encoding.bias(poses, keys)
    if bias is None or condition.camera is None:
        return bias
    return bias * rearrange(condition.camera.to(bias.dtype), "b -> 1 b 1 1 1")
