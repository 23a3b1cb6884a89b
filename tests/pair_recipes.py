"""Tiny recipes that hold any alternatives of the axes together, for tests that walk pairs of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zoo import recipe_names, registry

LEFT_OUT: Mapping[str, tuple[str, ...]] = {
    "dataset": ("video_folder", "trajectory_npz", "vizdoom"),  # need files or a package: test_swaps.py
    "tokenizer": ("diffusers",),  # needs a folder of weights: test_diffusers_tokenizer.py
    "text_encoder": ("open_clip",),  # needs weights or a file: test_text_encoder.py
    "captioner": ("coca",),  # trains in a stage of its own: test_captioner.py
}
AXES = [axis for axis in recipe_names.part_axes() if axis not in ("suite", "reader")]
"""A procedural world opens no file, so no reader has a part in it: test_reader.py."""
ALTERNATIVES = {axis: [name for name in registry.names(axis) if name not in LEFT_OUT.get(axis, ())] for axis in AXES}
OPTIONS: Mapping[str, dict[str, Any]] = {
    "tokenizer.vae": {"width": 8},
    "tokenizer.vqvae": {"width": 16, "depth": 1},
    "tokenizer.vqgan": {"width": 16, "depth": 1},
    "tokenizer.magvit2": {"width": 16, "depth": 1},
    "tokenizer.teco": {"width": 16},
    "backbone.video_dit": {"width": 24, "depth": 1, "heads": 2},
    "backbone.unet3d": {"width": 24, "depth": 1, "heads": 2},
    "text_encoder.byte_table": {"width": 8},
    "text_encoder.word_table": {"width": 8, "rows": 64},
    "solver.euler": {"steps": 2},
    "solver.ddim": {"steps": 2},
    "solver.ddpm": {"steps": 2},
    "solver.heun": {"steps": 2},
    "dataset.maze": {"train": 2, "validation": 0, "test": 1, "frames": 40, "lap": [8, 12]},
    "dataset.moving_shapes": {"train": 4, "validation": 0, "test": 1, "frames": 40},
}
"""Sizes at which a recipe takes a second or two."""
USUAL = {
    "attention": "space_time_causal", "backbone": "video_dit", "captioner": "oracle", "conditioning": "adaln",
    "dataset": "maze", "guidance": "none", "noise": "shared", "objective": "flow_matching", "packing": "navit",
    "pose_encoding": "none", "position": "learned_3d", "rollout": "autoregressive", "solver": "euler",
    "task": "extend", "text_encoder": "none", "tokenizer": "pixels",
}  # fmt: skip
"""What an axis is set to where a test says nothing of it."""
COMPANIONS = {
    "objective.maskgit": {"tokenizer": "vqgan"},
    "objective.autoregressive_tokens": {"tokenizer": "vqgan"},
    "rollout.rolling": {"noise": "per_frame"},
    "solver.none": {"objective": "maskgit", "tokenizer": "vqgan"},
    "text_encoder.byte_table": {"dataset": "moving_shapes"},
    "text_encoder.word_table": {"dataset": "moving_shapes"},
}
"""What an alternative cannot be without, where that is not the usual."""
SHARED = (
    "recipe=quickstart",
    "train.tokenizer={steps: 2, batch: 2}",
    "train.generator={steps: 2, batch: 2, text_dropout: 0.1, camera_dropout: 0.1, history_dropout: 0.1}",
    "train.generator.masks={fdm: 1, none: 1, first: 1, window: 1, backward: 1, ends: 1}",
    "suite={name: clips, episodes: 1, metrics: [psnr], controls: []}",
)


def arguments(chosen: Mapping[str, str]) -> list[str]:
    """What one would type for these alternatives, axis → name; other axes hold what these need, or the usual."""
    needed = {axis: name for key in chosen.items() for axis, name in COMPANIONS.get(".".join(key), {}).items()}
    parts = {**USUAL, **needed, **chosen}
    said = [f"{axis}={_part(axis, name)}" for axis, name in parts.items()]
    return [*SHARED, *said, *_lengths(parts)]


def _lengths(parts: Mapping[str, str]) -> list[str]:
    """A video of several plan steps, of one where the part makes all at once, with as much given as the task asks."""
    joined = 4 if parts["tokenizer"] in ("vqvae", "magvit2") else 1
    whole = parts["rollout"] == "full" or parts["task"] == "text_to_video"
    window, step = (16, 16) if whole else (6, 3)
    given = 0 if parts["task"] == "text_to_video" else 3 * joined
    closing = given if parts["task"] in ("infill", "stitch") else 0
    return [
        f"train.generator.window={window}",
        f"sample={{window: {window}, step: {step}}}",
        f"suite.frames={9 * joined}",
        f"suite.context={given}",
        f"suite.closing={closing}",
    ]


def _part(axis: str, name: str) -> str:
    options = {"name": name, **OPTIONS.get(f"{axis}.{name}", {})}
    return "{" + ", ".join(f"{key}: {value}" for key, value in options.items()) + "}"
