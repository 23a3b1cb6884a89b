"""Which records are the same strategy with other training seeds, and what such a strategy is called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.leaderboard import clean
from benchmarks.record import Record, digest, identity

UNTOLD = ("name", "description", "point")
"""Of a recipe: what influences no result."""


def without_seeds(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A resolved recipe without ``seed``, the seeds of training and sampling, and what influences no result.

    The seed of a data set stays: another seed makes another world.
    """
    bare = {key: value for key, value in recipe.items() if key not in (*UNTOLD, "seed")}
    for section in ("train", "sample"):
        if isinstance(bare.get(section), Mapping):
            bare[section] = _seedless(bare[section])
    return bare


def _seedless(section: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _seedless(value) if isinstance(value, Mapping) else value
        for key, value in section.items()
        if key != "seed"
    }


def strategy(record: Record) -> str:
    """Equal for records that differ in their training seeds alone: the recipe without seeds, and the metrics' keys.

    A control is what it measured: made by several groups it is one row where the values are equal to six digits, and
    stays apart where they are not (a reconstruction by another tokenizer). A model without a recipe (someone's videos)
    goes by its name when it states its seeds, and otherwise stands alone.
    """
    keys = {name: metric.key for name, metric in record.metrics.items()}
    same: Any = without_seeds(record.recipe)
    if record.kind == "control":
        same = {n: None if m.value is None else f"{m.value:.6g}" for n, m in record.metrics.items()}
    elif not record.recipe:
        same = [record.group] if record.seeds else identity(record)
    by_name = record.kind == "control" or not record.recipe  # recipes of two names may resolve to one and the same
    called = [record.name, "" if record.recipe else named(record)] if by_name else []
    return digest([record.kind, record.role, called, keys, same])


def named(record: Record) -> str:
    """The label without seed, world and context: ``rollout=long_range``, ``attention=full``, or a control's name."""
    point = record.recipe.get("point")
    if record.kind == "control" or not isinstance(point, Mapping) or not point:
        return clean(record.label or record.name)
    kept = {k: v for k, v in point.items() if k.split(".")[-1] != "seed" and k.split(".")[0] not in ("suite", "case")}
    main = "rollout" if "rollout" in record.components else "tokenizer"  # of one that is judged alone
    if main == "tokenizer" and not kept and point.get("case"):
        return clean(str(point["case"]))  # tokenizers made equal differ in many options, which the case sums up
    if not kept and point.get("case"):  # likewise an ablation's models: ``attention=full``, with the steps it trains
        return clean(f"{str(record.recipe['name']).rpartition('/')[2]}={point['case']}")
    if not kept and main in record.components:
        kept = {main: record.components[main]}
    if main == "tokenizer":
        kept = {key.removeprefix("tokenizer."): value for key, value in kept.items()}
    return clean(", ".join(f"{key}={said_of(value)}" for key, value in kept.items()) or record.label or record.name)


def said_of(value: Any) -> str:
    """A swept part with options as ``long_range(distant=spread)``."""
    if not isinstance(value, Mapping) or "name" not in value:
        return str(value)
    options = ", ".join(f"{key}={said_of(v)}" for key, v in value.items() if key != "name")
    return f"{value['name']}({options})" if options else str(value["name"])


def distinct(rows: Sequence[Record]) -> list[str]:
    """A label per row; rows that would look alike say the one or two options in which they differ, else a digest."""
    labels = [named(record) for record in rows]
    told = []
    for label, record in zip(labels, rows, strict=True):
        twins = [other for name, other in zip(labels, rows, strict=True) if name == label]
        told.append(label if len(twins) == 1 else f"{label} ({_difference(record, twins)})")
    return [f"{x} ({strategy(r)[:6]})" if told.count(x) > 1 else x for x, r in zip(told, rows, strict=True)]


def _difference(record: Record, twins: Sequence[Record]) -> str:
    options = [flat(without_seeds(twin.recipe)) for twin in twins]
    keys = sorted({key for known in options for key in known if len({digest(o.get(key)) for o in options}) > 1})
    own = flat(without_seeds(record.recipe))
    said = ", ".join(f"{key}={own[key]}" for key in keys if key in own)
    return clean(said) if said and len(keys) <= 2 else strategy(record)[:6]


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested options as dotted keys; a list is a value."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found
