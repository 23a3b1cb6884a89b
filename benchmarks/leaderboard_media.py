"""Pictures and videos of a record, as data URIs: read only from below the record's own folder, up to a page budget.

Artifact names follow ``<role>/<episode>``: role ``truth`` is what the world showed, any other (``video``, ``strip``) is
the row's own. Cards of one episode stand side by side, the truth first and once, although every row brings it.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.leaderboard import Board, Row, clean

KINDS = {
    ".mp4": "video/mp4", ".webm": "video/webm", ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg",
    ".gif": "image/gif", ".webp": "image/webp",
}  # fmt: skip
PAGE_BUDGET = 24 * 2**20
"""Bytes of media a page may carry before encoding; the rest is named instead of shown."""


@dataclass(frozen=True)
class Card:
    """One video or picture of one row."""

    label: str
    row: str
    """HTML id of the row; empty for the truth, which belongs to all."""
    video: bool
    uri: str


@dataclass(frozen=True)
class Gallery:
    """Everything that shows one episode."""

    title: str
    videos: list[Card] = field(default_factory=list)
    pictures: list[Card] = field(default_factory=list)


@dataclass
class Media:
    """Reads artifacts until the budget is spent, and remembers what it left out and why."""

    budget: int = PAGE_BUDGET
    omitted: list[str] = field(default_factory=list)

    def read(self, row: Row, name: str) -> tuple[str, bytes] | None:
        """MIME type and content of an artifact, or None with a line in ``omitted``."""
        folder = row.entry.path.parent.resolve()
        relative = row.record.artifacts[name]
        label = clean(f"{row.label}: {name} ({relative})")
        try:
            path = (folder / relative).resolve()
            kind = KINDS.get(path.suffix.lower())
            if kind is None or not path.is_relative_to(folder):
                self.omitted.append(f"{label}: not a video or picture below the record's folder")
                return None
            if path.stat().st_size > self.budget:
                self.omitted.append(f"{label}: left out to keep this page small")
                return None
            content = path.read_bytes()
        except (OSError, ValueError) as error:
            self.omitted.append(f"{label}: {getattr(error, 'strerror', None) or error}")
            return None
        self.budget -= len(content)
        return kind, content


def galleries(board: Board, ids: dict[int, str], media: Media) -> list[Gallery]:
    """One gallery per episode, in order of name; the truth first, then the rows as the board has them."""
    found: dict[str, Gallery] = {}
    seen: set[tuple[str, str]] = set()
    for row, name, role, episode in _artifacts(board.rows):
        read = media.read(row, name)
        if read is None:
            continue
        kind, content = read
        unique = (episode, hashlib.sha256(content).hexdigest())
        if unique in seen:
            media.budget += len(content)
            continue
        seen.add(unique)
        truth = role == "truth"
        uri = f"data:{kind};base64,{base64.b64encode(content).decode()}"
        card = Card("truth" if truth else row.label, "" if truth else ids[id(row)], kind.startswith("video"), uri)
        gallery = found.setdefault(episode, Gallery(clean(episode) or "samples"))
        (gallery.videos if card.video else gallery.pictures).append(card)
    return [found[episode] for episode in sorted(found)]


def _artifacts(rows: Sequence[Row]) -> list[tuple[Row, str, str, str]]:
    """(row, name, role, episode), episode by episode and the truth before all, so that the budget shows whole ones."""
    listed = []
    for place, row in enumerate(rows):
        for name in row.record.artifacts:
            role, _, episode = name.partition("/")
            listed.append((episode, role != "truth", place, name, role, row))
    return [(row, name, role, episode) for episode, _, _, name, role, row in sorted(listed, key=lambda item: item[:4])]
