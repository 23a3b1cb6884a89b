"""``zoo describe NAME`` or ``zoo describe AXIS.NAME``: one alternative, its options with ranges, its paper.

Unlike `list` this loads the alternative, to read the types and ranges of its options.
"""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Iterator
from typing import Any

from zoo import citations, registry
from zoo.errors import BadValue, UnknownName, nearest


def main(arguments: list[str]) -> int:
    """Print the description of the one alternative named."""
    if len(arguments) != 1:
        raise BadValue(
            "describe takes one name, such as `zoo describe long_range` or `zoo describe rollout.long_range`."
        )
    axis, name = find(arguments[0])
    print("\n".join(lines(axis, name)))
    return 0


def find(wanted: str) -> tuple[str, str]:
    """(axis, name) of what is asked for. Raises UnknownName where it is nothing or stands on several axes."""
    axis, dot, name = wanted.rpartition(".")
    if dot:
        registry.source(axis, name)
        return axis, name
    places = [axis for axis in registry.axes() if wanted in registry.names(axis)]
    if len(places) == 1:
        return places[0], wanted
    if places:
        options = " or ".join(f"{axis}.{wanted}" for axis in places)
        raise UnknownName(f"'{wanted}' stands on several axes: say {options}.")
    if wanted in registry.axes():
        raise UnknownName(f"'{wanted}' is an axis: `zoo list {wanted}` shows its alternatives.")
    known = sorted({name for axis in registry.axes() for name in registry.names(axis)})
    raise UnknownName(f"nothing is named '{wanted}'.{nearest(wanted, known)}")


def lines(axis: str, name: str) -> Iterator[str]:
    """The description, line by line."""
    cls, card = registry.load(axis, name), registry.card(axis, name)
    yield f"{axis}.{name}: {card.note}"
    yield ""
    yield inspect.getdoc(cls) or ""
    for label, abilities in (("needs", card.needs), ("gives", card.gives)):
        if abilities:
            yield f"\n{label}: {', '.join(sorted(abilities))}"
    yield ""
    fields = cls.Config.model_fields
    yield "options:" if fields else "options: none"
    for option, field in fields.items():
        yield f"  {axis}.{option}={_default(field)}  {_type(field.annotation)}{_range(field.metadata)}"
        if field.description:
            yield f"      {field.description}"
    for key in citations.keys(card):
        yield (
            f"\npaper: {citations.short(key)}, {citations.field(key, 'title')} [{key}]"
            if key in citations.entries()
            else key
        )
    yield f"\nsource: {registry.source(axis, name) or inspect.getsourcefile(cls)}"


def _default(field: Any) -> str:
    if field.is_required():
        return "(required)"
    value = field.get_default(call_default_factory=True)
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _type(annotation: Any) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return " | ".join(str(argument) for argument in arguments)
    if origin is typing.Annotated:
        return _type(arguments[0]) + _range(arguments[1:])
    if origin in (typing.Union, types.UnionType):
        return " | ".join(_type(argument) for argument in arguments)
    if annotation is type(None):
        return "null"
    if origin is not None:
        inner = ", ".join("…" if argument is Ellipsis else _type(argument) for argument in arguments)
        return f"{getattr(origin, '__name__', origin)}[{inner}]"
    return getattr(annotation, "__name__", re.sub(r"\btyping\.", "", str(annotation)))


def _range(metadata: Any) -> str:
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<", "multiple_of": "a multiple of"}
    items = [item for entry in metadata for item in getattr(entry, "metadata", [entry])]
    bounds = [f"{sign} {getattr(item, name)}" for item in items for name, sign in signs.items() if hasattr(item, name)]
    return f" ({', '.join(bounds)})" if bounds else ""
