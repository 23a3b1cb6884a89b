"""``zoo frames rollout=NAME``: which frames each step of a rollout makes, and which it looks at. Nothing is generated.

rollout=NAME [rollout.OPTION=…]   the planner and its options (see `zoo list rollout`)
frames=500 observed=36            latent frames of the video, and how many are given
window=20 step=10                 most frames of one step, and most frames it makes
seed=0                            for planners that draw frames
lap=100                           planners that look at poses, or at what frames show, are given a stand-in: a walk
                                  round a circle of so many frames, on which a frame shows its place and heading
format=table|json|png             a line a step; [{"observed": […], "latent": […]}, …], with "levels" where a step is
                                  one network call that leaves frames at these noise levels; a picture
out=frames.png                    where the picture goes
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from zoo import registry
from zoo.component import Config
from zoo.errors import BadValue, UnknownName, UserError, nearest
from zoo.overrides import plain_value, split
from zoo.validation import validated

if TYPE_CHECKING:
    import numpy as np

    from components.contracts import Features, Step

MISSING, FINISHED, SEEN, NOISY, HALF_CLEAN, NEARLY_CLEAN, MADE = range(7)
MARKS = " ·○░▒▓▮"
PLAIN_MARKS = " .o-+*#"
STYLES = ("", "dim", "yellow", "green", "green", "green", "bold green")
COLOURS = (
    (255, 255, 255),
    (214, 219, 226),
    (232, 150, 30),
    (205, 226, 214),
    (147, 190, 168),
    (89, 155, 124),
    (30, 120, 80),
)
WORDS = ("not made yet", "finished", "looked at", "mostly noise", "half clean", "nearly clean", "made")
WHOLE = (MISSING, FINISHED, SEEN, MADE)
"""The states of frames where every step makes its frames from noise to clean."""
MAX_PIXELS = 50_000_000

STANDS_FOR = {"poses": "the camera poses", "features": "what frames show"}
"""What a planner may need → what the demonstration tour takes the place of."""


class Request(Config):
    """The command's own options."""

    frames: int = Field(500, ge=1, le=100_000)
    observed: int = Field(36, ge=0)
    window: int = Field(20, ge=1)
    step: int = Field(10, ge=1)
    seed: int = 0
    lap: int = Field(100, ge=2)
    format: Literal["table", "json", "png"] = "table"
    out: str = "frames.png"


def main(arguments: list[str]) -> int:
    """Draw the plan as a table, JSON or a picture. Raises UserErrors for unknown keys and impossible requests."""
    name, options, request = read(arguments)
    steps = list(plan(name, options, request))
    if request.format == "json":
        print(as_json(steps))
    elif request.format == "png":
        print(save_picture(steps, request, _title(name, options, request)))
    else:
        _print_table(steps, request, _title(name, options, request))
    return 0


def read(arguments: list[str]) -> tuple[str, dict[str, Any], Request]:
    """The rollout's name, its options and the request. Raises UnknownName and BadValue."""
    given = {key: plain_value(raw, key) for key, raw in split(arguments)}
    own = ["rollout", *Request.model_fields]
    for key in given:
        if key not in own and not key.startswith("rollout."):
            raise UnknownName(f"frames has no option '{key}'.{nearest(key, own)}")
    if "rollout" not in given:
        raise BadValue(
            f"frames needs a rollout: write rollout=NAME with one of {', '.join(registry.names('rollout'))}."
        )
    name = str(given.pop("rollout"))
    options = {key[len("rollout.") :]: given.pop(key) for key in list(given) if key.startswith("rollout.")}
    needs = registry.card("rollout", name).needs
    registry.check_options("rollout", name, options)
    if "out" in given:
        given = {"format": "png", **given, "out": str(given["out"])}
    request = validated(Request, given, "")
    if "out" in given and request.format != "png":
        raise BadValue(f"out= is where the picture goes, and format={request.format} makes none. Say format=png.")
    if "lap" in given and not needs & STANDS_FOR.keys():
        raise BadValue(
            f"lap= is for rollouts that look at poses or at what frames show, and {name} does not. Leave it out."
        )
    return name, options, request


def plan(name: str, options: dict[str, Any], request: Request) -> Iterator[Step]:
    """The steps; a rollout that needs poses or features is given those of the demonstration tour."""
    needs = registry.card("rollout", name).needs
    return registry.build("rollout", name, options).plan(
        frames=request.frames,
        observed=request.observed,
        window=request.window,
        step=request.step,
        seed=request.seed,
        poses=demo_tour(request.frames, request.lap) if "poses" in needs else None,
        features=demo_features(request.frames, request.lap) if "features" in needs else None,
    )


def demo_tour(frames: int, lap: int) -> np.ndarray:
    """Poses [frames, 4] of a walk round a circle, `lap` frames a round, a quarter of a cell a frame, facing ahead."""
    import numpy as np

    turn = 2 * np.pi * (np.arange(frames) % lap) / lap
    radius = 0.25 * lap / (2 * np.pi)
    return np.stack([radius * np.cos(turn), radius * np.sin(turn), 0 * turn, turn + np.pi / 2], axis=1)


def demo_features(frames: int, lap: int) -> Features:
    """What frames of `demo_tour` show, in place of what a model would make: five numbers, of place and heading."""
    from components.frame_choice import pose_features

    shown_f5 = pose_features(demo_tour(frames, lap))
    return lambda indices: shown_f5[list(indices)]


