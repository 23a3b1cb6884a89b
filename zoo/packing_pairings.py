"""Which parts go with columns that training drops, and whether a row holds a clip; see zoo/pairings.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zoo import compose, registry
from zoo.errors import UnmetNeed
from zoo.stages.row_filling import window_tokens

if TYPE_CHECKING:
    from zoo.recipe import Recipe

DROPPING = "dropping"


def check(recipe: Recipe) -> None:
    """From cards alone: who can do without some columns of a frame. Raises UnmetNeed with the cure."""
    drop = getattr(_options(recipe, "packing"), "drop", 0)
    if not drop:
        return
    backbone = recipe.part("backbone").name
    if DROPPING not in registry.card("backbone", backbone).gives:
        raise UnmetNeed(
            f"packing.drop={drop} leaves places of a frame out of training, and backbone '{backbone}' needs whole "
            "frames: set packing.drop=0, or choose backbone=video_dit."
        )
    if compose.predicts_tokens(recipe):
        raise UnmetNeed(
            f"packing.drop={drop} leaves places of a frame out of training, and objective "
            f"'{recipe.part('objective').name}' predicts every token of it: set packing.drop=0, or choose a diffusion "
            "objective (objective=flow_matching)."
        )


def check_budget(recipe: Recipe, tokenizer: Any) -> None:
    """A row must hold the longest window, where the data set's options tell its size; raises BadValue otherwise.

    What they do not tell is seen when batches are made, from the clips themselves.
    """
    data = _options(recipe, "dataset")
    frames, size = getattr(data, "frames", None), getattr(data, "size", None)
    sizes: Any = getattr(data, "sizes", None) or (size and [size])
    if not getattr(_options(recipe, "packing"), "budget", 0) or not frames or not sizes:
        return
    length = min(recipe.train.generator.window, tokenizer.latent_frames(frames))
    pairs = [(size, size) if isinstance(size, int) else tuple(size) for size in sizes]
    factor = tokenizer.spatial_factor
    shapes = [(length, height // factor, width // factor) for height, width in pairs]
    packing = compose.build("packing", recipe.part("packing"))
    packing.fill([max(window_tokens(shapes, packing, _grain(recipe, tokenizer)))])


def _grain(recipe: Recipe, tokenizer: Any) -> tuple[int, int, int]:
    """Of the backbone, built without storage."""
    from zoo.weightless import weightless

    text_width = compose.build("text_encoder", recipe.part("text_encoder")).width
    actions = registry.load("dataset", recipe.part("dataset").name).action_dim
    with weightless():
        return compose.build_network(recipe, compose.sizes(recipe, tokenizer, actions), text_width).grain


def _options(recipe: Recipe, axis: str) -> Any:
    part = recipe.part(axis)
    return registry.config(axis, part.name, part.options)
