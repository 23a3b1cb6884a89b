"""What the page shows of judged claims: a card a claim, with its verdict and each difference as a mark beside zero."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.claim_gaps import Gap
from benchmarks.claims import JudgedClaim
from benchmarks.claims_text import VERDICTS, Said, cells, footer, own_cells, titles, verdict
from benchmarks.leaderboard_pooled_page import place


@dataclass(frozen=True)
class Line:
    """One alternative."""

    label: str
    besides: str
    opens: str
    """Id of the dialog that tells where the row comes from; empty where the page does not show the row."""
    cells: list[tuple[Said, dict[str, float] | None]]
    """Of every measure its words, and where zero, the difference and its interval lie in per cent."""


@dataclass(frozen=True)
class Card:
    """One claim, ready to be drawn."""

    judged: JudgedClaim
    badge: str
    style: str
    """``held``, ``refuted`` or ``undecided``."""
    verdict: str
    titles: list[tuple[str, str]]
    own: list[tuple[str, str]]
    opens: str
    lines: list[Line]
    footer: str


STYLES = {"held": "held", "did not hold": "refuted", "cannot be told apart": "undecided"}


def cards(claims: Sequence[JudgedClaim], dialogs: Mapping[Path, str]) -> list[Card]:
    """One card a claim. ``dialogs`` maps the resolved path of a record to the dialog of its row."""
    return [_card(judged, dialogs) for judged in claims]


def _card(judged: JudgedClaim, dialogs: Mapping[Path, str]) -> Card:
    spans = [_span(judged, number) for number in range(len(judged.claim.judged))]
    lines = [
        Line(
            other.label, other.besides, _opens(other.paths, dialogs),
            [(said, _mark(gap, span)) for said, gap, span in zip(row, other.gaps, spans, strict=True)],
        )
        for other, row in zip(judged.alternatives, cells(judged), strict=True)
    ]  # fmt: skip
    return Card(
        judged, VERDICTS[judged.outcome], STYLES[judged.outcome], verdict(judged), titles(judged), own_cells(judged),
        _opens(judged.paths, dialogs), lines, footer(judged),
    )  # fmt: skip


def _opens(paths: Iterable[Path], dialogs: Mapping[Path, str]) -> str:
    return next((dialogs[path.resolve()] for path in paths if path.resolve() in dialogs), "")


def _span(judged: JudgedClaim, number: int) -> list[float]:
    """Everything that a measure's scale must hold, zero among it."""
    gaps = [other.gaps[number] for other in judged.alternatives]
    return [0.0, *(end for gap in gaps for end in _ends(gap))]


def _ends(gap: Gap) -> list[float]:
    return [] if gap.value is None else [gap.value, *(gap.interval or ())]


def _mark(gap: Gap, span: Sequence[float]) -> dict[str, float] | None:
    found, zero = place(_ends(gap), span), place([0.0], span)
    return None if found is None or zero is None else {**found, "zero": zero["value"]}
