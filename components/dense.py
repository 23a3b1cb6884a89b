"""Products of tokens with a layer's weights, in the faster of the two libraries that torch has on a CPU.

Torch hands single-precision products to MKL. oneDNN, which it holds as well, is 5 to 20 % faster at a network's sizes
(AMD EPYC, one thread), adds the bias on the way and, without gradients, the activation too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable
from torch.utils.flop_counter import register_flop_formula

if TYPE_CHECKING:
    from torch import Tensor

FEWEST_TOKENS = 1024
"""Below, a product is over before oneDNN's first look at a new shape (about a millisecond) is worth it."""


def _onednn() -> Any:
    """Torch's own entry to oneDNN's product, the one its compiler calls; None where this torch has none."""
    if not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return None
    return torch.ops.mkldnn._linear_pointwise


def _flops(x_shape: Any, weight_shape: Any, *_: Any, **__: Any) -> int:
    return 2 * torch.Size(x_shape).numel() * weight_shape[0]


ONEDNN = _onednn()
if ONEDNN is not None:
    register_flop_formula(ONEDNN)(_flops)
    ONEDNN = ONEDNN.default


def _takes(x: Tensor, weight: Tensor) -> bool:
    """Many tokens in single precision on a CPU, outside autocast and a compiler's trace."""
    return (
        x.device.type == "cpu"
        and not torch.compiler.is_compiling()
        and type(x) is torch.Tensor
        and x.dtype == weight.dtype == torch.float32
        and x.numel() >= FEWEST_TOKENS * x.shape[-1]
        and not torch.is_autocast_enabled("cpu")
        and ONEDNN is not None
    )


class _Dense(torch.autograd.Function):
    """x Wᵀ + b, x [R, L, D]: forward and the gradient of x in oneDNN, that of W in MKL, where it is the faster one."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return ONEDNN(x, weight, bias, "none", [], "")

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:  # type: ignore[override]
        x, weight = ctx.saved_tensors
        grad = grad.contiguous()
        rows = grad.flatten(0, -2)
        wanted_x, wanted_weight, wanted_bias = ctx.needs_input_grad
        return (
            ONEDNN(grad, weight.t(), None, "none", [], "") if wanted_x else None,
            rows.t() @ x.flatten(0, -2) if wanted_weight else None,
            rows.sum(0) if wanted_bias else None,
        )


def dense(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """F.linear: x [..., D] and W [N, D] to [..., N]."""
    return _Dense.apply(x, weight, bias) if _takes(x, weight) else F.linear(x, weight, bias)


def dense_gelu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """gelu(x Wᵀ + b) in its tanh form."""
    if _takes(x, weight) and not torch.is_grad_enabled():
        return ONEDNN(x, weight, bias, "gelu", [], "tanh")
    return F.gelu(dense(x, weight, bias), approximate="tanh")
