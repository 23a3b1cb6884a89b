"""What a task asks of the run that is to do it: masks that taught it, given frames, a plan that can be made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from components import given_ends
from components.contracts import Layout
from components.training_masks import NOTHING_GIVEN, taught
from zoo import compose, registry
from zoo.errors import UnmetNeed
from zoo.scene import Places, places

if TYPE_CHECKING:
    from zoo.recipe import Recipe


def check_built(recipe: Recipe, suite: Any, tokenizer: Any) -> None:
    """Refuse a mask mix that cannot be drawn, or never teaches what the suite asks, and lengths without a plan."""
    settings = recipe.train.generator
    given = np.zeros((4 * settings.window, 4), np.float32)
    poses = given if "poses" in registry.card("dataset", recipe.part("dataset").name).gives else None
    rng = np.random.default_rng(0)
    own = compose.build("task", recipe.part("task"))
    own.draw(frames=len(given), window=settings.window, masks=settings.masks, rng=rng, poses=poses)
    name, task = asked(recipe, suite)
    layout, found = of_suite(task, suite, tokenizer)
    check_task(name, task, layout, found, trained=recipe, recipe=recipe, cure="suite.closing=4 or suite.context=4")
    _check_plan(recipe, found)


def asked(recipe: Recipe, suite: Any) -> tuple[str, Any]:
    """Name and task that a suite asks of a recipe."""
    if suite.task is None or suite.task == recipe.part("task").name:
        return recipe.part("task").name, compose.build("task", recipe.part("task"))
    return suite.task, registry.build("task", suite.task)


def of_suite(task: Any, suite: Any, tokenizer: Any) -> tuple[Layout, Places]:
    """Where the frames that a suite gives lie."""
    layout = task.layout(suite.context, suite.closing)
    return layout, places(tokenizer, suite.frames, layout)


def check_task(
    name: str,
    task: Any,
    layout: Layout,
    found: Places,
    *,
    trained: Recipe,
    recipe: Recipe,
    cure: str = "first=, last= or image=FILE",
) -> None:
    """A run must have been shown what a task asks of it. Raises UnmetNeed with the masks that teach it.

    Args:
        trained: the recipe that the run was trained by; `recipe`: the one that it samples by.
        cure: how the user gives frames.
    """
    for end, count in (("first", layout.first), ("last", layout.last)):
        if end in task.needs and not count:
            raise UnmetNeed(f"task '{name}' needs frames at the {end} end of the video, and none are given: {cure}.")
    nothing = not (layout.first or layout.last)
    by = NOTHING_GIVEN if nothing else task.taught_by
    if not _taught(trained, by):
        what = f"task '{name}'" if not nothing else "to make a video from no frame at all"
        raise UnmetNeed(
            f"this run never learned {what}: its masks are {_masks(trained)}; train one with "
            f"train.generator.masks={{{by[0]}: 1.0}}{_others(by)}."
        )
    most = min(recipe.sample.window, recipe.sample.step)
    if found.missing > most and not goes_on(task, trained):
        raise UnmetNeed(
            f"this run never learns to continue a video, so all {found.missing} latent frames that are missing must be "
            f"made in one step: ask for fewer frames, raise sample.window and sample.step to {found.missing}, or train "
            f"one with train.generator.masks={{{by[0]}: 1.0, {task.continued_by[0]}: 1.0}}."
        )


def goes_on(task: Any, trained: Recipe) -> bool:
    """Whether a run may make more frames for a task than one plan step makes."""
    return _taught(trained, task.continued_by)


def _taught(trained: Recipe, by: tuple[str, ...]) -> bool:
    settings = trained.train.generator
    own = compose.build("task", trained.part("task")).own_masks
    return taught(settings.masks, own, by, history_dropout=settings.history_dropout)


def _masks(trained: Recipe) -> str:
    mix = trained.train.generator.masks or compose.build("task", trained.part("task")).own_masks
    return "{" + ", ".join(f"{name}: {weight:g}" for name, weight in mix.items() if weight > 0) + "}"


def _others(by: tuple[str, ...]) -> str:
    return f" ({', '.join(by[1:])} teach it, too)" if by[1:] else ""


def _check_plan(recipe: Recipe, found: Places) -> None:
    """Ask the rollout for its first step on the suite's sizes: it refuses what it cannot plan."""
    plan = given_ends.planned(
        compose.build("rollout", recipe.part("rollout")),
        frames=found.total,
        observed=found.observed,
        closing=found.closing,
        window=recipe.sample.window,
        step=recipe.sample.step,
        poses=np.zeros((found.total, 4), np.float32),
        features=lambda frames: np.zeros((len(frames), 1)),
    )
    next(plan, None)
