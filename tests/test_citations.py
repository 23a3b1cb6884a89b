"""CITATIONS.bib: every key that a part names exists, every entry parses and is complete."""

from __future__ import annotations

import re

import pytest
from pybtex.database import parse_file

from zoo import citations, registry

ENTRIES = parse_file(str(citations.FILE), bib_format="bibtex").entries
NAMED = {
    key: f"{axis}.{name}"
    for axis in registry.axes()
    for name in registry.names(axis)
    if name not in registry.plugin_names(axis)
    for key in citations.keys(registry.card(axis, name))
}


def test_every_key_of_a_part_exists():
    assert len(NAMED) >= 20
    assert not {part: key for key, part in NAMED.items() if key not in ENTRIES}


def test_our_reading_finds_what_pybtex_finds():
    assert list(citations.entries()) == list(ENTRIES)


@pytest.mark.parametrize("key", list(ENTRIES))
def test_entry_is_complete(key):
    entry = ENTRIES[key]
    assert entry.persons["author"]
    assert entry.fields["title"]
    assert re.fullmatch(r"(19|20)\d\d", entry.fields["year"])
    assert {"eprint", "doi", "url"} & set(entry.fields), "a reader must find the paper"
    assert re.fullmatch(r"\d{4}\.\d{5}|\d{4}\.\d{4}", entry.fields.get("eprint", "0000.0000"))
    first = entry.persons["author"][0].last_names[-1]
    assert citations.short(key).startswith(re.sub(r"[{}\\]", "", first)) or " " in first or "-" in first
    assert citations.short(key).endswith(entry.fields["year"])
    assert not set("{}\\") & set(citations.short(key) + citations.field(key, "title"))


def test_no_paper_stands_twice():
    titles = [re.sub(r"\W", "", entry.fields["title"]).lower() for entry in ENTRIES.values()]
    eprints = [entry.fields["eprint"] for entry in ENTRIES.values() if "eprint" in entry.fields]
    assert len(set(titles)) == len(titles)
    assert len(set(eprints)) == len(eprints)
