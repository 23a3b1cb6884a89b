"""The registry walks file names; every alternative in the project is checked here without being asked."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from zoo import registry, syntax_tree
from zoo.component import Card, Config
from zoo.errors import BadValue, UnknownName, UnmetNeed, UserError
from zoo.extras import EXTRAS

ROOT = Path(registry.__file__).parent.parent
EVERY = [(axis, name) for axis in registry.axes() for name in registry.names(axis)]


def clear() -> None:
    for cached in (registry.folder, registry.axes, registry._plugins, registry._alternatives, registry.load):
        cached.cache_clear()
    syntax_tree.locate.cache_clear()


@pytest.fixture
def fresh():
    clear()
    yield
    clear()


def plug(monkeypatch, **points: str) -> None:
    """Installs entry points: axis__name="module:Class"."""
    listed = [EntryPoint(key.replace("__", "."), value, registry.GROUP) for key, value in points.items()]
    monkeypatch.setattr(registry, "entry_points", lambda group: listed)
    clear()


def test_walk_is_complete():
    files = {(p.parent.name, p.stem) for p in (ROOT / "components").glob("*/*.py") if p.stem != "__init__"}
    files |= {
        (axis, p.stem)
        for axis in registry.BENCHMARK_AXES
        for p in (ROOT / "benchmarks" / axis).glob("*.py")
        if p.stem != "__init__"
    }
    assert len(EVERY) >= 30
    assert {(axis, name) for axis, name in EVERY if name not in registry.plugin_names(axis)} == files


@pytest.mark.parametrize("axis, name", EVERY)
def test_card_and_options_are_readable_without_import(axis, name):
    card = registry.card(axis, name)
    assert card.note
    assert len(card.note) <= 120
    assert "\n" not in card.note
    assert "name" not in registry.option_names(axis, name), "`name` is how a recipe chooses the part"


@pytest.mark.parametrize("axis, name", EVERY)
def test_syntax_tree_agrees_with_the_loaded_class(axis, name):
    try:
        cls = registry.load(axis, name)
    except UnmetNeed as error:
        known = any(extra.module in str(error) for extra in EXTRAS)
        pytest.skip(str(error)) if known else pytest.fail(str(error))
    assert registry.card(axis, name) == cls.card
    assert registry.option_names(axis, name) == list(cls.Config.model_fields)
    assert issubclass(cls.Config, Config)


def test_listing_imports_no_component_and_no_torch():
    code = (
        "import sys; from zoo import registry as r\n"
        "n = [(r.card(a, b), r.option_names(a, b)) for a in r.axes() for b in r.names(a)]\n"
        "heavy = {'torch', 'numpy', 'lightning', 'hydra'} & set(sys.modules)\n"
        "parts = [m for m in sys.modules if m.startswith(('components.', 'benchmarks.'))]\n"
        "assert n and not heavy and not parts, (heavy, parts)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_load_imports_only_the_chosen_file():
    code = (
        "import sys; from zoo import registry as r; r.load('rollout', 'long_range')\n"
        "got = [m for m in sys.modules if m.startswith('components.rollout.')]\n"
        "assert got == ['components.rollout.long_range'] and 'torch' not in sys.modules, got"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_unknown_names_get_a_guess():
    with pytest.raises(
        UnknownName, match=r"no rollout is named 'longrange'\. Did you mean 'long_range'\? Known: .*auto"
    ):
        registry.load("rollout", "longrange")
    with pytest.raises(UnknownName, match=r"no axis 'rolout'.*'rollout'"):
        registry.names("rolout")
    with pytest.raises(UnknownName, match=r"rollout 'long_range' has no option 'distnt'.*'distant'"):
        registry.build("rollout", "long_range", {"distnt": "spread"})


def test_build_checks_values_and_passes_runtime(fresh, monkeypatch, tmp_path):
    make_plugin(tmp_path, monkeypatch)
    plug(monkeypatch, rollout__mine="zoo_test_plugin.parts:Mine")
    part = registry.build("rollout", "mine", {"width": "3"}, channels=7)
    assert (part.config.width, part.channels) == (3, 7)
    for options, message in (
        ({"width": "abc"}, "rollout.width: 'abc' is not an integer"),
        ({"width": 0}, "rollout.width: must be >= 1, not 0"),
        ({"width": 1.5}, "rollout.width: 1.5 is not an integer"),
        ({"kind": "c"}, "rollout.kind: 'c' is not one of 'a' or 'b'"),
        ({"sizes": [1, "x"]}, "rollout.sizes.1: 'x' is not an integer"),
        ({"maybe": "x"}, "rollout.maybe: 'x' is not an integer"),
    ):
        with pytest.raises(BadValue) as caught:
            registry.build("rollout", "mine", options)
        assert str(caught.value) == message
    with pytest.raises(UnknownName, match=r"no option 'widht'.*Did you mean 'width'"):
        registry.build("rollout", "mine", {"widht": 3})


# ------------------------------------------------------------------------------------------------------- plug-ins

PLUGIN = """
import {dependency}
from typing import Literal
from pydantic import Field
from zoo.component import Config, component
from zoo_test_plugin.shared import Shared

