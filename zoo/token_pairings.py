"""Which parts go with discrete tokens and with a discrete tokenizer, and why others do not; see zoo/pairings.py."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from zoo import compose, registry
from zoo.errors import UnmetNeed
from zoo.progress import say

if TYPE_CHECKING:
    from zoo.recipe import Recipe

TOKENS, RASTER = "tokens", "raster"
LEVELS = "levels_per_frame"


def _name(recipe: Recipe) -> str:
    return f"objective '{recipe.part('objective').name}'"


def check(recipe: Recipe) -> None:
    """From cards alone: solver, noise, backbone and training settings. Raises UnmetNeed with the cure."""
    solver = recipe.part("solver").name
    alone = TOKENS in registry.card("solver", solver).needs
    if not compose.predicts_tokens(recipe):
        if alone:
            raise UnmetNeed(
                f"solver '{solver}' is for objectives that decode tokens, and {_name(recipe)} walks from noise to "
                "data: choose solver=euler or another, or a token objective."
            )
        return
    if not alone:
        _say_once(f"{_name(recipe)} decodes its tokens itself: solver '{solver}' and its options do not apply.")
    _check_network(recipe)
    training = recipe.train.generator
    if training.history_noise > 0:
        raise UnmetNeed(
            f"{_name(recipe)} has no noise, and train.generator.history_noise={training.history_noise} puts noise on "
            "observed frames: set it to 0, or choose a "
            "diffusion objective."
        )
    if training.latent != "quantised":
        raise UnmetNeed(
            f"{_name(recipe)} predicts codes, and train.generator.latent={training.latent} is what they were chosen "
            "for: set it to quantised, or choose a diffusion objective."
        )
    check_sampling(recipe)


def _check_network(recipe: Recipe) -> None:
    """Tokens are patches of their own; raster order needs a backbone whose rows keep it, and has no use for levels."""
    backbone, objective = recipe.part("backbone"), recipe.part("objective").name
    patch = backbone.options.get("patch")
    if patch is not None and list(patch) != [1, 1, 1]:
        raise UnmetNeed(
            f"{_name(recipe)} predicts every token of a frame, so a patch is one token, and backbone.patch={patch} "
            "joins several: leave backbone.patch out, or set it to [1, 1, 1]."
        )
    if RASTER not in registry.card("objective", objective).needs:
        return
    if RASTER not in registry.card("backbone", backbone.name).gives:
        raise UnmetNeed(
            f"{_name(recipe)} makes a frame token by token, and backbone '{backbone.name}' mixes the positions of a "
            "frame outside attention, so a token would see those after it: choose backbone=video_dit, or "
            "objective=maskgit."
        )
    noise = recipe.part("noise").name
    if LEVELS in registry.card("noise", noise).gives:
        raise UnmetNeed(
            f"{_name(recipe)} learns from every token of a window at once, so the levels that noise '{noise}' draws "
            "play no part: choose noise=shared."
        )


def check_sampling(recipe: Recipe, trained: Recipe | None = None) -> None:
    """What sampling asks of a token objective; of the one that was `trained`, where that is another recipe."""
    trained = trained or recipe
    if not compose.predicts_tokens(trained):
        return
    rollout = recipe.part("rollout").name
    if LEVELS in registry.card("rollout", rollout).needs:
        raise UnmetNeed(
            f"rollout '{rollout}' leaves frames at different noise levels, and {_name(trained)} has none: choose "
            "another rollout, or a diffusion objective with noise=per_frame."
        )
    if recipe.sample.stabilisation > 0:
        raise UnmetNeed(
            f"sample.stabilisation={recipe.sample.stabilisation} shows observed frames with noise, and "
            f"{_name(trained)} knows tokens alone: set it to 0."
        )


def check_guidance(recipe: Recipe, guidance: Any) -> None:
    """History that is shown partly noised has no counterpart in tokens."""
    if compose.predicts_tokens(recipe) and "history_noise" in guidance.dropouts:
        raise UnmetNeed(
            f"{_name(recipe)} has no noise to show history with, as guidance.levels asks: leave the levels at 0, or "
            "choose a diffusion objective."
        )


def check_tokenizer(recipe: Recipe, tokenizer: Any) -> None:
    """Tokens need a codebook, and so does a choice between codes and what they were chosen for."""
    if tokenizer.kind == "discrete":
        return
    name = recipe.part("tokenizer").name
    if compose.predicts_tokens(recipe):
        raise UnmetNeed(
            f"{_name(recipe)} needs a discrete tokenizer, and '{name}' as it is set has no codebook: choose "
            f"{_discrete()}; or keep '{name}' and choose a diffusion objective (objective=flow_matching)."
        )
    if recipe.train.generator.latent == "unquantised":
        raise UnmetNeed(
            f"train.generator.latent=unquantised is a choice for discrete tokenizers, and '{name}' as it is set has "
            f"no quantiser: leave it out, or choose {_discrete()}."
        )


def _discrete() -> str:
    """The tokenizers that have or take a quantiser, as one would write them."""
    from zoo.recipe import Part

    said = []
    for name in registry.names("tokenizer"):
        if "quantizer" in registry.option_names("tokenizer", name):
            by_default = compose.quantizer_part(Part(name=name, options={})) is not None
            said.append(f"tokenizer={name}" if by_default else f"tokenizer={{name: {name}, quantizer: vq}}")
    return ", ".join(said[:-1]) + " or " + said[-1] if len(said) > 1 else "".join(said)


@cache
def _say_once(text: str) -> None:
    """However many points a sweep has."""
    say(text)
