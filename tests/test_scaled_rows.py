"""Modulation and gates over regular rows: the formula and its gradients, written out, at any precision."""

from __future__ import annotations

import pytest
import torch

from components.contracts import Window
from components.token_rows import add_gated, lay_out, modulate, one_per_row


@pytest.mark.parametrize("per_frame", [1, 6])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_modulate_and_add_gated_are_their_formulas(per_frame: int, dtype: torch.dtype) -> None:
    grid = (3, per_frame, 1)
    flags = torch.zeros(2, 3, dtype=torch.bool)
    tokens = lay_out(list(torch.zeros(2, *grid, 4)), Window(flags.float(), flags, ~flags), one_per_row([grid] * 2))
    assert tokens.regular
    x, branch = (torch.randn(2, 3 * per_frame, 4, dtype=dtype, requires_grad=True) for _ in range(2))
    scale, shift, gate = (torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True) for _ in range(3))
    wide = [part.repeat_interleave(per_frame, dim=1) for part in (scale, shift, gate)]
    pairs = [
        (modulate(x, scale, shift, tokens), x.double() * (1 + wide[0]) + wide[1]),
        (add_gated(x, branch, gate, tokens), x.double() + wide[2] * branch.double()),
    ]
    loose = {"rtol": 0, "atol": 1e-9 if dtype == torch.float64 else 0.2}
    for made, wanted in pairs:
        torch.testing.assert_close(made.double(), wanted, **loose)
        weights, leaves = torch.randn_like(wanted), (x, branch, scale, shift, gate)
        mine, theirs = (
            torch.autograd.grad((out.double() * weights).sum(), leaves, allow_unused=True) for out in (made, wanted)
        )
        for a, b in zip(mine, theirs, strict=True):
            assert (a is None) == (b is None)
            if a is not None and b is not None:
                torch.testing.assert_close(a.double(), b.double(), **loose)
