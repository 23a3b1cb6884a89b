"""Judged claims in words: the verdict as a sentence, and tables for the terminal and for Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.claim_gaps import WITHIN_REACH, Gap, Reach
from benchmarks.claims import JudgedClaim
from benchmarks.leaderboard import clean, decimals
from benchmarks.leaderboard_text import escape_markdown
from benchmarks.pooled_figures import PooledFigure

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

LEGEND = (
    "Difference: the article's choice less the alternative, on the same training seeds and videos, with its 95 % "
    "interval over both, not corrected for the number of comparisons; few seeds make it too short, hence the counts by "
    "seed. The first metric decides. Of a tie it is said how many seeds would decide it, were the measured difference "
    "the real one, and how long training them takes."
)
ROUNDING = 1e-4
"""Means that are all below it are written with powers of ten."""
MARKS = {"better": "✓ better", "worse": "✗ worse", "tie": "≈ tied"}
"""What the article's choice is, as tables have it."""
VERDICTS = {"held": "✓ held", "did not hold": "✗ did not hold", "cannot be told apart": "≈ cannot be told apart"}


@dataclass(frozen=True)
class Said:
    """One comparison as tables have it."""

    mean: str
    """The alternative's."""
    difference: str
    interval: str
    outcome: str
    mark: str
    notes: tuple[str, ...]
    """In how many seeds it is better, how sure the interval is, what would decide a tie."""

    @property
    def whole(self) -> str:
        """``0.557; +0.021 [-0.003, +0.045] ≈ tied; better in 2 of 2 seeds``."""
        gap = " ".join(filter(None, [self.difference, self.interval, self.mark]))
        return "; ".join([self.mean, gap, *self.notes])


def verdict(judged: JudgedClaim) -> str:
    """The outcome at this size, and against which choices: one sentence made from the numbers."""
    metric, own = judged.claim.judged[0].metric, judged.label
    named = {kind: [a for a in judged.alternatives if a.gaps[0].outcome == kind] for kind in MARKS}
    better, worse, tied = ([a.label for a in named[kind]] for kind in ("better", "worse", "tie"))
    said = []
    if worse:
        said.append(f"{listed(worse)} {'is' if len(worse) == 1 else 'are'} better than {own}")
    if better:
        said.append(f"{own if not worse else 'it'} is better than {listed(better)}")
    if tied:
        far = [_tie(a.label, a.gaps[0]) for a in named["tie"]]
        said.append(f"{'it' if said else own} cannot be told apart from {listed(far)}")
    outcome = judged.outcome[0].upper() + judged.outcome[1:]
    return clean(f"{outcome} at this size ({judged.budget}): by {metric}, {'; '.join(said)}.")


def _tie(label: str, gap: Gap) -> str:
    reach = reached(gap.reach)
    return f"{label} ({reach})" if reach else label


def reached(reach: Reach | None) -> str:
    """``about 9 seeds (4.1 h) would tell``."""
    if reach is None:
        return ""
    if reach.seeds is None:
        return f"no difference within reach of {WITHIN_REACH} seeds"
    if reach.hours is None:
        return f"about {reach.seeds} seeds would tell"
    return f"about {reach.seeds} seeds, {float(f'{reach.hours:.2g}'):g} h of training, would tell"


def listed(names: Sequence[str]) -> str:
    """``a, b and c``."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]


def titles(judged: JudgedClaim) -> list[tuple[str, str]]:
    """Of every measure: the metric with which way is better, and its protocol."""
    found = []
    for measure, figure in zip(judged.claim.judged, judged.figures, strict=True):
        unit = f" [{figure.unit}]" if figure.unit else ""
        found.append((clean(f"{measure.metric}{unit} {'↑' if figure.higher_is_better else '↓'}"), measure.protocol))
    return found


def own_cells(judged: JudgedClaim) -> list[tuple[str, str]]:
    """Mean and interval of the article's choice, one a measure."""
    return [_figure(figure, form) for figure, form in zip(judged.figures, _forms(judged), strict=True)]


def cells(judged: JudgedClaim) -> list[list[Said]]:
    """One list an alternative, one cell a measure."""
    forms = _forms(judged)
    return [[_said(gap, form) for gap, form in zip(other.gaps, forms, strict=True)] for other in judged.alternatives]


def _forms(judged: JudgedClaim) -> list[str]:
    """Of a measure's column: a digit more than three figures of its largest mean; powers of ten of rounding errors."""
    found = []
    for place, own in enumerate(judged.figures):
        means = [own.value, *(other.gaps[place].theirs.value for other in judged.alternatives)]
        values = [abs(value) for value in means if value]
        small = bool(values) and max(values) < ROUNDING
        found.append(".2e" if small else f".{min(6, 1 + decimals(values))}f")
    return found


