"""Every pair of alternatives together in one recipe, at tiny size: trains two steps and samples, or is refused and why.

A covering array puts all pairs that go together into a few dozen recipes; every pair that does not is tried by itself.
A new alternative joins the array unasked; a pair of it that is refused must be listed here.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, product
from pathlib import Path

import pytest
from pair_recipes import ALTERNATIVES, AXES, arguments

from benchmarks import record as records
from zoo.entry import guarded
from zoo.run import main

Pair = frozenset[tuple[str, str]]
TOKENS = ("maskgit", "autoregressive_tokens")
CONTINUOUS = ("pixels", "vae", "teco")
TRAINED = ("byte_table", "word_table")
"""Text encoders that are trained with the generator."""


def refused() -> Iterator[tuple[str, str, str]]:
    """Pairs that do not go together, ``axis.name``, with words of the reason that is given."""
    diffusion = [name for name in ALTERNATIVES["objective"] if name not in TOKENS]
    yield from ((f"objective.{name}", "solver.none", "walks from noise to data") for name in diffusion)
    for name in TOKENS:
        yield from ((f"objective.{name}", f"tokenizer.{other}", "needs a discrete tokenizer") for other in CONTINUOUS)
        reason = "different noise levels" if name == "maskgit" else "play no part"  # of noise=per_frame, which it needs
        yield f"objective.{name}", "rollout.rolling", reason
    yield "objective.autoregressive_tokens", "backbone.unet3d", "mixes the positions of a frame"
    yield "objective.autoregressive_tokens", "noise.per_frame", "play no part"
    yield "rollout.rolling", "noise.shared", "share one"
    yield "rollout.rolling", "solver.heun", "twice a step"
    for encoder in TRAINED:
        yield "dataset.maze", f"text_encoder.{encoder}", "needs captions"
    yield from (
        ("dataset.moving_shapes", f"pose_encoding.{name}", "needs poses") for name in ("additive", "relative_bias")
    )
    yield "dataset.moving_shapes", "rollout.pose_nearest", "needs poses"
    # And what no third part brings together: solver none takes tokens alone, no procedural world has poses and words.
    yield from (("solver.none", f"tokenizer.{name}", "needs a discrete tokenizer") for name in CONTINUOUS)
    yield "solver.none", "rollout.rolling", "different noise levels"
    posed = ("pose_encoding.additive", "pose_encoding.relative_bias", "rollout.pose_nearest")
    yield from ((key, f"text_encoder.{encoder}", "needs poses") for key, encoder in product(posed, TRAINED))


REFUSED = list(refused())


def pair(first: str, second: str) -> Pair:
    return frozenset([tuple(first.split(".")), tuple(second.split("."))])  # type: ignore[arg-type]


FORBIDDEN = {pair(first, second) for first, second, _ in REFUSED}


def goes(row: dict[str, str], axis: str, name: str) -> bool:
    """Whether an alternative may join the row."""
    return not any(frozenset([(axis, name), chosen]) in FORBIDDEN for chosen in row.items())


def new_pairs(row: dict[str, str], axis: str, name: str, left: set[Pair]) -> int:
    return sum(frozenset([(axis, name), chosen]) in left for chosen in row.items())


def completed(row: dict[str, str], left: set[Pair]) -> dict[str, str] | None:
    """The row with every axis filled, greedily by what is left to be covered; None where that cannot be."""
    open_axes = [axis for axis in AXES if axis not in row]
    if not open_axes:
        return row
    # The axis with the fewest choices first, so that dead ends show early.
    axis = min(open_axes, key=lambda a: sum(goes(row, a, name) for name in ALTERNATIVES[a]))
    names = [name for name in ALTERNATIVES[axis] if goes(row, axis, name)]
    for name in sorted(names, key=lambda name: -new_pairs(row, axis, name, left)):
        whole = completed({**row, axis: name}, left)
        if whole is not None:
            return whole
    return None


def pairs_of(row: dict[str, str]) -> set[Pair]:
    return {frozenset(two) for two in combinations(row.items(), 2)}


EVERY = {
    frozenset([(a, x), (b, y)]) for a, b in combinations(AXES, 2) for x in ALTERNATIVES[a] for y in ALTERNATIVES[b]
}


def covering() -> list[dict[str, str]]:
    """Recipes that together hold every pair that goes together."""
    left, rows = EVERY - FORBIDDEN, []
    while left:
        first = min(left, key=sorted)
        row = completed(dict(sorted(first)), left)
        assert row is not None, f"nothing goes with both of {sorted(first)}: list the pair in REFUSED"
        rows.append(row)
        left -= pairs_of(row)
    return rows


ARRAY = covering()


def test_the_array_holds_every_pair_that_goes_together() -> None:
    held = set().union(*(pairs_of(row) for row in ARRAY))
    assert len(EVERY) > 1000 and EVERY >= FORBIDDEN
    assert EVERY - held == FORBIDDEN


@pytest.fixture(scope="session")
def runs(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("pairs")


@pytest.mark.parametrize("row", ARRAY, ids=lambda row: "-".join(row.values()))
def test_alternatives_together_train_and_sample(row: dict[str, str], runs: Path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("ZOO_RUNS", str(runs))
    before = len(records.read_all(runs / "records")[0])
    code = guarded(main, arguments(row))
    assert code == 0, capsys.readouterr().err
    made, broken = records.read_all(runs / "records")
    assert not broken and len(made) > before


@pytest.mark.parametrize("first, second, reason", REFUSED)
def test_a_pair_is_refused_before_any_work(first: str, second: str, reason: str, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("ZOO_RUNS", str(tmp_path / "runs"))
    chosen = dict([first.split("."), second.split(".")])
    assert guarded(main, arguments(chosen)) == 2
    said = capsys.readouterr().err
    (refusal,) = [line for line in said.splitlines() if line.startswith("zoo: ")]
    assert reason in refusal and said.rstrip().endswith(refusal)
    assert not (tmp_path / "runs").exists()
