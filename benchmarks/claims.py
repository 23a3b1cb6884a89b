"""What the articles claim, and what the records say to it: a ``claims.yaml`` beside records, judged claim by claim.

    base: {attention: space_time_causal, attention.history: all, backbone.patch: null}
    claims:
      - title: Attention
        says: Local attention in space plus causal attention in time serves better than attending all to all.
        ablation: ablations/attention
        article: {attention: space_time_causal}
        against: [{attention: full}, {attention.history: 4}]
        judged:
          - {protocol: short16@1/shapes/text_to_video, metric: text_alignment}
          - {protocol: short16@1/shapes/image_to_video, metric: pd_lite0}

The file says which rows are meant and by what they are judged; every figure and every verdict is computed. Reads only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from benchmarks.claim_gaps import Gap, figure_of, gap_of, untrained
from benchmarks.claim_rows import Rows, Selector, StrategyRow, besides, label_of, laid_over
from benchmarks.leaderboard import collect
from benchmarks.pooled_figures import PooledFigure
from zoo import yaml_file
from zoo.errors import BadValue, UserError
from zoo.validation import validated

FILE = "claims.yaml"
Outcome = Literal["held", "did not hold", "cannot be told apart"]


class Measure(BaseModel):
    """A metric on a protocol, as ``{protocol: short16@1/shapes/text_to_video, metric: text_alignment}``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    protocol: str
    metric: str


class Claim(BaseModel):
    """One claim as it is written down."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str = Field(min_length=1)
    says: str = Field(min_length=1, description="the claim in a sentence or two")
    ablation: str = Field("", description="the recipe that makes these rows")
    base: dict[str, Any] = Field({}, description="what the rows of this claim share, over the file's base")
    article: dict[str, Any] = Field(min_length=1, description="selector of the article's choice")
    against: tuple[dict[str, Any], ...] = Field(min_length=1, description="selectors of its alternatives")
    judged: tuple[Measure, ...] = Field(min_length=1, description="the first one decides")
    note: str = ""


class ClaimFile(BaseModel):
    """A whole ``claims.yaml``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base: dict[str, Any] = Field({}, description="what the rows of all claims share unless a selector says otherwise")
    claims: tuple[Claim, ...] = Field(min_length=1)


@dataclass(frozen=True)
class Alternative:
    """One choice that the article's is held against."""

    label: str
    besides: str
    """What else differs from the article's row: ``train.generator.steps 1508 for 1970``; empty where nothing does."""
    gaps: tuple[Gap, ...]
    """One a measure, in the claim's order."""
    paths: tuple[Path, ...]
    """The records behind it on the deciding protocol."""


@dataclass(frozen=True)
class JudgedClaim:
    """A claim and what its records say."""

    claim: Claim
    label: str
    """Of the article's choice."""
    figures: tuple[PooledFigure, ...]
    """Of the article's choice, one a measure, over all its seeds."""
    alternatives: tuple[Alternative, ...]
    paths: tuple[Path, ...]
    budget: str
    """What the rows cost: ``1.06 M parameters, 15 TFLOP of training, 2 seeds``."""

    @property
    def outcome(self) -> Outcome:
        """By the first measure alone: one alternative that is clearly better refutes, all clearly worse confirm."""
        found = {alternative.gaps[0].outcome for alternative in self.alternatives}
        if "worse" in found:
            return "did not hold"
        return "held" if found == {"better"} else "cannot be told apart"


def judged_claims(folders: Iterable[Path | str], suite: str | None = None) -> list[JudgedClaim]:
    """The claims of every ``claims.yaml`` below the folders, each judged by the records below its own folder.

    Without such a file there are none. With ``suite`` only those that a protocol of it decides.

    Raises UserError, naming file and claim, for a file that cannot be read and a selector that finds not one row.
    """
    paths = dict.fromkeys(path.resolve() for folder in folders for path in sorted(Path(folder).rglob(FILE)))
    return [claim for path in paths for claim in _judged_file(path, suite)]