def _figure(figure: PooledFigure, form: str) -> tuple[str, str]:
    if figure.value is None:
        return "–", ""
    ends = figure.interval
    return f"{figure.value:{form}}", "" if ends is None else f"[{ends[0]:{form}}, {ends[1]:{form}}]"


def _said(gap: Gap, form: str) -> Said:
    mean, _ = _figure(gap.theirs, form)
    if gap.value is None:
        return Said(mean, "not measured", "", gap.outcome, MARKS[gap.outcome], ())
    interval = "" if gap.interval is None else f"[{gap.interval[0]:+{form}}, {gap.interval[1]:+{form}}]"
    notes = [f"better in {gap.better_seeds} of {gap.seeds} seeds"] if gap.seeds > 1 else []
    notes += [] if gap.paired else ["by overlap of intervals"]
    if gap.interval is None:
        notes.append("counted" if gap.outcome != "tie" else "no interval" if gap.value else "the same")
    notes += [reached(gap.reach)] if gap.reach else []
    return Said(mean, f"{gap.value:+{form}}", interval, gap.outcome, MARKS[gap.outcome], tuple(notes))


def footer(judged: JudgedClaim) -> str:
    """The note and the recipe that makes the rows."""
    made = f"Made by recipe={judged.claim.ablation}." if judged.claim.ablation else ""
    return clean(" ".join(filter(None, [judged.claim.note.strip(), made])))


def markdown(claims: Sequence[JudgedClaim]) -> list[str]:
    """Lines: a section, with a heading, the verdict and a table a claim; none without claims."""
    if not claims:
        return []
    lines = ["## Claims", "", LEGEND, ""]
    for judged in claims:
        title = f"{judged.claim.title}: {judged.outcome}"
        lines += [f"### {escape_markdown(title)}", "", f"> {escape_markdown(' '.join(judged.claim.says.split()))}", ""]
        lines += [escape_markdown(verdict(judged)), "", *_grid(judged), ""]
        lines += [escape_markdown(footer(judged)), ""] if footer(judged) else []
    return lines


def _grid(judged: JudgedClaim) -> list[str]:
    heads = ["choice", *(f"{title}, {protocol}" for title, protocol in titles(judged))]
    lines = ["| " + " | ".join(map(escape_markdown, heads)) + " |", "|:--|" + "--:|" * (len(heads) - 1)]
    own = [f"**{escape_markdown(judged.label)}** (the article's)", *(_bold(*cell) for cell in own_cells(judged))]
    lines.append("| " + " | ".join(own) + " |")
    for other, row in zip(judged.alternatives, cells(judged), strict=True):
        label = other.label + (f" ({other.besides})" if other.besides else "")
        lines.append("| " + " | ".join(map(escape_markdown, [label, *(cell.whole for cell in row)])) + " |")
    return lines


def _bold(mean: str, interval: str) -> str:
    return f"**{mean}** {escape_markdown(interval)}".strip()


def tables(claims: Sequence[JudgedClaim]) -> list[RenderableType]:
    """For the terminal: a table a claim, its sentences above and below it."""
    from rich.text import Text

    shown: list[RenderableType] = []
    for judged in claims:
        title = Text(f"{clean(judged.claim.title)}: {VERDICTS[judged.outcome]}", style="bold")
        shown += [title, Text(clean(" ".join(judged.claim.says.split())), style="italic"), Text(verdict(judged))]
        shown += [_table(judged), Text(footer(judged) + "\n", style="dim")]
    return [*shown, Text(LEGEND + "\n", style="dim")] if shown else []


def _table(judged: JudgedClaim) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    table = Table(show_lines=True)
    table.add_column("choice", overflow="fold")
    for title, protocol in titles(judged):
        table.add_column(Text(f"{title}\n{clean(protocol)}"), justify="right", overflow="fold")
    own = [Text("\n".join(filter(None, cell))) for cell in own_cells(judged)]
    table.add_row(Text(f"{judged.label}\n(the article's)", style="bold"), *own)
    for other, row in zip(judged.alternatives, cells(judged), strict=True):
        label = Text(other.label).append(f"\n{other.besides}" if other.besides else "", style="dim")
        table.add_row(label, *map(_terminal, row))
    return table


def _terminal(cell: Said) -> Text:
    from rich.text import Text

    lines = [cell.mean, f"{cell.difference} {cell.interval}".strip(), cell.mark, *cell.notes]
    return Text("\n".join(lines), style={"better": "green", "worse": "red"}.get(cell.outcome, ""))
