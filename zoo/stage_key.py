"""What names a stage: the parts with every option written out, and a digest of the source that runs."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from zoo import registry
from zoo.source_digest import digest

if TYPE_CHECKING:
    from zoo.recipe import Part

STAGE_1_SOURCE = (
    "components.carriers",
    "zoo.stages.tokenizer",
    "zoo.stages.fit",
    "zoo.stages.data",
    "zoo.stages.cache",
)
CAPTIONER_SOURCE = (
    "components.carriers",
    "zoo.stages.captioner",
    "zoo.stages.fit",
    "zoo.stages.cache",
    "zoo.annotation",
)
STAGE_2_SOURCE = (
    "components.carriers",
    "zoo.stages.generator",
    "zoo.stages.fit",
    "zoo.stages.data",
    "zoo.stages.cache",
    "zoo.compose",
)


def full(axis: str, part: Part) -> dict[str, Any]:
    """A part with every default filled in, so that a changed default names another run.

    A part whose options say where files lie gives, by `content`, what stands there instead: a moved file is no new run.
    """
    config = registry.config(axis, part.name, part.options)
    content = getattr(registry.load(axis, part.name), "content", None)
    return {"name": part.name, **config.model_dump(mode="json"), **(content(config) if content else {})}


@cache
def source_of(*modules: str) -> str:
    """The source digest, taken once a process: what runs is what was imported, even if a file is edited meanwhile."""
    return digest(modules)


def module_of(axis: str, name: str) -> str:
    """The dotted module of an alternative, for the source digest."""
    return registry.load(axis, name).__module__
