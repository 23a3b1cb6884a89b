"""What an alternative says of itself. Apart from zoo.component, so that listing names needs no pydantic."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Card:
    """What is said of an alternative without building it: its paper, one line, and what it needs and gives."""

    cite: str | None
    note: str
    needs: frozenset[str]
    gives: frozenset[str]
