"""What is said of the files of a folder: captions, splits, sources and licences, from a table or from folder names."""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from components.contracts import Split
from zoo.errors import BadValue

SPLIT_NAMES: Mapping[str, Split] = {
    "train": "train", "training": "train", "validation": "validation", "val": "validation", "valid": "validation",
    "dev": "validation", "test": "test", "testing": "test",
}  # fmt: skip
HELD_OUT = 0.1
"""Share of the files that go to validation, and to test, where nothing says otherwise."""


@dataclass(frozen=True)
class Row:
    """One line of a manifest."""

    name: str
    """Path relative to the root, with forward slashes."""
    caption: str | None = None
    split: Split | None = None
    source: str = ""
    licence: str = ""


def find_manifest(root: Path, option: str) -> Path | None:
    """The manifest to follow: `auto` looks for manifest.csv or manifest.parquet in the root, in any case of letters."""
    if option == "none":
        return None
    if option == "auto":
        found = [p for p in root.iterdir() if p.name.lower() in ("manifest.csv", "manifest.parquet") and p.is_file()]
        return min(found, default=None)
    for path in (Path(option).expanduser(), root / option):
        if path.is_file():
            return path
    raise BadValue(f"dataset.manifest: there is no file {option}; give a CSV or Parquet file, 'auto' or 'none'.")


def read_manifest(path: Path) -> list[Row]:
    """Rows of a CSV or Parquet table: columns path (or file), caption, split, source, licence; the first is needed.

    A file named twice keeps its first row.

    Raises:
        BadValue: unreadable, no path column, or a split that is none of train, validation, test.
    """
    try:
        table = _read_parquet(path) if path.suffix.lower() == ".parquet" else _read_csv(path)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadValue(f"The manifest {path.name} cannot be read ({error}); save it as CSV in UTF-8.") from error
    rows: dict[str, Row] = {}
    for number, line in enumerate(table, start=2):
        cells = {str(k).strip().lower(): str(v).strip() for k, v in line.items() if k is not None and v is not None}
        name = cells.get("path") or cells.get("file")
        if not name:
            raise BadValue(
                f"The manifest {path.name} has no path in line {number}; it needs a column 'path' or 'file'."
            )
        said = cells.get("split", "").lower()
        if said and said not in SPLIT_NAMES:
            raise BadValue(f"The manifest {path.name}, line {number}: split '{said}' is not train, validation or test.")
        name = Path(name).as_posix()
        row = Row(
            name, cells.get("caption") or None, SPLIT_NAMES.get(said), cells.get("source", ""), cells.get("licence", "")
        )
        rows.setdefault(name, row)
    return list(rows.values())


def folder_caption(name: str) -> str | None:
    """The class that the file's folder names, in words: 'ApplyEyeMakeup/v_01.avi' → 'apply eye makeup'."""
    folder = Path(name).parent.name
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", folder)
    return re.sub(r"[\s_\-]+", " ", words).strip().lower() or None


def assign_splits(names: Iterable[str], given: Mapping[str, Split | None]) -> dict[str, Split]:
    """The split of each file: the given one, else by a hash of its name, so that new files move no old ones.

    A split left empty then takes files from train, a tenth of them and at least one, lowest hash first; with three
    files or more no split is empty.
    """
    order = sorted(names, key=_share)
    splits: dict[str, Split] = {name: given.get(name) or _by_hash(name) for name in order}
    held_out: tuple[Split, Split] = ("test", "validation")
    for empty in held_out:
        train = [name for name in order if splits[name] == "train"]
        if empty not in splits.values() and len(order) >= 3:
            # With nothing left to take in train, the larger of the other two gives.
            source = train if len(train) > 1 else _largest(splits, order)
            for name in source[: max(1, round(HELD_OUT * len(source)))]:
                splits[name] = empty
    if "train" not in splits.values() and len(order) >= 3:
        for name in _largest(splits, order)[1:]:
            splits[name] = "train"
    return splits


def _largest(splits: Mapping[str, Split], order: list[str]) -> list[str]:
    groups = [[name for name in order if splits[name] == split] for split in ("train", "validation", "test")]
    return max(groups, key=len)


def _share(name: str) -> float:
    """A number in [0, 1) that only the name decides."""
    return int.from_bytes(hashlib.sha256(name.encode(errors="surrogateescape")).digest()[:8], "big") / 2**64


def _by_hash(name: str) -> Split:
    share = _share(name)
    return "test" if share < HELD_OUT else "validation" if share < 2 * HELD_OUT else "train"


def _read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def _read_parquet(path: Path) -> list[dict[str, object]]:
    try:
        import pandas
    except ImportError as error:
        raise BadValue(
            f"The manifest {path.name} is Parquet, which needs pandas: pip install pandas pyarrow, or save it as CSV."
        ) from error
    try:
        table = pandas.read_parquet(path)
    except Exception as error:  # the engines share no base class
        raise OSError(f"{type(error).__name__}: {error}") from error
    return table.astype(object).where(table.notna(), None).to_dict("records")
