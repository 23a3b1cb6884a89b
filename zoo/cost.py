"""What a recipe costs before it is run: parameters, FLOPs and memory, counted on tensors without storage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from components import given_ends
from components.contracts import TokenObjective
from zoo import compose, registry, task_pairings
from zoo.errors import BadValue
from zoo.stages.row_filling import kept_columns, window_tokens

if TYPE_CHECKING:
    from components.contracts import Features, Step
    from zoo.call_cost import Call, NetworkCost
    from zoo.recipe import Recipe

BYTES_PER_PARAMETER = 4 * 5
"""float32 weight, gradient, two AdamW moments, and the averaged copy."""

LAP = 190
"""Frames a round of the stand-in tour: divides neither of the usual contexts, 250 and 36 of 500."""
FEATURES = 64
"""Numbers a frame that planners are shown in place of what a generated frame would show."""


def clip_shape(recipe: Recipe) -> tuple[int, int]:
    """(height, width) of a training frame, from the data set's options alone; the first where sizes are mixed."""
    return _frame_shape(recipe.part("dataset"))


def suite_shape(recipe: Recipe, suite: Any) -> tuple[int, int]:
    """(height, width) of the frames that the suite asks for: of its own world, or of the recipe's data set."""
    return clip_shape(recipe) if suite.dataset is None else _frame_shape(suite.dataset)


def _frame_shape(part: Any) -> tuple[int, int]:
    options = registry.config("dataset", part.name, part.options)
    sizes = getattr(options, "sizes", None)
    if sizes:
        return int(sizes[0][0]), int(sizes[0][1])
    size = options.size
    return (int(size), int(size)) if isinstance(size, int) else (int(size[0]), int(size[1]))


def _count(module: Any) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def tokenizer_cost(recipe: Recipe) -> dict[str, Any]:
    """Stage 1: parameters, FLOPs of a training step (forward and backward), memory."""
    import torch

    from zoo.call_cost import trained

    settings = recipe.train.tokenizer
    height, width = clip_shape(recipe)
    with torch.device("meta"):
        tokenizer = compose.build_tokenizer(recipe.part("tokenizer"))
        video = torch.zeros(1, 3, tokenizer.video_frames(compose.training_latents(recipe, tokenizer)), height, width)
    counted = trained(lambda: tokenizer.decode(tokenizer.encode(video)))
    steps = settings.steps * tokenizer.trainable
    return _stage_cost(_count(tokenizer), counted, settings.batch, steps, _devices(recipe))


