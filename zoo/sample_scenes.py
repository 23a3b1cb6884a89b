"""The scenes that ``zoo sample`` makes: from files of the user's, from a prompt alone, or from the data set's clips."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from components.frame_size import fit_to
from zoo import fitting, registry, sample_files
from zoo.errors import BadValue, UnmetNeed, UserError
from zoo.progress import say
from zoo.sample_files import Piece
from zoo.sample_words import FILES, Asked
from zoo.scene import Scene
from zoo.task_pairings import goes_on

if TYPE_CHECKING:
    from zoo.model import ZooModel

CONTEXT = 8
"""Frames of a file that are looked at where the user says nothing."""
LONGER = 4
"""So many times what is given is the video where the user says nothing."""


def scenes(model: ZooModel, asked: Asked) -> tuple[list[Scene], float]:
    """What is asked as scenes, and their frames per second; every one can be made. Raises UserError otherwise."""
    _check_prompt(model, asked)
    name = _task(model, asked)
    chosen = Scene(1, task=None if name is None else {"name": name, **asked.options})
    task, shown = model.task(chosen), name or model.recipe.part("task").name
    if asked.files:
        _check_free(model, next(f"{key}=FILE" for key in FILES if getattr(asked, key)))
        made, fps = _of_files(model, asked, shown, task)
    elif name is not None and asked.prompt is not None and _free(model) and asked.context is None:
        fps = _fps(model)
        made = [Scene(asked.total(fps, _window(model, task)), size=asked.size or model.size, episode="prompt")]
    else:
        made, fps = _of_clips(model, asked, task)
    if len(made) == 1 and asked.videos is not None:
        made = [replace(made[0], episode=f"{made[0].episode}_{number}") for number in range(asked.videos)]
    prompt = {} if asked.prompt is None else {"prompt": asked.prompt}
    made = [replace(scene, task=chosen.task, **prompt) for scene in made]
    for scene in made:
        _check(model, scene)
    return made, fps


# ------------------------------------------------------------------------------------------------- which task


def _task(model: ZooModel, asked: Asked) -> str | None:
    """The task that is named, or that what is given means; None: the one the run was trained for."""
    if asked.task is not None:
        return asked.task
    given = {key for key in FILES if getattr(asked, key)}
    if not given and asked.prompt is not None and asked.context is None and _free(model):
        given = {"prompt"}
    if not given and not asked.options:
        return None
    named = {"first" if key == "image" else key for key in given}
    known = [n for n in registry.names("task") if set(asked.options) <= set(registry.option_names("task", n))]
    for wanted in (given, named):
        fits = [name for name in known if not wanted or set(registry.load("task", name).inputs) == wanted]
        if fits:
            own = model.recipe.part("task").name
            return own if own in fits else fits[0]
    said = " and ".join(f"{key}=" for key in sorted(given))
    raise BadValue(f"{said} alone means no task: name one with task=… ({', '.join(registry.names('task'))}).")


def _check_prompt(model: ZooModel, asked: Asked) -> None:
    """A prompt that nobody reads is refused; one that is too long is cut, which is said."""
    if asked.prompt is None:
        return
    encoder = model.generator.text_encoder
    if encoder.width == 0:
        raise UnmetNeed(
            "this run has no text encoder, so it would not read prompt=: leave it out, or train a run with "
            "text_encoder=byte_table on a captioned data set."
        )
    if cut := encoder.cut(asked.prompt):
        say(f"the prompt has {cut}; the rest is left out")


def _free(model: ZooModel) -> bool:
    """Whether the model asks for no camera."""
    return not model.generator.sizes.action_dim and model.recipe.part("pose_encoding").name == "none"


def _check_free(model: ZooModel, what: str) -> None:
    """A file of the user's has no camera: the model must not ask for one."""
    if not _free(model):
        raise UnmetNeed(
            f"{what} brings no actions or poses, which this run was trained with: sample a run of recipe=clips, or "
            "one trained with train.generator.actions=false pose_encoding=none."
        )


# -------------------------------------------------------------------------------------------------- from files


def _of_files(model: ZooModel, asked: Asked, name: str, task: Any) -> tuple[list[Scene], float]:
    _check_inputs(asked, name, task)
    head, tail, total = _pieces(model, asked, name, task)
    pieces = [piece for piece in (head, tail) if piece is not None]
    size = asked.size or sample_files.wanted_size(model, pieces[0].frames.shape[1:3])
    fitted, said = sample_files.fitted(pieces, size)
    if said:
        say(said)
    fps = next((piece.fps for piece in pieces if piece.fps), None) or _fps(model)
    by_end = iter(fitted)
    context, last = (None if piece is None else next(by_end).frames for piece in (head, tail))
    given = sum(len(piece.frames) for piece in pieces)
    default = LONGER * given if given > 1 else _window(model, task)
    episode = "_".join(Path(piece.name).stem for piece in {piece.name: piece for piece in pieces}.values())
    return [Scene(total or asked.total(fps, default), context, size=size, episode=episode, last=last)], fps


