"""What the intervals of a board allow to be said, in sentences made from the numbers; and whether controls behave.

Said of headline metrics alone. A difference counts when its paired 95 % interval leaves zero out; no correction is made
for the number of comparisons, and the sentences say what they rest on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.leaderboard import Column, decimals
from benchmarks.pooled import PooledBoard, PooledRow, compare
from benchmarks.pooled_figures import PooledFigure
from benchmarks.stats import PairedDifference

WINDOW = "autoregressive"
"""The strategy that all others are held against: it sees the last frames alone."""


@dataclass(frozen=True)
class ControlCheck:
    """One control against the best model on one headline; ``gap`` is control − model."""

    metric: str
    control: str
    role: str
    model: str
    gap: PairedDifference
    topped: bool
    """The control is better and the interval leaves zero out."""
    tied: bool
    """The interval holds zero."""


def control_check(board: PooledBoard) -> list[ControlCheck]:
    """Every control but the ceilings against the best model, headline by headline.

    A metric on which a check is ``topped`` rewards what the control does (standing still, blur, repetition) more than
    any model: either no model is good enough yet, or it is not fit to be a headline. Controls without a figure or an
    interval are left out.
    """
    return [check for column in _headlines(board) for check in _checks(board, column) if check.role != "ceiling"]


def findings(board: PooledBoard) -> list[str]:
    """Sentences about each headline: the best and who is tied, gains over the window, and the controls.

    Empty where the suite names no headline or no model has one.
    """
    columns = [column for column in _headlines(board) if _models(board, column)]
    said = [sentence for column in columns for sentence in _about(board, column)]
    return [*said, _caution(board)] if said else []


def _headlines(board: PooledBoard) -> list[Column]:
    """The columns of the headlines that say which way is better, in the suite's order."""
    ranked = [column for column in board.columns if column.higher_is_better is not None]
    return [column for name in board.headline for column in ranked if column.metric == name]


def _models(board: PooledBoard, column: Column) -> list[tuple[PooledRow, PooledFigure]]:
    """Model rows with a value, best first."""
    found = [(row, figure) for row in board.rows if row.is_model and (figure := row.figure(column)) is not None]
    sign = -1 if column.higher_is_better else 1
    return sorted((pair for pair in found if pair[1].value is not None), key=lambda pair: sign * (pair[1].value or 0.0))


def _about(board: PooledBoard, column: Column) -> list[str]:
    models = _models(board, column)
    digits = min(6, 1 + decimals(figure.value for _, figure in models if figure.value is not None))
    sentences = [_best(models, column, digits)]
    window = _window(models)
    others = [row for row, _ in models if row is not window]
    if window is not None and others:
        against = [_against(row, window, column, digits) for row in others]
        sentences.append(f"{column.name}, difference to {window.label}: {'; '.join(against)}.")
    return [*sentences, *_controls(board, column, digits)]


def _best(models: Sequence[tuple[PooledRow, PooledFigure]], column: Column, digits: int) -> str:
    row, figure = models[0]
    way = "higher" if column.higher_is_better else "lower"
    spread = "" if figure.seed_deviation is None else f", deviation between seeds {figure.seed_deviation:.{digits}f}"
    basis = f"{way} is better; {figure.videos} videos × {_count(figure.seeds, 'training seed')}{spread}"
    tied = [other.label for other, _ in models[1:] if other.ranks.get(column.metric) == "tie"]
    if len(models) == 1:
        tail = "it is the only model"
    elif tied:
        tail = f"{_list(tied)} cannot be told apart from it"
    else:
        tail = "every other model is worse"
    return f"{column.name}: {row.label} has the best mean, {_figure(figure, digits)} ({basis}); {tail}."


def _window(models: Sequence[tuple[PooledRow, PooledFigure]]) -> PooledRow | None:
    """The best of the rows whose rollout is the window; most often there is one."""
    return next((row for row, _ in models if row.entries[0].record.components.get("rollout") == WINDOW), None)


