"""Pictures and videos of a record, as data URIs or links: only from below the record's own folder, up to a page budget.

Artifact names follow ``<role>/<episode>``: role ``truth`` is what the world showed, any other (``video``, ``strip``) is
the row's own. Cards of one episode stand side by side, the truth first and once, although every row brings it.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from benchmarks.leaderboard import Board, Entry, Row, clean

KINDS = {
    ".mp4": "video/mp4", ".webm": "video/webm", ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg",
    ".gif": "image/gif", ".webp": "image/webp",
}  # fmt: skip
PAGE_BUDGET = 24 * 2**20
"""Bytes of media a page may carry before encoding; the rest is named instead of shown."""
TEXT_LIMIT = 2**18
"""Bytes of a text artifact."""


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
    folder: Path | None = None
    """Where the page will lie, if that is known: then videos below it can be linked to instead of carried along."""
    linked: bool = False
    """Whether the page links to any video."""

    def read(self, entry: Entry, label: str, name: str) -> tuple[str, bytes] | None:
        """MIME type and content of an artifact, or None with a line in ``omitted``."""
        path = self.find(entry, label, name, KINDS)
        return None if path is None else self._content(path, entry, label, name)

    def address(self, entry: Entry, label: str, name: str) -> str | None:
        """Where a browser finds a video: relative to the page where it lies below its folder, else a data URI."""
        path = self.find(entry, label, name, KINDS)
        if path is None:
            return None
        if self.folder is not None and path.is_relative_to(self.folder.resolve()):
            self.linked = True
            return "./" + quote(path.relative_to(self.folder.resolve()).as_posix())
        content = self._content(path, entry, label, name)
        return None if content is None else data_uri(*content)

    def text(self, entry: Entry, label: str, name: str) -> str | None:
        """A small text artifact, such as the types of the frames, or None with a line in ``omitted``."""
        path = self.find(entry, label, name, (".jsonl",))
        if path is None:
            return None
        if path.stat().st_size > TEXT_LIMIT:
            self.leave_out(entry, label, name, "too long for what it should hold")
            return None
        return path.read_text("utf-8", errors="replace")

    def find(self, entry: Entry, label: str, name: str, suffixes: Collection[str]) -> Path | None:
        """The file of an artifact: there, of a kind that is expected, and below the record's own folder."""
        folder = entry.path.parent.resolve()
        try:
            path = (folder / entry.record.artifacts[name]).resolve()
            if path.suffix.lower() not in suffixes or not path.is_relative_to(folder):
                self.leave_out(entry, label, name, "not a video or picture below the record's folder")
                return None
            with path.open("rb"):
                return path
        except (OSError, ValueError) as error:
            self.leave_out(entry, label, name, getattr(error, "strerror", None) or str(error))
            return None

    def _content(self, path: Path, entry: Entry, label: str, name: str) -> tuple[str, bytes] | None:
        if path.stat().st_size > self.budget:
            self.leave_out(entry, label, name, "left out to keep this page small")
            return None
        content = path.read_bytes()
        self.budget -= len(content)
        return KINDS[path.suffix.lower()], content

    def leave_out(self, entry: Entry, label: str, name: str, why: str) -> None:
        """Say what the page does not show, and why."""
        self.omitted.append(f"{clean(f'{label}: {name} ({entry.record.artifacts[name]})')}: {why}")


def data_uri(kind: str, content: bytes) -> str:
    """The content itself as an address."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def galleries(board: Board, ids: dict[int, str], media: Media) -> list[Gallery]:
    """One gallery per episode, in order of name; the truth first, then the rows as the board has them."""
    found: dict[str, Gallery] = {}
    seen: set[tuple[str, str]] = set()
    for row, name, role, episode in _artifacts(board.rows):
        read = media.read(row.entry, row.label, name)
        if read is None:
            continue
        kind, content = read
        unique = (episode, hashlib.sha256(content).hexdigest())
        if unique in seen:
            media.budget += len(content)
            continue
        seen.add(unique)
        truth = role == "truth"
        label, owner = ("truth", "") if truth else (row.label, ids[id(row)])
        card = Card(label, owner, kind.startswith("video"), data_uri(kind, content))
        gallery = found.setdefault(episode, Gallery(clean(episode) or "samples"))
        (gallery.videos if card.video else gallery.pictures).append(card)
    return [found[episode] for episode in sorted(found)]


def _artifacts(rows: Sequence[Row]) -> list[tuple[Row, str, str, str]]:
    """(row, name, role, episode), episode by episode and the truth before all, so that the budget shows whole ones."""
    listed = []
    for place, row in enumerate(rows):
        for name in row.record.artifacts:
            role, _, episode = name.partition("/")
            if role != "frames":  # types of the frames, for the video wall
                listed.append((episode, role != "truth", place, name, role, row))
    return [(row, name, role, episode) for episode, _, _, name, role, row in sorted(listed, key=lambda item: item[:4])]
