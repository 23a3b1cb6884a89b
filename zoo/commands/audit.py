"""``zoo audit RECORD [RECORD …]``: can the headline metrics of a suite be won without making a good video?

RECORD is the JSON file of a trained model's row, whose generated videos still lie in the run folder (./runs, or
ZOO_RUNS). Of each, three spoiled versions are scored on the same clips and kept as floors beside it: frozen (the first
generated frame held), constant (the mean generated frame) and blurred. Then every control of those boards is held
against the best model on every headline metric, video by video: it "tops" when it is better and the 95 % interval of
the difference leaves zero out. Ceilings are shown and may top. What was scored before is not scored again.

Exit code 0 when nothing but a ceiling tops a headline; 1 when something does, or when a headline cannot be judged.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.markup import escape

from zoo.errors import BadValue, UserError

if TYPE_CHECKING:
    from benchmarks.contracts import Results
    from benchmarks.findings import ControlCheck
    from benchmarks.pooled import PooledBoard
    from benchmarks.record import Record
    from zoo.evaluation import Evaluation
    from zoo.store import Store


@dataclass(frozen=True)
class Subject:
    """A model's row, where its record is, its generated videos in the order of the clips, and what judges them."""

    record: Record
    path: Path
    videos: tuple[Path, ...]
    judge: Evaluation

    @property
    def sample(self) -> str:
        return self.record.stages["sample"]


def main(arguments: list[str]) -> int:
    """Run the command; returns the exit code."""
    if not arguments or any("=" in given and not Path(given).exists() for given in arguments):
        raise UserError("audit takes records: python -m zoo audit runs/records/SUITE/NAME.json [more of them].")
    from zoo.progress import say
    from zoo.store import Store

    subjects = list(found(arguments, Store()))
    for subject in subjects:
        for path in spoil(subject):
            say(f"record: {path}")
    return max([_report(board) for board in _boards(subjects)])


# -------------------------------------------------------------------------------------------------- what is audited


def found(arguments: Sequence[str], store: Store) -> Iterator[Subject]:
    """What the arguments name; all of it is checked before the first is yielded.

    Raises UserError for a record of no trained model, of a suite that names no headline metrics or has changed since,
    or whose videos are gone.
    """
    from benchmarks import record as records

    judges: dict[tuple[str, str], Evaluation] = {}
    checked = []
    for path in dict.fromkeys(Path(given).resolve() for given in arguments):
        record = records.read(path)
        if record.suite.options.get("judges", "generator") != "generator":
            raise BadValue(
                f"{path.name} judges no generated videos, so there is no rollout to spoil: give a generator's."
            )
        if record.kind != "model" or not record.recipe or "sample" not in record.stages:
            what = "a control" if record.kind == "control" else "of no trained recipe"
            raise BadValue(f"{path.name} is {what}: give the record of a model that zoo.run has judged.")
        same = record.group, records.digest(record.suite.model_dump(mode="json"))
        if same not in judges:
            judges[same] = _judge(record, path, store)
        _check_metrics(record, path, judges[same])
        checked.append(Subject(record, path, _videos(record, path, judges[same]), judges[same]))
    yield from checked


def _judge(record: Record, path: Path, store: Store) -> Evaluation:
    """The suite and its test set, made again from the record's recipe; no model is loaded."""
    from benchmarks.suite import load
    from zoo.evaluation import Evaluation
    from zoo.pipeline import Pipeline
    from zoo.recipe import Recipe, validate

    recipe = validate(Recipe.from_dict(record.recipe))
    suite = load({"name": recipe.suite.name, **recipe.suite.options})
    if not record.metrics.keys() & set(suite.headlines):
        raise UserError(f"suite '{suite.name}' has no headline metric in {path.name}, so there is nothing to audit.")
    judge = Evaluation(Pipeline(recipe, store), suite)
    if suite.reference() != record.suite:
        raise UserError(f"suite '{suite.name}' has changed since {path.name} was written: run its recipe again.")
    if judge.group != record.group:
        raise UserError(
            f"the test set of {path.name} is no longer the same: run its recipe again, then audit the new row."
        )
    return judge


def _check_metrics(record: Record, path: Path, judge: Evaluation) -> None:
    """Values of two versions of a metric stand in different columns, so that nothing would be compared."""
    versions = _versions(judge)
    other = sorted(name for name, version in versions.items() if record.versions.get(name) != version)
    if other:
        raise UserError(
            f"{path.name} was judged by another version of {', '.join(other)}: run its recipe again, which generates "
            "nothing anew, and audit the new row."
        )


def _versions(judge: Evaluation) -> dict[str, str]:
    from zoo import registry

    return {f"metric.{entry.name}": registry.load("metric", entry.name).version for entry in judge.suite.metrics}


