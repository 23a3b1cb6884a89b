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


def _counted(forward: Any) -> tuple[float, float]:
    """FLOPs of `forward()` and the bytes it keeps for the backward pass, every storage once; nothing is computed."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    kept: dict[int, int] = {}

    def keep(tensor: Any) -> Any:
        if not isinstance(tensor, torch.nn.Parameter):
            storage = tensor.untyped_storage()
            kept[storage._cdata] = storage.nbytes()
        return tensor

    counter = FlopCounterMode(display=False)
    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    with torch.device("meta"), counter, hooks:
        result = forward()  # held until the end: a storage that is freed early could lend its address to another
    del result
    return counter.get_total_flops(), sum(kept.values())


def tokenizer_cost(recipe: Recipe) -> dict[str, Any]:
    """Stage 1: parameters, FLOPs of a training step (forward and backward), memory."""
    import torch

    settings = recipe.train.tokenizer
    height, width = clip_shape(recipe)
    with torch.device("meta"):
        tokenizer = compose.build("tokenizer", recipe.part("tokenizer"))
        video = torch.zeros(1, 3, tokenizer.video_frames(settings.frames), height, width)
    counted = _counted(lambda: tokenizer.decode(tokenizer.encode(video)))
    return _stage_cost(_count(tokenizer), counted, settings, steps=settings.steps * tokenizer.trainable)


def _stage_cost(parameters: int, counted: tuple[float, float], settings: Any, steps: int) -> dict[str, Any]:
    forward, kept = counted
    return {
        "parameters": parameters,
        "steps": int(steps),
        "flops_per_step": 3 * forward * settings.batch,  # backward costs twice the forward pass
        "memory_bytes": parameters * BYTES_PER_PARAMETER + kept * settings.batch,
    }


def generator_cost(recipe: Recipe) -> dict[str, Any]:
    """Stage 2, and one network call of sampling for one video."""
    import torch

    tokenizer = compose.build("tokenizer", recipe.part("tokenizer"))
    text_encoder = compose.build("text_encoder", recipe.part("text_encoder"))
    actions = registry.load("dataset", recipe.part("dataset").name).action_dim if recipe.train.generator.actions else 0
    sizes = compose.Sizes(tokenizer.channels, actions)
    with torch.device("meta"):
        network = compose.build_network(recipe, sizes, text_encoder.width)
    counted = _counted(lambda: network(*_window(recipe, sizes, text_encoder.width, tokenizer.spatial_factor)))
    settings = recipe.train.generator
    trained_text = _count(text_encoder) if text_encoder.trainable else 0
    cost = _stage_cost(_count(network) + trained_text, counted, settings, settings.steps)
    parts = {name: _count(child) for name, child in network.named_children() if _count(child)}
    return {
        **cost,
        "flops_per_call": counted[0],
        "parts": parts | ({"text_encoder": trained_text} if trained_text else {}),
    }


def _window(recipe: Recipe, sizes: compose.Sizes, text_width: int, spatial_factor: int) -> tuple[Any, Any, Any]:
    """One training window's worth of network input, on whatever device is the default."""
    import torch

    from components.contracts import Condition, Window

    frames = recipe.train.generator.window
    height, width = (side // spatial_factor for side in clip_shape(recipe))
    poses = recipe.part("pose_encoding").name != "none"
    window = Window(torch.zeros(1, frames), *(torch.full((1, frames), flag) for flag in (False, True)))
    condition = Condition(
        level=torch.ones(1, frames),
        text=torch.zeros(1, 8, text_width) if text_width else None,
        text_mask=torch.ones(1, 8, dtype=torch.bool) if text_width else None,
        actions=torch.zeros(1, frames, sizes.action_dim) if sizes.action_dim else None,
        poses=torch.zeros(1, frames, 4) if poses else None,
        origin=torch.zeros(1, 4) if poses else None,
    )
    return torch.zeros(1, sizes.channels, frames, height, width), window, condition


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
