"""Per-video values inside a torchmetrics.Metric: kept video by video for the bootstrap, gathered over ranks.

Each video is one flat float64 vector in the list state ``videos`` (sizes, name, tour, values), because ranks hold
different numbers of videos of different lengths, and a rank may hold none.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torchmetrics.utilities import dim_zero_cat

from benchmarks.contracts import Scored

if TYPE_CHECKING:
    import torchmetrics


@dataclass(frozen=True)
class VideoValues:
    """What one metric keeps of one video."""

    episode: str
    shape: tuple[int, int, int]
    """Scored frames, height and width in pixels."""
    values: np.ndarray
    """float64 [rows, columns]: a row is a frame, or a window."""
    kinds: np.ndarray | None
    """int8 [rows]: frame types, where there are poses."""
    tour: str = ""
    """Kind of camera path; empty where unknown."""


def add_video_state(metric: torchmetrics.Metric) -> None:
    """Call in ``__init__``; float64 so that what a rank without videos contributes has the same type."""
    metric.set_dtype(torch.float64)
    metric.add_state("videos", default=[], dist_reduce_fx="cat")


def remember(metric: torchmetrics.Metric, video: Scored, values: np.ndarray, kinds: np.ndarray | None = None) -> None:
    """Append one video's values [rows, columns] (or [rows])."""
    values = np.asarray(values, dtype=np.float64)
    values = values[:, None] if values.ndim == 1 else values
    name, tour = (np.frombuffer(text.encode(), dtype=np.uint8) for text in (video.episode, video.tour))
    frames, height, width = video.real.shape[:3]
    header = [
        len(name),
        len(tour),
        *values.shape,
        kinds is not None,
        frames - video.context - video.closing,
        height,
        width,
    ]
    known = [] if kinds is None else [np.asarray(kinds, dtype=np.float64)]
    flat = np.concatenate([np.array(header, dtype=np.float64), name, tour, *known, values.ravel()])
    metric.videos.append(torch.from_numpy(flat).to(metric.device))  # type: ignore[union-attr, operator]


def recall(metric: torchmetrics.Metric) -> list[VideoValues]:
    """All videos of all ranks, in the order of their names and each once, so that neither ranks nor order matter."""
    kept: Any = metric.videos
    if isinstance(kept, list) and not kept:
        return []
    flat = dim_zero_cat(kept).cpu().numpy()
    found: dict[str, VideoValues] = {}
    at = 0
    while at < len(flat):
        *letters, rows, columns, typed, frames, height, width = (int(number) for number in flat[at : at + 8])
        at += 8
        episode, tour = (_text(flat[start:stop]) for start, stop in pairwise(np.cumsum([at, *letters])))
        at += sum(letters)
        kinds = flat[at : at + rows].astype(np.int8) if typed else None
        at += rows if typed else 0
        values = flat[at : at + rows * columns].reshape(rows, columns)
        at += rows * columns
        found.setdefault(episode, VideoValues(episode, (frames, height, width), values, kinds, tour))
    return [found[episode] for episode in sorted(found)]


def _text(letters: np.ndarray) -> str:
    return letters.astype(np.uint8).tobytes().decode()