def _against(row: PooledRow, window: PooledRow, column: Column, digits: int) -> str:
    gap = compare(row, window, column.metric)
    if gap is None or gap.interval is None:
        return f"{row.label} has no interval to compare by"
    interval = f"{gap.value:+.{digits}f} [{gap.interval[0]:+.{digits}f}, {gap.interval[1]:+.{digits}f}]"
    basis = [] if gap.paired else ["by overlap of intervals"]
    if len(gap.by_seed) > 1:
        better = sum((value > 0) == column.higher_is_better and value != 0 for value in gap.by_seed)
        basis.append(f"better in {better} of {len(gap.by_seed)} seeds")
    tail = f" ({', '.join(basis)})" if basis else ""
    if not gap.clear:
        return f"{row.label} cannot be told apart, {interval}{tail}"
    verdict = "better" if (gap.value > 0) == column.higher_is_better else "worse"
    return f"{row.label} is {verdict}, {interval}{tail}"


def _controls(board: PooledBoard, column: Column, digits: int) -> list[str]:
    checks = _checks(board, column)
    floors = [check for check in checks if check.role != "ceiling"]
    if not checks:
        return []
    alone = board.options.get("judges") == "tokenizer"  # few bits may well lose to a picture made small: no flaw
    sentences = [
        f"{column.name}: the floor {c.control} is better than every tokenizer, by {c.gap.value:+.{digits}f} "
        f"{_interval(c.gap, digits)}."
        if alone
        else f"WARNING: the control {c.control} tops every model on {c.metric} by {c.gap.value:+.{digits}f} "
        f"{_interval(c.gap, digits)}: no model is good enough yet, or the metric rewards what the control does."
        for c in floors
        if c.topped
    ]
    tied = [check.control for check in floors if check.tied]
    if tied:
        sentences.append(f"{column.name}: {_list(tied)} (control) cannot be told apart from the best model.")
    if floors and not sentences:
        sentences.append(
            f"{column.name}: every floor ({_list([c.control for c in floors])}) is worse than the best model."
        )
    beaten = [c.control for c in checks if c.role == "ceiling" and not c.topped and not c.tied]
    if beaten:
        sentences.append(f"{column.name}: the best model is better than the ceiling {_list(beaten)}.")
    return sentences


def _checks(board: PooledBoard, column: Column) -> list[ControlCheck]:
    models = _models(board, column)
    if not models:
        return []
    best = models[0][0]
    found = []
    for row in (row for row in board.rows if not row.is_model):
        gap = compare(row, best, column.metric)
        if gap is not None and gap.interval is not None:
            better = (gap.value > 0) == column.higher_is_better
            topped = gap.clear and better
            found.append(ControlCheck(column.metric, row.label, row.role, best.label, gap, topped, not gap.clear))
    return found


def _caution(board: PooledBoard) -> str:
    seeds = [row.seeds for row in board.rows if row.is_model]
    few, many = min(seeds), max(seeds)
    if many == 1:
        return "One training seed: the intervals are over videos and say nothing of another training."
    trained = f"{few}" if few == many else f"{few} to {many}"
    tail = "; resampling so few seeds gives intervals that are too short, hence the counts by seed" if few < 10 else ""
    return f"Intervals are 95 %, over videos and {trained} training seeds, not corrected for their number{tail}."


def _figure(figure: PooledFigure, digits: int) -> str:
    if figure.interval is None:
        return f"{figure.value:.{digits}f}"
    return f"{figure.value:.{digits}f} [{figure.interval[0]:.{digits}f}, {figure.interval[1]:.{digits}f}]"


def _interval(gap: PairedDifference, digits: int) -> str:
    return "" if gap.interval is None else f"[{gap.interval[0]:+.{digits}f}, {gap.interval[1]:+.{digits}f}]"


def _list(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" + ("" if number == 1 else "s")
