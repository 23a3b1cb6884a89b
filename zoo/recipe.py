"""YAML + overrides → validated Recipe; sweeps are expanded here.

    resolve(["recipe=quickstart", "tokenizer.width=24", "seed=0,1"], sweep=True)  → two recipes

Order of events: names are checked first, without torch and without Hydra; `validate` then loads the Configs of the
chosen parts and checks types and ranges, before any stage starts.
"""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from zoo import cases, layers, model_size, overrides, recipe_names, references, registry
from zoo.errors import BadValue, UnknownName, UserError, nearest
from zoo.overrides import MAX_POINTS
from zoo.settings import SampleSettings, Seed, TrainerSettings, TrainSettings
from zoo.validation import validated

__all__ = ["Part", "Recipe", "override", "resolve", "validate"]


class Part(BaseModel):
    """The chosen alternative of one axis and the options written for it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    options: dict[str, Any] = {}


class Recipe(BaseModel):
    """Everything that decides an experiment. Make one with `resolve` or `Recipe.from_dict`, which check names."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = ""
    description: str = ""
    seed: Seed = Field(0, description="the generator's seed, unless train.generator.seed says otherwise")
    parts: dict[str, Part]
    suite: Part
    train: TrainSettings
    sample: SampleSettings
    trainer: TrainerSettings
    point: dict[str, Any] = Field({}, description="what the sweep set at this point: key → value")

    def part(self, axis: str) -> Part:
        """The chosen alternative of an axis. Raises UnknownName for an axis that recipes do not have."""
        if axis == "suite":
            return self.suite
        if axis not in self.parts:
            raise UnknownName(f"recipes have no axis '{axis}'.{nearest(axis, list(self.parts))}")
        return self.parts[axis]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, keys as in a recipe file, sections written out; `from_dict` gives the recipe back."""
        plain = self.model_dump(mode="json")
        named = {axis: {"name": part["name"], **part["options"]} for axis, part in sorted(plain.pop("parts").items())}
        suite = plain.pop("suite")
        return {**named, "suite": {"name": suite["name"], **suite["options"]}, **plain}

    def hash(self) -> str:
        """16 hex digits of everything but name, description and sweep point, which influence no result.

        Equal contents written differently (an option left out or written with its default) agree after `validate`.
        """
        content = {key: value for key, value in self.to_dict().items() if key not in ("name", "description", "point")}
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> Recipe:
        """A recipe from plain data, such as `to_dict` gives; what is missing is filled with the defaults.

        Imports no component.

        Raises:
            UnknownName: a key, part or option that does not exist. BadValue: a setting of the wrong type or range.
        """
        whole = layers.defaults()
        for key, value in tree.items():
            if key != "point":
                layers.assign(whole, (key,), copy.deepcopy(value))
        return _checked(references.resolved(whole), dict(tree.get("point", {})))


def _checked(tree: dict[str, Any], point: dict[str, Any]) -> Recipe:
    """A tree without references to a Recipe: option names, then types and ranges of the settings."""
    for axis in recipe_names.part_axes():
        name = tree[axis]["name"]
        recipe_names.check_part(axis, name)
        if axis != "suite":
            registry.check_options(axis, name, {key: None for key in tree[axis] if key != "name"})
        _check_finite(tree[axis], axis)
    if len(tree["suite"]) > 1:
        _check_suite(tree["suite"])
    sections = {key: validated(model, tree[key], key) for key, model in layers.SECTIONS.items()}
    top = {"seed": tree["seed"], "name": tree["name"], "description": tree["description"]}
    parts = {axis: _part(tree[axis]) for axis in recipe_names.part_axes()}
    recipe = validated(Recipe, {**top, **sections, "suite": parts.pop("suite"), "parts": parts, "point": point}, "")
    if recipe.train.generator.seed is None:
        generator = recipe.train.generator.model_copy(update={"seed": recipe.seed})
        recipe = recipe.model_copy(update={"train": recipe.train.model_copy(update={"generator": generator})})
    return recipe


def _check_suite(suite: Mapping[str, Any]) -> None:
    """A suite knows its own options. Imported only where a recipe overrides them, and free of torch."""
    from benchmarks.suite import load

    load(suite)


def _part(options: Mapping[str, Any]) -> Part:
    return Part(name=options["name"], options={key: value for key, value in options.items() if key != "name"})


def _check_finite(value: Any, where: str) -> None:
    """NaN and infinity have no JSON, so no hash and no record."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            _check_finite(item, f"{where}.{key}")
    elif isinstance(value, (list, tuple)):
        for item in value:
            _check_finite(item, where)
    elif isinstance(value, float) and not math.isfinite(value):
        raise BadValue(f"{where}: {value} is not a finite number.")