def _stage_cost(
    parameters: int, counted: tuple[float, float], batch: float, steps: int, devices: int
) -> dict[str, Any]:
    """Memory is that of one device, all in float32; the batch is dealt out, the parameters are not."""
    forward, kept = counted
    return {
        "parameters": parameters,
        "steps": int(steps),
        "flops_per_step": 3 * forward * batch,  # backward costs twice the forward pass
        "memory_bytes": parameters * BYTES_PER_PARAMETER + kept * -(-batch // devices),
    }


def _devices(recipe: Recipe) -> int:
    """How many devices share a batch, as far as the recipe says."""
    said = recipe.trainer.devices
    return len(said) if isinstance(said, list) else said if isinstance(said, int) and said > 0 else 1


def network_cost(recipe: Recipe, video_hw: tuple[int, int]) -> NetworkCost:
    """The counter of single network calls on frames of height and width `video_hw`."""
    from zoo.call_cost import NetworkCost

    tokenizer = compose.build_tokenizer(recipe.part("tokenizer"))
    actions = registry.load("dataset", recipe.part("dataset").name).action_dim
    text_width = compose.build("text_encoder", recipe.part("text_encoder")).width
    height, width = video_hw
    factor = tokenizer.spatial_factor
    if height % factor or width % factor:
        raise BadValue(
            f"frames of {height}x{width} do not divide by the tokenizer's factor {factor}: choose another size."
        )
    sizes = compose.sizes(recipe, tokenizer, actions)
    return NetworkCost(recipe, sizes, text_width, (height // factor, width // factor))


def generator_cost(recipe: Recipe, network: NetworkCost) -> dict[str, Any]:
    """Stage 2, by a training window none of whose frames is observed: the same FLOPs as any other mask."""
    from zoo.call_cost import trained

    objective = compose.build("objective", recipe.part("objective"))
    inputs = network.inputs(0, recipe.train.generator.window)
    if isinstance(objective, TokenObjective):
        inputs = objective.shown(*inputs)
    forward = trained(lambda: network.network(*inputs))
    settings = recipe.train.generator
    text_encoder = compose.build("text_encoder", recipe.part("text_encoder"))
    trained_text = _count(text_encoder) if text_encoder.trainable else 0
    held = _windows_a_step(recipe, network)
    cost = _stage_cost(_count(network.network) + trained_text, forward, held, settings.steps, _devices(recipe))
    parts = {name: _count(child) for name, child in network.network.named_children() if _count(child)}
    return {
        **cost,
        "flops_per_call": forward[0],
        "parts": parts | ({"text_encoder": trained_text} if trained_text else {}),
    }


def _windows_a_step(recipe: Recipe, network: NetworkCost) -> float:
    """How many whole windows a step holds: as many as fill its rows, and of each the share that is not dropped."""
    packing, grain = compose.build("packing", recipe.part("packing")), network.network.grain
    shapes = [(recipe.train.generator.window, *network.latent_hw)]
    shares = [kept / (height * width) for (height, width), kept in kept_columns(shapes, packing, grain)]
    held = recipe.train.generator.batch
    if packing.rows:
        held = packing.rows * len(packing.fill(window_tokens(shapes, packing, grain) * 1024)[0])
    return held * shares[0] if shares else held


# ---------------------------------------------------------------------------------------------------- rollouts


def rollout_cost(recipe: Recipe, suite: Any, network: NetworkCost) -> dict[str, Any]:
    """What one video of the suite costs, step by step of its own plan; decoding is not in it.

    Planners that look at poses are shown a walk round a circle, planners that look at content vectors that return with
    it (`stand_in_features`), so that retrieval finds something. `network` counts calls at the suite's frame size.
    """
    tokenizer = compose.build_tokenizer(recipe.part("tokenizer"))
    _, task = task_pairings.asked(recipe, suite)
    _, found = task_pairings.of_suite(task, suite, tokenizer)
    observed, total = found.observed, found.total
    poses = stand_in_poses(total)
    steps = given_ends.planned(
        compose.build("rollout", recipe.part("rollout")),
        frames=total,
        observed=observed,
        closing=found.closing,
        window=recipe.sample.window,
        step=recipe.sample.step,
        seed=recipe.sample.seed,
        poses=poses,
        features=stand_in_features(poses),
    )
    made = max(found.missing, 1)
    spent = _spent(recipe, steps, network)
    canvas = network.sizes.channels * total * network.latent_hw[0] * network.latent_hw[1] * 4
    return {
        **spent,
        "latent_frames": total,
        "observed_frames": observed,
        "network_calls_per_frame": spent["network_calls"] / made,
        "flops_per_frame": spent["flops"] / made,
        "canvas_bytes": canvas,
    }


def _spent(recipe: Recipe, steps: Iterable[Step], network: NetworkCost) -> dict[str, Any]:
    """Network calls and FLOPs of all steps, and the most memory of any one call; every shape is counted once."""
    passes = _passes(recipe, network)
    branches = compose.build("guidance", recipe.part("guidance")).branches
    shapes = Counter((len(step.observed), len(step.latent), step.levels is not None) for step in steps)
    calls, flops, peak = 0, 0.0, 0
    for (observed, latent, once), count in shapes.items():
        remembers = recipe.sample.cache and not once  # as the sampling engine: one call has nothing to save
        seen = [observed if branch.get("history", True) else 0 for branch in branches]
        memories = [frames for frames in seen if frames and remembers]
        held = sum(network.memory_bytes(frames) for frames in memories)
        for frames in seen:
            for repeats, call in passes(frames, latent, remembers, once):
                calls, flops = calls + count * repeats, flops + count * repeats * call.flops
                peak = max(peak, held + call.peak_bytes)
        for frames in memories:
            call = network.remember(frames)
            calls, flops = calls + count, flops + count * call.flops
            peak = max(peak, held - network.memory_bytes(frames) + call.peak_bytes)
    return {
        "plan_steps": sum(shapes.values()),
        "shapes": len(shapes),
        "network_calls": calls,
        "flops": flops,
        "peak_activation_bytes": peak,
    }


Passes = Callable[[int, int, bool, bool], list[tuple[int, "Call"]]]
"""Observed frames, frames to be made, whether memory is kept, whether one call is asked: (how often, which call), …."""


def _passes(recipe: Recipe, network: NetworkCost) -> Passes:
    """The network calls of one plan step and branch: the solver's, or a token objective's."""
    objective = compose.build("objective", recipe.part("objective"))
    if not isinstance(objective, TokenObjective):
        steps = compose.build("solver", recipe.part("solver")).calls(objective)
        return lambda seen, made, keeps, once: [(1 if once else steps, network.call(seen, made, remembered=keeps))]
    if "raster" in registry.card("objective", recipe.part("objective").name).needs:
        return lambda seen, made, keeps, once: network.raster_calls(seen, made, remembered=keeps)
    rounds = objective.calls(1, prod(network.latent_hw))
    return lambda seen, made, keeps, once: [(rounds, network.call(seen, made, remembered=keeps))]


def stand_in_poses(frames: int) -> np.ndarray:
    """Poses float32 [frames, 4]: round and round a circle, LAP frames a round, a quarter of a cell a frame."""
    turn = 2 * np.pi * (np.arange(frames) % LAP) / LAP
    radius = 0.25 * LAP / (2 * np.pi)
    return np.stack([radius * np.cos(turn), radius * np.sin(turn), 0 * turn, turn + np.pi / 2], 1).astype(np.float32)


def stand_in_features(poses: np.ndarray) -> Features:
    """What frames show: FEATURES numbers a place of the circle, smooth along it, and seeded noise for every frame."""
    rng = np.random.default_rng(0)
    waves = np.outer(poses[:, 3], np.arange(1, 9))
    places = np.concatenate([np.cos(waves), np.sin(waves)], axis=1) @ rng.normal(size=(16, FEATURES))
    shown = places + 0.1 * rng.normal(size=places.shape)
    return lambda indices: shown[np.asarray(indices, dtype=np.intp)]
