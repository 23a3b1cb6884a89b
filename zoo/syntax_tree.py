"""What a component file says of itself, read from its syntax tree: nothing is imported, so ``list`` is fast."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from functools import cache
from pathlib import Path

from zoo.card import Card
from zoo.errors import UserError

_DECORATED = re.compile(r"^(@component\(.*?)^class (\w+)", re.MULTILINE | re.DOTALL)


@cache
def locate(module: str) -> Path | None:
    """The source file of a dotted module, found without running it or its parent packages; None if there is none."""
    head, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(head)
    except (ImportError, ValueError):
        return None
    dotted = head
    for part in rest:
        if spec is None or spec.submodule_search_locations is None:
            return None
        dotted, search = f"{dotted}.{part}", list(spec.submodule_search_locations)
        finders = (finder for finder in sys.meta_path if hasattr(finder, "find_spec"))
        spec = next((found for finder in finders if (found := finder.find_spec(dotted, search))), None)
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        return None
    return Path(spec.origin)


@cache
def _tree(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    except (SyntaxError, ValueError, OSError) as error:
        raise UserError(f"{path} cannot be read as Python: {error}.") from None


def component_class(path: Path, class_name: str | None = None) -> ast.ClassDef:
    """The one public class of the file that carries ``@component`` (or the one named `class_name`)."""
    found = [
        node
        for node in _tree(path).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_") and _decorator(node) is not None
    ]
    if class_name is not None:
        found = [node for node in found if node.name == class_name]
    if len(found) != 1:
        wanted = f"a class {class_name}" if class_name else "exactly one public class"
        raise UserError(f"{path} must hold {wanted} with @component(cite=…, note=…), but has {len(found)}.")
    return found[0]


def _card_class(path: Path, class_name: str | None) -> ast.ClassDef:
    """As component_class, but parses the decorator alone where it is plain to see: ``list`` reads every file."""
    try:
        found = _DECORATED.findall(path.read_text(encoding="utf-8"))
        if len(found) == 1 and not found[0][1].startswith("_") and class_name in (None, found[0][1]):
            (node,) = ast.parse(f"{found[0][0]}class {found[0][1]}: pass").body
            if isinstance(node, ast.ClassDef) and _decorator(node) is not None:
                return node
    except (OSError, SyntaxError, ValueError):
        pass  # the whole file is parsed below, which says what is wrong
    return component_class(path, class_name)


def read_card(path: Path, class_name: str | None = None) -> Card:
    """The card in the ``@component`` call; its arguments must be literals."""
    call = _decorator(_card_class(path, class_name))
    assert call is not None
    try:
        values = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords if keyword.arg}
        return Card(
            values["cite"], values["note"], frozenset(values.get("needs", ())), frozenset(values.get("gives", ()))
        )
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path}: @component takes cite, note, needs and gives, written as literals.") from None


def read_options(path: Path, class_name: str | None = None) -> list[str] | None:
    """The option names of the component's nested Config, inherited ones first; None if a base cannot be found."""
    for node in component_class(path, class_name).body:
        if isinstance(node, ast.ClassDef) and node.name == "Config":
            return _fields(path, node)
    raise UserError(f"{path}: the component needs a nested `class Config(Config)`, even if it is empty.")


def _fields(path: Path, config: ast.ClassDef) -> list[str] | None:
    names: list[str] = []
    for base in config.bases:
        inherited = _base_fields(path, base)
        if inherited is None:
            return None
        names += inherited
    fields = [node for node in config.body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)]
    for field in fields:
        name = ast.unparse(field.target)
        if "ClassVar" not in ast.unparse(field.annotation) and not name.startswith("_"):
            names.append(name)
    return list(dict.fromkeys(names))


def _base_fields(path: Path, base: ast.expr) -> list[str] | None:
    if not isinstance(base, ast.Name):
        return None
    for node in _tree(path).body:
        if isinstance(node, ast.ClassDef) and node.name == base.id:
            return _fields(path, node)
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            for alias in node.names:
                if (alias.asname or alias.name) == base.id:
                    return _imported_fields(node.module, alias.name)
    return None


def _imported_fields(module: str, name: str) -> list[str] | None:
    if (module, name) in {("zoo.component", "Config"), ("pydantic", "BaseModel")}:
        return []
    path = locate(module)
    if path is None:
        return None
    for node in _tree(path).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return _fields(path, node)
    return None


def _decorator(node: ast.ClassDef) -> ast.Call | None:
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Call):
            called = decorator.func
            if (isinstance(called, ast.Name) and called.id == "component") or (
                isinstance(called, ast.Attribute) and called.attr == "component"
            ):
                return decorator
    return None
