"""A third-party package, installed with pip: its rollout is listed, described and planned by name."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tiny import TINY

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The plug-in in a folder of its own, so that it never reaches the environment the other tests run in."""
    base = tmp_path_factory.mktemp("plugin")
    # A build writes beside its source: build a copy.
    shutil.copytree(ROOT / "tests" / "plugin", base / "source", ignore=shutil.ignore_patterns("build", "*.egg-info"))
    target = base / "site"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run([*command, "--target", target, base / "source"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return target


def zoo(*arguments: str, site: Path | None) -> subprocess.CompletedProcess[str]:
    """The command line, with or without the plug-in's folder on the path."""
    path = os.pathsep.join(str(p) for p in (ROOT, site) if p is not None)
    command = [sys.executable, "-m", "zoo", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, env=os.environ | {"PYTHONPATH": path}, cwd=ROOT
    )


def test_it_is_listed_by_name_only_when_installed(installed):
    listed = json.loads(zoo("list", "rollout", "format=json", site=installed).stdout)
    row = next(row for row in listed if row["name"] == "every_other")
    assert "strides" in row["note"]
    assert "every_other" not in zoo("list", "rollout", site=None).stdout


def test_it_is_described_with_its_options(installed):
    done = zoo("describe", "rollout.every_other", site=installed)
    assert done.returncode == 0, done.stderr
    assert "stride" in done.stdout


def test_it_runs_and_shows_on_the_leaderboard(installed, tmp_path):
    path = os.pathsep.join((str(ROOT), str(installed)))
    environment = os.environ | {"PYTHONPATH": path, "ZOO_RUNS": str(tmp_path), "OMP_NUM_THREADS": "1"}
    arguments = [argument for argument in TINY if not argument.startswith("rollout=")]
    done = subprocess.run(
        [sys.executable, "-m", "zoo.run", *arguments, "rollout=every_other"],
        capture_output=True,
        text=True,
        timeout=300,
        env=environment,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "rollout=every_other" in done.stdout
    assert "every_other" in (tmp_path / "leaderboard.html").read_text(encoding="utf-8")


def test_its_plan_runs_by_name(installed):
    arguments = ["frames", "rollout=every_other", "frames=30", "observed=10", "window=6", "step=2", "format=json"]
    done = zoo(*arguments, site=installed)
    assert done.returncode == 0, done.stderr
    steps = json.loads(done.stdout)
    assert steps[0] == {"observed": [3, 5, 7, 9], "latent": [10, 11]}
    assert [frame for step in steps for frame in step["latent"]] == list(range(10, 30))


def test_its_options_are_checked_like_our_own(installed):
    done = zoo("frames", "rollout=every_other", "rollout.strid=3", "frames=30", "observed=10", site=installed)
    assert done.returncode == 2
    assert "stride" in done.stderr
    assert "Traceback" not in done.stderr
