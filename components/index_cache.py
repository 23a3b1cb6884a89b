"""What an index learned of a folder's files, kept as JSON beside them so that they are not read again."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

log = logging.getLogger(__name__)
Entry = TypeVar("Entry")


def load(store: Path, entry: type[Entry]) -> dict[str, Entry]:
    """Entries of the cache, each an `entry` dataclass; an absent, unreadable or damaged one is an empty one."""
    try:
        said = json.loads(store.read_text(encoding="utf-8"))
        return {key: entry(**fields) for key, fields in said.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        log.warning("index cache %s is not usable (%s): files are read again", store, error)
        return {}


def save(store: Path, entries: Mapping[str, Any]) -> None:
    """Write the cache whole or not at all; without a place to write, the next run reads the files again."""
    partial = store.with_name(f"{store.name}.{os.getpid()}.partial")
    try:
        store.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps({key: asdict(entry) for key, entry in entries.items()}), encoding="utf-8")
        os.replace(partial, store)
    except OSError as error:
        log.info("index cache %s cannot be written (%s)", store, error.strerror)
