"""(axis, name) → class, by file name: the only importlib of components in the project.

    components/rollout/long_range.py   ⇄   rollout: long_range
    benchmarks/metric/psnr.py          ⇄   metric psnr

Names, cards and option names are read without importing anything; `load` imports the one chosen file. Third parties
join through entry points of the group ``spacetime_zoo.components``: ``"rollout.mine" = "pkg.mod:Mine"``.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import zoo
from zoo import syntax_tree
from zoo.card import Card
from zoo.errors import UnknownName, UnmetNeed, UserError, nearest
from zoo.extras import install_command

GROUP = "spacetime_zoo.components"
BENCHMARK_AXES = ("metric", "feature", "control")
_HOME = Path(zoo.__file__).resolve().parent.parent


@cache
def folder(package: str) -> Path:
    """The folder of `components`, `benchmarks` or `recipes`, which must lie beside `zoo`.

    Raises:
        UserError: another package of that name, such as a folder in the working directory, hides ours.
    """
    wanted = _HOME / package
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        spec = None
    found = Path(spec.origin).resolve() if spec is not None and spec.origin else None
    if found != wanted / "__init__.py":
        other = found or next(iter(spec.submodule_search_locations or ()), "nothing") if spec else "nothing"
        raise UserError(
            f"`import {package}` finds {other} instead of {wanted}: start from another folder, or rename that one."
        )
    return wanted


@cache
def axes(package: str | None = None) -> tuple[str, ...]:
    """The axes of ablation, sorted: every folder of components/, then those of benchmarks/; or of one of the two."""
    listed = tuple(m.name for m in pkgutil.iter_modules([str(folder("components"))]) if m.ispkg)
    return {"components": listed, "benchmarks": BENCHMARK_AXES, None: listed + BENCHMARK_AXES}[package]


def _package(axis: str) -> str:
    if axis not in axes():
        raise UnknownName(f"there is no axis '{axis}'.{nearest(axis, axes())}")
    return "benchmarks" if axis in BENCHMARK_AXES else "components"


@cache
def _plugins() -> Mapping[tuple[str, str], EntryPoint]:
    """Entry points by (axis, name)."""
    found: dict[tuple[str, str], EntryPoint] = {}
    for point in entry_points(group=GROUP):
        axis, _, name = point.name.partition(".")
        if axis not in axes() or not name.isidentifier():
            raise UserError(
                f"the entry point '{point.name}' of {_owner(point)} is not axis.name; its axis must be one of "
                f"{', '.join(axes())}: correct or uninstall that package."
            )
        known = found.setdefault((axis, name), point)
        if known.value != point.value:
            raise UserError(
                f"{_owner(known)} and {_owner(point)} both provide {point.name}: uninstall one of the two packages."
            )
    return found


def _owner(point: EntryPoint) -> str:
    return f"the package '{point.dist.name}'" if point.dist is not None else point.value


@cache
def _alternatives(axis: str) -> Mapping[str, EntryPoint | None]:
    """Name → entry point, or None for a file of ours."""
    files = pkgutil.iter_modules([str(folder(_package(axis)) / axis)])
    own: dict[str, EntryPoint | None] = {m.name: None for m in files if not m.name.startswith("_")}
    for (plugin_axis, name), point in _plugins().items():
        if plugin_axis != axis:
            continue
        if name in own:
            raise UserError(
                f"{_owner(point)} provides {axis}.{name}, which {axis}/{name}.py already is: rename its entry point "
                "or uninstall it."
            )
        own[name] = point
    return dict(sorted(own.items()))


def names(axis: str) -> list[str]:
    """The alternatives of an axis, sorted. Imports none of them.

    Raises:
        UnknownName: no such axis. UserError: two packages provide the same name.
    """
    return list(_alternatives(axis))


def plugin_names(axis: str) -> list[str]:
    """The alternatives of an axis that installed packages add through entry points."""
    return [name for name, point in _alternatives(axis).items() if point is not None]


def _point(axis: str, name: str) -> EntryPoint | None:
    known = _alternatives(axis)
    if name not in known:
        raise UnknownName(f"no {axis} is named '{name}'.{nearest(str(name), list(known))}")
    return known[name]


def source(axis: str, name: str) -> Path | None:
    """The file of an alternative; None for a plug-in whose source cannot be found without importing it."""
    point = _point(axis, name)
    return folder(_package(axis)) / axis / f"{name}.py" if point is None else syntax_tree.locate(point.module)


def card(axis: str, name: str) -> Card:
    """Paper, note, needs and gives, from the syntax tree (a plug-in without findable source is imported)."""
    point, path = _point(axis, name), source(axis, name)
    if path is None:
        return load(axis, name).card
    return syntax_tree.read_card(path, point.attr if point else None)


def option_names(axis: str, name: str) -> list[str]:
    """The options of an alternative, from the syntax tree, in the order of its Config."""
    point, path = _point(axis, name), source(axis, name)
    options = syntax_tree.read_options(path, point.attr if point else None) if path is not None else None
    return list(load(axis, name).Config.model_fields) if options is None else options


def check_options(axis: str, name: str, options: Mapping[str, Any]) -> None:
    """Raise UnknownName for an option the alternative does not have; imports nothing."""
    known = option_names(axis, name)
    for option in options:
        if option not in known:
            raise UnknownName(f"{axis} '{name}' has no option '{option}'.{nearest(str(option), known)}")


@cache
def load(axis: str, name: str) -> Any:
    """The class of an alternative; imports its file and nothing else of its axis.

    Raises:
        UnknownName: no such alternative. UnmetNeed: a package it imports is not installed.
    """
    point = _point(axis, name)
    module_name = f"{_package(axis)}.{axis}.{name}" if point is None else point.module
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if missing.partition(".")[0] in ("", "zoo", "components", "benchmarks"):
            raise
        raise UnmetNeed(f"{axis} '{name}' needs the package '{missing}': {install_command(missing)}.") from error
    if point is not None:
        found = [getattr(module, point.attr, None)]
    else:
        found = [value for value in vars(module).values() if _is_own_component(value, module_name)]
    if len(found) != 1 or not hasattr(found[0], "card"):
        raise UserError(f"{module_name} must hold exactly one public class with @component(cite=…, note=…).")
    return found[0]


def _is_own_component(value: Any, module_name: str) -> bool:
    return (
        isinstance(value, type)
        and "card" in vars(value)
        and value.__module__ == module_name
        and not value.__name__.startswith("_")
    )


def config(axis: str, name: str, options: Mapping[str, Any] | None = None) -> Any:
    """The validated Config of an alternative, every default filled in.

    Raises:
        UnknownName: an option it does not have. BadValue: a wrong type or range; the message begins ``axis.option:``.
    """
    from zoo.validation import validated

    options = options or {}
    check_options(axis, name, options)
    return validated(load(axis, name).Config, options, axis)


def build(axis: str, name: str, options: Mapping[str, Any] | None = None, **runtime: Any) -> Any:
    """An instance: ``load(axis, name)(config, **runtime)``. Raises what `load` and `config` raise."""
    return load(axis, name)(config(axis, name, options), **runtime)
