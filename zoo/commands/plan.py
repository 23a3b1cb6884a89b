"""``zoo plan recipe=NAME [key=value …] [format=table|json|markdown]``: what a recipe would cost. Trains nothing.

Parameters by part; FLOPs of one training step of each stage, counted by PyTorch's own counter on tensors without
storage; an estimate of the memory of training; which stages are done already; and one line for every point of a sweep:
its plan's steps, network calls, FLOPs and memory for one video of the suite, counted step by step.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from zoo.errors import BadValue, UserError, nearest
from zoo.model_size import is_budget
from zoo.recipe_names import check_arguments

if TYPE_CHECKING:
    from zoo.recipe import Recipe

FORMATS = ("table", "json", "markdown")
COLUMNS = ("steps", "calls", "calls a frame", "TFLOP", "TFLOP a frame", "MiB a call", "MiB latents")
"""Plan steps, network calls and what they cost, of one video; memory of the largest call, and of all latent frames."""


def main(arguments: list[str]) -> int:
    """Run the command; returns the exit code."""
    chosen = [argument.partition("=")[2] for argument in arguments if argument.startswith("format=")] or ["table"]
    if chosen[-1] not in FORMATS:
        raise BadValue(f"plan has no format '{chosen[-1]}'.{nearest(chosen[-1], FORMATS)}")
    rest = [argument for argument in arguments if not argument.startswith("format=")]
    check_arguments(rest)
    from zoo.recipe import resolve

    points = resolve(rest, sweep=True)
    counts: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {}
    plans = [_plan(point, counts) for point in points]
    if chosen[-1] == "json":
        print(json.dumps(plans, indent=1))
        return 0
    trials = [plan for plan in plans if "packing_name" in plan]
    others = [plan for plan in plans if "packing_name" not in plan]
    alone, whole = ([plan for plan in others if ("generator" in plan) is known] for known in (False, True))
    for plan in trials:
        parameters = si(plan["generator"]["parameters"])
        print(f"packing={plan['packing_name']}: {parameters} parameters, timed on one batch; nothing is trained")
    if whole:
        {"markdown": _print_markdown, "table": _print}[chosen[-1]](points[0], whole)
    if alone:
        {"markdown": _markdown_alone, "table": _print_alone}[chosen[-1]](points[0], alone)
    return 0


def _plan(recipe: Recipe, counts: dict[str, Any]) -> dict[str, Any]:
    """One point; `counts` keeps what points of one generator share, so that each is counted once."""
    from benchmarks.suite import load
    from zoo import compose, pairings
    from zoo.cost import clip_shape, generator_cost, network_cost, rollout_cost, suite_shape, tokenizer_cost
    from zoo.recipe import validate
    from zoo.store import Store

    suite = load({"name": recipe.suite.name, **recipe.suite.options})
    pairings.check(recipe, suite)
    recipe = validate(recipe)
    pairings.check_built(recipe, suite)
    trial, alone = suite.judges == "packing", suite.judges == "tokenizer"
    plan = {
        "recipe": recipe.name,
        "point": recipe.point,
        "suite": {"protocol": suite.protocol, "frames": suite.frames, "context": suite.context},
        "stages": _stages(recipe, Store(), () if trial else ("tokenizer",) if alone else ("tokenizer", "generator")),
    }
    if trial:
        counted = generator_cost(recipe, network_cost(recipe, suite_shape(recipe, suite)))
        return {**plan, "packing_name": recipe.part("packing").name, "generator": counted}
    if alone:
        return {**plan, "tokenizer_name": recipe.part("tokenizer").name, "tokenizer": tokenizer_cost(recipe)}
    generator = json.dumps(compose.training_part(recipe), sort_keys=True)
    if generator not in counts:
        trained = network_cost(recipe, clip_shape(recipe))
        counts[generator] = tokenizer_cost(recipe), generator_cost(recipe, trained), {clip_shape(recipe): trained}
    tokenizer, stage, networks = counts[generator]
    judged = suite_shape(recipe, suite)
    if judged not in networks:
        networks[judged] = network_cost(recipe, judged)
    rollout = rollout_cost(recipe, suite, networks[judged])
    stage = {**stage, "size": _size(recipe, networks[judged].network)}
    named = {"rollout_name": recipe.part("rollout").name}
    return {**plan, **named, "tokenizer": tokenizer, "generator": stage, "rollout": rollout}


def _size(recipe: Recipe, network: Any) -> str:
    """What a budget or a preset became; empty where the recipe says width and depth itself."""
    part = recipe.part("backbone")
    backbone = getattr(network, "backbone", network)
    if not is_budget(part):
        return ""
    budget = part.options.get("params")
    asked = f"preset {part.options['preset']}" if budget is None else f"{si(budget)} asked"
    shape, count = backbone.config, sum(parameter.numel() for parameter in backbone.parameters())
    return (
        f"backbone {part.name}: width {shape.width}, depth {shape.depth}, heads {shape.heads}: "
        f"{si(count)} parameters, {asked}"
    )


def _stages(recipe: Recipe, store: Any, names: tuple[str, ...]) -> dict[str, str]:
    """What is cached. A data set that is not there yet (no root given) has no fingerprint, so nothing is known."""
    from zoo.pipeline import Pipeline

    pipeline = Pipeline(recipe, store)
    try:
        captioner = pipeline.captioning.folders if "generator" in names else ()
        folders = [*captioner, *(getattr(pipeline, f"{name}_dir") for name in names)]
    except UserError as error:
        return {"data": str(error)}
    return {folder.name: folder.state for folder in folders}


def point_cells(plan: dict[str, Any]) -> list[str]:
    """The figures of one point, in the order of COLUMNS."""
    cost = plan["rollout"]
    return [
        f"{cost['plan_steps']:,}",
        f"{cost['network_calls']:,}",
        f"{cost['network_calls_per_frame']:.2f}",
        _plain(cost["flops"] / 1e12),
        _plain(cost["flops_per_frame"] / 1e12),
        _plain(cost["peak_activation_bytes"] / 2**20),
        _plain(cost["canvas_bytes"] / 2**20),
    ]


def point_label(plan: dict[str, Any]) -> str:
    """The rollout and its swept options, then whatever else the sweep set here."""
    point = dict(plan["point"])
    rollout = point.pop("rollout", plan["rollout_name"])
    options = dict(rollout) if isinstance(rollout, dict) else {"name": rollout}
    said = [str(options.pop("name", plan["rollout_name"]))]
    said += [f"{key}={value}" for key, value in options.items()]
    return ", ".join([" ".join(said), *(f"{key}={value}" for key, value in point.items())])


def _print_markdown(recipe: Recipe, plans: list[dict[str, Any]]) -> None:
    first = plans[0]
    stages = [
        f"{stage} {si(cost['parameters'])} parameters, {si(cost['flops_per_step'] * cost['steps'])}FLOP of training"
        for stage, cost in ((name, first[name]) for name in ("tokenizer", "generator"))
    ]
    print(f"`{recipe.name}`: {'; '.join(stages)}.\n")
    print("| " + " | ".join(("strategy", *COLUMNS)) + " |")
    print("|---" + "|---:" * len(COLUMNS) + "|")
    for plan in plans:
        print("| " + " | ".join((point_label(plan), *point_cells(plan))) + " |")


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
    for line in dict.fromkeys(plan["generator"]["size"] for plan in plans if plan["generator"]["size"]):
        console.print(line, markup=False)
    _print_points(console, plans)
    for name, state in {name: state for plan in plans for name, state in plan["stages"].items()}.items():
        console.print(f"stage {name}: {state}", markup=False)


ALONE = ("parameters", "FLOPs a training step", "steps", "FLOPs in all", "training memory")
"""What is planned of a tokenizer that is judged alone."""


def _alone(plan: dict[str, Any]) -> tuple[str, ...]:
    """What the sweep set, or the tokenizer's name, and its figures in the order of ALONE."""
    cost = plan["tokenizer"]
    label = ", ".join(f"{key}={value}" for key, value in plan["point"].items()) or plan["tokenizer_name"]
    total, memory = cost["flops_per_step"] * cost["steps"], f"{cost['memory_bytes'] / 2**30:.2f} GiB"
    return label, si(cost["parameters"]), si(cost["flops_per_step"]), f"{cost['steps']:,}", si(total), memory


