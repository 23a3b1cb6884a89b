"""From a budget of parameters to width, depth and heads: counts real modules without storage, so the count is exact.

    backbone.params=10M          the width and depth nearest to 10 million parameters
    backbone.preset=B            DiT's own numbers; a backbone that has none gets as many parameters as video_dit has

Parameters are affine in depth at a fixed width, and about quadratic in width: three widths at two depths tell where to
look, and what looks best is then counted. Among shapes within TOLERANCE of the budget, the one nearest to the
backbone's own rule (components/size_options.py: width over depth, channels of a head) is taken; where there is none,
the nearest count. Everything inside the backbone counts, so its positions, conditioning and pose encoding do.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from zoo import registry
from zoo.errors import BadValue

if TYPE_CHECKING:
    from components.size_options import Shape, ShapeRule
    from zoo.recipe import Part

TOLERANCE = 0.025
PROBES = (64, 256, 1024)
"""Widths at which modules are counted to see how they grow."""
TRIALS = 12
"""How many shapes are counted, at most, where none is within the tolerance."""
_STEP, _WIDEST = 4, 8192
_SOLVED: dict[str, dict[str, int]] = {}

BUDGETS, SHAPE = ("params", "preset"), ("width", "depth", "heads")
"""Options of a backbone that say its size."""

Build = Callable[["Part"], Any]


def is_budget(part: Part) -> bool:
    """Whether a backbone's options leave its size to be solved."""
    return any(part.options.get(name) is not None for name in BUDGETS)


def make_room(axis: str, options: dict[str, Any], given: Mapping[str, Any]) -> None:
    """Before `given` is laid over a part's options: a budget ends what an earlier layer said of the backbone's size.

    So do two or three of width, depth and heads given together. Both in one and the same place stay, and are refused.
    """
    if axis != "backbone":
        return
    budget = any(given.get(name) is not None for name in BUDGETS)
    shape = sum(given.get(name) is not None for name in SHAPE) > 1
    if budget or shape:
        for name in (*BUDGETS, *SHAPE):
            options.pop(name, None)


def order(path: tuple[str, ...]) -> int:
    """Swaps come before edits, and among these a budget before a width, which it would wipe out unseen."""
    return 0 if len(path) == 1 else 1 if path[0] == "backbone" and path[1] in BUDGETS else 2


def sized(part: Part, build: Build, known_by: Any) -> Part:
    """The same backbone with its width, depth and heads written out; itself where they are not left to a budget.

    Args:
        part: the backbone.
        build: makes the module of such a part, with all its inner parts.
        known_by: plain data that decides what `build` makes, so that one answer serves as long as the process lives.

    Raises BadValue for a budget that no shape fits.
    """
    if not is_budget(part):
        return part
    key = json.dumps([part.model_dump(mode="json"), known_by], sort_keys=True, default=str)
    if key not in _SOLVED:
        _SOLVED[key] = _solved(part, build)
    return part.model_copy(update={"options": _rest(part) | _SOLVED[key]})


def _rest(part: Part) -> dict[str, Any]:
    """The options that say nothing of the size."""
    return {name: value for name, value in part.options.items() if name not in (*BUDGETS, *SHAPE)}


def _solved(part: Part, build: Build) -> dict[str, int]:
    cls = registry.load("backbone", part.name)
    config = registry.config("backbone", part.name, part.options)
    if config.preset is None:
        return vars(_nearest(config.params, part, build, cls.shape_rule))
    presets = getattr(registry.load("backbone", "video_dit"), "presets", {})
    shape = presets[config.preset]
    if hasattr(cls, "presets"):
        return vars(cls.presets[config.preset])
    like = part.model_copy(update={"name": "video_dit", "options": {}})
    return vars(_nearest(_count(like, shape, build), part, build, cls.shape_rule))


def _count(part: Part, shape: Shape, build: Build) -> int:
    """Parameters of the real module, made without storage."""
    from zoo.weightless import weightless

    with weightless():
        module = build(part.model_copy(update={"options": _rest(part) | vars(shape)}))
    return sum(parameter.numel() for parameter in module.parameters())


def _nearest(budget: int, part: Part, build: Build, rule: ShapeRule) -> Shape:
    """See the module's docstring."""
    from components.size_options import Shape

    def line(width: int, heads: int) -> tuple[int, int]:
        """Parameters at depth 0, and of one more block."""
        one, two = (_count(part, Shape(width, depth, heads), build) for depth in (1, 2))
        return 2 * one - two, two - one

    probes = [line(width, rule.heads(width) or 1) for width in PROBES]
    line = cache(line)
    likely = []
    for width in range(_STEP, _WIDEST + 1, _STEP):
        heads = rule.heads(width)
        if heads is None:
            continue
        base, block = (_through(width, [probe[i] for probe in probes]) for i in (0, 1))
        deep = (budget - base) / block
        for depth in {min(max(round(d), 1), rule.deepest) for d in (math.floor(deep), math.ceil(deep))}:
            likely.append((_error(base + depth * block, budget), _oddness(width, depth, heads, rule), width, depth))
    near = sorted((odd, width, depth) for error, odd, width, depth in likely if error < 1.5 * TOLERANCE)
    rest = [(odd, width, depth) for error, odd, width, depth in sorted(likely) if error >= 1.5 * TOLERANCE]
    counted = []
    for _, width, depth in (near + rest)[:TRIALS]:
        heads = rule.heads(width) or 1
        base, block = line(width, heads)
        counted.append((_error(base + depth * block, budget), Shape(width, depth, heads), base + depth * block))
        if counted[-1][0] <= TOLERANCE:
            break
    error, shape, count = min(counted, key=lambda tried: tried[0])
    if error > 0.25:
        raise BadValue(
            f"no {part.name} of about {budget:,} parameters fits this recipe; the nearest, width {shape.width} and "
            f"depth {shape.depth}, has {count:,}: choose backbone.params={count}, or smaller or larger inner parts."
        )
    return shape


def _error(count: float, budget: int) -> float:
    return abs(count - budget) / budget


def _oddness(width: int, depth: int, heads: int, rule: ShapeRule) -> float:
    """How far a shape is from the rule: ratios of width over depth, and of the channels of a head, in logarithms."""
    aim = rule.wide_head if width >= rule.wide else rule.head
    return abs(math.log(width / depth / rule.ratio(width))) + abs(math.log(width / heads / aim))


def _through(width: int, values: list[int]) -> float:
    """The parabola through PROBES and `values`, at `width`."""
    total = 0.0
    for i, value in enumerate(values):
        others = [probe for j, probe in enumerate(PROBES) if j != i]
        total += value * math.prod((width - other) / (PROBES[i] - other) for other in others)
    return total
