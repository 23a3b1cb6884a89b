"""How a tokenizer's options name the quantiser inside it: ``lfq``, or ``{name: fsq, levels: …}``."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator


def _checked(choice: str | dict[str, Any]) -> str | dict[str, Any]:
    if isinstance(choice, dict) and not isinstance(choice.get("name"), str):
        raise ValueError("a quantizer is a name, or a mapping with a name and its options")
    return choice


def _given(choice: str | dict[str, Any]) -> str | dict[str, Any]:
    if (choice if isinstance(choice, str) else choice["name"]) == "none":
        raise ValueError("this tokenizer is discrete and needs a quantizer: the tokenizer vae has none")
    return choice


QuantizerChoice = Annotated[str | dict[str, Any], AfterValidator(_checked)]
"""A name, or a mapping of a name and options; zoo/compose.py builds it."""
SomeQuantizer = Annotated[QuantizerChoice, AfterValidator(_given)]
"""The same, for tokenizers that are nothing without one: ``none`` is refused."""
