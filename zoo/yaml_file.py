"""YAML as recipes use it: safe, plain data only, with YAML 1.2 scalars, so ``1e-3`` is a number and ``no`` a text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from yaml.composer import ComposerError
from yaml.constructor import ConstructorError

from zoo.errors import BadValue
from zoo.scalar import scalar

MAX_DEPTH = 30


class _Loader(yaml.SafeLoader):
    """SafeLoader without YAML 1.1's guesses (octal 010, 1:30, dates, yes/no), anchors, tags and duplicate keys."""

    yaml_implicit_resolvers: dict[Any, Any] = {}

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "anchor", None) is not None:
            raise ComposerError(None, None, "anchors and aliases are not used here", event.start_mark)
        return super().compose_node(parent, index)

    def construct_scalar(self, node: Any) -> Any:
        value = super().construct_scalar(node)
        return scalar(value) if node.style is None and node.tag == "tag:yaml.org,2002:str" else value

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        marks = [key.start_mark for key, _ in node.value]
        for position, key in enumerate(keys):
            if isinstance(key, (list, dict)):
                raise ConstructorError(None, None, "a key must be a word", node.start_mark)
            if key in keys[:position]:
                raise ConstructorError(None, None, f"the key '{key}' is given twice", marks[position])
        return super().construct_mapping(node, deep)


def parse(text: str, where: str) -> Any:
    """The one document in `text`: mappings with text keys, lists and scalars.

    Raises:
        BadValue: no valid YAML, not plain data, or nested too deeply; the message begins with `where` and the line.
    """
    try:
        return _plain(yaml.load(text, Loader=_Loader), where)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise BadValue(f"{where}{line}: {error.problem or error.context or 'not valid YAML'}.") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        if isinstance(error, BadValue):
            raise
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error).splitlines()[0]
        raise BadValue(f"{where} cannot be read as YAML: {reason}.") from None


def read(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; an empty file is an empty mapping. Raises BadValue with the file and the line."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise BadValue(f"{path} is not a text file in UTF-8.") from None
    except OSError as error:
        raise BadValue(f"{path} cannot be read: {error.strerror}.") from None
    tree = parse(text, str(path))
    if tree is not None and not isinstance(tree, dict):
        raise BadValue(f"{path} must hold keys and values, such as `tokenizer: vae`.")
    return tree or {}


def _plain(value: Any, where: str, depth: int = 0) -> Any:
    if depth > MAX_DEPTH:
        raise BadValue(f"{where} is nested more than {MAX_DEPTH} levels deep.")
    if isinstance(value, dict):
        return {str(key): _plain(item, where, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item, where, depth + 1) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise BadValue(f"{where} holds a {type(value).__name__}; use texts, numbers, lists and mappings.")
