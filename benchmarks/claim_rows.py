"""Which row of a board a claim means: selectors of dotted options, held against the recipes inside the records.

A row here is a strategy over its training seeds, as in benchmarks/pooled.py, but without the recipe's suite, which the
protocol says already: what several recipes have in common (their base) is trained and judged once and keeps the name
and the suite of the one that was run first. Reads only; imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.board_heading import clean, protocol_text
from benchmarks.leaderboard import Entry, by_protocol
from benchmarks.pooled_figures import seed_of
from benchmarks.pooled_identity import flat, said_of, without_seeds
from benchmarks.record import Record, digest
from zoo.errors import BadValue, UnknownName, nearest

Selector = Mapping[str, Any]
"""Dotted option → value. All must hold; what is not named is free."""
TOLD = 4
"""Options that a message or a cell names before it says how many there are."""


@dataclass(frozen=True)
class StrategyRow:
    """One strategy on one protocol, over its training seeds."""

    options: Mapping[str, Any]
    """Dotted option → value, without seeds and without the suite, which the protocol says."""
    entries: tuple[Entry, ...]
    """The newest record of every seed, by seed."""

    @property
    def records(self) -> list[Record]:
        return [entry.record for entry in self.entries]

    @property
    def paths(self) -> list[Path]:
        return [entry.path for entry in self.entries]


class Rows:
    """All model rows of some records, to be asked for by protocol and selector."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._by_protocol: dict[str, list[StrategyRow]] = {}
        models = [e for e in entries if e.record.kind == "model" and e.record.recipe]
        for group in by_protocol(models):
            self._by_protocol.setdefault(protocol_text(group[0].record), []).extend(_strategies(group))
        self.known = sorted({key for rows in self._by_protocol.values() for row in rows for key in row.options})

    def one(self, protocol: str, selector: Selector, whose: str) -> StrategyRow:
        """The row of a protocol that a selector means; ``whose`` begins the message when it is not exactly one.

        Raises:
            UnknownName: no record has such a protocol. BadValue: no row, or several; the message says what would help.
        """
        if protocol not in self._by_protocol:
            raise UnknownName(f"{whose}: no record here is of protocol '{protocol}'.{self._near(protocol)}")
        rows = self._by_protocol[protocol]
        found = [row for row in rows if all(_holds(row, key, value) for key, value in selector.items())]
        if len(found) == 1:
            return found[0]
        cure = _no_row(rows, selector) if not found else _several(found)
        raise BadValue(f"{whose} finds {len(found)} rows of {protocol} where it must find one: {cure}")

    def _near(self, protocol: str) -> str:
        return nearest(protocol, list(self._by_protocol))

    def normal(self, selector: Selector, whose: str) -> dict[str, Any]:
        """The selector with one dotted key an option: ``attention: full`` is ``attention.name: full``.

        Raises UnknownName for an option that no recipe of the records has.
        """
        found: dict[str, Any] = {}
        for key, value in flat(selector).items():
            full = key if key in self.known else f"{key}.name"
            if full not in self.known:
                raise UnknownName(f"{whose}: no recipe of these records has the option '{key}'.{self._options(key)}")
            found[full] = value
        return found

    def _options(self, key: str) -> str:
        """Did you mean; of the same part where there is one, since a recipe has hundreds of options."""
        head = key.split(".")[0]
        same = [name for name in self.known if name.split(".")[0] == head]
        return nearest(key, same or sorted({name.split(".")[0] for name in self.known}))


def laid_over(base: Selector, own: Selector) -> dict[str, Any]:
    """Both selectors, normal ones; ``own`` wins, and a part it swaps takes the old part's options with it.

    As in recipes: over ``attention: space_time_causal`` and ``attention.history: all``, ``attention: full`` leaves no
    history to ask for, while ``attention.history: 4`` leaves the part.
    """
    swapped = tuple(
        key.removesuffix("name")
        for key, value in own.items()
        if key.endswith(".name") and base.get(key, value) != value
    )
    kept = {key: value for key, value in base.items() if not swapped or not key.startswith(swapped)}
    return {**kept, **own}


