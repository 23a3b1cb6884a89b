"""What a recipe costs before it is run: parameters, FLOPs and memory, counted on tensors without storage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from zoo import compose, registry

if TYPE_CHECKING:
    from zoo.recipe import Recipe

BYTES_PER_PARAMETER = 4 * 5
"""float32 weight, gradient, two AdamW moments, and the averaged copy."""


def clip_shape(recipe: Recipe) -> tuple[int, int]:
    """(height, width) of a training frame, from the data set's options alone; the first where sizes are mixed."""
    part = recipe.part("dataset")
    options = registry.config("dataset", part.name, part.options)
    sizes = getattr(options, "sizes", None)
    if sizes:
        return int(sizes[0][0]), int(sizes[0][1])
    size = options.size
    return (int(size), int(size)) if isinstance(size, int) else (int(size[0]), int(size[1]))


def _count(module: Any) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _activations(flops: float, batch: int) -> float:
    """Bytes kept for the backward pass: about one float32 per 100 multiply-adds of the forward pass (an estimate)."""
    return 4 * flops * batch / 200


def tokenizer_cost(recipe: Recipe) -> dict[str, Any]:
    """Stage 1: parameters, FLOPs of a training step (forward and backward), memory."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    settings = recipe.train.tokenizer
    height, width = clip_shape(recipe)
    with torch.device("meta"):
        tokenizer = compose.build("tokenizer", recipe.part("tokenizer"))
        video = torch.zeros(1, 3, tokenizer.video_frames(settings.frames), height, width)
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        tokenizer.decode(tokenizer.encode(video))
    return _stage_cost(_count(tokenizer), counter.get_total_flops(), settings, steps=settings.steps * tokenizer.trainable)


def _stage_cost(parameters: int, forward: float, settings: Any, steps: int) -> dict[str, Any]:
    return {
        "parameters": parameters,
        "steps": int(steps),
        "flops_per_step": 3 * forward * settings.batch,  # backward costs twice the forward pass
        "memory_bytes": parameters * BYTES_PER_PARAMETER + _activations(forward, settings.batch),
    }


def generator_cost(recipe: Recipe) -> dict[str, Any]:
    """Stage 2, and one network call of sampling for one video."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from components.contracts import Condition, Window

    tokenizer = compose.build("tokenizer", recipe.part("tokenizer"))
    text_encoder = compose.build("text_encoder", recipe.part("text_encoder"))
    actions = registry.load("dataset", recipe.part("dataset").name).action_dim if recipe.train.generator.actions else 0
    with torch.device("meta"):
        sizes = compose.Sizes(tokenizer.channels, actions)
        network = compose.build_network(recipe, sizes, text_encoder.width)
    frames = recipe.train.generator.window
    height, width = (side // tokenizer.spatial_factor for side in clip_shape(recipe))
    window = Window(torch.arange(frames)[None].float(), *(torch.full((1, frames), flag) for flag in (False, True)))
    text = torch.zeros(1, 8, text_encoder.width) if text_encoder.width else None
    poses = recipe.part("pose_encoding").name != "none"
    condition = Condition(
        level=torch.ones(1, frames),
        text=text,
        text_mask=None if text is None else torch.ones(1, 8, dtype=torch.bool),
        actions=torch.zeros(1, frames, actions) if actions else None,
        poses=torch.zeros(1, frames, 4) if poses else None,
        origin=torch.zeros(1, 4) if poses else None,
    )
    counter = FlopCounterMode(display=False)
    z = torch.zeros(1, tokenizer.channels, frames, height, width)
    with counter, torch.no_grad():
        network.to_empty(device="cpu")(z, window, condition)
    flops, settings = counter.get_total_flops(), recipe.train.generator
    trained_text = _count(text_encoder) if text_encoder.trainable else 0
    cost = _stage_cost(_count(network) + trained_text, flops, settings, settings.steps)
    parts = {name: _count(child) for name, child in network.named_children() if _count(child)}
    return {**cost, "flops_per_call": flops, "parts": parts | ({"text_encoder": trained_text} if trained_text else {})}


def rollout_calls(recipe: Recipe, suite: Any) -> dict[str, Any]:
    """Plan steps and network calls of one video of the suite, from the plan itself."""
    from zoo.model import latents_for

    tokenizer = compose.build("tokenizer", recipe.part("tokenizer"))
    solver = compose.build("solver", recipe.part("solver"))
    guidance = compose.build("guidance", recipe.part("guidance"))
    task = compose.build("task", recipe.part("task"))
    total = latents_for(tokenizer, suite.frames)
    given = task.context(suite.context)
    plan = compose.build("rollout", recipe.part("rollout")).plan(
        frames=total,
        observed=tokenizer.latent_frames(given) if given else 0,
        window=recipe.sample.window,
        step=recipe.sample.step,
        poses=np.zeros((total, 4), dtype=np.float32),
    )
    steps = list(plan)
    made = sum(len(step.latent) for step in steps)
    remembering = sum(bool(step.observed) for step in steps) if recipe.sample.cache else 0
    calls = len(guidance.branches) * (solver.config.steps * len(steps) + remembering)
    return {"plan_steps": len(steps), "network_calls": calls, "network_calls_per_frame": calls / max(made, 1)}
