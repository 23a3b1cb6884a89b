"""Records to tables: which rows may be compared, which stands best, and who is tied. Reads only; imports no torch.

A *board* holds rows of one suite, version, options and test content. A *column* is one metric **and its key**: rows
whose keys differ stand in different columns, so they are never ranked together. Best values are sought among model rows
only; floors and ceilings are there to be looked at, not to win.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path

from benchmarks.board_heading import clean, heading, protocol_key
from benchmarks.record import Metric, Part, Record, digest, identity, read
from benchmarks.stats import paired_difference
from zoo.errors import UserError

PAIRS_NEEDED = 5
"""Fewer shared episodes than this say too little for an interval of their differences."""
ORDER = {"ceiling": 0, "": 1, "floor": 2}
"""Ceilings stand above the models, floors below them."""


@dataclass(frozen=True)
class Entry:
    """A record and the file it came from; artifacts are looked up beside that file."""

    record: Record
    path: Path


@dataclass(frozen=True)
class Collection:
    """What a set of folders holds."""

    entries: list[Entry]
    broken: dict[str, str]
    """File → why it was not read."""


@dataclass(frozen=True)
class Column:
    """One metric with one key; ``part`` names a frame type or bin of it, empty for the whole."""

    metric: str
    key: str
    part: str = ""
    unit: str = ""
    higher_is_better: bool | None = None
    variant: int = 0
    """0 where the metric has one key on this board; else 1, 2, … to tell the columns apart."""

    @property
    def title(self) -> str:
        """The metric, its part, its number among several keys, its unit and which way is better."""
        part = f" · {clean(self.part)}" if self.part else ""
        return self.name + part + self.tail

    @property
    def name(self) -> str:
        """The metric and its number among several keys."""
        return clean(self.metric) + (f" #{self.variant}" if self.variant else "")

    @property
    def tail(self) -> str:
        """Unit and which way is better."""
        arrow = {True: " ↑", False: " ↓", None: ""}[self.higher_is_better]
        return (f" [{clean(self.unit)}]" if self.unit else "") + arrow


@dataclass(frozen=True)
class Cell:
    """One figure. ``rank`` is "best" when it stands alone, "tie" when it cannot be told apart from the best."""

    part: Part
    rank: str = ""
    decimals: int = 3
    """The same for a whole column."""
    seed_deviation: float | None = None
    """Of pooled rows: the standard deviation of the training seeds' means."""

    @property
    def value(self) -> str:
        """``26.8``, or a dash where nothing was measured."""
        return "–" if self.part.value is None else f"{self.part.value:.{self.decimals}f}"

    @property
    def interval(self) -> str:
        """``[26.5, 27.0]``, or nothing."""
        if self.part.value is None or self.part.interval is None:
            return ""
        return f"[{self.part.interval[0]:.{self.decimals}f}, {self.part.interval[1]:.{self.decimals}f}]"


@dataclass(frozen=True)
class Row:
    """One line of a board: the newest of the records that say the same. Controls are never ranked."""

    entry: Entry
    label: str
    older: int = 0
    """How many earlier runs of the same recipe stand behind it."""
    cells: dict[Column, Cell] = field(default_factory=dict)
    seeds: int = 0
    """Training seeds that a pooled row stands for; 0 for the row of one record."""

    @property
    def record(self) -> Record:
        return self.entry.record

    @property
    def is_model(self) -> bool:
        return self.record.kind == "model"


@dataclass(frozen=True)
class Board:
    """Rows that were made by one protocol on one test content."""

    title: str
    subtitle: str
    columns: list[Column]
    parts: list[Column]
    """The same metrics by frame type or bin."""
    rows: list[Row]
    notes: tuple[str, ...] = ()
    """Sentences to stand below the table."""

    @property
    def parts_by_metric(self) -> list[list[Column]]:
        """The parts of each metric, together."""
        return [list(group) for _, group in groupby(self.parts, key=lambda column: (column.metric, column.key))]


def collect(folders: Iterable[Path | str]) -> Collection:
    """Every record below the folders, oldest first; a file that is no record is named, never fatal."""
    entries: dict[str, Entry] = {}
    broken: dict[str, str] = {}
    for folder in map(Path, folders):
        for path in sorted(folder.rglob("*.json")):
            try:
                record = read(path)
            except UserError as error:
                broken[str(path)] = str(error)
                continue
            entries.setdefault(identity(record), Entry(record, path))
    return Collection(sorted(entries.values(), key=lambda e: (e.record.created.timestamp(), e.record.name)), broken)


def boards(entries: Sequence[Entry], suite: str | None = None) -> list[Board]:
    """One board per suite, version, options, world, context and test content, in the order of the suites' names.

    Raises UserError when ``suite`` is asked for and no record has it.
    """
    return [_board(group) for group in by_protocol(entries, suite)]


def by_protocol(entries: Sequence[Entry], suite: str | None = None) -> list[list[Entry]]:
    """Entries whose figures were made by one protocol on one test content, together, in the order given.

    Raises UserError when ``suite`` is asked for and no record has it.
    """
    known = sorted({e.record.suite.name for e in entries})
    if suite is not None and suite not in known:
        raise UserError(f"no record of suite {suite!r}; records exist of: {', '.join(known) or 'none'}.")
    groups: dict[tuple, list[Entry]] = {}
    for entry in entries:
        if suite in (None, entry.record.suite.name):
            groups.setdefault(protocol_key(entry.record), []).append(entry)
    return [groups[key] for key in sorted(groups)]


