"""A rollout made worse in ways that some metrics reward: frozen, constant, blurred. None may top a headline metric.

Each takes a whole video uint8 [T, H, W, 3] and how many of its first frames were given, which stay as they are, and
gives a new video. Torch-free.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

SIGMA = 2.0
"""Pixels of a 32-pixel frame: the deviation of the blur, which grows with the frame."""


def frozen(video_thwc: np.ndarray, context: int) -> np.ndarray:
    """The first generated frame, held to the end."""
    made = np.array(video_thwc)
    made[context:] = made[context : context + 1]
    return made


def constant(video_thwc: np.ndarray, context: int) -> np.ndarray:
    """The mean of the rollout's own generated frames at every one of them: what a still camera with long exposure saw.

    Unlike the floor ``mean_context`` it knows what the model made, so on average over frames it is the better guess.
    """
    made = np.array(video_thwc)
    made[context:] = np.rint(made[context:].mean(0, dtype=np.float64)).astype(np.uint8)
    return made


def blurred(video_thwc: np.ndarray, context: int, sigma: float = SIGMA) -> np.ndarray:
    """Every generated frame through a Gaussian of ``sigma`` · short side / 32 pixels; borders continue outwards."""
    made = np.array(video_thwc)
    deviation = sigma * min(made.shape[1:3]) / 32
    for at in range(context, len(made)):  # frame by frame: a rollout of 500 large frames in floats fills memory
        soft = _along(_along(made[at].astype(np.float32), 0, deviation), 1, deviation)
        made[at] = np.rint(soft).clip(0, 255).astype(np.uint8)
    return made


def _along(image: np.ndarray, axis: int, deviation: float) -> np.ndarray:
    """The Gaussian, cut at four deviations, along one axis."""
    reach = max(1, int(4 * deviation + 0.5))
    weights = np.exp(-0.5 * np.square(np.arange(-reach, reach + 1) / deviation))
    weights /= weights.sum()
    border = [(reach, reach) if place == axis else (0, 0) for place in range(image.ndim)]
    padded, size = np.pad(image, border, mode="edge"), image.shape[axis]
    return np.sum([w * padded.take(range(i, i + size), axis) for i, w in enumerate(weights)], axis=0)


SPOILED: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "frozen": frozen,
    "constant": constant,
    "blurred": blurred,
}
"""By the name they have in tables."""
