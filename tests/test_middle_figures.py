"""Every table and verdict in docs/middle.md is what the committed records say, pooled over their seeds."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from test_long_range_figures import cell

from benchmarks.claims import JudgedClaim, judged_claims
from benchmarks.claims_text import VERDICTS, cells, markdown, own_cells, titles
from benchmarks.leaderboard import collect
from benchmarks.pooled import PooledBoard, PooledRow, pool

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
TRAINED, PACKED = RESULTS / "short16", RESULTS / "packing"
PAGE = ROOT / "docs" / "middle.md"
FIGURES = {
    "text_to_video": (
        ("text alignment ↑", "text_alignment", 2, ""), ("colour", "text_alignment", 2, "colour"),
        ("shape", "text_alignment", 2, "shape"), ("motion", "text_alignment", 2, "motion"),
        ("fd_lite0_motion ↓", "fd_lite0_motion", 0, ""),
    ),
    "image_to_video": (
        ("text alignment ↑", "text_alignment", 2, ""), ("motion", "text_alignment", 2, "motion"),
        ("pd_lite0 ↓", "pd_lite0", 2, ""), ("PSNR ↑", "psnr", 1, ""), ("fd_lite0_motion ↓", "fd_lite0_motion", 0, ""),
    ),
    "packing": (
        ("filler ↓", "filler", 3, ""), ("rows", "filler", 0, "rows"), ("step, s ↓", "step_seconds", 1, ""),
        ("speed over padding ↑", "speed_over_padding", 2, ""), ("share of peak ↑", "matmul_share", 2, ""),
    ),
}  # fmt: skip
"""Task, or suite of one task → heading, metric, digits and part of each column."""


def table(board: PooledBoard) -> str:
    columns = FIGURES[board.protocol.split("@")[0] if "/" not in board.protocol else board.protocol.split("/")[2]]
    trained = "packing" not in board.protocol
    head = ["row", *(heading for heading, *_ in columns), *(["training, s"] if trained else [])]
    rows = [line(row, columns, trained) for row in board.rows]
    return "\n".join([f"### {board.title}", "", f"| {' | '.join(head)} |", "|---" * len(head) + "|", *rows])


def line(row: PooledRow, columns: tuple[tuple[str, str, int, str], ...], trained: bool) -> str:
    seconds = row.cost.get("trained_seconds")
    cells = [
        f"`{row.label}`" + (f" ({row.role})" if row.role else ""),
        *(_cell(row, metric, digits, part) for _, metric, digits, part in columns),
        *([f"{seconds:.0f}" if row.is_model and seconds else "–"] if trained else []),
    ]
    return f"| {' | '.join(cells)} |"


def _cell(row: PooledRow, metric: str, digits: int, part: str) -> str:
    """Of a part the mean alone: an interval from two seeds' means says nothing."""
    return cell(row, metric, digits) if not part else cell(row, metric, digits, part).split(" [")[0]


def summary(judged: JudgedClaim) -> str:
    """A claim's line in the table of README.md: by its deciding metric alone."""
    mean, interval = own_cells(judged)[0]
    others = [
        f"`{o.label}` {row[0].mean} {row[0].mark}" for o, row in zip(judged.alternatives, cells(judged), strict=True)
    ]
    cells_said = [
        judged.claim.title,
        f"`{judged.label}` {mean} {interval}",
        ", ".join(others),
        titles(judged)[0][0].split(" [")[0],
        VERDICTS[judged.outcome],
    ]
    return f"| {' | '.join(cells_said)} |"


@cache
def boards() -> tuple[PooledBoard, ...]:
    collection = collect([TRAINED, PACKED])
    assert not collection.broken
    return tuple(pool(collection.entries))


def test_the_claims_on_the_page_are_those_of_the_records():
    page = PAGE.read_text(encoding="utf-8")
    for said in markdown(judged_claims([TRAINED, PACKED])):
        assert said in page


def test_the_readme_says_how_each_claim_ended():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for judged in judged_claims([TRAINED, PACKED]):
        assert summary(judged) in readme


def test_the_tables_are_the_committed_records():
    page = PAGE.read_text(encoding="utf-8")
    for board in boards():
        assert table(board) in page


def test_every_row_has_two_seeds_and_the_same_budget():
    for board in boards():
        for row in (row for row in board.rows if row.is_model):
            assert row.seeds == 2, row.label
            for cost in [entry.record.cost for entry in row.entries if "packing" not in board.protocol]:
                assert cost.flops["generator"] == pytest.approx(6.5e12, rel=0.005), row.label
                assert cost.parameters["generator"] == pytest.approx(1.05e6, rel=0.07), row.label


def test_all_packings_have_the_same_work_and_change_nothing():
    (board,) = (board for board in boards() if "packing" in board.protocol)
    records = [entry.record for row in board.rows for entry in row.entries]
    for attention in ("full", "space_time_causal"):
        of = [record for record in records if record.recipe["attention"]["name"] == attention]
        assert len(of) == 6 and len({(r.cost.flops["training_step"], r.cost.parameters["generator"]) for r in of}) == 1
    assert all(r.metrics[n].value < 2e-6 for r in records for n in ("forward_difference", "gradient_difference"))
