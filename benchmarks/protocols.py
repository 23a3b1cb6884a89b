"""Protocols of other papers by name, as far as their constants are known: TECO, FDM, DFoT. Torch-free, pydantic-free.

``suite=teco_dmlab`` is a suite with the frames, context and number of videos of that paper, judged on the test split of
the recipe's data set by the figures that need no download. Most of the papers publish FVD, which needs I3D: add
``{name: fvd, feature_options: {path: FILE, preset: …}}`` to suite.metrics; the table names the preset.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

FILE = Path(__file__).resolve().parent / "protocols.csv"
WINDOW = 16
"""Frames in a Fréchet window, where so many are scored."""


class PaperProtocol(NamedTuple):
    """The constants of one protocol; ``source`` says where each can be read."""

    name: str
    paper: str
    """Key in CITATIONS.bib."""
    dataset: str
    part: str
    """The alternative of the axis `dataset` that reads it."""
    frames: int
    """Of a video, context included."""
    stride: int
    """Every how manieth frame of the source."""
    resolution: int
    context: int
    window: int
    """Frames the model sees at once in the paper."""
    step: int
    """Frames it makes at once in the paper."""
    videos: int
    metrics: str
    """The published figures."""
    preset: str
    """How the paper's FVD resizes, as METRICS.md calls it; empty where that is not known."""
    note: str
    source: str


@cache
def protocols() -> Mapping[str, PaperProtocol]:
    """Every row of protocols.csv, by name."""
    with FILE.open(encoding="utf-8", newline="") as file:
        rows = [_row(fields) for fields in csv.DictReader(file)]
    return {row.name: row for row in rows}


def _row(fields: Mapping[str, str]) -> PaperProtocol:
    kinds = get_type_hints(PaperProtocol)
    return PaperProtocol(**{name: kinds[name](text) for name, text in fields.items()})


def suite_options(name: str) -> dict[str, Any]:
    """What a suite's YAML would say of the protocol."""
    row = protocols()[name]
    scored = min(WINDOW, row.frames - row.context)
    crowd = {"frames": scored, "hop": scored}
    stride = f", every {row.stride}. frame" if row.stride > 1 else ""
    return {
        "version": 1,
        "description": (
            f"{row.dataset} at {row.resolution} pixels, {row.frames} frames{stride}, {row.context} given; the paper's "
            f"own figures: {row.metrics or 'none'}. {row.note}"
        ),
        "dataset": None,
        "split": "test",
        "episodes": row.videos,
        "frames": row.frames,
        "context": row.context,
        "metrics": [
            "psnr",
            "ssim",
            "pd_lite0",
            {"name": "fd_lite0_motion", **crowd},
            {"name": "fd_lite0_appearance", **crowd},
        ],
        "controls": ["mean_context", "copy_last", "reconstruction"],
    }
