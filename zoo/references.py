"""``${a.b}`` in a recipe: the value written elsewhere in the same recipe. No other resolver exists."""

from __future__ import annotations

import re
from typing import Any

from zoo.errors import BadValue, UnknownName, nearest

MAX_LOOKUPS = 1000
_REFERENCE = re.compile(r"\$\{([^{}]*)\}")
_PATH = re.compile(r"[A-Za-z_]\w*(\.[\w-]+)*", re.ASCII)


def resolved(tree: dict[str, Any]) -> dict[str, Any]:
    """A copy of `tree` with every reference replaced.

    Raises:
        BadValue: a resolver such as ``${oc.env:HOME}``, a circle, or a mapping inside a text.
        UnknownName: nothing stands at that place.
    """
    return _Resolver(tree).walk(tree, ())


class _Resolver:
    def __init__(self, root: dict[str, Any]) -> None:
        self.root = root
        self.lookups = 0

    def walk(self, value: Any, trail: tuple[str, ...]) -> Any:
        """`trail` holds the references that led here, so that a circle is seen."""
        if isinstance(value, dict):
            return {key: self.walk(item, trail) for key, item in value.items()}
        if isinstance(value, list):
            return [self.walk(item, trail) for item in value]
        if not isinstance(value, str) or "${" not in value:
            return value
        whole = _REFERENCE.fullmatch(value)
        if whole:
            return self.look_up(whole[1], trail)
        if "${" in _REFERENCE.sub("", value):
            raise BadValue(f"{value!r:.80} holds an unfinished reference: write ${{key.of.the.recipe}}.")
        return _REFERENCE.sub(lambda match: _as_text(match[1], self.look_up(match[1], trail)), value)

    def look_up(self, path: str, trail: tuple[str, ...]) -> Any:
        self.lookups += 1
        if not _PATH.fullmatch(path) or path.startswith("oc."):
            raise BadValue(
                f"'${{{path:.60}}}' is refused: a recipe refers to its own keys only, as in ${{sample.window}}."
            )
        if path in trail or self.lookups > MAX_LOOKUPS:
            raise BadValue(f"references go round in a circle or multiply: {' → '.join((*trail[:5], path))}.")
        value: Any = self.root
        for name in path.split("."):
            if not isinstance(value, dict) or name not in value:
                known = [str(key) for key in value] if isinstance(value, dict) else []
                raise UnknownName(
                    f"'${{{path}}}' refers to '{name}', which the recipe does not write.{nearest(name, known)}"
                )
            value = value[name]
        return self.walk(value, (*trail, path))


def _as_text(path: str, value: Any) -> str:
    if isinstance(value, (dict, list)):
        raise BadValue(f"'${{{path}}}' stands inside a text, so it must refer to a single value.")
    return str(value)