# ------------------------------------------------------------------------------------------------------ resolving

Sweeps = dict[layers.KeyPath, tuple[Any, ...]]


def resolve(arguments: Sequence[str], *, sweep: bool) -> list[Recipe]:
    """The recipes that ``recipe=NAME key=value …`` means; several where the recipe or the arguments sweep.

    Args:
        arguments: ``recipe=`` a name (in ./recipes or packaged) or a .yaml path, then overrides.
        sweep: read values in Hydra's override grammar (zoo.run), else as they stand (all other commands).

    Raises:
        UserError: an unknown name or key, a bad value of a setting, a circle; nothing but names is read of components.
    """
    given = overrides.parse(arguments, sweep=sweep, check=_check_argument)
    recipe = next((item for item in given if item.path == ("recipe",)), None)
    if recipe is None:
        known = ", ".join(recipe_names.recipe_names())
        raise BadValue(f"say which recipe: recipe=NAME, or the path of a .yaml file. Known: {known}.")
    if len(recipe.values) != 1:
        raise BadValue("recipe= takes one name: sweep other keys, or run the recipes one after the other.")
    case = next((item for item in given if item.path == (cases.KEY,)), None)
    edits = [item._replace(path=_place(item.path)) for item in given if item is not recipe and item is not case]
    tree, sweeps, known = layers.defaults(), {}, {}
    for layer in layers.read_layers(recipe.values[0]):
        known = _apply_layer(tree, sweeps, layer) or known
    found: dict[str, Recipe] = {}
    wanted = cases.chosen(known, None if case is None else case.values)
    for name, settings in wanted.items():
        branch = copy.deepcopy(tree)
        for key, value in settings.items():
            layers.assign(branch, (key,), copy.deepcopy(value))
        for point in _points(branch, sweeps, edits, {cases.KEY: name} if known else {}):
            found.setdefault(point.hash(), point)
    return list(found.values())


def _place(path: layers.KeyPath) -> layers.KeyPath:
    """``tokenizer.name`` is another way to write ``tokenizer``."""
    return path[:1] if path[1:] == ("name",) and path[0] in recipe_names.part_axes() else path


def _check_argument(path: layers.KeyPath, values: tuple[Any, ...] | None) -> None:
    if path == ("recipe",):
        for value in values or ():
            recipe_names.find(value)
        return
    if path == (cases.KEY,):
        return
    layers.check_key(path)
    if len(path) == 1 and path[0] in recipe_names.part_axes():
        for value in values or ():
            if not isinstance(value, dict):
                recipe_names.check_part(path[0], value)


def _apply_layer(tree: dict[str, Any], sweeps: Sweeps, layer: layers.Layer) -> cases.Cases:
    """Lay one file over what its bases say, in place; returns its cases. A key set anew ends an older sweep of it."""
    tree["name"], tree["description"] = layer.path.stem, ""
    try:
        content = dict(layer.content)
        swept = content.pop("sweep", {})
        found = cases.checked(content.pop("cases", {}))
        if not isinstance(swept, dict):
            raise BadValue("sweep must map keys to lists, as in `sweep: {seed: [0, 1]}`.")
        for key, value in content.items():
            _end_sweeps(sweeps, (key,), [value])
            if key in (*recipe_names.part_axes(), "seed") and isinstance(value, str) and "," in value:
                swept = {**swept, key: [item.strip() for item in value.split(",")]}
            else:
                layers.assign(tree, (key,), value)
        for key, values in swept.items():
            _add_sweep(sweeps, key, values)
    except UserError as error:
        raise type(error)(f"{layer.path.name}: {error}") from None
    return found


