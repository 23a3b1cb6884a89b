"""A digest of the source code that computes something, found from syntax trees alone: nothing is imported or run.

Comments, docstrings, formatting, the ``@component`` card, the ``description`` of an option and imports for type
checkers change no number, so they do not change the digest; all else in a module or in what it imports of ours does.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from collections.abc import Iterable
from pathlib import Path
from typing import Any

OURS = ("zoo", "components", "benchmarks")
"""Packages whose imports are followed; a third-party part counts with its own file alone."""
SILENT = frozenset(
    {
        "zoo",
        "components.contracts",
        "zoo.checkpoint",
        "zoo.errors",
        "zoo.pairings",
        "zoo.progress",
        "zoo.registry",
        "zoo.stages.cache_folder",
        "zoo.stages.weights",
        "zoo.store",
    }
)
"""Modules that find, store or show things and compute no number: left out, with what only they import."""
ROOT = Path(__file__).resolve().parent.parent


def digest(modules: Iterable[str]) -> str:
    """16 hex digits over `modules` (dotted names) and all of ours they import, directly or not, in any order.

    Imports inside functions count; names found at run time by the registry do not, so name the chosen components.
    Raises LookupError for a module whose source cannot be found.
    """
    total = hashlib.sha256()
    for name, tree in sorted(_closure(modules).items()):
        total.update(f"{name}\n{ast.dump(tree)}\n".encode())
    return total.hexdigest()[:16]


def imported(modules: Iterable[str]) -> list[str]:
    """The names of all modules that `digest` covers, sorted."""
    return sorted(_closure(modules))


def _closure(modules: Iterable[str]) -> dict[str, ast.Module]:
    trees: dict[str, ast.Module] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name in trees or name in SILENT:
            continue
        path = find(name)
        if path is None:
            raise LookupError(f"no source found for module '{name}'")
        tree = ast.fix_missing_locations(_Essence().visit(ast.parse(path.read_bytes(), filename=str(path))))
        if name.split(".")[0] in OURS:
            waiting += sorted(_imports(tree, name, path.name == "__init__.py"))
        trees[name] = tree
    return trees


def find(name: str) -> Path | None:
    """The source file of a module, without importing it or its parents; None where there is none."""
    top, *rest = name.split(".")
    if top in OURS:
        base = ROOT / top
    else:
        try:
            spec = importlib.util.find_spec(top)
        except (ImportError, ValueError):
            return None
        if spec is None or spec.origin is None:
            return None
        base = Path(spec.origin)
        base = base.parent if base.name == "__init__.py" else base.with_suffix("")
    place = base.joinpath(*rest)
    for candidate in (place.with_suffix(".py"), place / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def _imports(tree: ast.Module, module: str, package: bool) -> set[str]:
    """Our modules that `module` imports anywhere in its text, the packages above them included."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, module, package)
            found.add(base)
            found.update(f"{base}.{alias.name}" for alias in node.names)
    above = {".".join(name.split(".")[:n]) for name in found for n in range(1, name.count(".") + 1)}
    return {name for name in found | above if name.split(".")[0] in OURS and find(name) is not None}


def _absolute(node: ast.ImportFrom, module: str, package: bool) -> str:
    if node.level == 0:
        return node.module or ""
    parts = module.split(".")
    parents = parts[: len(parts) - node.level + package]
    return ".".join([*parents, *([node.module] if node.module else [])])


class _Essence(ast.NodeTransformer):
    """Drops what changes no number: bare strings, component cards, descriptions of options, `if TYPE_CHECKING:`."""

    def visit_If(self, node: ast.If) -> Any:
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return [self.visit(part) for part in node.orelse]
        return self.generic_visit(node)

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            node.body = [part for part in node.body if not _is_text(part)] or [ast.Pass()]  # type: ignore[assignment]
        if isinstance(node, ast.ClassDef):
            node.decorator_list = [one for one in node.decorator_list if not _calls(one, "component")]
        if isinstance(node, ast.Call) and _calls(node, "Field"):
            node.keywords = [word for word in node.keywords if word.arg != "description"]
        return node


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _calls(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name
