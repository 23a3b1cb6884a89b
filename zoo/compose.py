"""Recipe → modules: the only place where components meet. Read top to bottom, it explains the whole system.

`check` looks at cards alone (no torch) and refuses parts that do not go together; the `build_*` functions make the
parts. Shapes that follow from other parts (latent channels, action size, text width) are derived here and never
written in a recipe.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo import registry
from zoo.errors import UnmetNeed

if TYPE_CHECKING:
    from components.contracts import Dataset
    from zoo.recipe import Part, Recipe

GENERATOR_AXES = (
    "packing",
    "position",
    "pose_encoding",
    "attention",
    "conditioning",
    "text_encoder",
    "backbone",
    "objective",
    "noise",
    "task",
)
"""Axes that shape the trained generator."""
SAMPLING_AXES = ("solver", "guidance", "rollout")
"""Axes that only sampling reads: sweep points that differ in these alone share one trained generator."""

SAMPLING_SECTIONS = ("sample", "suite", "name", "description", "point")


def training_part(recipe: Recipe) -> dict[str, Any]:
    """All of a recipe but what sampling and judging alone read."""
    left_out = (*SAMPLING_AXES, *SAMPLING_SECTIONS)
    return {key: value for key, value in recipe.to_dict().items() if key not in left_out}


CURES = {
    "poses": "choose a data set with camera poses (dataset=maze) or drop the part (pose_encoding=none)",
    "actions": "choose a data set with actions (dataset=maze)",
    "captions": "choose a captioned data set (dataset=moving_shapes, or a manifest) or text_encoder=none",
}


def check(recipe: Recipe, suite: Any) -> None:
    """Refuse pairings that cannot work, from cards alone, before anything is built. Raises UnmetNeed with the cure."""
    judged_on = recipe.part("dataset") if suite.dataset is None else suite.dataset
    for dataset in {recipe.part("dataset").name, judged_on.name}:
        given = registry.card("dataset", dataset).gives
        for axis in (*GENERATOR_AXES, *SAMPLING_AXES):
            _meet(axis, recipe.part(axis).name, given, dataset)
    given = registry.card("dataset", judged_on.name).gives
    for metric in suite.metrics:
        _meet("metric", metric.name, given, judged_on.name)
    for control in suite.controls:
        _meet("control", control.name, given, judged_on.name)
    _check_window(recipe)


def _meet(axis: str, name: str, given: frozenset[str], dataset: str) -> None:
    for need in sorted(registry.card(axis, name).needs & CURES.keys()):
        if need not in given:
            raise UnmetNeed(f"{axis} '{name}' needs {need}, which data set '{dataset}' does not give: {CURES[need]}.")


def _check_window(recipe: Recipe) -> None:
    trained, asked = recipe.train.generator.window, recipe.sample.window
    if asked > trained:
        raise UnmetNeed(
            f"sample.window={asked} is larger than the window the generator is trained on "
            f"(train.generator.window={trained}): lower the one or raise the other."
        )
    if recipe.sample.step > asked:
        raise UnmetNeed(f"sample.step={recipe.sample.step} is larger than sample.window={asked}: lower sample.step.")


def check_built(recipe: Recipe, suite: Any) -> None:
    """What cards cannot say: guidance against dropouts, the mask mix and the length against the task."""
    check_guidance(recipe, build("guidance", recipe.part("guidance")))
    window = recipe.train.generator.window
    poses = np.zeros((4 * window, 4), np.float32)
    given = poses if "poses" in registry.card("dataset", recipe.part("dataset").name).gives else None
    task = build("task", recipe.part("task"))
    task.draw(
        frames=len(poses), window=window, masks=recipe.train.generator.masks, rng=np.random.default_rng(0), poses=given
    )
    tokenizer, sample = build("tokenizer", recipe.part("tokenizer")), recipe.sample
    latents = tokenizer.latent_frames(suite.frames)
    if task.context(suite.frames) == 0 and latents > min(sample.window, sample.step):
        raise UnmetNeed(
            f"task '{recipe.part('task').name}' never learns to continue a video, so all {latents} latent "
            f"frames must be made in one step: lower suite.frames, or raise sample.window and sample.step to {latents}."
        )


def check_guidance(recipe: Recipe, guidance: Any) -> None:
    """Guidance compares with a model that was not told something: training must have dropped it now and then."""
    for dropout in sorted(guidance.dropouts):
        if getattr(recipe.train.generator, dropout) == 0:
            raise UnmetNeed(
                f"guidance '{recipe.part('guidance').name}' needs a generator trained with dropout: "
                f"set train.generator.{dropout}=0.1, or guidance=none."
            )


def build(axis: str, part: Part, **runtime: Any) -> Any:
    """One part of a recipe, by name."""
    return registry.build(axis, part.name, part.options, **runtime)


def build_dataset(part: Part, reader: Part) -> Dataset:
    """The data set, with a reader only where it opens files: a procedural world runs where no reader has wheels."""
    return build("dataset", part, reader=build("reader", reader) if opens_files(part) else None)


def opens_files(dataset: Part) -> bool:
    """Whether a data set needs a reader; a procedural one does not."""
    return "reader" in registry.card("dataset", dataset.name).needs


@dataclass(frozen=True)
class Sizes:
    """What the generator must know of the other parts."""

    channels: int
    """Latent channels."""
    action_dim: int
    """0 where the recipe or the data set has no actions."""


def build_network(recipe: Recipe, sizes: Sizes, text_width: int) -> Any:
    """The backbone with its parts inside: packing, position, pose encoding, attention, conditioning."""

    def factory(axis: str) -> Any:
        part = recipe.part(axis)
        return partial(registry.build, axis, part.name, part.options)

    return build(
        "backbone",
        recipe.part("backbone"),
        channels=sizes.channels,
        action_dim=sizes.action_dim,
        text_width=text_width,
        packing=build("packing", recipe.part("packing")),
        attention=build("attention", recipe.part("attention")),
        position=factory("position"),
        pose_encoding=factory("pose_encoding"),
        conditioning=factory("conditioning"),
    )


@dataclass
class Generator:
    """Stage 2: what is trained on latents. `network` and `text_encoder` are modules; the rest holds no weights."""

    network: Any
    text_encoder: Any
    objective: Any
    noise: Any
    task: Any
    sizes: Sizes


def build_generator(recipe: Recipe, sizes: Sizes) -> Generator:
    """Network, text encoder, objective, noise and task of a recipe."""
    text_encoder = build("text_encoder", recipe.part("text_encoder"))
    return Generator(
        network=build_network(recipe, sizes, text_encoder.width),
        text_encoder=text_encoder,
        objective=build("objective", recipe.part("objective")),
        noise=build("noise", recipe.part("noise")),
        task=build("task", recipe.part("task")),
        sizes=sizes,
    )
