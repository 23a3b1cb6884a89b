"""Every figure of the tables in docs/tokenizers.md stands in the committed records, pooled over their seeds."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from test_long_range_figures import cell

from benchmarks.findings import findings
from benchmarks.leaderboard import collect
from benchmarks.pooled import PooledBoard, PooledRow, pool

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "reconstruct"
PAGE = ROOT / "docs" / "tokenizers.md"
HEAD = (
    "| tokenizer | PSNR ↑ | pd_lite0 ↓ | temporal detail ↑ | bits a pixel | quantisation loss | perplexity "
    "| training, s |\n|---|---|---|---|---|---|---|---|"
)
SIX = {"vae", "vqvae", "vqgan", "magvit2", "teco", "teco_vq"}
COMPRESSED = {"vae_k2", "vae_k4", "vae_k4_16c", "magvit2_k1", "magvit2_k2"}


def plain(row: PooledRow, metric: str, digits: int) -> str:
    """A figure without its interval; – where the row has none."""
    figure = row.metrics.get(metric)
    return "–" if figure is None or figure.value is None else f"{figure.value:.{digits}f}"


def line(row: PooledRow) -> str:
    """One row of a table in docs/tokenizers.md."""
    seconds = row.cost.get("trained_seconds")
    cells = [
        f"`{row.label}`" + (f" ({row.role})" if row.role else ""),
        cell(row, "psnr", 1),
        cell(row, "pd_lite0", 2),
        cell(row, "temporal_detail", 1),
        plain(row, "bits_per_pixel", 2),
        plain(row, "quantisation_loss", 2),
        plain(row, "perplexity", 0),
        f"{seconds:.0f}" if row.is_model and seconds else "–",
    ]
    return f"| {' | '.join(cells)} |"


def table(board: PooledBoard) -> str:
    return "\n".join([f"### {board.title}", "", HEAD, *map(line, board.rows)])


@cache
def boards() -> tuple[PooledBoard, ...]:
    collection = collect([RESULTS])
    assert not collection.broken
    return tuple(pool(collection.entries))


def models(board: PooledBoard) -> dict[str, PooledRow]:
    return {row.label: row for row in board.rows if row.is_model}


def test_the_tables_and_findings_are_the_committed_records():
    page = PAGE.read_text(encoding="utf-8")
    assert len(boards()) == 3
    for board in boards():
        assert table(board) in page
        for sentence in findings(board):
            assert sentence in page


def test_six_tokenizers_with_three_seeds_in_every_world():
    for board in boards():
        assert models(board).keys() >= SIX, board.title
        assert {row.seeds for row in models(board).values()} == {3}


@pytest.mark.parametrize("world", ["maze", "vizdoom"])
def test_the_temporal_factors_stand_beside_them(world):
    board = next(board for board in boards() if world in board.title)
    assert models(board).keys() >= COMPRESSED


def test_equal_means_what_the_recipe_says():
    for board in boards():
        for name, row in models(board).items():
            assert row.cost["parameters"] == pytest.approx(0.88e6, rel=0.08), name
            assert row.cost["trained_flops"] == pytest.approx(3.0e12, rel=0.002), name


def test_the_readme_shows_the_committed_maze():
    maze = next(board for board in boards() if "maze" in board.title)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = [row for row in maze.rows if row.label in SIX or not row.is_model]
    assert all(line(row) in readme for row in rows)
