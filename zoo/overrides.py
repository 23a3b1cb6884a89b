"""``key=value`` from the command line.

Plain: one value per key, taken as it stands, so prompts and file names with commas, quotes and spaces just work.
Sweep: Hydra's override grammar (``a=1,2,3``, ``a=range(1,4)``, ``a={x: 1}``); of Hydra only the parser is used, and it
is imported only where a value needs it, because that alone takes 0.3 s.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any, NamedTuple

from zoo.errors import BadValue, UnknownName, nearest
from zoo.scalar import scalar

MAX_POINTS = 1000
_KEY = re.compile(r"[A-Za-z_]\w*(\.[\w-]+)*", re.ASCII)
_NUMBER = r"-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,17})?(e-?[0-9]{1,3})?"
_WORD = r"(?!(?:true|false|null|nan|inf)(?:,|$))[A-Za-z_][A-Za-z0-9_]*"
_SIMPLE = re.compile(rf"({_WORD}|{_NUMBER})(,({_WORD}|{_NUMBER}))*", re.IGNORECASE | re.ASCII)


class Override(NamedTuple):
    """A key and its value, or its values where it is swept."""

    path: tuple[str, ...]
    values: tuple[Any, ...]


Check = Callable[[tuple[str, ...], "tuple[Any, ...] | None"], None]


def split(arguments: Iterable[str]) -> list[tuple[str, str]]:
    """Keys and raw values. Raises BadValue for what is not key=value, or a key given twice."""
    pairs: list[tuple[str, str]] = []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        key = key.strip()
        if not equals or not _KEY.fullmatch(key):
            raise BadValue(f"'{argument}' is not key=value: write it like seed=1 or tokenizer.width=64.")
        if key in dict(pairs):
            raise BadValue(f"{key} is given twice: keep one of the two.")
        pairs.append((key, value))
    return pairs


def parse(arguments: Sequence[str], *, sweep: bool, check: Check) -> list[Override]:
    """Overrides in the order given.

    `check(path, values)` may refuse a key or a name; it is called for every argument before Hydra is imported, with
    None for values that are not read yet.

    Raises:
        BadValue: not key=value, a key given twice, or a value that the grammar cannot read.
    """
    pairs = split(arguments)
    quick = [_simple(raw) if sweep else (plain_value(raw, key),) for key, raw in pairs]
    for (key, _), values in zip(pairs, quick, strict=True):
        check(tuple(key.split(".")), values)
    return [
        Override(tuple(key.split(".")), _swept(key, raw) if values is None else values)
        for (key, raw), values in zip(pairs, quick, strict=True)
    ]


def keywords(arguments: Iterable[str], known: Sequence[str]) -> dict[str, Any]:
    """A command's own options in the plain grammar, e.g. ``format=json``. Raises UnknownName for others."""
    found = {key: plain_value(raw, key) for key, raw in split(arguments)}
    for key in found:
        if key not in known:
            raise UnknownName(f"there is no option '{key}' here.{nearest(key, list(known))}")
    return found


def plain_value(raw: str, key: str) -> Any:
    """A number, true, false, null, a [list] or {mapping}; anything else is the text itself, untouched."""
    if raw.lstrip()[:1] in ("[", "{"):
        from zoo import yaml_file  # here, since `list` and `frames` start faster without a YAML parser

        return yaml_file.parse(raw, key)
    return scalar(raw) if raw.strip() and not isinstance(scalar(raw), str) else raw


def _simple(raw: str) -> tuple[Any, ...] | None:
    """What needs no grammar: words and numbers, joined by commas. Equal to Hydra's reading (a test compares)."""
    return tuple(scalar(item) for item in raw.split(",")) if _SIMPLE.fullmatch(raw) else None


def _swept(key: str, raw: str) -> tuple[Any, ...]:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import Transformer
    from hydra.errors import HydraException

    if "\x00" in raw or len(raw) > 10_000:
        raise BadValue(f"the value of {key} is too long or not a text.")
    try:
        override = OverridesParser.create().parse_override(f"{key}={raw}")
        if not override.is_sweep_override():
            return (_converted(key, override.value()),)
        elements = islice(override.sweep_iterator(transformer=Transformer.identity), MAX_POINTS + 1)
        values = tuple(_converted(key, element) for element in elements)
    except BadValue:
        raise
    except (HydraException, ValueError, TypeError, ArithmeticError, RecursionError) as error:
        raise BadValue(
            f"the value of {key}, {raw!r:.80}, cannot be read: quote a text that holds commas, brackets, quotes or "
            f"colons, as in \"{key}='…'\" ({str(error).splitlines()[0] if str(error) else type(error).__name__:.80})."
        ) from None
    if not 0 < len(values) <= MAX_POINTS:
        raise BadValue(f"{key} is swept over {'no values' if not values else f'more than {MAX_POINTS} values'}.")
    return values


def _converted(key: str, value: Any) -> Any:
    """Hydra's objects to plain data."""
    from hydra.core.override_parser.types import QuotedString

    if isinstance(value, QuotedString):
        return value.text
    if isinstance(value, dict):
        return {str(_converted(key, name)): _converted(key, item) for name, item in value.items()}
    if isinstance(value, list):
        return [_converted(key, item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise BadValue(f"the value of {key} uses {type(value).__name__}, which is not supported: list the values.")
