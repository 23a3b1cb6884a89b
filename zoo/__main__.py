"""``python -m zoo COMMAND …``, also installed as ``zoo``: the table of commands, each imported only when it is used."""

from __future__ import annotations

import ast
import importlib
import sys
from typing import NamedTuple

import zoo
from zoo.entry import guarded
from zoo.errors import UnknownName, UserError, nearest


class Command(NamedTuple):
    """`target` is ``module:function``, a function from arguments to exit code; `usage` and `line` are for --help."""

    target: str
    usage: str
    line: str


COMMANDS = {
    "run": Command("zoo.run:main", "recipe=NAME [key=value …]", "train, generate, judge, record; key=a,b,c sweeps"),
    "list": Command("zoo.commands.list:main", "[AXIS] [format=json]", "every alternative of every axis, and its paper"),
    "describe": Command("zoo.commands.describe:main", "NAME | AXIS.NAME", "one alternative: options, ranges, paper"),
    "plan": Command("zoo.commands.plan:main", "recipe=NAME [key=value …]", "parameters, FLOPs, memory; trains nothing"),
    "frames": Command("zoo.commands.frames:main", "rollout=NAME frames=N …", "which frames a rollout makes and sees"),
    "sample": Command("zoo.commands.sample:main", "RUN [key=value …]", "generate videos from a finished run"),
    "annotate": Command(
        "zoo.commands.annotate:main", "RUN videos=FOLDER [out=FILE]", "caption a folder of videos into a manifest"
    ),
    "score": Command("zoo.commands.score:main", "fake=DIR real=DIR metrics=…", "metrics of any two folders of videos"),
    "export": Command("zoo.commands.export:main", "suite=NAME DIR", "what an outside model needs to answer a suite"),
    "evaluate": Command("zoo.commands.evaluate:main", "suite=NAME videos=DIR name=…", "score videos of any model"),
    "leaderboard": Command("zoo.commands.leaderboard:main", "[key=value …]", "records to a table, Markdown, CSV, HTML"),
    "audit": Command(
        "zoo.commands.audit:main", "RECORD [RECORD …]", "do spoiled copies of a row top its headline metrics?"
    ),
    "publish": Command("zoo.commands.publish:main", "results=DIR out=DIR", "copy records, with few and small videos"),
    "reproduce": Command("zoo.commands.reproduce:main", "RECORD", "run a record again and compare, metric by metric"),
    "cite": Command("zoo.commands.cite:main", "recipe=NAME [key=value …]", "BibTeX of every part used"),
    "doctor": Command("zoo.commands.doctor:main", "[format=json]", "versions, devices, readers, what is missing"),
}


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0 well, 2 bad input, 130 interrupted."""
    return guarded(dispatch, sys.argv[1:] if arguments is None else arguments)


def dispatch(arguments: list[str]) -> int:
    """Run the command that the first argument names. Raises UnknownName for one that does not exist."""
    if not arguments or arguments[0] in ("--help", "-h", "help"):
        print(overview())
        return 0
    name, *rest = arguments
    if name == "--version":
        print(f"spacetime-zoo {zoo.__version__}")
        return 0
    if name not in COMMANDS:
        raise UnknownName(f"there is no command '{name}'.{nearest(name, list(COMMANDS))}")
    module, _, function = COMMANDS[name].target.partition(":")
    if rest and rest[0] in ("--help", "-h"):
        print(help_of(name))
        return 0
    code = getattr(importlib.import_module(module), function)(rest)
    return code or 0


def overview() -> str:
    """The text of ``--help``."""
    width = max(len(f"{name} {command.usage}") for name, command in COMMANDS.items())
    rows = [f"  {f'{name} {command.usage}':<{width}}  {command.line}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "The Spacetime Zoo: the design alternatives behind long video generation, swapped by name and benchmarked.",
            "",
            "usage: zoo COMMAND …   (or python -m zoo COMMAND …)",
            "",
            *rows,
            "",
            "  zoo COMMAND --help says more; zoo --version prints the version.",
        ]
    )


def help_of(name: str) -> str:
    """Usage and the words at the head of the command's file, read without importing it."""
    from zoo.syntax_tree import locate

    command = COMMANDS[name]
    path = locate(command.target.partition(":")[0])
    if path is None:
        raise UserError(f"the command '{name}' is missing from this installation: install spacetime-zoo again.")
    words = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or command.line
    return f"usage: zoo {name} {command.usage}\n\n{words}"


if __name__ == "__main__":
    sys.exit(main())
