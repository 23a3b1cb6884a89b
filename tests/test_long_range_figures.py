"""Every figure of the tables in docs/long_range.md stands in the committed records, pooled over their seeds."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from benchmarks.findings import control_check
from benchmarks.leaderboard import collect
from benchmarks.pooled import PooledBoard, PooledRow, pool

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "long500"
PAGE = ROOT / "docs" / "long_range.md"
HEAD = (
    "| strategy | pd_lite0, wobbled revisits ↓ | place recognition, wobbled ↑ | PSNR, revisits ↑ | fd_lite0, unseen ↓ "
    "| GFLOP a frame |\n|---|---|---|---|---|---|"
)


def cell(row: PooledRow, metric: str, digits: int, part: str = "") -> str:
    figure = row.metrics.get(metric)
    figure = figure.parts.get(part) if figure and part else figure
    if figure is None or figure.value is None:
        return "–"
    mark = {"best": "**", "tie": "≈ "}.get(row.ranks.get(metric, ""), "") if not part else ""
    low, high = figure.interval or (None, None)
    text = f"{figure.value:.{digits}f}" + ("" if low is None else f" [{low:.{digits}f}, {high:.{digits}f}]")
    return f"**{text}**" if mark == "**" else mark + text


def line(row: PooledRow) -> str:
    """One row of a table in docs/long_range.md."""
    cost = row.cost.get("flops_per_frame")
    cells = [
        f"`{row.label.removeprefix('rollout=')}`" + (f" ({row.role})" if row.role else ""),
        cell(row, "pd_lite0_wobbled_revisit", 2),
        cell(row, "place_recognition_wobbled", 2),
        cell(row, "psnr", 1, "revisit_context"),
        cell(row, "fd_lite0_appearance_unseen", 0),
        f"{cost / 1e9:.2f}" if row.is_model and cost else "–",
    ]
    return f"| {' | '.join(cells)} |"


def table(board: PooledBoard) -> str:
    return "\n".join([f"### {board.title}", "", HEAD, *map(line, board.rows)])


@cache
def boards() -> tuple[PooledBoard, ...]:
    collection = collect([RESULTS])
    assert not collection.broken
    return tuple(pool(collection.entries))


def test_the_tables_are_the_committed_records():
    page = PAGE.read_text(encoding="utf-8")
    assert len(boards()) >= 2
    for board in boards():
        assert table(board) in page


def test_every_strategy_has_three_training_seeds():
    for board in boards():
        models = [row for row in board.rows if row.is_model]
        assert len(models) >= 4
        assert all(row.seeds == 3 for row in models), board.title


@pytest.mark.parametrize(
    "control", ["copy_last", "mean_context", "looped_context", "noise", "frozen", "constant", "blurred"]
)
def test_no_floor_tops_a_headline(control):
    found = [c for board in boards() for c in control_check(board) if c.control.split("(")[0] == control]
    assert found
    assert not [c for c in found if c.topped]


def test_truth_and_nearest_copies_bound_memory_from_above():
    for board in boards():
        place = {row.label: row.metrics["place_recognition_wobbled"].value for row in board.rows}
        best = max(place[row.label] for row in board.rows if row.is_model)
        assert place["oracle"] == 1.0 and place["copy_nearest_pose"] >= best


def test_what_the_records_show_is_there_for_one_seed():
    for board in boards():
        for row in board.rows:
            if row.is_model:
                first = row.entries[0]
                films = [where for name, where in first.record.artifacts.items() if name.startswith("video/")]
                assert films and all((first.path.parent / where).is_file() for where in films)


def test_the_readme_shows_the_committed_maze():
    maze = next(board for board in boards() if "maze500" in board.title and "250" in board.title)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert all(line(row) in readme for row in maze.rows)
