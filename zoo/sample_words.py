"""What ``zoo sample`` is asked in words: its own keys, checked before anything is loaded. No torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zoo import overrides, recipe_names, registry
from zoo.errors import BadValue, UnknownName, nearest

FILES = ("image", "first", "last")
COUNTS = ("frames", "context", "closing", "videos")
KEYS = ("task", "prompt", *FILES, "size", "seconds", *COUNTS, "out")


@dataclass(frozen=True)
class Asked:
    """The command's own keys; None where the user says nothing."""

    task: str | None = None
    options: dict[str, str] = field(default_factory=dict)
    """Of the task, such as ``direction``."""
    prompt: str | None = None
    image: Path | None = None
    first: Path | None = None
    last: Path | None = None
    size: tuple[int, int] | None = None
    """(height, width)."""
    frames: int | None = None
    seconds: float | None = None
    context: int | None = None
    closing: int | None = None
    videos: int | None = None
    out: Path = Path("samples")

    @property
    def files(self) -> bool:
        """Whether something of the user's is given to look at."""
        return any((self.image, self.first, self.last))

    def total(self, fps: float, default: int) -> int:
        """How many frames are asked."""
        if self.seconds is not None:
            return max(1, round(self.seconds * fps))
        return default if self.frames is None else self.frames


def read(words: Sequence[str]) -> tuple[Asked, list[str]]:
    """The command's own keys, and the others: sampling keys of the recipe.

    Raises:
        UserError: words that are not key=value, keys that nobody knows, values out of range, files that are not there.
    """
    own: dict[str, str] = {}
    rest: list[str] = []
    options = sorted({name for task in registry.names("task") for name in registry.option_names("task", task)})
    sampling = recipe_names.keys()
    known = sorted({*KEYS, *options, *sampling})
    for key, value in overrides.split(words):
        if key in KEYS or key in options:
            own[key] = value
        elif key.split(".")[0] in sampling:
            rest.append(f"{key}={value}")
        else:
            raise UnknownName(f"sample has no key '{key}'.{nearest(key, known)}")
    files: dict[str, Any] = {key: _file(key, own[key]) for key in FILES if key in own}
    counts: dict[str, Any] = {key: _count(key, own[key]) for key in COUNTS if key in own}
    asked = Asked(
        task=own.get("task"),
        options={name: own[name] for name in options if name in own},
        prompt=own.get("prompt"),
        size=_size(own["size"]) if "size" in own else None,
        seconds=_seconds(own["seconds"]) if "seconds" in own else None,
        out=Path(own.get("out", "samples")),
        **files,
        **counts,
    )
    _agree(asked)
    return asked, rest


def _agree(asked: Asked) -> None:
    if asked.frames is not None and asked.seconds is not None:
        raise BadValue("frames= and seconds= both say how long the video is: keep one of the two.")
    if asked.image is not None and asked.first is not None:
        raise BadValue("image= and first= both say how the video begins: keep one of the two.")
    if asked.task is not None:
        registry.check_options("task", asked.task, asked.options)


def _file(key: str, value: str) -> Path:
    path = Path(value).expanduser()
    if not path.is_file():
        raise BadValue(f"{key}={value}: there is no such file; give the path of a picture or a video.")
    return path


def _size(value: str) -> tuple[int, int]:
    """``96x64`` is 96 wide and 64 high."""
    width, cross, height = value.lower().replace("×", "x").partition("x")
    sides = [int(side) if side.strip().isdecimal() else 0 for side in (height, width)]
    if not cross or not all(0 < side <= 8192 for side in sides):
        raise BadValue(f"size={value} is no size: write width × height in pixels, as in size=96x64.")
    return sides[0], sides[1]


def _count(key: str, value: str) -> int:
    least = 0 if key in ("context", "closing") else 1
    if not value.strip().isdecimal() or int(value) < least:
        raise BadValue(f"{key}={value} must be a whole number of at least {least}.")
    return int(value)


def _seconds(value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < 1e6:
        raise BadValue(f"seconds={value} must be a number above 0, as in seconds=4.")
    return seconds
