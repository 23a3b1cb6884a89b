"""Every alternative, swapped alone into the quickstart at tiny size, runs to a record or is refused with the reason."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from tiny import TINY

from benchmarks import record as records
from zoo import recipe_names, registry
from zoo.entry import guarded
from zoo.run import main

REFUSED = {
    "captioner.coca": "synthetic_share",
    "dataset.moving_shapes": "needs poses",
    "dataset.trajectory_npz": "needs poses",
    "dataset.video_folder": "needs poses",
    "guidance.classifier_free": "dropout",
    "guidance.history": "dropout",
    "objective.autoregressive_tokens": "needs a discrete tokenizer",
    "objective.maskgit": "needs a discrete tokenizer",
    "rollout.full": "missing",
    "rollout.rolling": "different noise levels",
    "solver.none": "walks from noise to data",
    "tokenizer.diffusers": "a value is required",
    "task.infill": "needs frames at the last end",
    "task.stitch": "needs frames at the last end",
    "text_encoder.byte_table": "needs captions",
    "text_encoder.open_clip": "needs captions",
    "text_encoder.word_table": "needs captions",
}
"""What the quickstart refuses, with words of the reason. A new alternative that is refused must be listed here."""
NEEDS_PACKAGE = {"dataset.vizdoom": "vizdoom", "reader.decord": "decord"}
AXES = recipe_names.part_axes()[:-1]
SWAPS = [f"{axis}.{name}" for axis in AXES for name in registry.names(axis)]


def arguments(swap: str) -> list[str]:
    """The tiny quickstart with one part swapped; a part that leaves takes its options with it."""
    axis, name = swap.split(".")
    own = [argument for argument in TINY if argument.startswith((f"{axis}.", f"{axis}="))]
    kept = [argument for argument in TINY if argument not in own]
    stays = own if name in ("maze", "vizdoom", "vae", "euler", "ddim", "heun", "ddpm") else []
    if axis == "backbone":
        return [*kept, f"backbone={{name: {name}, width: 16, depth: 1, heads: 2}}"]
    return [*kept, f"{axis}={name}", *(argument for argument in stays if "." in argument.partition("=")[0])]


def test_the_walk_is_complete():
    assert len(SWAPS) >= 38 and len(AXES) >= 16
    assert set(REFUSED) <= set(SWAPS)
    for axis in AXES:
        assert len(registry.names(axis)) >= (1 if axis == "backbone" else 2), axis


@pytest.fixture(scope="session")
def runs(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("swaps")


@pytest.mark.parametrize("swap", SWAPS)
def test_swap_runs_to_a_record_or_is_refused(swap, runs, monkeypatch, capsys):
    package = NEEDS_PACKAGE.get(swap)
    if package and importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    monkeypatch.setenv("ZOO_RUNS", str(runs))
    code = guarded(main, arguments(swap))
    said = capsys.readouterr()
    if swap in REFUSED:
        assert code == 2 and REFUSED[swap] in said.err
        return
    assert code == 0, said.err
    axis, name = swap.split(".")
    rows, broken = records.read_all(runs / "records")
    assert not broken
    used = axis != "reader"  # a procedural world opens no file, so the reader names no other run
    made = [row for row in rows if row.kind == "model" and (row.components[axis] == name or not used)]
    assert made and all(row.metrics["psnr"].value is not None for row in made)