@component(cite="harvey2022fdm", note="mine", needs={{"poses"}})
class Mine:
    class Config(Shared):
        kind: Literal["a", "b"] = "a"
        sizes: list[int] = []
        maybe: int | None = None

    def __init__(self, config, **runtime):
        self.config = config
        self.__dict__.update(runtime)
"""


def make_plugin(folder: Path, monkeypatch, dependency: str = "math") -> None:
    package = folder / "zoo_test_plugin"
    package.mkdir()
    (package / "__init__.py").write_text("raise_if_imported = 1\n")
    (package / "shared.py").write_text(
        "from pydantic import Field\nfrom zoo.component import Config\n\n"
        "class Shared(Config):\n    width: int = Field(4, ge=1)\n"
    )
    (package / "parts.py").write_text(PLUGIN.format(dependency=dependency))
    monkeypatch.syspath_prepend(folder)
    for name in [name for name in sys.modules if name.startswith("zoo_test_plugin")]:
        monkeypatch.delitem(sys.modules, name)


def test_a_plugin_is_listed_without_import_and_found(fresh, monkeypatch, tmp_path):
    make_plugin(tmp_path, monkeypatch)
    plug(monkeypatch, rollout__mine="zoo_test_plugin.parts:Mine")
    assert "mine" in registry.names("rollout")
    assert registry.plugin_names("rollout") == ["mine"]
    assert registry.card("rollout", "mine") == Card("harvey2022fdm", "mine", frozenset({"poses"}), frozenset())
    assert registry.option_names("rollout", "mine") == ["width", "kind", "sizes", "maybe"]
    assert not any(name.startswith("zoo_test_plugin") for name in sys.modules)
    assert registry.load("rollout", "mine").__name__ == "Mine"


def test_a_missing_package_names_the_command(fresh, monkeypatch, tmp_path):
    make_plugin(tmp_path, monkeypatch, dependency="absent_package")
    plug(monkeypatch, rollout__mine="zoo_test_plugin.parts:Mine")
    with pytest.raises(
        UnmetNeed, match="rollout 'mine' needs the package 'absent_package': pip install absent_package"
    ):
        registry.load("rollout", "mine")


def test_collisions_raise(fresh, monkeypatch):
    plug(monkeypatch, rollout__long_range="somewhere:Else")
    with pytest.raises(UserError, match=r"provides rollout\.long_range, which rollout/long_range\.py already is"):
        registry.names("rollout")
    points = [EntryPoint("rollout.mine", f"package_{i}:Mine", registry.GROUP) for i in range(2)]
    monkeypatch.setattr(registry, "entry_points", lambda group: points)
    clear()
    with pytest.raises(UserError, match=r"package_0:Mine and package_1:Mine both provide rollout\.mine"):
        registry.names("rollout")


def test_an_entry_point_of_no_axis_raises(fresh, monkeypatch):
    plug(monkeypatch, nowhere__mine="package:Mine")
    with pytest.raises(UserError, match=r"'nowhere\.mine' of package:Mine is not axis\.name"):
        registry.names("rollout")


# ------------------------------------------------------------------------------------------------ broken surroundings


def test_a_shadowing_folder_is_named(tmp_path):
    (tmp_path / "components").mkdir()
    (tmp_path / "components" / "__init__.py").touch()
    code = f"import sys; sys.path.insert(1, {str(ROOT)!r})\nfrom zoo.__main__ import main; sys.exit(main(['list']))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"`import components` finds {tmp_path}/components/__init__.py instead of {ROOT}/components" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "text, message",
    [
        ("class A: pass", "must hold exactly one public class .* but has 0"),
        ("@component(cite=None, note='x')\nclass A:\n class Config(Config): pass\n" * 2, "but has 2"),
        ("@component(cite=None, note=SOME)\nclass A:\n class Config(Config): pass\n", "written as literals"),
        ("def broken(:", "cannot be read as Python"),
        ("@component(note='x')\nclass A:\n class Config(Config): pass\n", "written as literals"),
    ],
)
def test_a_broken_component_file_is_explained(tmp_path, text, message):
    (tmp_path / "part.py").write_text(text)
    with pytest.raises(UserError, match=message):
        syntax_tree.read_card(tmp_path / "part.py")


def test_a_component_needs_a_config(tmp_path):
    (tmp_path / "part.py").write_text("@component(cite=None, note='x')\nclass A: pass\n")
    with pytest.raises(UserError, match="needs a nested `class Config"):
        syntax_tree.read_options(tmp_path / "part.py")