def _videos(record: Record, path: Path, judge: Evaluation) -> tuple[Path, ...]:
    folder = judge.pipeline.store.root / record.stages["sample"]
    videos = tuple(folder / f"{index:04d}.npy" for index in range(len(judge.clips)))
    for video, clip in zip(videos, judge.clips, strict=True):
        if not video.is_file():
            raise UserError(
                f"the generated videos of {path.name} are gone, {video} is missing: run its recipe again, or set "
                "ZOO_RUNS to the run folder that holds them."
            )
        try:
            frames = np.load(video, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise UserError(f"cannot read {video}: {error}; remove {folder} and run the recipe again.") from error
        if frames.dtype != np.uint8 or frames.shape != clip.frames.shape:
            raise UserError(
                f"{video} is {frames.dtype} {list(frames.shape)} and its truth uint8 {list(clip.frames.shape)}: remove "
                f"{folder} and run the recipe again."
            )
    return videos


# ---------------------------------------------------------------------------------------------------------- scoring


def spoil(subject: Subject) -> Iterator[Path]:
    """The records of the three spoiled versions, as files beside the model's; what is there is not made anew."""
    from benchmarks import harness
    from benchmarks.spoiled import SPOILED
    from zoo.progress import Bar
    from zoo.rows import shown, write_row

    judge, folder = subject.judge, subject.path.parent
    suite, clips, known = judge.suite, judge.clips, _known(subject)
    places = shown(clips)
    for kind, change in SPOILED.items():
        name = f"{kind}({rollout(subject.record)})"
        if name in known:
            yield known[name]
            continue

        def video(place: int, change=change) -> np.ndarray:
            return change(np.load(subject.videos[place], mmap_mode="r", allow_pickle=False), suite.context)

        with Bar(f"judging {name}", len(clips)) as bar:
            made = map(video, range(len(clips)))
            results = harness.evaluate(
                made, clips, suite, dataset=judge.judged_on, progress=lambda *_, bar=bar: bar.advance()
            )
        record = _record(subject, name, results)
        yield write_row(
            record, folder, [clips[place] for place in places], [video(place) for place in places], suite.context
        )


def rollout(record: Record) -> str:
    """What tables call the strategy, without the word rollout: ``long_range(distant=spread)``."""
    from benchmarks.pooled_identity import named

    return named(record).replace("rollout=", "")


def _record(subject: Subject, name: str, results: Results) -> Record:
    from benchmarks import record as records

    source = subject.record
    seed = source.seeds.get("generator")
    return records.Record(
        name=name,
        label=name if seed is None else f"{name}, seed {seed}",
        kind="control",
        role="floor",
        group=source.group,
        suite=source.suite,
        stages={"sample": subject.sample},
        versions=results.versions,
        citations=list(results.citations),
        metrics=results.metrics,
        curves=results.curves,
        per_video=results.per_video,
        dataset=source.dataset,
        environment=records.environment(),
    )


def _known(subject: Subject) -> dict[str, Path]:
    """Spoiled versions of these very videos that an earlier audit has left here, by name."""
    from benchmarks import record as records

    source, found = subject.record, {}
    for path in sorted(subject.path.parent.glob("*.json")):
        try:
            record = records.read(path)
        except UserError:
            continue  # the leaderboard names broken files
        same = record.kind == "control" and record.stages == {"sample": subject.sample}
        same = same and (record.group, record.suite) == (source.group, source.suite)
        if same and record.versions == _versions(subject.judge):
            found[record.name] = path
    return found


# ----------------------------------------------------------------------------------------------------------- verdict


def _boards(subjects: Sequence[Subject]) -> Iterator[PooledBoard]:
    """The boards of the audited rows, each with all the records of its folder."""
    from benchmarks.leaderboard import collect
    from benchmarks.pooled import pool, records_of
    from zoo.progress import say

    collection = collect(sorted({subject.path.parent for subject in subjects}))
    for name, reason in collection.broken.items():
        say(f"not a record, left out: {name}: {reason}")
    groups = {subject.record.group for subject in subjects}
    for board in pool(collection.entries):
        if groups & {record.group for row in board.rows for record in records_of(row)}:
            yield board


def _report(board: PooledBoard) -> int:
    """Print one board's verdict, headline by headline; 0 where the metrics hold, else 1."""
    from rich.console import Console
    from rich.table import Table

    from benchmarks.findings import control_check

    console = Console() if sys.stdout.isatty() else Console(width=140)
    checks, said = control_check(board), []
    for metric in board.headline:
        own = [check for check in checks if check.metric == metric]
        if not own:
            said.append(f"{metric} could not be judged: no model and floor have intervals to compare by.")
            continue
        table = Table(title=f"{board.title} · {metric} · best model: {own[0].model}", title_justify="left")
        for column in ("control", "role", "control − model", "95 % interval", "verdict"):
            table.add_column(column, justify="right" if "%" in column or "−" in column else "left")
        lines, unjudged = _lines(board, own)
        for line in lines:
            table.add_row(*(escape(cell) for cell in line))
        console.print(table)
        said += [
            f"{metric} is topped by {check.control}: it is not fit to be a headline." for check in own if check.topped
        ]
        said += [f"{metric} could not be judged against {label}: it has no interval." for label in unjudged]
    for sentence in said or [f"{board.title}: no floor and no spoiled rollout tops a headline."]:
        console.print(escape(sentence), soft_wrap=True)
    return 1 if said else 0


def _lines(board: PooledBoard, checks: Sequence[ControlCheck]) -> tuple[list[tuple[str, ...]], list[str]]:
    """A row of text per control that was measured as the best model was, and the floors that could not be judged."""
    from benchmarks.pooled import compare

    metric, judged = checks[0].metric, {check.control: check for check in checks}
    best = next(row for row in board.rows if row.is_model and row.label == checks[0].model)
    higher = best.metrics[metric].higher_is_better
    lines, unjudged = [], []
    for row in board.rows:
        if row.is_model or metric not in row.metrics or row.metrics[metric].key != best.metrics[metric].key:
            continue
        gap = judged[row.label].gap if row.label in judged else compare(row, best, metric)
        if gap is None or gap.interval is None:
            lines.append((row.label, row.role, "–", "–", "not judged"))
            unjudged += [row.label] if row.role != "ceiling" else []
            continue
        better = (gap.value > 0) == higher
        verdict = "tied" if not gap.clear else "tops" if better else "worse"
        low_high = f"[{gap.interval[0]:+.4f}, {gap.interval[1]:+.4f}]" + ("" if gap.paired else " (not paired)")
        lines.append((row.label, row.role, f"{gap.value:+.4f}", low_high, verdict))
    return lines, unjudged
