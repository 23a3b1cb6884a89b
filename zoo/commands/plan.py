"""``zoo plan recipe=NAME [key=value …] [format=json]``: what a recipe would cost. Trains nothing, reads no video.

Parameters by part; FLOPs of one training step of each stage and of one generated frame, counted by PyTorch's own
counter on tensors without storage; an estimate of the memory of training; which stages are done already; and one line
for every point of a sweep.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from zoo.errors import UserError
from zoo.recipe_names import check_arguments

if TYPE_CHECKING:
    from zoo.recipe import Recipe


def main(arguments: list[str]) -> int:
    """Run the command; returns the exit code."""
    as_json = "format=json" in arguments
    rest = [argument for argument in arguments if argument != "format=json"]
    check_arguments(rest)
    from zoo.recipe import resolve

    points = resolve(rest, sweep=True)
    plans = [_plan(point) for point in points]
    if as_json:
        print(json.dumps(plans, indent=1))
    else:
        _print(points[0], plans)
    return 0


def _plan(recipe: Recipe) -> dict[str, Any]:
    from benchmarks.suite import load
    from zoo import pairings
    from zoo.cost import generator_cost, rollout_calls, tokenizer_cost
    from zoo.recipe import validate
    from zoo.store import Store

    suite = load({"name": recipe.suite.name, **recipe.suite.options})
    pairings.check(recipe, suite)
    recipe = validate(recipe)
    pairings.check_built(recipe, suite)
    tokenizer = tokenizer_cost(recipe)
    generator = generator_cost(recipe)
    calls = rollout_calls(recipe, suite)
    return {
        "recipe": recipe.name,
        "point": recipe.point,
        "tokenizer": tokenizer,
        "generator": generator,
        "rollout": {**calls, "flops_per_frame": calls["network_calls_per_frame"] * generator["flops_per_call"]},
        "stages": _stages(recipe, Store()),
    }


def _stages(recipe: Recipe, store: Any) -> dict[str, str]:
    """What is cached. A data set that is not there yet (no root given) has no fingerprint, so nothing is known."""
    from zoo.pipeline import Pipeline

    pipeline = Pipeline(recipe, store)
    try:
        folders = (pipeline.tokenizer_dir, pipeline.generator_dir)
    except UserError as error:
        return {"data": str(error)}
    return {folder.name: folder.state for folder in folders}


def _print(recipe: Recipe, plans: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(soft_wrap=False)
    first = plans[0]
    table = Table(title=f"{recipe.name}: {recipe.description}", title_justify="left")
    for column in ("stage", "parameters", "FLOPs a training step", "steps", "FLOPs in all", "training memory"):
        table.add_column(column, justify="left" if column == "stage" else "right")
    for stage in ("tokenizer", "generator"):
        cost = first[stage]
        total = cost["flops_per_step"] * cost["steps"]
        table.add_row(
            stage,
            si(cost["parameters"]),
            si(cost["flops_per_step"]),
            f"{cost['steps']:,}",
            si(total),
            f"{cost['memory_bytes'] / 2**30:.2f} GiB",
        )
    console.print(table)
    parts = ", ".join(f"{name} {si(count)}" for name, count in first["generator"]["parts"].items())
    console.print(f"generator by part: {parts}", markup=False)
    _print_points(console, plans)
    for name, state in first["stages"].items():
        console.print(f"stage {name}: {state}", markup=False)


def _print_points(console: Any, plans: list[dict[str, Any]]) -> None:
    from rich.table import Table

    table = Table(title=f"{len(plans)} point(s): one row of the leaderboard each", title_justify="left")
    for column in ("point", "generator", "plan steps", "network calls a frame", "FLOPs a frame"):
        table.add_column(column, justify="left" if column in ("point", "generator") else "right")
    for plan in plans:
        rollout = plan["rollout"]
        table.add_row(
            ", ".join(f"{key}={value}" for key, value in plan["point"].items()) or plan["recipe"],
            next((name for name in plan["stages"] if name.startswith("generator")), "?"),
            str(rollout["plan_steps"]),
            f"{rollout['network_calls_per_frame']:.2f}",
            si(rollout["flops_per_frame"]),
        )
    console.print(table)


def si(value: float) -> str:
    """1234567 → ``1.23 M``."""
    for power, prefix in ((18, "E"), (15, "P"), (12, "T"), (9, "G"), (6, "M"), (3, "k")):
        if abs(value) >= 10**power:
            return f"{value / 10**power:.3g} {prefix}"
    return f"{value:.3g}"