def states(steps: list[Step], request: Request) -> Iterator[bytearray]:
    """Per step, the state of every frame, MISSING … MADE; frames that a step leaves noisy are not MADE yet."""
    given = min(request.observed, request.frames)
    now = bytearray([FINISHED]) * given + bytearray([MISSING]) * (request.frames - given)
    for step in steps:
        row = bytearray(now)
        for frame in step.observed:
            row[frame] = SEEN
        for frame, level in zip(step.latent, _levels(step), strict=True):
            row[frame] = MADE - math.ceil(3 * level)
            now[frame] = MISSING if level else FINISHED
        yield row


def _levels(step: Step) -> tuple[float, ...]:
    """The noise level at which the step leaves each of its latent frames; 0 is clean."""
    return (0.0,) * len(step.latent) if step.levels is None else step.levels


def squeezed(row: bytearray, width: int) -> list[int]:
    """A row of at most `width` columns; of the frames in a column, made shows before seen, seen before finished."""
    width = min(width, len(row))
    edges = [i * len(row) // width for i in range(width + 1)]
    return [max(row[a:b]) for a, b in pairwise(edges)]


def as_json(steps: list[Step]) -> str:
    """A list of objects, a step a line; the key `levels` is there only where a step has noise levels."""
    parts = ("observed", "latent", "levels")
    objects = ({part: getattr(step, part) for part in parts if getattr(step, part) is not None} for step in steps)
    return "[" + ",\n ".join(map(json.dumps, objects)) + "]"


def _title(name: str, options: dict[str, Any], request: Request) -> str:
    chosen = " ".join([name, *(f"{key}={value}" for key, value in options.items())])
    title = (
        f"{chosen}: {request.frames} frames, {min(request.observed, request.frames)} given, "
        f"window {request.window}, step {request.step}"
    )
    for need in sorted(registry.card("rollout", name).needs & STANDS_FOR.keys()):
        title += f"\na walk round a circle, {request.lap} frames a round, stands in for {STANDS_FOR[need]}"
    return title


def _print_table(steps: list[Step], request: Request, title: str) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    try:
        MARKS.encode(sys.stdout.encoding or "ascii")
        marks = MARKS
    except UnicodeEncodeError:
        marks = PLAIN_MARKS
    digits = len(str(len(steps)))
    counts = [f"{len(step.observed)}>{len(step.latent)}{_span(step)}" for step in steps]
    tail = max(map(len, counts), default=0)
    width = min(request.frames, max(10, console.width - digits - tail - 4))
    rolls = any(step.levels is not None for step in steps)
    legend = [Text(f"{marks[state]} {WORDS[state]}", STYLES[state]) for state in _shown(steps)[:0:-1]]
    example = "3>2 0-0.5 looks at 3, takes 2 to noise levels of 0 to 0.5" if rolls else "3>2 looks at 3, makes 2"
    console.print(Text(title, style="bold"))
    console.print(Text("   ").join([*legend, Text(example, "dim")]))
    console.print(" " * (digits + 2) + "0" + str(request.frames - 1).rjust(width - 1), style="dim")
    for i, (row, count) in enumerate(zip(states(steps, request), counts, strict=True)):
        line = Text(f"{i:>{digits}}  ", style="dim")
        for state in squeezed(row, width):
            line.append(marks[state], STYLES[state])
        console.print(line.append(f"  {count:>{tail}}", "dim"))
    total = sum(_levels(step).count(0) for step in steps)
    number = f"{len(steps)} steps of one network call" if rolls else f"{len(steps)} steps"
    console.print(f"{number} make {total} frames." if steps else "Nothing to make: every frame is given.")


def _span(step: Step) -> str:
    """Lowest and highest noise level at which a step leaves its frames; empty where it makes them whole."""
    if step.levels is None:
        return ""
    return " " + "-".join(f"{level:.2g}" for level in dict.fromkeys((min(step.levels), max(step.levels))))


def _shown(steps: list[Step]) -> tuple[int, ...]:
    """The states that a picture of the plan may have, in order."""
    return tuple(range(len(WORDS))) if any(step.levels is not None for step in steps) else WHOLE


def save_picture(steps: list[Step], request: Request, title: str) -> Path:
    """A PNG, a row a step and a column a frame, written whole or not at all. Raises UserError where it cannot be."""
    from PIL import Image, ImageDraw

    if request.frames * len(steps) > MAX_PIXELS:
        raise BadValue(f"a picture of {len(steps)} steps by {request.frames} frames is too large. Use format=json.")
    wide = max(1, 1000 // request.frames)
    tall = max(1, min(12, 1200 // max(1, len(steps))))
    left, top = 8, 44 + 16 * title.count("\n")
    size = (max(request.frames * wide, 140 * len(_shown(steps))) + 2 * left, len(steps) * tall + top + left)
    picture = Image.new("RGB", size, (244, 245, 247))
    draw = ImageDraw.Draw(picture)
    draw.text((left, 6), title, fill=(20, 20, 20))
    for i, state in enumerate(_shown(steps)):
        x, y = left + 130 * i, top - 19
        draw.rectangle((x, y, x + 10, y + 10), fill=COLOURS[state], outline=(150, 150, 150))
        draw.text((x + 16, y - 1), WORDS[state], fill=(20, 20, 20))
    if steps:
        rows = b"".join(bytes(row) for row in states(steps, request))
        grid = Image.frombytes("P", (request.frames, len(steps)), rows)
        grid.putpalette([channel for colour in COLOURS for channel in colour])
        grid = grid.convert("RGB").resize((request.frames * wide, len(steps) * tall), Image.Resampling.NEAREST)
        picture.paste(grid, (left, top))
    path = Path(request.out)
    part = path.with_name(f".{path.name}.part")
    try:
        picture.save(part, format="PNG")
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise UserError(f"{path} cannot be written ({error.strerror or error}). Give out= a writable folder.") from None
    return path
