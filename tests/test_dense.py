"""Products in oneDNN: the same numbers, gradients and count of operations as F.linear's; elsewhere F.linear itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from components import dense as module
from components.dense import FEWEST_TOKENS, dense, dense_gelu


def parts(tokens: int = FEWEST_TOKENS) -> list[Tensor]:
    torch.manual_seed(0)
    x, weight, bias = torch.randn(2, tokens // 2, 24), torch.randn(3 * 40, 24), torch.randn(3 * 40)
    return [part.requires_grad_() for part in (x, weight, bias)]


def plain_gelu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.gelu(F.linear(x, weight, bias), approximate="tanh")


PAIRS = [(dense, F.linear), (dense_gelu, plain_gelu)]


@pytest.mark.parametrize("pair", PAIRS, ids=["linear", "gelu"])
def test_numbers_gradients_and_flops_are_those_of_a_linear_layer(pair: tuple[Callable, Callable]) -> None:
    x, weight, bias = parts()
    rows = (x, weight.chunk(3)[1], bias.chunk(3)[1])  # as queries, keys and values take theirs from one weight
    assert module._takes(*rows[:2]) == (module.ONEDNN is not None)
    made, flops = [], []
    for call in pair:
        with FlopCounterMode(display=False) as counter:
            out = call(*rows)
            made.append((out, *torch.autograd.grad(out.sin().sum(), (x, weight, bias))))
        flops.append(counter.get_total_flops())
        with torch.no_grad():
            torch.testing.assert_close(call(*rows), out, rtol=0, atol=1e-5)
    assert flops[0] == flops[1] == 3 * 2 * x.shape[0] * x.shape[1] * 24 * 40
    for mine, theirs in zip(*made, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5 * float(theirs.detach().abs().max()))


def test_only_asked_for_gradients_are_made() -> None:
    x, weight, bias = parts()
    frozen = dense(x, weight.detach(), bias.detach())
    assert torch.autograd.grad(frozen.sum(), x)[0].shape == x.shape
    assert not dense(x.detach(), weight.detach(), bias.detach()).requires_grad


def test_few_tokens_half_precision_and_a_compilers_trace_go_the_usual_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ONEDNN", lambda *_: pytest.fail("asked"))
    x, weight, bias = parts(FEWEST_TOKENS - 2)
    assert torch.equal(dense(x, weight, bias), F.linear(x, weight, bias))
    x, weight, bias = parts()
    with torch.autocast("cpu", torch.bfloat16):
        assert dense(x, weight, bias).dtype == torch.bfloat16
    assert dense(x.double(), weight.double(), bias.double()).dtype == torch.float64
    assert torch.compile(dense, backend="eager", fullgraph=True)(x, weight, bias).shape == (2, FEWEST_TOKENS // 2, 120)
