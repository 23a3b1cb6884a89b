"""The words of the moving shapes: what a caption can say, how it is written, and what a caption says, read back.

Shared by the data set, by what measures captions, and by what asks of a generated video whether it shows its prompt.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

COLOURS: Mapping[str, tuple[int, int, int]] = {
    "red": (220, 40, 40), "green": (40, 180, 60), "blue": (50, 80, 230), "yellow": (240, 210, 50),
    "purple": (150, 60, 190), "white": (240, 240, 240),
}  # fmt: skip
BACKGROUNDS: Mapping[str, tuple[int, int, int]] = {
    "black": (15, 15, 15), "grey": (120, 120, 120), "blue": (50, 80, 230), "green": (40, 180, 60),
}  # fmt: skip
SHAPES = ("circle", "square", "triangle", "cross")
MOTIONS: Mapping[str, tuple[int, int] | None] = {
    "moves left": (-1, 0), "moves right": (1, 0), "moves up": (0, -1), "moves down": (0, 1),
    "moves in a circle": None, "grows": None, "shrinks": None, "stands still": None,
}  # fmt: skip

ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "colour": tuple(COLOURS),
    "shape": SHAPES,
    "motion": tuple(MOTIONS),
    "background": tuple(BACKGROUNDS),
}
"""Attribute to the words that it can take, in the order of their numbers."""

_GROUND = re.compile(r"\b(\w+)\s+background\b|\bbackground\s+is\s+(\w+)\b")
_MOTION_SIGNS: Mapping[str, re.Pattern[str]] = {
    **{
        f"moves {way}": re.compile(rf"\b(?:moves|moving)(?:\s+\w+){{0,3}}?\s+{way}(?:wards?)?\b")
        for way in ("left", "right", "up", "down")
    },
    "moves in a circle": re.compile(r"\b(?:moves|moving)\s+in\s+(?:a\s+circle|circles)\b"),
    "grows": re.compile(r"\b(?:grows|growing)\b"),
    "shrinks": re.compile(r"\b(?:shrinks|shrinking)\b"),
    "stands still": re.compile(r"\b(?:stands|standing)\s+still\b"),
}


def written(colour: str, shape: str, motion: str, background: str) -> str:
    """For example 'a red circle moves left on a blue background'."""
    return f"a {colour} {shape} {motion} on a {background} background"


def attributes_of(caption: str) -> dict[str, str] | None:
    """What a caption says of all four ATTRIBUTES, whatever the order of its parts; None unless each is said once.

    'on a blue background a red circle is moving left' gives {"colour": "red", "shape": "circle", "motion":
    "moves left", "background": "blue"}.
    """
    found = said_attributes(caption)
    return found if len(found) == len(ATTRIBUTES) else None


def said_attributes(caption: str) -> dict[str, str]:
    """The attributes that a caption says exactly once each; those it leaves out, or contradicts, are missing."""
    rest = " ".join(re.findall(r"[a-z]+", caption.lower().replace("gray", "grey")))
    grounds = {first or second for first, second in _GROUND.findall(rest)} & set(BACKGROUNDS)
    rest = _GROUND.sub(" ", rest)
    motions = {motion for motion, sign in _MOTION_SIGNS.items() if sign.search(rest)}
    # "moves in a circle" names no shape.
    rest = _MOTION_SIGNS["moves in a circle"].sub(" ", rest)
    words = rest.split()
    told = {
        "colour": {word for word in words if word in COLOURS},
        "shape": {word for word in words if word in SHAPES},
        "motion": motions,
        "background": grounds,
    }
    return {name: values.pop() for name, values in told.items() if len(values) == 1}
