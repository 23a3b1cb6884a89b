"""``zoo reproduce RECORD [into=DIR]``: run a record's recipe again from nothing, and compare metric by metric.

RECORD is the JSON file of a model's row. The run goes to DIR (./runs/reproduced unless given), apart from other runs,
so that nothing is taken from a cache; the same command again goes on where it was stopped. Says of every metric
whether the new value lies inside the record's interval. Exit code 0 when all do, 1 when one does not.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import UserError

if TYPE_CHECKING:
    from benchmarks.record import Record

EXPLAINED = "A value may fall outside by chance: intervals hold 95 % and cover the choice of videos, not of seeds."


def main(arguments: list[str]) -> int:
    """Run the command; returns the exit code."""
    paths = [argument for argument in arguments if "=" not in argument]
    options = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    if len(paths) != 1 or options.keys() - {"into"}:
        raise UserError("reproduce takes one record: python -m zoo reproduce runs/records/SUITE/NAME.json [into=DIR].")
    from benchmarks import record as records

    old = records.read(Path(paths[0]))
    if old.kind != "model":
        raise UserError(f"{paths[0]} is a {old.kind} row, which no recipe made: give the record of a model.")
    new = _again(old, Path(options.get("into", "runs/reproduced")))
    return _compare(old, new)


def _again(old: Record, root: Path) -> Record:
    from benchmarks import record as records
    from benchmarks.suite import load
    from zoo.evaluation import evaluation_of
    from zoo.pipeline import Pipeline
    from zoo.recipe import Recipe, validate
    from zoo.store import Store

    recipe = validate(Recipe.from_dict(old.recipe))
    suite = load({"name": recipe.suite.name, **recipe.suite.options})
    if suite.version != old.suite.version:
        raise UserError(
            f"suite '{suite.name}' is now version {suite.version} and the record's is {old.suite.version}: "
            "install the release that made it."
        )
    return records.read(evaluation_of(Pipeline(recipe, Store(root)), suite).row())


def _compare(old: Record, new: Record) -> int:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{old.name}, {old.label}: reproduced", title_justify="left")
    for column in ("metric", "record", "interval", "again", "verdict"):
        table.add_column(column, justify="left" if column in ("metric", "verdict") else "right")
    outside = 0
    for name, metric in old.metrics.items():
        again = new.metrics.get(name)
        verdict = _verdict(metric, again)
        outside += verdict == "outside"
        low_high = "–" if metric.interval is None else "[{:.4g}, {:.4g}]".format(*metric.interval)
        table.add_row(name, _text(metric.value), low_high, _text(again.value if again else None), verdict)
    console = Console()
    console.print(table)
    console.print(EXPLAINED if outside else "Every metric with an interval fell inside it.")
    return 1 if outside else 0


def _verdict(old: Any, new: Any) -> str:
    if new is None or new.value is None or old.value is None:
        return "not measured"
    if new.key != old.key:
        return "another key"
    if new.value == old.value:
        return "equal"
    if old.interval is None:
        return "no interval"
    return "inside" if old.interval[0] <= new.value <= old.interval[1] else "outside"


def _text(value: float | None) -> str:
    return "–" if value is None else f"{value:.5g}"