def label_of(selector: Selector) -> str:
    """A normal selector in words: ``attention=space_time_causal(history=4)``, ``backbone.patch=[1, 1, 1]``."""
    left, said = dict(selector), []
    for key in [key for key in selector if key.endswith(".name")]:
        part = key.removesuffix(".name")
        options = {k: v for k, v in left.items() if k.startswith(f"{part}.") and k != key}
        named = {"name": left.pop(key)} | {k.removeprefix(f"{part}."): left.pop(k) for k in options}
        said.append(f"{part}={said_of(named)}")
    return clean(", ".join([*said, *(f"{key}={'null' if value is None else value}" for key, value in left.items())]))


def besides(ours: StrategyRow, theirs: StrategyRow, named: Iterable[str]) -> str:
    """In what else than the named options two rows differ, theirs first: ``train.generator.steps 1508 for 1970``.

    Of a part that was named or swapped the options are not told one by one.
    """
    heads = {key.removesuffix("name") for key in named if key.endswith(".name")}
    silent = (*heads, *(key for key in named if not key.endswith(".name")))
    unlike = [key for key in _unlike([ours, theirs]) if not key.startswith(silent)]
    swaps = tuple(key.removesuffix("name") for key in unlike if key.endswith(".name"))
    told = [key for key in unlike if key.endswith(".name") or not (swaps and key.startswith(swaps))]
    said = [f"{key.removesuffix('.name')} {_text(theirs, key)} for {_text(ours, key)}" for key in told]
    more = [f"{len(said) - TOLD} more options"] if len(said) > TOLD else []
    return clean(", ".join(said[:TOLD] + more))


def _strategies(group: Sequence[Entry]) -> list[StrategyRow]:
    """Entries come oldest first, so the newest run of a seed speaks for it; figures of other keys stay apart."""
    found: dict[str, list[Entry]] = {}
    for entry in group:
        keys = {name: metric.key for name, metric in entry.record.metrics.items()}
        found.setdefault(digest([_options_of(entry.record), keys]), []).append(entry)
    rows = []
    for same in found.values():
        newest = {seed_of(entry.record): entry for entry in same}
        rows.append(StrategyRow(_options_of(same[0].record), tuple(newest[seed] for seed in sorted(newest))))
    return rows


def _options_of(record: Record) -> dict[str, Any]:
    return flat({key: value for key, value in without_seeds(record.recipe).items() if key != "suite"})


def _holds(row: StrategyRow, key: str, value: Any) -> bool:
    """``null`` also holds where the recipe is from before there was such an option, or its part has none."""
    return row.options.get(key) == value


def _unlike(rows: Sequence[StrategyRow]) -> list[str]:
    """The options in which rows differ, in the order of the recipe."""
    keys = dict.fromkeys(key for row in rows for key in row.options)
    return [key for key in keys if any(row.options.get(key) != rows[0].options.get(key) for row in rows)]


def _no_row(rows: Sequence[StrategyRow], selector: Selector) -> str:
    """Which options no row has so, and what rows have instead."""
    wrong = [key for key, value in selector.items() if not any(_holds(row, key, value) for row in rows)]
    if not wrong:
        return f"no row has all of {label_of(selector)}; leave out what differs, or publish that row."
    said = [f"no row has {key}={_plain(selector[key])}, rows have {_values(rows, key)}" for key in wrong]
    return f"{'; '.join(said)}; correct the selector or the base, or publish that row."


def _several(rows: Sequence[StrategyRow]) -> str:
    """What would tell the rows apart."""
    unlike = _unlike(rows)
    if not unlike:
        return "their recipes are the same but they were measured in different ways; publish one of them."
    said = [f"{key} ({_values(rows, key)})" for key in unlike[:TOLD]]
    more = f" and {len(unlike) - TOLD} more options" if len(unlike) > TOLD else ""
    return f"they differ in {', '.join(said)}{more}; add what tells them apart to the selector or to the base."


def _values(rows: Sequence[StrategyRow], key: str) -> str:
    return clean(" | ".join(dict.fromkeys(_text(row, key) for row in rows)))


def _text(row: StrategyRow, key: str) -> str:
    return _plain(row.options[key]) if key in row.options else "none such"


def _plain(value: Any) -> str:
    return "null" if value is None else str(value)
