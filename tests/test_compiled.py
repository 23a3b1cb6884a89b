"""trainer.compile and bfloat16: the same network, the same names of weights, a tiny run from recipe to record."""

from __future__ import annotations

from typing import Any

import pytest
import test_backbone
import test_unet3d
import torch
from safetensors import safe_open
from test_backbone import batch, close
from tiny import TINY

from benchmarks import record as records
from zoo.compiled import compile_regions
from zoo.entry import guarded
from zoo.errors import BadValue
from zoo.recipe import resolve
from zoo.run import main

BUILDERS = {"video_dit": test_backbone.build, "unet3d": test_unet3d.build}


@pytest.mark.parametrize("name", BUILDERS)
def test_every_block_is_a_region_and_names_stay(name: str) -> None:
    net = BUILDERS[name]()
    names = list(net.state_dict())
    assert compile_regions(net, False) == 0 and not any(m._compiled_call_impl for m in net.modules())
    count = compile_regions(net, True)
    assert count == sum(m._compiled_call_impl is not None for m in net.modules()) >= 2
    assert list(net.state_dict()) == names and not any("_orig_mod" in n for n in names)
    assert compile_regions(torch.nn.Linear(2, 2), True) == 0, "what names no blocks is left alone"


@pytest.mark.slow
@pytest.mark.parametrize("name", BUILDERS)
def test_compiled_blocks_give_the_same_outputs_and_gradients(name: str) -> None:
    torch.compiler.reset()
    small = {"depth": 1} if name == "video_dit" else {}
    net, other = BUILDERS[name](**small), BUILDERS[name](**small)
    for region in {type(region): region for region in other.regions()}.values():  # one of each kind: tracing is slow
        region.compile(backend="aot_eager")  # traced forward and backward as inductor would; no C++ is built
    z, window, told = batch([[1, 0, 0], [0, 1, 0]])
    seen = [test_backbone.frames_of(z, window, told, torch.tensor([[0], [1]]))]
    out, same = net(z, window, told), other(z, window, told)
    close(same, out)
    mine, theirs = (
        torch.autograd.grad(made.square().sum(), list(n.parameters())) for made, n in ((out, net), (same, other))
    )
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5 * max(1.0, float(a.abs().max())))
    if name == "unet3d":
        return  # its kinds of block have been traced; memory is a second trace of each
    with torch.no_grad():
        made = test_backbone.frames_of(z, window, told, torch.tensor([[1, 2], [0, 2]]))
        memory, known = (n.remember(*seen[0]) for n in (other, net))
        close(other(*made, memory=memory), net(*made, memory=known))


def run(edits: list[str], folder: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("ZOO_RUNS", str(folder))
    assert guarded(main, [*TINY, *edits]) == 0
    (weights,) = (
        (folder / "generator").glob("*/weights.safetensors")
        if (folder / "generator").is_dir()
        else (path for path in folder.rglob("weights.safetensors") if "generator" in str(path))
    )
    rows, broken = records.read_all(folder / "records")
    assert not broken and all(row.metrics["psnr"].value is not None for row in rows)
    with safe_open(str(weights), framework="pt") as file:
        return sorted(file.keys())


@pytest.mark.slow
def test_a_compiled_run_leaves_weights_that_an_uncompiled_one_reads(tmp_path: Any, monkeypatch: Any) -> None:
    torch.compiler.reset()

    def traced(module: torch.nn.Module, mode: str) -> None:
        """Without the C++ that inductor builds in minutes; benchmarks/peers/backbone.py has it with compile=1."""
        assert mode == "default"
        module._compiled_call_impl = torch.compile(module._call_impl, backend="eager")

    with monkeypatch.context() as patch:
        patch.setattr(torch.nn.Module, "compile", traced)
        compiled = run(["trainer.compile=true"], tmp_path / "a", monkeypatch)
    plain = run([], tmp_path / "b", monkeypatch)
    assert compiled == plain and not any("_orig_mod" in key for key in compiled)


@pytest.mark.slow
def test_a_run_in_bfloat16_ends_in_a_record(tmp_path: Any, monkeypatch: Any) -> None:
    assert run(["trainer.precision=bf16-mixed"], tmp_path, monkeypatch)


def test_a_mode_that_torch_does_not_have_is_refused() -> None:
    with pytest.raises(BadValue, match=r"trainer\.compile"):
        resolve(["recipe=quickstart", "trainer.compile=fastest"], sweep=False)
    assert resolve(["recipe=quickstart", "trainer.compile=max-autotune"], sweep=False)[0].trainer.compile