def _print_alone(recipe: Recipe, plans: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    title = f"{recipe.name}: {len(plans)} tokenizer(s) judged alone, a leaderboard row each; nothing is generated"
    table = Table(title=title, title_justify="left")
    table.add_column("tokenizer", overflow="fold")
    for column in ALONE:
        table.add_column(column, justify="right")
    for plan in plans:
        table.add_row(*_alone(plan))
    console = Console(soft_wrap=False)
    console.print(table)
    for name, state in {name: state for plan in plans for name, state in plan["stages"].items()}.items():
        console.print(f"stage {name}: {state}", markup=False)


def _markdown_alone(recipe: Recipe, plans: list[dict[str, Any]]) -> None:
    print("| " + " | ".join(("tokenizer", *ALONE)) + " |")
    print("|---" + "|---:" * len(ALONE) + "|")
    for plan in plans:
        print("| " + " | ".join(_alone(plan)) + " |")


def _print_points(console: Any, plans: list[dict[str, Any]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    title = f"{len(plans)} point(s), a leaderboard row each; one video each, decoding not counted"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("strategy", overflow="fold")
    for column in COLUMNS:
        table.add_column(column.replace(" ", "\n", 1), justify="right", no_wrap=True)
    for plan in plans:
        table.add_row(point_label(plan), *point_cells(plan))
    console.print(table)


def _plain(value: float) -> str:
    """Three digits at least, and no exponents."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def si(value: float) -> str:
    """1234567 → ``1.23 M``."""
    for power, prefix in ((21, "Z"), (18, "E"), (15, "P"), (12, "T"), (9, "G"), (6, "M"), (3, "k")):
        if abs(value) >= 10**power:
            return f"{value / 10**power:.3g} {prefix}"
    return f"{value:.3g}"
