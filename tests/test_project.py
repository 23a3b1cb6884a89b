"""The project's own files: what is installed, cited, promised in the README and shown as a worked example."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import zoo
from zoo import registry
from zoo.__main__ import COMMANDS

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("zoo", "components", "benchmarks", "recipes")
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def sources() -> list[Path]:
    found = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    assert len(found) > 50
    return found


# ---------------------------------------------------------------------------------------------- files


def test_citation_file_is_valid_and_agrees_with_the_package():
    from cffconvert import Citation

    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    citation = Citation(text)
    citation.validate()
    assert "cff-version: 1.2.0" in text
    assert 'name: "Spacetime Zoo contributors"' in text
    assert f"version: {zoo.__version__}\n" in text
    assert f"## {zoo.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_licence_is_the_full_apache_text():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert len(text.splitlines()) > 190


def test_constraints_pin_every_dependency_once():
    names = re.findall(r"^([\w.-]+)==", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.M)
    assert len(names) == len(set(names)) > 50
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    listed = re.search(r"^dependencies = \[(.*?)^\]", project, re.M | re.S)[1]
    wanted = re.findall(r'^    "([\w.-]+)', listed, re.M)
    assert len(wanted) >= 18
    assert {name.lower().replace("_", "-") for name in wanted} <= set(names)


def test_no_drawers_and_no_stubs():
    for path in sources():
        assert path.stem not in {"utils", "util", "common", "helpers", "misc"}, path
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"NotImplementedError|TODO|FIXME", text), path


def test_alternatives_import_no_sibling_and_components_no_benchmarks():
    for path in sources():
        if "components" not in path.parts:
            continue
        axis = path.parent.name
        for name in imported(path):
            assert not name.startswith("benchmarks"), path
            assert not name.startswith("zoo") or name in {"zoo.component", "zoo.errors"}, (path, name)
            if path.parent != ROOT / "components" and name.startswith(f"components.{axis}."):
                assert name == f"components.{axis}.{path.stem}", (path, name)


def imported(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append(node.module)
    return found


OPTIONAL = {"decord", "pandas", "vizdoom", "diffusers", "huggingface_hub", "vit_pytorch", "magvit2_pytorch"}
"""Imported where they are used, by parts that say how to install them."""
COME_ALONG = {"markupsafe": "jinja2", "torchvision": "torchvision"}
"""Imported, and brought by a dependency of another name."""
DISTRIBUTIONS = {"open_clip": "open-clip-torch", "hydra": "hydra-core", "yaml": "pyyaml", "PIL": "pillow"}


def test_what_is_imported_is_installed_without_extras():
    """The tests' environment holds more than a user's: an import that only works here would fail at the user's end."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    listed = re.search(r"^dependencies = \[(.*?)^\]", project, re.M | re.S)[1]
    given = {name.lower().replace("_", "-") for name in re.findall(r'^    "([\w.-]+)', listed, re.M)}
    tops = {name.partition(".")[0] for path in sources() for name in imported(path)}
    foreign = tops - set(sys.stdlib_module_names) - set(PACKAGES) - OPTIONAL
    assert len(foreign) > 12
    for top in sorted(foreign):
        name = COME_ALONG.get(top) or DISTRIBUTIONS.get(top, top)
        assert name.lower().replace("_", "-") in given, f"{top} is imported and no dependency"


# ---------------------------------------------------------------------------------------------- README


def expected_table() -> str:
    """The table as it should stand in the README."""
    lines = ["| axis | alternatives |", "|---|---|"]
    for axis in registry.axes("components") + registry.axes("benchmarks"):
        own = [name for name in registry.names(axis) if name not in registry.plugin_names(axis)]
        lines.append(f"| `{axis}` | {', '.join(f'`{name}`' for name in own)} |")
    return "\n".join(lines)


def test_the_table_of_axes_is_the_registry():
    assert expected_table().count("\n") >= 19
    assert expected_table() in README, f"put this into README.md:\n\n{expected_table()}"


def test_every_command_stands_in_the_readme_with_an_example():
    for name in COMMANDS:
        pattern = r"python -m zoo\.run \w+=" if name == "run" else rf"python -m zoo {name}\b"
        assert re.search(pattern, README), name


