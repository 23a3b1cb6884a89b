"""``zoo evaluate suite=long500 videos=DIR name=MyModel [suite.world=… suite.context=…] [resize=true] [reader=…]``

Scores videos of any make, one per episode of the suite, called as the manifest of ``zoo export`` says: .npy or .npz
(uint8 [T, H, W, 3]) or .mp4, .avi, …; all frames, or those after the context. Everything is checked before the first
video is scored. The record has the form of all others and goes to ./runs/records/SUITE, beside the suite's floors and
ceilings (those that need no tokenizer).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo import suite_data
from zoo.errors import BadValue

if TYPE_CHECKING:
    from benchmarks.contracts import Results
    from benchmarks.outside_videos import OutsideVideos
    from benchmarks.record import Record
    from benchmarks.suite import Suite

OWN = ("videos", "name", "resize")


def main(arguments: list[str]) -> int:
    """Run the command; returns the exit code."""
    shared, options = suite_data.arguments(arguments, OWN)
    for key, what in (("videos", "the folder with your videos"), ("name", "what tables should call your model")):
        if not options.get(key, "").strip():
            raise BadValue(f"{key}=… is missing: give {what}.")
    if options.get("resize", "false") not in ("true", "false"):
        raise BadValue(f"resize={options['resize']} must be true or false.")
    suite_data.named(shared)
    data, videos = checked(shared, Path(options["videos"]), options.get("resize") == "true")

    from zoo.commands import leaderboard
    from zoo.progress import say
    from zoo.store import Store

    folder = Store().root / "records"
    rows = list(judge(data, videos, options["name"].strip()[:80], folder / data.suite.name))
    leaderboard.show(folder, only=rows)
    say(f"record: {rows[0]}")
    return 0


def checked(shared: dict[str, Any], folder: Path, resize: bool = False) -> tuple[suite_data.SuiteData, OutsideVideos]:
    """The suite on its clips and the videos to be scored; every video was opened and is of the right size.

    Raises UserError, naming the file, for a video that is missing, too many, short, of another size or unreadable.
    """
    from benchmarks.enough import check_enough
    from benchmarks.outside_videos import OutsideVideos, find
    from zoo.progress import track

    data = suite_data.read(shared)
    videos = OutsideVideos(find(folder, data.clips), data.clips, data.suite.context, data.reader, resize)
    for index in track(range(len(videos)), "reading videos", len(videos)):
        videos.read(index)
    check_enough(data.suite, data.clips, dataset=data.judged_on)
    return data, videos


def judge(data: suite_data.SuiteData, videos: OutsideVideos, name: str, folder: Path) -> Iterator[Path]:
    """The records of the videos' row and of its floors and ceilings, as files; scored as they are asked for."""
    from benchmarks import harness
    from zoo.progress import Bar
    from zoo.rows import shown, write_row

    suite, places = data.suite, shown(data.clips)
    clips = [data.clips[place] for place in places]
    with Bar(f"judging {name}", len(videos)) as bar:
        results = harness.evaluate(videos, data.clips, suite, dataset=data.judged_on, progress=lambda *_: bar.advance())
    record = row(data, results, name=name, label=name, kind="model", reader=_how_read(videos))
    yield write_row(record, folder, clips, [videos.read(place) for place in places], suite.context)
    suite = harness.without_tokenizer(suite, data.clips[0])
    known = _known_controls(data, suite, folder)
    yield from known.values()
    left = suite.model_copy(update={"controls": tuple(e for e in suite.controls if e.name not in known)})
    with Bar("judging floors and ceilings", len(left.controls)) as bar:
        for control in harness.control_rows(left, data.clips, dataset=data.judged_on, keep=places):
            record = row(data, control.results, name=control.name, kind="control", role=control.role)
            yield write_row(record, folder, clips, control.videos, suite.context)
            bar.advance()


def row(data: suite_data.SuiteData, results: Results, **said: Any) -> Record:
    """A record that no recipe stands behind; its artifacts are still to be written."""
    from benchmarks import record as records

    return records.Record(
        group=data.group,
        suite=data.suite.reference(),
        versions=results.versions,
        citations=sorted(results.citations),
        metrics=results.metrics,
        curves=results.curves,
        per_video=results.per_video,
        dataset=data.reference,
        seeds={"suite": data.suite.seed},
        environment=records.environment(),
        **said,
    )


def _how_read(videos: OutsideVideos) -> str:
    """Reader and resizing, since both change pixels; empty for arrays taken as they are."""
    from benchmarks.outside_videos import ARRAYS

    files = any(path.suffix.lower() not in ARRAYS for path in videos.paths)
    said = [videos.reader.version] if files else []
    return "; ".join([*said, "resized to the truth's size"] if videos.resize else said)


def _known_controls(data: suite_data.SuiteData, suite: Suite, folder: Path) -> dict[str, Path]:
    """Floors and ceilings that an earlier evaluation of this very test set and these metrics has left here."""
    from benchmarks import record as records

    wanted = {entry.name for entry in suite.controls}
    found: dict[str, Path] = {}
    for path in _files(folder):
        try:
            record = records.read(path)
        except records.UserError:
            continue  # the table names broken files
        same = record.group == data.group and record.suite == data.suite.reference()
        if same and record.kind == "control" and record.name in wanted and record.versions == _versions(data.suite):
            found[record.name] = path
    return found


def _versions(suite: Suite) -> dict[str, str]:
    from zoo import registry

    return {f"metric.{entry.name}": registry.load("metric", entry.name).version for entry in suite.metrics}


def _files(folder: Path) -> Sequence[Path]:
    return sorted(folder.glob("*.json")) if folder.is_dir() else []
