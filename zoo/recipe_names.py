"""Which names a recipe may use: recipes, axes, alternatives, top-level keys. No pydantic, no torch: typing errors are
answered at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from zoo import registry
from zoo.errors import BadValue, UnknownName, nearest

SECTION_NAMES = ("train", "sample", "trainer")
PLAIN = ("seed", "name", "description")
DEFAULTS = "defaults"


INNER_AXES = ("quantizer",)
"""Axes whose part is chosen inside another part, as in ``tokenizer.quantizer=fsq``, and is no key of a recipe."""


@cache
def part_axes() -> tuple[str, ...]:
    """The keys of a recipe that name a part: the axes under components/ but the inner ones, and `suite`."""
    return (*(axis for axis in registry.axes("components") if axis not in INNER_AXES), "suite")


def keys() -> list[str]:
    """Every top-level key a recipe may have."""
    return [*part_axes(), *SECTION_NAMES, *PLAIN]


def part_names(axis: str) -> list[str]:
    """The alternatives of an axis; for `suite`, the protocols in benchmarks/suite."""
    if axis == "suite":
        from benchmarks.protocols import protocols

        return sorted([*(path.stem for path in (registry.folder("benchmarks") / "suite").glob("*.yaml")), *protocols()])
    return registry.names(axis)


def check_part(axis: str, name: Any) -> None:
    """Raise unless `name` is an alternative of `axis`."""
    known = part_names(axis)
    if not isinstance(name, str):
        raise BadValue(f"{axis}: {name!r:.60} is not a name.{nearest(str(name), known)}")
    if name not in known:
        raise UnknownName(f"no {axis} is named '{name}'.{nearest(name, known)}")


def _homes() -> list[Path]:
    own = Path("recipes").resolve()
    packaged = registry.folder("recipes")
    return [packaged] if own == packaged else [own, packaged]


def recipe_names() -> list[str]:
    """Names in ./recipes and of the packaged recipes, sorted."""
    found = {
        path.relative_to(home).with_suffix("").as_posix()
        for home in _homes()
        if home.is_dir()
        for path in home.rglob("*.yaml")
    }
    return sorted(found - {DEFAULTS})


def find(name: Any, within: Path | None = None) -> Path:
    """The file of a recipe: a path ending in .yaml, else a name in ./recipes, else a packaged one.

    `within` is the file that asks: its relative paths start there, and a name never means the file itself, so that
    ./recipes/quickstart.yaml may build on the packaged quickstart.
    """
    if not isinstance(name, str):
        raise BadValue(f"{name!r:.60} is not the name of a recipe.{nearest(str(name), recipe_names())}")
    if name.endswith((".yaml", ".yml")):
        path = ((within.parent if within else Path()) / Path(name).expanduser()).resolve()
        if not path.is_file():
            raise UnknownName(f"there is no recipe file {path}.")
        return path
    if name in recipe_names():
        for home in _homes():
            path = (home / f"{name}.yaml").resolve()
            if path != within and path.is_file():
                return path
    raise UnknownName(f"no recipe is named '{name}'.{nearest(name, recipe_names())}")


def check_arguments(arguments: Sequence[str]) -> None:
    """Refuse, before anything slow is imported, a recipe, a key or an alternative that does not exist.

    Values that are more than plain names (sweeps by function, mappings) are left to the full parser.
    """
    for argument in arguments:
        key, equals, value = argument.partition("=")
        head = key.lstrip("+~").partition(".")[0]
        if not equals:
            continue
        if key == "recipe":
            find(value)
        elif key == "case":
            continue
        elif head.isidentifier() and head not in keys():
            raise UnknownName(f"there is no key '{head}'.{nearest(head, keys())}")
        elif key in part_axes():
            for name in value.split(","):
                if name.strip().isidentifier():
                    check_part(key, name.strip())
