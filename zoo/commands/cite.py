"""``zoo cite recipe=NAME [key=value …]``: valid BibTeX of every part that the recipe uses, each paper once.

Covers the parts, and the metrics, features and controls of the suite; all points of a sweep are taken together.
"""

from __future__ import annotations

from collections.abc import Iterator

from zoo import citations, registry
from zoo.recipe import Recipe, resolve


def main(arguments: list[str]) -> int:
    """Print the entries, sorted by key."""
    used = {part for recipe in resolve(arguments, sweep=False) for part in parts(recipe)}
    keys = {key for axis, name in used for key in citations.keys(registry.card(axis, name))}
    print("\n\n".join(citations.bibtex(key) for key in sorted(keys)))
    return 0


def parts(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """(axis, name) of everything a recipe uses, the suite's metrics included."""
    from benchmarks import suite

    yield from ((axis, part.name) for axis, part in recipe.parts.items())
    protocol = suite.load({"name": recipe.suite.name, **recipe.suite.options})
    for metric in protocol.metrics:
        yield "metric", metric.name
        feature = metric.options.get("feature")
        if isinstance(feature, str):
            yield "feature", feature
    yield from (("control", control.name) for control in protocol.controls)
    if protocol.dataset is not None:
        yield "dataset", protocol.dataset.name
