"""What a row says of the captions that its generator learned from."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from benchmarks.record import Metric, Part
from zoo.caption_accuracy import ALL

if TYPE_CHECKING:
    from zoo.pipeline import Pipeline

DEVIATE = 1.959964
"""Of the normal distribution, for 95 %."""


def caption_metrics(pipeline: Pipeline) -> dict[str, Metric]:
    """Caption accuracy on held-out clips, in per cent, attributes as parts, and nats a word; {} without a captioner."""
    facts = {name: value for folder in pipeline.captioning.folders for name, value in folder.facts().items()}
    measured: dict[str, Any] = facts.get("accuracy") or {}
    if not measured:
        return {}
    clips = int(measured["clips"])
    key = f"captions of {pipeline.dataset.fingerprint()[:16]} test, {clips} clips"
    shares = {name: v for name, v in measured.items() if name not in ("clips", "confidence", "nats_per_word", ALL)}
    found = {
        "caption_accuracy": Metric(
            **_share(measured[ALL], clips).model_dump(),
            higher_is_better=True,
            key=f"caption_accuracy {key}",
            unit="%",
            parts={name: _share(share, clips) for name, share in shares.items()},
        )
    }
    if "nats_per_word" in measured:
        nats, name = float(measured["nats_per_word"]), "caption_nats"
        found[name] = Metric(value=nats, n=clips, higher_is_better=False, key=f"{name} {key}", unit="nats a word")
    return found


def _share(share: float, clips: int) -> Part:
    """A share of clips in per cent, with Wilson's interval."""
    spread = DEVIATE**2 / clips
    middle = (share + spread / 2) / (1 + spread)
    half = DEVIATE * math.sqrt(share * (1 - share) / clips + spread / (4 * clips)) / (1 + spread)
    return Part(value=100 * share, n=clips, interval=(100 * max(0.0, middle - half), 100 * min(1.0, middle + half)))
