"""Recipe → modules: the only place where components meet. Read top to bottom, it explains the whole system.

Shapes that follow from other parts (latent channels, action size, text width) are derived here and never written in a
recipe. Which parts go together is said in zoo/pairings.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from zoo import model_size, registry

if TYPE_CHECKING:
    from components.contracts import Dataset
    from zoo.latent_form import LatentForm
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
BACKBONE_AXES = ("packing", "position", "pose_encoding", "attention", "conditioning")
"""Axes whose parts are inside the backbone, and count as parameters of it."""
SAMPLING_AXES = ("solver", "guidance", "rollout")
"""Axes that only sampling reads: sweep points that differ in these alone share one trained generator."""

SAMPLING_SECTIONS = ("sample", "suite", "name", "description", "point")


def training_part(recipe: Recipe) -> dict[str, Any]:
    """All of a recipe but what sampling and judging alone read."""
    left_out = (*SAMPLING_AXES, *SAMPLING_SECTIONS)
    kept = {key: value for key, value in recipe.to_dict().items() if key not in left_out}
    if isinstance(kept["objective"], dict):
        kept["objective"] = {k: v for k, v in kept["objective"].items() if k not in decoding_options(recipe)}
    return kept


def decoding_options(recipe: Recipe) -> dict[str, Any]:
    """The options of a token objective that only its decoding reads, with their values; sampling keys, all of them."""
    part = recipe.part("objective")
    names = getattr(registry.load("objective", part.name), "sampling_options", ())
    config = registry.config("objective", part.name, part.options)
    return {name: getattr(config, name) for name in sorted(names)}


def predicts_tokens(recipe: Recipe) -> bool:
    """Whether the objective works on the indices of a discrete tokenizer."""
    return "tokens" in registry.card("objective", recipe.part("objective").name).gives


def latent_form(recipe: Recipe, tokenizer: Any) -> LatentForm:
    """What the generator of a recipe sees of the tokenizer's latents."""
    from zoo.latent_form import LatentForm

    return LatentForm(tokenizer, "digits" if predicts_tokens(recipe) else recipe.train.generator.latent)


def build(axis: str, part: Part, **runtime: Any) -> Any:
    """One part of a recipe, by name."""
    return registry.build(axis, part.name, part.options, **runtime)


def quantizer_part(tokenizer: Part) -> Part | None:
    """The quantiser that a tokenizer's options, its defaults included, name; None where it has none or ``none``."""
    from zoo.recipe import Part

    if "quantizer" not in registry.option_names("tokenizer", tokenizer.name):
        return None
    choice = registry.config("tokenizer", tokenizer.name, tokenizer.options).quantizer
    options = {"name": choice} if isinstance(choice, str) else dict(choice)
    name = options.pop("name")
    return None if name == "none" else Part(name=name, options=options)


def build_tokenizer(part: Part) -> Any:
    """The tokenizer, with the quantiser that its options name inside it."""
    if "quantizer" not in registry.option_names("tokenizer", part.name):
        return build("tokenizer", part)
    inner = quantizer_part(part)
    return build("tokenizer", part, quantizer=None if inner is None else build("quantizer", inner))


def training_latents(recipe: Recipe, tokenizer: Any) -> int:
    """Latent frames of a training clip of stage 1: what the recipe says, else what the tokenizer is made for."""
    return recipe.train.tokenizer.frames or tokenizer.training_latents


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
    """Of what it sees of a latent."""
    action_dim: int
    """0 where the recipe or the data set has no actions."""
    factors: tuple[int, ...] = ()
    """Of the codebook whose tokens it predicts; () where it predicts latents."""


def sizes(recipe: Recipe, tokenizer: Any, action_dim: int) -> Sizes:
    """What follows from the tokenizer; `action_dim` is the data set's."""
    actions = action_dim if recipe.train.generator.actions else 0
    factors = tokenizer.factors if predicts_tokens(recipe) else ()
    return Sizes(latent_form(recipe, tokenizer).channels, actions, factors)


def build_network(recipe: Recipe, sizes: Sizes, text_width: int) -> Any:
    """The backbone, or for tokens what reads them into it and takes logits out of it."""
    if not sizes.factors:
        return _build_backbone(recipe, sizes.channels, sizes, text_width)
    from components.token_network import TokenNetwork

    embedding = build("objective", recipe.part("objective")).embedding
    backbone = _build_backbone(recipe, embedding, sizes, text_width, outputs=sum(sizes.factors))
    return TokenNetwork(backbone, sizes.factors, embedding)


def _build_backbone(recipe: Recipe, channels: int, sizes: Sizes, text_width: int, **runtime: Any) -> Any:
    """The backbone with its parts inside: packing, position, pose encoding, attention, conditioning."""

    def factory(axis: str) -> Any:
        part = recipe.part(axis)
        return partial(registry.build, axis, part.name, part.options)

    def backbone(part: Part) -> Any:
        return build(
            "backbone",
            part,
            channels=channels,
            action_dim=sizes.action_dim,
            text_width=text_width,
            packing=build("packing", recipe.part("packing")),
            attention=build("attention", recipe.part("attention")),
            position=factory("position"),
            pose_encoding=factory("pose_encoding"),
            conditioning=factory("conditioning"),
            **runtime,
        )

    inner = [recipe.part(axis).model_dump(mode="json") for axis in BACKBONE_AXES]
    known_by = [inner, channels, sizes.action_dim, text_width, runtime]
    return backbone(model_size.sized(recipe.part("backbone"), backbone, known_by))


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