def _board(entries: list[Entry]) -> Board:
    rows = _newest(entries)
    records = [row.record for row in rows]
    columns, parts = columns_of(records), part_columns_of(records)
    for column in (*columns, *parts):
        _fill(rows, column)
    title, subtitle = heading(entries[0].record)
    return Board(title=title, subtitle=subtitle, columns=columns, parts=parts, rows=_sorted(rows, columns))


def _newest(entries: list[Entry]) -> list[Row]:
    """Runs of one recipe become one row; a control that several groups measured alike is shown once."""
    found: dict[tuple, list[Entry]] = {}
    for entry in entries:
        record = entry.record
        figures = digest({name: metric.model_dump() for name, metric in record.metrics.items()})
        same = figures if record.kind == "control" else digest([record.recipe_hash or figures, record.stages])
        found.setdefault((record.kind, record.role, record.name, record.label, same), []).append(entry)
    labels = [_label(same[-1].record) for same in found.values()]
    return [
        Row(same[-1], _distinct(label, labels, same[-1].record), older=len(same) - 1)
        for label, same in zip(labels, found.values(), strict=True)
    ]


def _label(record: Record) -> str:
    return clean(record.label or record.name)


def _distinct(label: str, labels: list[str], record: Record) -> str:
    """Two different rows never look alike: the recipe's hash tells them apart."""
    if labels.count(label) == 1:
        return label
    return f"{label} ({clean(record.recipe_hash[:6] or record.group[:6] or identity(record)[:6])})"


def columns_of(records: Iterable[Record]) -> list[Column]:
    """Metrics in the order in which the records name them; one column per key."""
    keys: dict[str, dict[str, Metric]] = {}
    for record in records:
        for name, metric in record.metrics.items():
            keys.setdefault(name, {}).setdefault(metric.key, metric)
    return [
        Column(name, key, "", metric.unit, metric.higher_is_better, variant if len(by_key) > 1 else 0)
        for name, by_key in keys.items()
        for variant, (key, metric) in enumerate(by_key.items(), start=1)
    ]


def part_columns_of(records: Sequence[Record]) -> list[Column]:
    """The parts that any record has of each metric and key."""
    columns = []
    for column in columns_of(records):
        names: dict[str, None] = {}
        for record in records:
            metric = record.metrics.get(column.metric)
            if metric is not None and metric.key == column.key:
                names.update(dict.fromkeys(metric.parts))
        columns += [replace(column, part=name) for name in names]
    return columns


def _part(row: Row, column: Column) -> Part | None:
    metric = row.record.metrics.get(column.metric)
    if metric is None or metric.key != column.key:
        return None
    return metric.parts.get(column.part) if column.part else metric


def decimals(values: Iterable[float]) -> int:
    """Digits after the point that show three figures of the largest value, at most nine: also of rounding errors."""
    largest = max((abs(value) for value in values), default=0.0)
    return 3 if largest == 0 else min(9, max(0, 2 - math.floor(math.log10(largest))))


def _fill(rows: list[Row], column: Column) -> None:
    """Put the column's figures into the rows, and mark the best and those it cannot be told apart from."""
    parts = [(row, part) for row in rows if (part := _part(row, column)) is not None]
    best = _best([(row, part) for row, part in parts if row.is_model and part.value is not None], column)
    digits = decimals(part.value for _, part in parts if part.value is not None)
    for row, part in parts:
        row.cells[column] = Cell(part, best.get(id(row), ""), digits)


def _best(models: list[tuple[Row, Part]], column: Column) -> dict[int, str]:
    """``id(row)`` → "best" or "tie". Nothing is best where there is nobody to compare with."""
    if column.higher_is_better is None or len(models) < 2 or column.part == "chance":
        return {}
    sign = 1 if column.higher_is_better else -1
    winner, top = max(models, key=lambda model: sign * _value(model[1]))
    tied = [row for row, part in models if row is winner or indistinct(winner, top, row, part, column)]
    return {id(row): "best" if len(tied) == 1 else "tie" for row in tied}


def _value(part: Part) -> float:
    return -math.inf if part.value is None else part.value


def indistinct(winner: Row, top: Part, row: Row, part: Part, column: Column) -> bool:
    """Whether two figures cannot be told apart.

    Rows of one group that share at least five episodes are compared in pairs: zero inside the 95 % interval of the mean
    difference. Otherwise by overlap of their intervals; without intervals only equal values tie.
    """
    if not column.part and winner.record.group and winner.record.group == row.record.group:
        ours, theirs = (r.record.per_video.get(column.metric, {}) for r in (winner, row))
        if len(ours.keys() & theirs.keys()) >= PAIRS_NEEDED:
            return not paired_difference(ours, theirs).clear
    if top.interval is None or part.interval is None:
        return top.value == part.value
    return top.interval[0] <= part.interval[1] and part.interval[0] <= top.interval[1]


def _sorted(rows: list[Row], columns: list[Column]) -> list[Row]:
    """Ceilings, models, floors; each from best to worst in the first column that ranks."""
    first = next((column for column in columns if column.higher_is_better is not None), None)

    def place(row: Row) -> tuple:
        role = ORDER[row.record.role] if not row.is_model else ORDER[""]
        cell = row.cells.get(first) if first else None
        if first is None or cell is None or cell.part.value is None:
            return role, 1, 0.0, row.label
        return role, 0, -cell.part.value if first.higher_is_better else cell.part.value, row.label

    return sorted(rows, key=place)
