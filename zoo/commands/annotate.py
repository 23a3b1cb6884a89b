"""``zoo annotate RUN videos=FOLDER [out=captions.csv] [keep=false]``, or ``zoo annotate recipe=NAME [key=value …] …``

Writes a caption for every video below FOLDER into a manifest, with what said it, a hash of its weights and how sure it
was. RUN is a folder of stage `captioner`, its name under ./runs, or a generator or record that learned from one;
``recipe=NAME`` trains the recipe's captioner first, unless it is there. Captions, splits, sources and licences of a
manifest.csv in FOLDER stay as they are; ``keep=false`` says everything anew. Train on the result by
``dataset=video_folder dataset.root=FOLDER dataset.manifest=captions.csv``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import BadValue, UserError

if TYPE_CHECKING:
    from components.contracts import Clip
    from components.video_manifest import Row
    from zoo.captioning import Captioning

OWN_KEYS = ("videos", "out", "keep")


def main(arguments: list[str]) -> int:
    """Run the command; returns the exit code."""
    own = dict(one.split("=", 1) for one in arguments if one.partition("=")[0] in OWN_KEYS and "=" in one)
    rest = [one for one in arguments if one.partition("=")[0] not in OWN_KEYS]
    if not rest or "videos" not in own:
        raise UserError("annotate needs a run and a folder: zoo annotate RUN videos=FOLDER; see zoo annotate --help.")
    if own.get("keep", "true") not in ("true", "false"):
        raise BadValue(f"keep={own['keep']} must be true or false.")
    root, out = Path(own["videos"]).expanduser(), Path(own.get("out", "captions.csv"))
    rows = _rows(root, keep=own.get("keep", "true") == "true")
    _write(_captioning(rest), root, rows, out)
    return 0


def _rows(root: Path, *, keep: bool) -> list[Row]:
    """What is known of the videos below `root`, captions left out unless they are kept."""
    from dataclasses import replace

    from components.video_index import find_videos
    from components.video_manifest import Row, find_manifest, read_manifest

    if not root.is_dir():
        raise UserError(f"videos={root}: there is no such folder; give the folder that holds the videos.")
    path = find_manifest(root, "auto")
    rows = read_manifest(path) if path else [Row(name) for name in find_videos(root)]
    if not rows:
        raise UserError(f"there is no video below {root}: give the folder that holds the videos.")
    return rows if keep else [replace(row, caption=None) for row in rows]


def _captioning(arguments: Sequence[str]) -> Captioning:
    """The captioner that the arguments name."""
    from zoo.pipeline import Pipeline
    from zoo.recipe import override, resolve, validate
    from zoo.store import Store

    store = Store()
    if any(argument.startswith("recipe=") for argument in arguments):
        return Pipeline(validate(resolve(arguments, sweep=False)[0]), store).captioning
    from zoo import runs

    run, *overrides = arguments
    folder = runs.captioner_of(store, run)
    captioning = Pipeline(override(runs.recipe_of(store, folder.path), overrides), store).captioning
    captioning.folder = folder
    return captioning


def _write(captioning: Captioning, root: Path, rows: Sequence[Row], out: Path) -> None:
    from zoo import annotation, compose
    from zoo.progress import say

    captioner, recipe = captioning.captioner, captioning.pipeline.recipe
    reader: Any = compose.build("reader", recipe.part("reader"))
    unsaid = [row for row in rows if not row.caption]
    skipped: list[str] = []
    clips = _clips(reader, root, unsaid, getattr(captioner, "frames", 1), skipped)
    name = recipe.part("captioner").name
    described = annotation.describe(captioner, clips, len(unsaid), name=name, weights=captioning.weights)
    said = {one.path: one for one in described}
    made = [_annotation(row, said.get(row.name)) for row in rows if row.caption or row.name in said]
    annotation.write_manifest(out, made)
    for line in skipped:
        say(f"left out {line}")
    say(f"wrote {len(said)} captions of '{name}' and {len(made) - len(said)} that were known to {out}")


def _annotation(row: Row, said: Any) -> Any:
    from dataclasses import replace

    from zoo.annotation import Annotation

    one = Annotation(row.name, row.caption or "", caption_source="truth") if said is None else said
    return replace(one, split=row.split or "", source=row.source, licence=row.licence)


def _clips(reader: Any, root: Path, rows: Sequence[Row], frames: int, skipped: list[str]) -> Iterator[Clip]:
    """Each file as one clip of frames spread over it; one that cannot be read goes into `skipped`, with the reason."""
    import numpy as np

    from components.contracts import Clip, ReadError

    for row in rows:
        path = root / row.name
        try:
            info = reader.probe(path)
            stride = max(1, info.frames // frames)
            found, times = reader.read(path, start=0, count=max(frames, -(-info.frames // stride)), stride=stride)
        except (ReadError, OSError) as error:
            skipped.append(f"{row.name}: {error}")
            continue
        yield Clip(np.asarray(found), times, info.fps or 8.0, episode=row.name, source=row.source, licence=row.licence)
