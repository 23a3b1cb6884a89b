"""The command line, as a user types it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pybtex.database import parse_string

import zoo
from zoo import citations, registry
from zoo.__main__ import COMMANDS, help_of, main
from zoo.commands import describe, doctor
from zoo.entry import guarded
from zoo.errors import BadValue, UserError
from zoo.syntax_tree import locate

ROOT = Path(registry.__file__).parent.parent


def zoo_process(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Runs `python -m zoo …` and prints at the end of stderr which heavy modules were imported."""
    code = (
        "import sys, atexit\n"
        "atexit.register(lambda: print('HEAVY', sorted({'torch', 'numpy', 'lightning', 'hydra'} & set(sys.modules)),"
        " file=sys.stderr))\n"
        "from zoo.__main__ import main\n"
        f"sys.exit(main({list(arguments)!r}))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    "arguments, code",
    [
        ([], 0),
        (["--help"], 0),
        (["--version"], 0),
        (["list"], 0),
        (["list", "rollout", "format=json"], 0),
        (["run", "--help"], 0),
        (["cite", "recipe=quikstart"], 2),
        (["cite", "recipe=quickstart", "rolout=x"], 2),
        (["lst"], 2),
        (["list", "rolout"], 2),
    ],
)
def test_quick_commands_import_nothing_heavy(arguments, code):
    done = zoo_process(*arguments)
    assert done.returncode == code, done.stderr
    assert "HEAVY []" in done.stderr
    assert "Traceback" not in done.stderr
    said = done.stderr.splitlines()
    assert len(said) == (2 if code else 1), "an error is one line"


def test_python_m_zoo():
    done = subprocess.run(
        [sys.executable, "-m", "zoo", "--version"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, f"spacetime-zoo {zoo.__version__}\n")


def test_help_lists_every_command(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for name, command in COMMANDS.items():
        assert f"  {name} " in text
        assert command.line in text
    assert all(len(line) <= 120 for line in text.splitlines())


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_exists_and_explains_itself(name):
    module, _, function = COMMANDS[name].target.partition(":")
    path = locate(module)
    assert path is not None, module
    assert f"def {function}(" in path.read_text()
    assert help_of(name).startswith(f"usage: zoo {name}")
    assert len(help_of(name).splitlines()) >= 3


def test_list_shows_every_alternative_with_its_paper(capsys):
    assert main(["list"]) == 0
    text = capsys.readouterr().out.splitlines()
    everything = [(axis, name) for axis in registry.axes() for name in registry.names(axis)]
    assert [tuple(line.split()[:2]) for line in text] == everything
    for line, (axis, name) in zip(text, everything, strict=True):
        card = registry.card(axis, name)
        assert card.note in line
        assert all(citations.short(key) in line for key in citations.keys(card))


def test_list_as_json(capsys):
    assert main(["list", "rollout", "format=json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == registry.names("rollout")
    assert set(rows[0]) == {"axis", "name", "note", "cite", "needs", "gives"}


def test_list_as_a_table_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "160")
    assert main(["list", "rollout"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in registry.names("rollout"))
    assert "paper" in text.splitlines()[0]


def test_describe(capsys):
    assert main(["describe", "long_range"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("rollout.long_range: ")
    assert "rollout.distant=newest_observed  newest_observed | spread | random" in text
    assert "Flexible Diffusion Modeling of Long Videos [harvey2022fdm]" in text
    assert str(ROOT / "components" / "rollout" / "long_range.py") in text


@pytest.mark.parametrize("axis", ["rollout", "tokenizer", "solver", "reader"])
def test_describe_names_every_option(axis):
    for name in registry.names(axis):
        text = "\n".join(describe.lines(axis, name))
        assert all(f"{axis}.{option}=" in text for option in registry.option_names(axis, name))
        assert "typing" not in text
        assert "annotation=" not in text


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["describe", "none"], "stands on several axes: say guidance.none or"),
        (["describe", "rollout"], "'rollout' is an axis: `zoo list rollout`"),
        (["describe", "longrange"], "nothing is named 'longrange'. Did you mean 'long_range'?"),
        (["describe", "rollout.longrange"], "no rollout is named 'longrange'. Did you mean 'long_range'?"),
        (["describe"], "describe takes one name"),
        (["list", "format=xml"], "format: 'xml' is not one of"),
        (["list", "formt=json"], "there is no option 'formt' here. Did you mean 'format'?"),
        (["doctor", "format=xml"], "format: 'xml' is not one of"),
        (["cite"], "say which recipe: recipe=NAME"),
        (["lst"], "there is no command 'lst'. Did you mean 'list'?"),
    ],
)
def test_bad_input_is_one_sentence_and_2(capsys, arguments, message):
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("zoo: ")
    assert message in said.err
    assert said.err.count("\n") == 1


def test_cite_prints_bibtex_of_every_part(capsys):
    assert main(["cite", "recipe=quickstart"]) == 0
    found = parse_string(capsys.readouterr().out, "bibtex").entries
    assert {"harvey2022fdm", "peebles2023dit", "lipman2023flow", "kingma2014vae"} <= set(found)
    assert "dehghani2023navit" in found or "dosovitskiy2021vit" in found
    assert main(["cite", "recipe=quickstart", "rollout=pose_nearest", "objective=epsilon"]) == 0
    swapped = parse_string(capsys.readouterr().out, "bibtex").entries
    assert {"ho2020ddpm", "xiao2025worldmem"} <= set(swapped)
    assert "lipman2023flow" not in swapped


def test_doctor(capsys):
    code = main(["doctor", "format=json"])
    report = json.loads(capsys.readouterr().out)
    assert set(report["readers"]) == set(registry.names("reader"))
    works = any(state["works"] for state in report["readers"].values())
    assert code == (0 if works and all(report["packages"].values()) else 1)
    assert report["packages"]["torch"]
    assert all(extra["install"].startswith("pip install") and extra["purpose"] for extra in report["missing"])


def test_doctor_says_what_is_missing(capsys, monkeypatch):
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "einops" else "1")
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(doctor, "_reader", lambda name: {"works": False, "detail": "no such library"})
    assert main(["doctor"]) == 1
    text = capsys.readouterr().out
    assert "MISSING: pip install einops" in text
    assert "does not work: no such library" in text
    assert "pip install 'spacetime-zoo[vizdoom]'" in text


# ------------------------------------------------------------------------------------------------------- the wrapper


def test_guarded(capsys):
    def fails(error: BaseException):
        def function(arguments):
            raise error

        return function

    assert guarded(lambda arguments: None, []) == 0
    assert guarded(lambda arguments: len(arguments), ["a"]) == 1
    assert guarded(fails(UserError("two\n lines")), []) == 2
    assert guarded(fails(BadValue("bad")), []) == 2
    assert capsys.readouterr().err == "zoo: two lines\nzoo: bad\n"
    assert guarded(fails(KeyboardInterrupt()), []) == 130
    assert "same command again" in capsys.readouterr().err
    with pytest.raises(ZeroDivisionError):
        guarded(lambda arguments: 1 // 0, [])


def test_a_closed_pipe_is_no_error():
    command = f"{sys.executable} -m zoo list | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
