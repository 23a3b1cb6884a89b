"""``python -m zoo sample RUN [task=NAME] [prompt=…] [image=FILE] [first=FILE] [last=FILE] [key=value …]``

Generates videos with a trained run and writes an mp4 each and a contact sheet. RUN is the folder of a generator, its
name under ./runs, or a record. Files are of any codec that the run's reader knows, pictures of any format:

    image=cat.png seconds=4                    the picture moves (task=image_to_video)
    first=a.mp4                                goes on where it ends (task=extend)
    first=a.mp4 task=extend direction=backward leads up to its first frames
    first=a.mp4 last=b.mp4                     joins the end of a to the start of b (task=stitch)
    first=a.mp4 task=infill                    makes the middle of a stretch anew
    first=a.mp4 task=loop, prompt="…" task=loop  ends as it began
    prompt="a red ball rolls"                  nothing is given but the prompt (task=text_to_video)

Without a file or a prompt the data set's test clips are what is given, with their actions and poses. `frames` or
`seconds` say how long the video is, given frames included; `size=96x64` is 96 wide and 64 high; `context` and `closing`
say how many frames are looked at, 8 of a file unless given; `videos` how many are made, `out` where they go. Sampling
keys of the recipe (rollout=…, solver.steps=…, guidance.scale=…, sample.seed=…) are taken as overrides.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from components.contracts import Layout
    from zoo.model import ZooModel
    from zoo.scene import Scene


def main(arguments: list[str]) -> int:
    """Run the command; returns the exit code."""
    if not arguments or "=" in arguments[0]:
        raise UserError("sample needs a run: python -m zoo sample RUN [task=…] [prompt=…]; see `zoo sample --help`.")
    if arguments[0] in ("-h", "--help"):
        print(__doc__)
        return 0
    from zoo import sample_words

    asked, overrides = sample_words.read(arguments[1:])
    from zoo.finished_run import load
    from zoo.sample_scenes import scenes

    model = load(arguments[0], overrides=overrides)
    _write(model, *scenes(model, asked), asked.out)
    return 0


def _write(model: ZooModel, scenes: list[Scene], fps: float, folder: Path) -> None:
    from components.video_file import write_contact_sheet, write_mp4
    from zoo.progress import Bar, say
    from zoo.store import writing

    layouts = [model.check(scene) for scene in scenes]
    with Bar("sample", sum(places.missing for _, places in layouts)) as bar:
        videos, _ = model.sample_with_cost(scenes, done=bar.advance)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for scene, video, (layout, _) in zip(scenes, videos, layouts, strict=True):
            name = "".join(c if c.isalnum() or c in "-_." else "_" for c in scene.episode)
            scale = max(1, 128 // min(video.shape[1:3]))
            write_mp4(folder / f"{name}.mp4", video, fps, scale=scale)
            write_contact_sheet(folder / f"{name}.png", [video], scale=scale)
            said = "".join(f"; {line}" for line in _joins(video, model.task(scene).layout(1, 1), layout))
            say(f"wrote {folder / name}.mp4 and its contact sheet {name}.png ({len(video)} frames){said}")


def _joins(video: np.ndarray, kind: Layout, layout: Layout) -> Iterator[str]:
    """How smooth a loop or a join came out: the step across it, in typical steps of the video."""
    from benchmarks.joins import step, typical

    usual = typical(video)
    if usual == 0:
        return
    if kind.copies:
        yield f"seam {step(video[-1], video[0]) / usual:.2f} times its median step from frame to frame"
    elif layout.first and layout.last:
        for what, at in (("first", layout.first), ("last", len(video) - layout.last)):
            yield f"{what} join {step(video[at - 1], video[at]) / usual:.2f} times its median step from frame to frame"
