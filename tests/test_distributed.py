"""Two ranks on the CPU: a sweep trains under DDP, each point a process of its own, and ends in a record each."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny import TINY

from benchmarks import record as records

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.slow
def test_a_sweep_on_two_ranks(tmp_path):
    arguments = [argument for argument in TINY if not argument.startswith("rollout=")]
    ranks = ["trainer.accelerator=cpu", "trainer.devices=2", "trainer.strategy=ddp"]
    environment = os.environ | {"ZOO_RUNS": str(tmp_path), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "zoo.run", *arguments, *ranks, "rollout=autoregressive,pose_nearest"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    rows, broken = records.read_all(tmp_path / "records")
    assert not broken and sorted(row.kind for row in rows) == ["control", "model", "model"]
    assert len(list(tmp_path.glob("generator-*"))) == 1
