"""The video wall: the truth beside every strategy, one episode at a time, all at the same frame.

What each frame is (given, unseen, a revisit of the context or of generated frames) comes from a row's artifact
``frames/<episode>``, one line of JSON; records without it have a wall without marks.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.frame_types import NAMES
from benchmarks.leaderboard import Entry, clean
from benchmarks.leaderboard_media import Media
from benchmarks.pooled import PooledBoard, PooledRow

KINDS = {
    "context": "given", "unseen": "unseen", "revisit_context": "revisit of the context",
    "revisit_generated": "revisit of generated frames",
}  # fmt: skip
"""Type of a frame → what the page calls it."""
assert set(KINDS) == {"context", *NAMES.values()}
MOST_FRAMES = 100_000


@dataclass(frozen=True)
class Frames:
    """What is known of the frames of an episode."""

    fps: float
    tour: str
    source: str
    runs: list[tuple[str, int]]
    """Type and number of frames, in order of time."""

    @property
    def count(self) -> int:
        """Frames of the video."""
        return sum(count for _, count in self.runs)

    @property
    def marks(self) -> list[tuple[str, int, int]]:
        """Type, first frame and number of frames of each run."""
        found, start = [], 0
        for kind, count in self.runs:
            found.append((kind, start, count))
            start += count
        return found


@dataclass(frozen=True)
class Tile:
    """One video of the wall."""

    label: str
    row: str
    """HTML id of the row; empty for the truth."""
    style: str
    kind: str
    """``truth``, ``model`` or ``control``."""
    address: str


@dataclass(frozen=True)
class Episode:
    """Everything that shows one episode, the truth first."""

    title: str
    frames: Frames | None
    tiles: list[Tile] = field(default_factory=list)

    @property
    def data(self) -> dict[str, Any]:
        """What the page's script is told."""
        if self.frames is None:
            return {"fps": 0, "count": 0, "runs": []}
        return {"fps": self.frames.fps, "count": self.frames.count, "runs": self.frames.runs}


def episodes(
    board: PooledBoard, ids: dict[int, str], styles: dict[int, str], labels: dict[int, str], media: Media
) -> list[Episode]:
    """One wall per episode that any row shows, in the order in which the first row names them.

    The dictionaries hold each row's HTML id, class of its colour and label, by ``id(row)``. A row's video is that of
    its first seed; the truth is shown once, from the first row that has it.
    """
    found = []
    for name in _names(board.rows):
        looks = [(row, labels[id(row)], ids[id(row)], styles[id(row)]) for row in board.rows]
        tiles = [tile for look in looks if (tile := _tile(*look, name, media))]
        if not tiles:
            continue
        frames = _frames(board.rows, name, media)
        truth = _truth(board.rows, name, media)
        found.append(Episode(_title(name, frames), frames, [truth, *tiles] if truth else tiles))
    return found


def _names(rows: Sequence[PooledRow]) -> list[str]:
    names: dict[str, None] = {}
    for row in rows:
        artifacts = row.entries[0].record.artifacts
        names.update((name.removeprefix("video/"), None) for name in artifacts if name.startswith("video/"))
    return list(names)


def _first(rows: Sequence[PooledRow], name: str) -> tuple[Entry, str] | None:
    """The first seed of the first row that has the artifact, and that row's label."""
    having = ((row.entries[0], row.label) for row in rows if name in row.entries[0].record.artifacts)
    return next(having, None)


def _tile(row: PooledRow, label: str, identifier: str, style: str, episode: str, media: Media) -> Tile | None:
    name = f"video/{episode}"
    if name not in row.entries[0].record.artifacts:
        return None
    address = media.address(row.entries[0], row.label, name)
    kind = "model" if row.is_model else "control"
    return None if address is None else Tile(label, identifier, style, kind, address)


def _truth(rows: Sequence[PooledRow], episode: str, media: Media) -> Tile | None:
    source = _first(rows, f"truth/{episode}")
    address = media.address(*source, f"truth/{episode}") if source else None
    return None if address is None else Tile("truth", "", "", "truth", address)


def _frames(rows: Sequence[PooledRow], episode: str, media: Media) -> Frames | None:
    name = f"frames/{episode}"
    source = _first(rows, name)
    text = media.text(*source, name) if source else None
    if source is None or text is None:
        return None
    try:
        return parse(text)
    except (ValueError, RecursionError) as error:
        media.leave_out(*source, name, f"no types of frames: {error}")
        return None


def parse(text: str) -> Frames:
    """Frames from one line of JSON; raises ValueError, in words, for anything else."""
    facts = json.loads(text)
    if not isinstance(facts, dict):
        raise ValueError("not a JSON object")
    fps, runs = facts.get("fps"), facts.get("types")
    if not isinstance(fps, (int, float)) or isinstance(fps, bool) or not 0 < fps <= 1000:
        raise ValueError("fps must be a number of frames per second")
    if not isinstance(runs, list) or not all(_is_run(run) for run in runs):
        raise ValueError(f"types must be pairs of {', '.join(KINDS)} and a number of frames")
    frames = Frames(
        float(fps), clean(str(facts.get("tour", ""))), clean(str(facts.get("source", ""))), [(k, n) for k, n in runs]
    )
    if not 0 < frames.count <= MOST_FRAMES:
        raise ValueError(f"between 1 and {MOST_FRAMES} frames are expected")
    return frames


def _is_run(run: Any) -> bool:
    if not isinstance(run, list) or len(run) != 2:
        return False
    kind, count = run
    return isinstance(kind, str) and kind in KINDS and type(count) is int and 0 < count <= MOST_FRAMES


def _title(episode: str, frames: Frames | None) -> str:
    """``wobbled loop · maze/500504/test/1``, or the episode alone."""
    name = clean(episode) or "sample"
    return f"{frames.tour.replace('_', ' ')} · {name}" if frames and frames.tour else name