def test_every_file_the_texts_point_to_exists():
    for name in ("README.md", "CONTRIBUTING.md", "docs/architecture.md", "CHANGELOG.md"):
        page = ROOT / name
        for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{name} points to {target}"


def test_every_recipe_the_readme_names_exists():
    # `recipe=NAME` is the placeholder; a recipe of the user's own is shown as a path.
    for name in set(re.findall(r"\brecipe=([a-z]\w*)(?![\w./])", README)):
        assert (ROOT / "recipes" / f"{name}.yaml").exists(), name


# ---------------------------------------------------------------------------------------------- CONTRIBUTING


def test_the_worked_example_works(tmp_path):
    """The file printed in CONTRIBUTING.md is written where it says, in a copy of the tree, and used by name."""
    path, code = re.search(r"`(components/\w+/\w+\.py)`:\n\n```python\n(.*?)```", CONTRIBUTING, re.S).groups()
    copy = tmp_path / "copy"
    copy.mkdir()
    for package in PACKAGES:
        link_tree(ROOT / package, copy / package)
    (copy / path).write_text(code, encoding="utf-8")
    commands = re.findall(r"^    python -m zoo ((?:list|describe|frames) .*)$", CONTRIBUTING, re.M)
    assert len(commands) == 3
    for command in commands:
        done = subprocess.run(
            [sys.executable, "-m", "zoo", *command.split()], cwd=copy, capture_output=True, text=True, timeout=60,
            env={"PATH": "", "PYTHONPATH": str(copy)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert Path(path).stem in done.stdout or '"latent"' in done.stdout


def link_tree(source: Path, target: Path) -> None:
    """Real folders, linked files: `__file__` of a linked file stays in the copy, and nothing is duplicated."""
    for path in source.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            link = target / path.relative_to(source)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.write_bytes(path.read_bytes())


# ---------------------------------------------------------------------------------------------- modules and wheel


def modules() -> list[str]:
    found = [m.name for p in PACKAGES for m in pkgutil.walk_packages([str(ROOT / p)], f"{p}.")]
    return [name for name in found if not name.endswith("__main__")]


def test_every_module_has_words_at_its_head():
    """Of its own, or of its first class: a component file is its class."""
    for path in sources():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
        assert ast.get_docstring(tree) or any(ast.get_docstring(node) for node in classes), path


@pytest.mark.slow
def test_a_wheel_in_a_fresh_environment_imports_every_module_and_brings_its_data(tmp_path):
    """The environment sees this one's dependencies through a path file, so nothing is downloaded twice."""
    wheel = build_wheel(tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel)
    (site / "dependencies.pth").write_text(str(Path(importlib.import_module("torch").__file__).parent.parent))
    code = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]: importlib.import_module(name)\n"
        "import zoo, components, benchmarks, recipes\n"
        "assert all('site-packages' in m.__path__[0] for m in (zoo, components, benchmarks, recipes))\n"
        f"assert {str(ROOT)!r} not in sys.path\n"
        "from zoo import citations; assert citations.entries()\n"
        "print(len(sys.argv) - 1)"
    )
    assert int(run(python, "-c", code, *modules(), cwd=tmp_path)) > 50
    listed = run(python, "-c", f"import zipfile; print(*zipfile.ZipFile({str(wheel)!r}).namelist(), sep='\\n')")
    names = set(listed.splitlines())
    for path in (p for package in PACKAGES for p in (ROOT / package).rglob("*")):
        if path.suffix in {".yaml", ".bib", ".j2", ".css", ".js"}:
            assert str(path.relative_to(ROOT)) in names, "package data"
    assert not any(name.startswith("tests/") for name in names)
    shown = run(python, "-m", "zoo", "list", cwd=tmp_path)
    assert "pose_nearest" in shown


def build_wheel(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    for package in PACKAGES:
        link_tree(ROOT / package, source / package)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        (source / name).write_bytes((ROOT / name).read_bytes())
    command = ("-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "-w", tmp_path)
    run(sys.executable, *command, source)
    (wheel,) = tmp_path.glob("*.whl")
    return wheel


def run(*command, cwd: Path | None = None) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=600, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout
