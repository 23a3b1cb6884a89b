"""What a plain word means: YAML 1.2's core schema, for recipe files and for the command line alike."""

from __future__ import annotations

import re
from typing import Any

_INTEGER = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_WORDS = {word: value for value in (True, False) for word in (str(value), str(value).lower(), str(value).upper())}
_WORDS |= dict.fromkeys(("null", "Null", "NULL", "~", ""), None)
_MAX_DIGITS = 300


def scalar(text: str) -> Any:
    """A plain word as YAML 1.2's core schema reads it: null, true, 12, 1e-3, or the text itself."""
    text = text.strip()
    if text in _WORDS:
        return _WORDS[text]
    if len(text) <= _MAX_DIGITS:
        if _INTEGER.fullmatch(text):
            return int(text)
        if _FLOAT.fullmatch(text):
            return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text
