"""The papers behind the parts: CITATIONS.bib, read without a BibTeX library."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from zoo.card import Card
from zoo.errors import UnknownName, nearest

FILE = Path(__file__).with_name("CITATIONS.bib")
# Our own file: an entry begins and ends at a line's first column (a test reads it with pybtex too).
_ENTRY = re.compile(r"^@\w+\{([^,\s]+),.*?^\}$", re.MULTILINE | re.DOTALL)
_FIELD = re.compile(r"^\s*(\w+)\s*=\s*\{(.*)\},?$", re.MULTILINE)


@cache
def entries() -> dict[str, str]:
    """Key → the entry's BibTeX."""
    return {match[1]: match[0] for match in _ENTRY.finditer(FILE.read_text(encoding="utf-8"))}


def keys(card: Card) -> list[str]:
    """The citation keys of a card; none where there is no paper."""
    return [key.strip() for key in card.cite.split(",")] if card.cite else []


def bibtex(key: str) -> str:
    """The entry of a key. Raises UnknownName where CITATIONS.bib has none."""
    if key not in entries():
        raise UnknownName(f"CITATIONS.bib has no entry '{key}'.{nearest(key, list(entries()))}")
    return entries()[key]


def field(key: str, name: str) -> str:
    """One field of an entry, braces removed; empty where it is absent."""
    found = dict(_FIELD.findall(bibtex(key)))
    return re.sub(r"[{}]|\\", "", found.get(name, ""))


def short(key: str) -> str:
    """``Harvey et al. 2022``: a key that CITATIONS.bib lacks (a plug-in's) stands for itself."""
    if key not in entries():
        return key
    authors = field(key, "author").split(" and ")
    last = [author.partition(",")[0] for author in authors]
    who = last[0] if len(last) == 1 else " & ".join(last) if len(last) == 2 else f"{last[0]} et al."
    return f"{who} {field(key, 'year')}"
