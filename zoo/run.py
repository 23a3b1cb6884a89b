"""``python -m zoo.run recipe=NAME key=value …``: resolve → check → stages → generate → judge → record → leaderboard.

``key=a,b,c`` and ``key=range(0,3)`` sweep: every combination is one row. Stages that were done before are reused, so
points that differ only in sampling share one generator, and the same command again trains nothing. Ctrl-C stops; the
same command goes on. Results go to ./runs, or to the folder in the environment variable ZOO_RUNS.

Besides the recipe's keys: ``reuse=stale`` accepts stages that older source code made (the record says so).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.entry import guarded
from zoo.errors import BadValue
from zoo.recipe_names import check_arguments

if TYPE_CHECKING:
    from benchmarks.suite import Suite
    from zoo.recipe import Recipe
    from zoo.store import Store


def main(arguments: list[str]) -> int:
    """Run a recipe, or every point of its sweep. Returns the exit code."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__)
        return 0
    reuse, rest = _reuse(arguments)
    check_arguments(rest)
    from zoo.recipe import resolve

    checked = [_checked(point) for point in resolve(rest, sweep=True)]
    points = [recipe for recipe, _ in checked]
    from zoo.launch import apart, several_ranks
    from zoo.store import Store, process_rank

    store = Store()
    if len(points) > 1 and several_ranks(points[0].trainer):
        apart(points, store, reuse)
    rows = [path for recipe, suite in checked for path in _run(recipe, suite, store, reuse)]
    if process_rank() == 0:
        _show(rows, store, checked[0][1].name)
    return 0


def _reuse(arguments: list[str]) -> tuple[str, list[str]]:
    asked = [argument.partition("=")[2] for argument in arguments if argument.startswith("reuse=")]
    if any(value not in ("fresh", "stale") for value in asked):
        raise BadValue(f"reuse={asked[-1]}: choose fresh (the default) or stale.")
    return (asked or ["fresh"])[-1], [argument for argument in arguments if not argument.startswith("reuse=")]


def _checked(recipe: Recipe) -> tuple[Recipe, Suite]:
    """The recipe with every option written out, and its suite.

    Everything that can be refused is refused here, for all points, before the first stage starts.
    """
    from benchmarks.suite import load
    from zoo import pairings
    from zoo.recipe import validate

    suite = load({"name": recipe.suite.name, **recipe.suite.options})
    pairings.check(recipe, suite)
    recipe = validate(recipe)
    pairings.check_built(recipe, suite)
    return recipe, suite


def _run(recipe: Recipe, suite: Suite, store: Store, reuse: str) -> list[Path]:
    """All stages of one point; returns the records of its row and of the floors and ceilings beside it."""
    from zoo.evaluation import evaluation_of
    from zoo.launch import part_ways
    from zoo.pipeline import Pipeline
    from zoo.progress import say
    from zoo.store import process_rank

    evaluation = evaluation_of(Pipeline(recipe, store, reuse), suite)  # type: ignore[arg-type]
    say(f"{recipe.name}: {evaluation.label}")
    evaluation.check()
    evaluation.train()
    part_ways()
    if process_rank() != 0:
        return []  # the other ranks of a distributed run only train
    return [evaluation.row(), *evaluation.controls()]


def _show(rows: list[Path], store: Store, suite: str) -> None:
    """The table of this run on the terminal, and the page of everything judged so far by this suite."""
    from zoo.commands import leaderboard
    from zoo.progress import say

    folder, page = store.root / "records", store.root / "leaderboard.html"
    leaderboard.show(folder, only=rows)
    leaderboard.main([f"results={folder}", "format=html", f"out={page}"])
    say(f"records, with their videos: {folder / suite}")
    say(f"open in a browser, for curves and videos: {page}")


if __name__ == "__main__":
    sys.exit(guarded(main, sys.argv[1:]))
