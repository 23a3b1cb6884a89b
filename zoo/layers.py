"""Recipe files: where they are found, how one builds on another, and how a value is put at its place.

A recipe in the making is a plain dict, `tree`: one key per axis ``{"name": …, option: …}``, `suite` likewise, the
sections `train`, `sample`, `trainer`, and `seed`, `name`, `description`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel

from zoo import model_size, registry, yaml_file
from zoo.errors import BadValue, UnknownName, UserError, nearest
from zoo.recipe_names import DEFAULTS, check_part, find, keys, part_axes
from zoo.settings import SampleSettings, TrainerSettings, TrainSettings

SECTIONS: Mapping[str, type[BaseModel]] = {
    "train": TrainSettings,
    "sample": SampleSettings,
    "trainer": TrainerSettings,
}

Tree = dict[str, Any]
KeyPath = tuple[str, ...]


class Layer(NamedTuple):
    """One recipe file."""

    path: Path
    content: Tree


# ------------------------------------------------------------------------------------------------ names and keys


def check_key(path: KeyPath) -> None:
    """Raise UnknownName for a key no recipe has; options of parts are checked later, when the part is known."""
    head = path[0]
    if head not in keys():
        raise UnknownName(f"there is no key '{head}'.{nearest(head, keys())}")
    model: Any = SECTIONS.get(head)
    for depth, name in enumerate(path[1:], start=1):
        if model is None:
            return
        if name not in model.model_fields:
            owner = ".".join(path[:depth])
            raise UnknownName(f"{owner} has no key '{name}'.{nearest(name, list(model.model_fields))}")
        annotation = model.model_fields[name].annotation
        model = annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def read_layers(name: Any) -> list[Layer]:
    """The files that make a recipe, the deepest base first. Raises UserError for a circle of bases."""
    layers: list[Layer] = []
    path: Path | None = find(name)
    while path is not None:
        if path in [layer.path for layer in layers]:
            circle = " → ".join(layer.path.name for layer in (*layers, Layer(path, {})))
            raise UserError(f"recipes build on each other in a circle: {circle}; remove one `base:`.")
        content = yaml_file.read(path)
        base = content.pop("base", None)
        layers.append(Layer(path, content))
        try:
            path = find(base, within=path) if base is not None else None
        except UserError as error:
            raise type(error)(f"{layers[-1].path}, base: {error}") from None
    return layers[::-1]


def defaults() -> Tree:
    """A tree with every default: recipes/defaults.yaml for the parts, the models' own for the sections."""
    written = yaml_file.read(registry.folder("recipes") / f"{DEFAULTS}.yaml")
    tree: Tree = {}
    for axis in part_axes():
        if axis not in written:
            raise UserError(
                f"recipes/{DEFAULTS}.yaml names no default for the axis '{axis}': add the line `{axis}: …`."
            )
        choice = written[axis]
        tree[axis] = {"name": _first_installed(choice) if isinstance(choice, dict) else choice}
    sections = {section: model().model_dump() for section, model in SECTIONS.items()}
    return tree | sections | {"seed": 0, "name": "", "description": ""}


def _first_installed(choice: Mapping[str, str]) -> str:
    """The first alternative whose package is there; the last one if none is, whose error then says what to install."""
    return next((name for name, module in choice.items() if importlib.util.find_spec(module)), list(choice)[-1])


# ------------------------------------------------------------------------------------------------------- merging


def assign(tree: Tree, path: KeyPath, value: Any) -> None:
    """Put a value into the tree, in place.

    ``tokenizer=vqgan`` swaps a part and drops the old part's options; naming the part that is already there keeps
    them. ``tokenizer.width=64`` edits one option. A mapping given to a section or a part edits the keys it names; a
    mapping given to a single key (train.generator.masks) replaces it. A budget for the backbone takes the place of an
    earlier width, depth and heads.
    """
    check_key(path)
    head, rest = path[0], path[1:]
    if head in part_axes():
        _assign_part(tree, head, rest, value)
    elif head in SECTIONS:
        _assign_setting(tree, path, value)
    elif rest:
        raise BadValue(f"{head} holds a single value: write {head}=VALUE.")
    else:
        tree[head] = value


def _assign_part(tree: Tree, axis: str, rest: KeyPath, value: Any) -> None:
    if not rest and isinstance(value, Mapping):
        if "name" in value:
            _assign_part(tree, axis, ("name",), value["name"])
        model_size.make_room(axis, tree[axis], value)
        for option, item in value.items():
            if option != "name":
                tree[axis][option] = item
    elif rest in ((), ("name",)):
        check_part(axis, value)
        if tree[axis]["name"] != value:
            tree[axis] = {"name": value}
    else:
        model_size.make_room(axis, tree[axis], {rest[0]: value})
        _put(tree[axis], rest, value, axis)


def _assign_setting(tree: Tree, path: KeyPath, value: Any) -> None:
    model: Any = SECTIONS[path[0]]
    for name in path[1:]:
        annotation = model.model_fields[name].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            _put(tree[path[0]], path[1:], value, path[0])
            return
        model = annotation
    if not isinstance(value, Mapping):
        place = ".".join(path)
        raise BadValue(f"{place}: {value!r:.60} is not a mapping; set one of its keys, as in {place}.KEY=VALUE.")
    for key, item in value.items():
        assign(tree, (*path, key), item)


def _put(owner: dict[str, Any], path: KeyPath, value: Any, where: str) -> None:
    for name in path[:-1]:
        where = f"{where}.{name}"
        inner = owner.setdefault(name, {})
        if not isinstance(inner, dict):
            raise BadValue(f"{where} holds {inner!r:.40}, not a mapping, so '{path[-1]}' cannot be set in it.")
        owner = inner
    owner[path[-1]] = value
