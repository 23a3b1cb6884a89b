"""Every figure in the README's table stands in a committed record."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import record as records

ROOT = Path(__file__).resolve().parent.parent


def cell(part, digits: int) -> str:
    low, high = part.interval
    return f"{part.value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def line(row) -> str:
    """One row of the README's table, from its record."""
    name = row.label.removeprefix("rollout=") or row.name
    role = f" ({row.role})" if row.role else ""
    psnr, calls = row.metrics["psnr"].parts, row.cost.network_calls_per_frame
    cells = [
        f"`{name}`{role}",
        cell(psnr["revisit_context"], 1),
        cell(row.metrics["place_recognition"], 2),
        cell(psnr["unseen"], 1),
        cell(row.metrics["pd_lite0"], 2),
        f"{calls:.2f}" if calls else "–",
    ]
    return f"| {' | '.join(cells)} |"


def test_the_table_is_the_committed_records():
    committed, broken = records.read_all(ROOT / "benchmarks" / "results" / "quickstart")
    assert not broken and len(committed) == 8
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for row in committed:
        assert line(row) in readme


def test_committed_media_exist():
    folder = ROOT / "benchmarks" / "results" / "quickstart"
    committed, _ = records.read_all(folder)
    assert all((folder / path).is_file() for row in committed for path in row.artifacts.values())


def test_what_is_said_of_shapes_text_is_its_record():
    committed, broken = records.read_all(ROOT / "benchmarks" / "results" / "shapes_text")
    (row,) = (row for row in committed if row.kind != "control")
    assert not broken and row.cost.flops["generator"] / 1e12 == pytest.approx(100, rel=0.01)
    parts = row.metrics["text_alignment"].parts
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    for name in ("colour", "background", "shape", "motion"):
        assert f"{name} {parts[name].value:.2f}" in readme
