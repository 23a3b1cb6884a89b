"""What these scripts are told on the command line: option=N, whole numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from zoo.errors import BadValue


def options_of(arguments: Sequence[str], defaults: Mapping[str, int]) -> dict[str, int]:
    """The defaults, and over them what is given.

    Raises:
        BadValue: a word that is no option=N of these.
    """
    options = dict(defaults)
    for word in arguments:
        name, _, value = word.partition("=")
        if name not in options or not value.isdecimal():
            raise BadValue(f"{word} is no option: write {', '.join(f'{k}={v}' for k, v in defaults.items())}.")
        options[name] = int(value)
    return options
