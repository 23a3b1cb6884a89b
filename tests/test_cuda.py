"""On a GPU (else skipped): the kernel for uneven sequences, packed and alone, compiled, from recipe to record."""

from __future__ import annotations

from typing import Any

import pytest
import test_backbone
import torch
from test_attention import GRIDS, seen_by_all
from test_backbone import ATTENTIONS, CHANNELS
from test_packing import pack, window_of
from tiny import TINY

from benchmarks import record as records
from components import attend as kernel
from components.contracts import Condition
from zoo import registry
from zoo.compiled import compile_regions
from zoo.entry import guarded
from zoo.mixed_batch import MixedBatch, moved
from zoo.run import main

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU")
HEADS, SIZE = 4, 32


def far(a: torch.Tensor, b: torch.Tensor) -> float:
    """‖a − b‖ / ‖b‖ in double precision."""
    a, b = a.detach().double().cpu(), b.detach().double().cpu()
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize("name", ["full", "space_time", "space_time_causal"])
@pytest.mark.parametrize("packing", ["padding", "navit"])
def test_uneven_sequences_in_one_kernel(name: str, packing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`varlen_attn` in bfloat16 beside float64 on the CPU, forward and gradients; filler gives zeros."""
    torch.manual_seed(0)
    attention = registry.build("attention", name)
    tokens, window = pack(packing, GRIDS["mixed"])[2], seen_by_all(GRIDS["mixed"], False)
    sublayer = attention.sublayers[0]
    qkv = torch.randn(3, *tokens.clip.shape, HEADS, SIZE).bfloat16()
    ours, true = qkv.cuda().requires_grad_(), qkv.double().requires_grad_()
    expected = attention.attend(sublayer, *true, attention.layout(tokens, window))
    called, real = [], kernel.uneven_kernel()
    monkeypatch.setattr(kernel, "uneven_kernel", lambda: lambda *a: called.append(1) or real(*a))
    got = attention.attend(sublayer, *ours, attention.layout(moved(tokens, "cuda"), moved(window, "cuda")))
    assert called == [1], "this torch has the kernel, and it was asked"
    weight = torch.randn_like(expected)
    (grad,) = torch.autograd.grad((got * weight.to(got)).sum(), ours)
    (true_grad,) = torch.autograd.grad((expected * weight).sum(), true)
    assert far(got, expected) < 1e-2 and far(grad, true_grad) < 2e-2
    assert not got[tokens.clip < 0].any(), "filler gives zeros"
    assert not grad[:, tokens.clip < 0].any(), "and takes none"


@pytest.mark.parametrize("half", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("packing", test_backbone.MIXED)
@pytest.mark.parametrize("attention", ATTENTIONS, ids=str)
def test_packed_equals_alone_there(attention: tuple, packing: str, half: bool) -> None:
    """Mixed sizes in one call and one by one, and float32 on the GPU beside the CPU."""
    net = test_backbone.build(attention, pose_encoding="none", packing=packing, width=64, heads=2).cuda()
    grids = GRIDS["mixed"]
    window = window_of(grids)
    told = Condition(torch.where(window.observed, 0.0, torch.rand(window.observed.shape)))
    zs = [torch.randn(CHANNELS, f, 2 * h, 2 * w) for f, h, w in grids]

    batch = MixedBatch(tuple(zs), tuple(zs), window, told)

    def call(members: list[int], device: str) -> list[torch.Tensor]:
        some = batch.of(members).to(device)
        with torch.no_grad(), torch.autocast("cuda", torch.bfloat16, enabled=half):
            return net(list(some.zs), some.window, some.condition)

    together = call(list(range(len(grids))), "cuda")
    alone = [call([b], "cuda")[0] for b in range(len(grids))]
    for one, other in zip(together, alone, strict=True):
        assert torch.isfinite(one).all() and far(one, other) < (3e-2 if half else 1e-5)
    net.cpu()
    if not half:
        for one, other in zip(together, call(list(range(len(grids))), "cpu"), strict=True):
            assert far(one, other) < 1e-4


@pytest.mark.parametrize("attention", ["full", "space_time_causal"])
def test_compiled_blocks_give_the_same_there(attention: str) -> None:
    """Inductor's kernels, forward and gradients."""
    torch.compiler.reset()
    nets = [test_backbone.build((attention, {}), depth=1, width=64).cuda() for _ in range(2)]
    compile_regions(nets[1], True)
    z, window, told = test_backbone.batch([[1, 0, 0], [0, 1, 0]])
    outs = [net(z.cuda(), moved(window, "cuda"), moved(told, "cuda")) for net in nets]
    assert far(outs[1], outs[0]) < 1e-4
    grads = [torch.autograd.grad(out.square().sum(), list(n.parameters())) for out, n in zip(outs, nets, strict=True)]
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(b, a, rtol=1e-3, atol=1e-4 * max(1.0, float(a.abs().max())))


def test_a_run_ends_in_a_record_made_there(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """trainer.accelerator and precision are `auto`: the GPU, in bfloat16."""
    monkeypatch.setenv("ZOO_RUNS", str(tmp_path))
    torch.cuda.reset_peak_memory_stats()
    assert guarded(main, TINY) == 0
    rows, broken = records.read_all(tmp_path / "records")
    assert not broken and all(row.metrics["psnr"].value is not None for row in rows)
    assert torch.cuda.max_memory_allocated() > 1e6
    assert all(torch.cuda.get_device_name() in str(row.environment) for row in rows)
