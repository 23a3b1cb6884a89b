"""Which parts go together: refuses, before anything is trained, what cannot work, with the cure.

`check` looks at cards alone (no torch); `check_built` asks the parts themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zoo import captioning, compose, packing_pairings, registry, task_pairings, token_pairings
from zoo.errors import BadValue, UnknownName, UnmetNeed, UserError, nearest

if TYPE_CHECKING:
    from zoo.recipe import Recipe

LEVELS = "levels_per_frame"
SECOND = "second_call"
CURES = {
    "poses": "choose a data set with camera poses (dataset=maze) or drop the part (pose_encoding=none)",
    "actions": "choose a data set with actions (dataset=maze)",
    "captions": "choose a captioned data set (dataset=moving_shapes, or a manifest) or text_encoder=none",
}


def check(recipe: Recipe, suite: Any) -> None:
    """Refuse pairings that cannot work, from cards alone, before anything is built. Raises UnmetNeed with the cure."""
    if suite.judges == "tokenizer":
        _check_quantizer(recipe)
        return  # clips go there and back: no window, task, rollout or signal has a part in it
    if suite.judges == "packing" and compose.predicts_tokens(recipe):
        raise UnmetNeed(
            f"suite '{suite.name}' gives the network latents, and objective '{recipe.part('objective').name}' takes "
            "tokens: choose another objective, such as flow_matching."
        )
    judged_on = recipe.part("dataset") if suite.dataset is None else suite.dataset
    for dataset in {recipe.part("dataset").name, judged_on.name}:
        given = registry.card("dataset", dataset).gives
        for axis in (*compose.GENERATOR_AXES, *compose.SAMPLING_AXES):
            _meet(axis, recipe.part(axis).name, given, dataset)
    given = registry.card("dataset", judged_on.name).gives
    for metric in suite.metrics:
        _meet("metric", metric.name, given, judged_on.name)
    for control in suite.controls:
        _meet("control", control.name, given, judged_on.name)
    token_pairings.check(recipe)
    packing_pairings.check(recipe)
    captioning.check(recipe)
    check_noise(recipe)
    _check_patch(recipe)
    _check_window(recipe)
    _check_quantizer(recipe)


def _check_quantizer(recipe: Recipe) -> None:
    """A quantiser is named inside the tokenizer's options: it must exist and know the options given to it."""
    choice = recipe.part("tokenizer").options.get("quantizer", "none")
    options = {"name": choice} if isinstance(choice, str) else dict(choice) if isinstance(choice, dict) else {}
    name = options.pop("name", None)
    known = ["none", *registry.names("quantizer")]
    if name not in known:
        raise UnknownName(f"no quantizer is named '{name}'.{nearest(str(name), known)}")
    if name != "none":
        registry.check_options("quantizer", name, options)


def check_noise(recipe: Recipe, trained: Recipe | None = None) -> None:
    """Frames at different noise levels need a network trained on such windows, and a solver that asks once a step."""
    rollout, noise = recipe.part("rollout").name, (trained or recipe).part("noise").name
    if LEVELS in registry.card("rollout", rollout).needs and LEVELS not in registry.card("noise", noise).gives:
        raise UnmetNeed(
            f"rollout '{rollout}' holds frames at different noise levels, and noise '{noise}' trains on windows that "
            "share one: train with noise=per_frame, or choose another rollout."
        )
    solver = recipe.part("solver").name
    if LEVELS in registry.card("rollout", rollout).needs and SECOND in registry.card("solver", solver).needs:
        raise UnmetNeed(
            f"solver '{solver}' asks the network twice a step, and rollout '{rollout}' moves all frames of its window "
            "one level on with a single call: choose solver=euler, or another rollout."
        )


def check_token_sampling(recipe: Recipe, trained: Recipe) -> None:
    """What sampling by a recipe asks of the token objective that was trained, if it was one."""
    token_pairings.check_sampling(recipe, trained)


def _meet(axis: str, name: str, given: frozenset[str], dataset: str) -> None:
    for need in sorted(registry.card(axis, name).needs & CURES.keys()):
        if need not in given:
            raise UnmetNeed(f"{axis} '{name}' needs {need}, which data set '{dataset}' does not give: {CURES[need]}.")


def _check_patch(recipe: Recipe) -> None:
    """Frames of one patch are noised and seen together, so they share one level."""
    patch, noise = recipe.part("backbone").options.get("patch"), recipe.part("noise").name
    if not isinstance(patch, (list, tuple)) or len(patch) != 3 or not isinstance(patch[0], int) or patch[0] <= 1:
        return
    rollout = recipe.part("rollout").name
    needs_levels = LEVELS in registry.card("rollout", rollout).needs
    if needs_levels or LEVELS in registry.card("noise", noise).gives:
        axis, name = ("rollout", rollout) if needs_levels else ("noise", noise)
        raise UnmetNeed(
            f"{axis} '{name}' puts every frame at a level of its own, and backbone.patch={list(patch)} joins "
            f"{patch[0]} frames, which share one: choose a patch of one frame (backbone.patch=[1,2,2]), or "
            + ("another rollout." if needs_levels else "noise=shared.")
        )


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
    if suite.judges != "generator":
        return  # zoo/reconstruction.py and zoo/packing_trial.py ask the parts about the clips themselves
    tokenizer = compose.build_tokenizer(recipe.part("tokenizer"))
    token_pairings.check_tokenizer(recipe, tokenizer)
    _check_network(recipe, tokenizer)
    packing_pairings.check_budget(recipe, tokenizer)
    check_guidance(recipe, compose.build("guidance", recipe.part("guidance")))
    task_pairings.check_built(recipe, suite, tokenizer)


def _check_network(recipe: Recipe, tokenizer: Any) -> None:
    """Build the network without storage: parts inside it may refuse its sizes, such as a head's channels."""
    from zoo.weightless import weightless

    # With the run's own sizes where they are known by now, so that a budget is solved once and not again for these.
    actions = registry.load("dataset", recipe.part("dataset").name).action_dim
    try:
        with weightless():
            compose.build_network(recipe, compose.sizes(recipe, tokenizer, actions), 0)
    except UserError:
        raise
    except ValueError as error:
        raise BadValue(f"the network cannot be built: {str(error).rstrip('.')}.") from None


def check_guidance(recipe: Recipe, guidance: Any) -> None:
    """Guidance compares with a model that was not told something: training must have dropped it now and then."""
    token_pairings.check_guidance(recipe, guidance)
    for dropout in sorted(guidance.dropouts):
        if getattr(recipe.train.generator, dropout) == 0:
            raise UnmetNeed(
                f"guidance '{recipe.part('guidance').name}' needs a generator trained with dropout: "
                f"set train.generator.{dropout}=0.1, or guidance=none."
            )