def read(path: Path) -> ClaimFile:
    """One claims file. Raises UserError: it cannot be read, has an unknown key or lacks one."""
    try:
        return validated(ClaimFile, yaml_file.read(path), "")
    except UserError as error:
        message = str(error)
        raise type(error)(message if message.startswith(str(path)) else f"{path}: {message}") from None


def _judged_file(path: Path, suite: str | None) -> list[JudgedClaim]:
    written = read(path)
    wanted = [claim for claim in written.claims if suite in (None, claim.judged[0].protocol.split("@")[0])]
    if not wanted:
        return []
    rows = Rows(collect([path.parent]).entries)
    base = rows.normal(written.base, f"{path}: the base")
    return [_judged(claim, base, rows, f"{path}: the claim '{claim.title}'") for claim in wanted]


def _judged(claim: Claim, base: Selector, rows: Rows, whose: str) -> JudgedClaim:
    shared = laid_over(base, rows.normal(claim.base, f"{whose}, base"))
    article = rows.normal(claim.article, f"{whose}, article")

    def of_each_measure(own: Selector) -> list[StrategyRow]:
        asked = f"{whose}: the selector {label_of(own)}"
        return [rows.one(measure.protocol, laid_over(shared, own), asked) for measure in claim.judged]

    ours = of_each_measure(article)
    others = [rows.normal(selector, f"{whose}, against") for selector in claim.against]
    theirs = [of_each_measure(own) for own in others]
    for own, found in zip(others, theirs, strict=True):
        if found[0] is ours[0]:
            raise BadValue(f"{whose}: the selector {label_of(own)} finds the article's own row; name another choice.")
    figures = [
        figure_of(row.records, m.metric, f"{whose}, {m.protocol}") for row, m in zip(ours, claim.judged, strict=True)
    ]
    alternatives = [
        Alternative(
            label_of(own), besides(ours[0], found[0], [*article, *own]), _gaps(claim, ours, found, whose),
            tuple(found[0].paths),
        )
        for own, found in zip(others, theirs, strict=True)
    ]  # fmt: skip
    return JudgedClaim(
        claim, label_of(article), tuple(figures), tuple(alternatives), tuple(ours[0].paths),
        budget([ours[0], *(found[0] for found in theirs)]),
    )  # fmt: skip


def _gaps(claim: Claim, ours: Sequence[StrategyRow], theirs: Sequence[StrategyRow], whose: str) -> tuple[Gap, ...]:
    return tuple(
        gap_of(a.records, b.records, measure.metric, f"{whose}, {measure.protocol}")
        for a, b, measure in zip(ours, theirs, claim.judged, strict=True)
    )


def budget(rows: Sequence[StrategyRow]) -> str:
    """What the rows cost, from their records: parameters and training of what was judged, and seeds.

    Of the generator where there is one (its tokenizer is shared), else of the tokenizer; "to" where rows differ.
    """
    costs = [record.cost for row in rows for record in row.records]
    stage = "generator" if any("generator" in cost.parameters for cost in costs) else "tokenizer"
    parameters = [cost.parameters[stage] / 1e6 for cost in costs if stage in cost.parameters]
    trained = [cost.flops[stage] / 1e12 for cost in costs if stage in cost.flops]
    seeds = [float(len(row.entries)) for row in rows]
    said = [
        _span(parameters, "{:.2f}", " M parameters"),
        _span(trained, "{:.3g}", " TFLOP of training"),
        "untrained" if untrained(rows[0].records[0]) else _span(seeds, "{:.0f}", " seed" + "s" * (max(seeds) > 1)),
    ]
    return ", ".join(filter(None, said))


def _span(values: Sequence[float], form: str, unit: str) -> str:
    if not values:
        return ""
    low, high = form.format(min(values)), form.format(max(values))
    return (low if low == high else f"{low} to {high}") + unit
