"""Cases of a recipe: groups of settings that only make sense together, such as a world to train on and its test.

    cases:
      maze500: {dataset: {name: maze}, suite: {world: maze500}}
      vizdoom500: {dataset: {name: vizdoom}, suite: {world: vizdoom500}}

A run covers every case; ``case=maze500`` takes one, ``case=a,b`` several. Within each, keys are swept as ever.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zoo import layers
from zoo.errors import BadValue, UnknownName, nearest

KEY = "case"
Cases = dict[str, dict[str, Any]]


def checked(written: Any) -> Cases:
    """What a recipe file says under `cases`. Raises BadValue unless it maps names to mappings of recipe keys."""
    if not isinstance(written, Mapping) or not all(isinstance(keys, Mapping) for keys in written.values()):
        raise BadValue("cases must map names to settings, as in `cases: {small: {dataset: {size: 32}}}`.")
    for keys in written.values():
        for key in keys:
            layers.check_key((str(key),))
    return {str(name): dict(keys) for name, keys in written.items()}


def chosen(cases: Cases, asked: Sequence[Any] | None) -> Cases:
    """The cases to run, all unless some are asked for. Raises UnknownName for one that the recipe does not have."""
    if asked is None:
        return cases or {"": {}}
    for name in asked:
        if name not in cases:
            said = nearest(str(name), list(cases)) if cases else " This recipe has no cases."
            raise UnknownName(f"no case is named '{name}'.{said}")
    return {str(name): cases[str(name)] for name in asked}
