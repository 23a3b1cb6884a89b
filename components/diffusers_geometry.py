"""What sizes a diffusers autoencoder takes and gives: measured by encoding nothing, on the device ``meta``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from zoo.errors import BadValue

SIDE, STRIDES = 256, 24
"""Side and frames of the measured video: multiples of every usual factor (STRIDES of 1, 2, 3, 4, 6, 8, 12 and 24)."""
REFUSALS = (RuntimeError, ValueError, TypeError, AttributeError, IndexError, AssertionError)
"""What models raise for tensors that are not theirs."""


@dataclass(frozen=True)
class Geometry:
    """Sizes of latents, and whether its encoder takes images or whole videos."""

    channels: int
    spatial_factor: int
    temporal_factor: int
    images: bool
    """The encoder takes [B, 3, H, W], frame by frame."""
    first_is_image: bool
    """Lengths are 1 + k·n; otherwise k·n."""


def encoded(model: Any, x: Tensor) -> Tensor:
    """Raw latents, deterministic: the posterior's mode where there is a posterior, else what the encoder says."""
    made = model.encode(x)
    for name in ("latent_dist", "latent", "latents"):
        found = getattr(made, name, None)
        if found is not None:
            return found.mode() if name == "latent_dist" else found
    raise BadValue(f"tokenizer.model: what {type(model).__name__} encodes to is no latent: choose an autoencoder.")


def measure(model: Any) -> Geometry:
    """From a model on ``meta``. Raises BadValue for one that takes neither RGB images nor RGB video."""
    one, why = _shape(model, (1, 3, 1, SIDE, SIDE))
    image, _ = _shape(model, (1, 3, SIDE, SIDE)) if one is None else (None, "")
    many, why_many = _shape(model, (1, 3, 1 + STRIDES, SIDE, SIDE)) if image is None else (None, "")
    if image is not None and len(image) == 4:
        return Geometry(image[1], _factor(model, image), 1, images=True, first_is_image=True)
    if one is not None and many is not None and len(one) == len(many) == 5:
        further = many[2] - 1
        if one[2] == 1 and further > 0 and STRIDES % further == 0:
            return Geometry(one[1], _factor(model, one), STRIDES // further, images=False, first_is_image=True)
    even, why_even = _shape(model, (1, 3, STRIDES, SIDE, SIDE))
    if even is not None and len(even) == 5 and even[2] > 0 and STRIDES % even[2] == 0:
        return Geometry(even[1], _factor(model, even), STRIDES // even[2], images=False, first_is_image=False)
    said = why_even or why_many or why or "no whole number of frames makes a latent frame"
    raise BadValue(f"tokenizer.model: {type(model).__name__} does not encode RGB frames ({said}): choose another one.")


def _shape(model: Any, size: tuple[int, ...]) -> tuple[tuple[int, ...] | None, str]:
    """Of the latents of a video or image of that size, or None and why not."""
    try:
        with torch.device("meta"), torch.no_grad():
            return tuple(encoded(model, torch.zeros(size)).shape), ""
    except REFUSALS as error:
        return None, (str(error).strip().splitlines() or [type(error).__name__])[0][:120]


def _factor(model: Any, latent: tuple[int, ...]) -> int:
    high, wide = latent[-2:]
    if high != wide or high < 1 or SIDE % high:
        raise BadValue(f"tokenizer.model: {type(model).__name__} makes {high}×{wide} of {SIDE}×{SIDE}: choose another.")
    return SIDE // high
