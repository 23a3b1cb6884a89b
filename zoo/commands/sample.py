"""``python -m zoo sample RUN [videos=2] [frames=N] [context=N] [prompt=…] [first=FILE] [out=DIR] [key=value …]``

Generates videos with a trained run and writes an mp4 each and a contact sheet. RUN is the folder of a generator, its
name under ./runs, or a record. What the network must be told (actions, poses) comes from the run's own data set, test
split; `first=FILE` continues a video of yours instead (any codec the reader knows), `prompt=…` sets the text. Sampling
keys of the recipe (rollout=…, solver.steps=…, guidance.scale=…, sample.seed=…) are taken as overrides.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import BadValue, UnmetNeed, UserError

if TYPE_CHECKING:
    import numpy as np

    from zoo.model import Scene, ZooModel

OWN_KEYS = ("videos", "frames", "context", "prompt", "first", "out", "reuse")


def main(arguments: list[str]) -> int:
    """Run the command; returns the exit code."""
    if not arguments or "=" in arguments[0]:
        raise UserError("sample needs a run: python -m zoo sample RUN [frames=N] [prompt=…]; see `zoo sample --help`.")
    if arguments[0] in ("-h", "--help"):
        print(__doc__)
        return 0
    own, overrides = _split(arguments[1:])
    model = _open(arguments[0], overrides)
    scenes, fps = _scenes(model, own)
    folder = Path(own.get("out", "samples"))
    _write(model, scenes, fps, folder)
    return 0


def _split(arguments: list[str]) -> tuple[dict[str, str], list[str]]:
    own: dict[str, str] = {}
    rest: list[str] = []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if key in OWN_KEYS and equals:
            own[key] = value
        else:
            rest.append(argument)
    return own, rest


def _open(run: str, overrides: list[str]) -> ZooModel:
    from zoo.finished_run import load

    return load(run, overrides=overrides)


def _count(own: dict[str, str], key: str, default: int) -> int:
    try:
        value = int(own.get(key, default))
    except ValueError:
        value = 0
    if value < 1 and not (key == "context" and own.get(key) == "0"):
        raise BadValue(f"{key}={own[key]} must be a whole number of at least 1.")
    return value


def _scenes(model: ZooModel, own: dict[str, str]) -> tuple[list[Scene], float]:
    """The scenes to make: from a file of the user's, from a prompt alone, or from the data set's test clips."""
    from zoo.model import Scene

    if "first" in own:
        _check_free(model)
        frames, fps = _read(model, Path(own["first"]), _count(own, "context", 8))
        total = _count(own, "frames", 4 * len(frames))
        return [Scene(total, frames, prompt=own.get("prompt", ""), episode=Path(own["first"]).name)], fps
    dataset = model.dataset()
    count = min(_count(own, "videos", 2), dataset.size("test"))
    clips = [dataset.clip("test", index) for index in range(count)]
    scenes = []
    for clip in clips:
        total = min(_count(own, "frames", len(clip.frames)), len(clip.frames))
        context = min(_count(own, "context", max(1, total // 2)), total)
        scenes.append(
            Scene(
                total,
                clip.frames[:context],
                None if clip.actions is None else clip.actions[: total - 1],
                None if clip.poses is None else clip.poses[:total],
                own.get("prompt", clip.caption or ""),
                episode=clip.episode,
            )
        )
    return scenes, clips[0].fps


def _check_free(model: ZooModel) -> None:
    """A video of the user's has no camera: the model must not ask for one."""
    if model.generator.sizes.action_dim or model.recipe.part("pose_encoding").name != "none":
        raise UnmetNeed(
            "first=FILE brings no actions or poses, which this run was trained with: sample a run of recipe=clips, or "
            "one trained with train.generator.actions=false pose_encoding=none."
        )


def _read(model: ZooModel, path: Path, context: int) -> tuple[np.ndarray, float]:
    from components.contracts import ReadError
    from components.frame_size import fit_to
    from zoo import compose

    reader: Any = compose.build("reader", model.recipe.part("reader"))
    try:
        info = reader.probe(path)
        frames, _ = reader.read(path, start=0, count=context, stride=1)
    except ReadError as error:
        raise UserError(f"first={path} cannot be read: {error}. Another reader may: add reader=pyav.") from error
    return fit_to(frames, model.size), info.fps or 8.0


def _write(model: ZooModel, scenes: list[Scene], fps: float, folder: Path) -> None:
    from components.video_file import write_contact_sheet, write_mp4
    from zoo.progress import Bar, say
    from zoo.store import writing

    with Bar("sample", sum(scene.frames for scene in scenes)) as bar:
        videos, _ = model.sample_with_cost(scenes, done=bar.advance)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for scene, video in zip(scenes, videos, strict=True):
            name = "".join(c if c.isalnum() or c in "-_." else "_" for c in scene.episode)
            write_mp4(folder / f"{name}.mp4", video, fps)
            write_contact_sheet(folder / f"{name}.png", [video])
            say(f"wrote {folder / name}.mp4 and its contact sheet {name}.png ({len(video)} frames)")