def _check_inputs(asked: Asked, name: str, task: Any) -> None:
    """Every file that the task is made from is there, and no other."""
    begins = asked.first or asked.image
    both = task.layout(1, 1)
    there = {"first": begins, "last": asked.last}
    missing = [key for key in task.inputs if key in there and not there[key]]
    if missing and not (asked.last and not both.first):
        made_from = " and ".join(f"{key}=FILE" for key in task.inputs)
        raise BadValue(f"task '{name}' is made from {made_from}: give {missing[0]}=FILE, too.")
    if not (both.first or both.last):
        raise BadValue(f"task '{name}' looks at no given frame: leave the file out, or choose another task.")
    if asked.last and (not both.last or (begins and not both.first)):
        raise BadValue(f"task '{name}' looks at one file alone: leave first= or last= out, or choose another task.")


def _pieces(model: ZooModel, asked: Asked, name: str, task: Any) -> tuple[Piece | None, Piece | None, int | None]:
    """What stands at the start and at the end of the video, and its length where the file decides that."""
    reader, both = sample_files.Readers(model), task.layout(1, 1)
    count = CONTEXT if asked.context is None else asked.context
    closing = count if asked.closing is None else asked.closing
    if min(count if both.first else 1, closing if both.last else 1) < 1:
        raise BadValue(f"task '{name}' looks at given frames: let context= and closing= be at least 1.")
    if asked.last and both.last:
        tail = sample_files.start(reader, asked.last, closing, key="last")
        if not both.first:
            return None, tail, None
        if asked.image:
            return sample_files.picture(reader, asked.image), tail, None
        assert asked.first is not None
        return sample_files.end(reader, asked.first, count), tail, None
    if asked.image:
        piece = sample_files.picture(reader, asked.image)
        return (piece, None, None) if both.first else (None, piece, None)
    assert asked.first is not None
    if not both.last:
        piece = sample_files.end if _continues(task) else sample_files.start
        return piece(reader, asked.first, count), None, None
    if not both.first:
        return None, sample_files.start(reader, asked.first, closing), None
    return _hole(model, asked, count, closing)


def _continues(task: Any) -> bool:
    """Whether the task goes on from all that is given, so that a file is gone on with where it ends."""
    layout = task.layout(2, 0)
    return layout.first == 2 and not layout.copies


def _hole(model: ZooModel, asked: Asked, count: int, closing: int) -> tuple[Piece, Piece, int]:
    """The two ends of a stretch of one file, whose middle is made anew."""
    assert asked.first is not None
    reader = sample_files.Readers(model)
    fps = sample_files.start(reader, asked.first, 1).fps or _fps(model)
    piece = sample_files.start(reader, asked.first, asked.total(fps, LONGER * count))
    total = len(piece.frames)
    if total <= count + closing:
        raise BadValue(
            f"first={asked.first}: of {total} frames the first {count} and the last {closing} are given, which leaves "
            "none to make: lower context= and closing=, or ask for more frames."
        )
    head, tail = piece.frames[:count], piece.frames[total - closing :]
    return piece._replace(frames=head), piece._replace(frames=tail), total


def _window(model: ZooModel, task: Any) -> int:
    """Frames of one window, or of one step where the run cannot go on: how long a video is made of a prompt alone."""
    sample = model.recipe.sample
    return model.tokenizer.video_frames(sample.window if goes_on(task, model.recipe) else sample.step)


def _fps(model: ZooModel) -> float:
    """Of the data set's clips."""
    try:
        return model.dataset().clip("test", 0).fps
    except (UserError, IndexError):
        say("the data set cannot say how many frames a second there are: taking 8")
        return 8.0


# ------------------------------------------------------------------------------------------- from the data set


def _of_clips(model: ZooModel, asked: Asked, task: Any) -> tuple[list[Scene], float]:
    """The test clips of the data set, of which the first and last frames are given."""
    dataset, both = model.dataset(), task.layout(1, 1)
    clips = [dataset.clip("test", index) for index in range(min(asked.videos or 2, dataset.size("test")))]
    if not clips:
        raise UnmetNeed("the run's data set has no test clip to go on from: give first=FILE, image=FILE or prompt=….")
    made = []
    for clip in clips:
        total = min(asked.total(clip.fps, len(clip.frames)), len(clip.frames))
        share = max(1, total // (4 if both.last or both.copies else 2))
        context = min(share if asked.context is None else asked.context, total)
        closing = (min(share, total) if asked.closing is None else asked.closing) if both.last else 0
        frames = clip.frames[:total] if asked.size is None else fit_to(clip.frames[:total], asked.size)
        cut = replace(
            clip,
            frames=frames,
            actions=None if clip.actions is None else clip.actions[: total - 1],
            poses=None if clip.poses is None else clip.poses[:total],
        )
        made.append(Scene.of(cut, context, closing))
    return made, clips[0].fps


def _check(model: ZooModel, scene: Scene) -> None:
    """Everything that can be known before a frame is made."""
    layout, _ = model.check(scene)
    given = layout.first + layout.last
    if given >= scene.frames:
        raise BadValue(f"frames={scene.frames} are no more than the {given} that are given: ask for more frames.")
    height, width = scene.size or np.asarray(scene.context).shape[1:3]
    taken = fitting.fit(model.tokenizer, (scene.frames, height, width), pad=True)
    if taken.padded and not model.recipe.sample.pad:
        frames, high, wide = taken.taken
        raise BadValue(
            f"the run's tokenizer does not take {scene.frames} frames of {width}x{height} (width x height): ask for "
            f"frames={frames} size={wide}x{high}, or set sample.pad=true, which pads and crops back."
        )