def _add_sweep(sweeps: Sweeps, key: str, values: Any) -> None:
    path = _place(tuple(key.split(".")))
    if not isinstance(values, list) or not values:
        raise BadValue(f"sweep of {key}: {values!r:.60} is not a list of values.")
    _check_argument(path, tuple(values))
    sweeps[path] = tuple(int(v) if path == ("seed",) and isinstance(v, str) and v.isdecimal() else v for v in values)


def _end_sweeps(sweeps: Sweeps, path: layers.KeyPath, values: Sequence[Any]) -> None:
    """Forget older sweeps of what `values` at `path` set anew: the key itself, keys in a mapping, a swapped part."""
    is_part = len(path) == 1 and path[0] in recipe_names.part_axes()
    swap = is_part and any(not isinstance(value, dict) or "name" in value for value in values)
    for known in [known for known in sweeps if known[: len(path)] == path]:
        edits_part_only = is_part and known == path
        if swap or (not edits_part_only and any(_sets(value, known[len(path) :]) for value in values)):
            del sweeps[known]


def _sets(value: Any, path: layers.KeyPath) -> bool:
    """Whether a nested mapping says something of the key at `path`."""
    for name in path:
        if not isinstance(value, dict):
            return True
        if name not in value:
            return False
        value = value[name]
    return True


def _points(
    tree: dict[str, Any], sweeps: Sweeps, edits: list[overrides.Override], case: dict[str, str]
) -> list[Recipe]:
    """Every combination of swept values; the same one may come twice."""
    for edit in edits:
        _end_sweeps(sweeps, edit.path, edit.values)
    axes: Sweeps = {**sweeps, **{edit.path: edit.values for edit in edits}}
    if math.prod(len(values) for values in axes.values()) > MAX_POINTS:
        raise BadValue(f"the sweep has more than {MAX_POINTS} points: sweep fewer keys or fewer values.")
    found: list[Recipe] = []
    for values in itertools.product(*axes.values()):
        setting = dict(zip(axes, values, strict=True))
        branch = copy.deepcopy(tree)
        for path in sorted(setting, key=model_size.order):
            layers.assign(branch, path, copy.deepcopy(setting[path]))
        point = {".".join(path): value for path, value in setting.items() if len(axes[path]) > 1}
        found.append(_checked(references.resolved(branch), point | case))
    return found


def override(recipe: Recipe, arguments: Sequence[str]) -> Recipe:
    """The recipe with ``key=value`` edits in the plain grammar, one value per key; swaps come before edits.

    A generator's seed that `resolve` took from the recipe's stays as it was trained.

    Raises:
        UserError: as `resolve` does.
    """
    edits = overrides.parse(arguments, sweep=False, check=_check_argument)
    if any(edit.path == ("recipe",) for edit in edits):
        raise BadValue("recipe= has no place here: the recipe is that of the run.")
    tree = layers.defaults()
    for key, value in recipe.to_dict().items():
        if key != "point":
            layers.assign(tree, (key,), value)
    setting = {_place(edit.path): edit.values[0] for edit in edits}
    for path in sorted(setting, key=lambda path: (model_size.order(path), len(path))):
        layers.assign(tree, path, setting[path])
    return _checked(references.resolved(tree), dict(recipe.point))


def validate(recipe: Recipe) -> Recipe:
    """The recipe with every option of every part written out, types and ranges checked; call it before any stage.

    Loads the chosen parts' files, which may import torch.

    Raises:
        BadValue: a wrong type or range. UnmetNeed: a package that a chosen part imports is not installed.
    """
    _check_suite({"name": recipe.suite.name, **recipe.suite.options})
    parts = {
        axis: Part(name=part.name, options=registry.config(axis, part.name, part.options).model_dump(mode="json"))
        for axis, part in recipe.parts.items()
    }
    return recipe.model_copy(update={"parts": parts})
