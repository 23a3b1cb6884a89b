"""How right a captioner's captions are: against the true ones, and attribute by attribute where they tell of shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from components.shape_words import ATTRIBUTES, attributes_of, said_attributes

if TYPE_CHECKING:
    from components.contracts import Clip

ALL = "all_right"
"""Every attribute of a caption right; of captions that tell of no shapes, the caption itself."""


def accuracy(captioner: Any, clips: Sequence[Clip]) -> dict[str, Any]:
    """Shares in [0, 1] over the captioned ones of `clips`; {} where there are none.

    ``all_right`` counts captions of which every attribute is right, and ``colour``, ``shape``, ``motion``,
    ``background`` each by itself; where the true captions are not of shapes, ``all_right`` asks for the same words.
    ``nats_per_word`` is what the true captions cost, of captioners that can say it.
    """
    told = [clip for clip in clips if clip.caption]
    if not told:
        return {}
    found = captioner.describe(told)
    truths = [clip.caption or "" for clip in told]
    right = _attributes_right([one.caption for one in found], truths)
    facts: dict[str, Any] = {
        "clips": len(told),
        **{name: sum(rights) / len(told) for name, rights in right.items()},
        "confidence": sum(one.confidence for one in found) / len(told),
    }
    surprise = _nats(captioner, told)
    return facts if surprise is None else {**facts, "nats_per_word": surprise}


def _attributes_right(said: Sequence[str], truths: Sequence[str]) -> dict[str, list[bool]]:
    known = [attributes_of(truth) for truth in truths]
    if any(one is None for one in known):
        return {ALL: [_words(a) == _words(b) for a, b in zip(said, truths, strict=True)]}
    pairs = [(said_attributes(caption), truth or {}) for caption, truth in zip(said, known, strict=True)]
    each = {name: [a.get(name) == b[name] for a, b in pairs] for name in ATTRIBUTES}
    return {ALL: [a == b for a, b in pairs], **each}


def _words(caption: str) -> list[str]:
    return caption.lower().split()


def _nats(captioner: Any, clips: Sequence[Clip]) -> float | None:
    """Mean over clips of the mean -log P of a true caption's words; None for a captioner without probabilities."""
    if not (captioner.trainable and hasattr(captioner, "surprise")):
        return None
    from components.captioned_frames import fitted

    values = [
        float(captioner.surprise(fitted(clip.frames, captioner.frames), [clip.caption or ""])[0]) for clip in clips
    ]
    return sum(values) / len(values)
