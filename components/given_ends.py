"""Plans over videos whose given frames stand at the end, or at both ends. No torch.

Rollouts plan from given frames at the start. Frames given at the end alone are the start of the mirrored video; frames
at both ends are bridged: the plan fills what lies between, in a smaller window, and looks at the far end besides.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from components.contracts import Features, Rollout, Step
from zoo.errors import BadValue

if TYPE_CHECKING:
    import numpy as np


def planned(
    rollout: Rollout,
    *,
    frames: int,
    observed: int,
    closing: int,
    window: int,
    step: int,
    seed: int = 0,
    poses: np.ndarray | None = None,
    features: Features | None = None,
) -> Iterator[Step]:
    """The rollout's plan for a video of which the first `observed` and the last `closing` frames are given.

    Every step keeps the promises of contracts.Rollout for the frames between, and looks at the far end where both ends
    are given: at the nearest frames of it. Raises BadValue where a window has no places for both ends.
    """
    if closing < 0 or observed + closing > max(frames, observed):
        raise BadValue(f"{observed} + {closing} frames are given of {frames}. Ask for more frames or give fewer.")
    request = {"window": window, "step": step, "seed": seed, "poses": poses, "features": features}
    if not closing:
        return rollout.plan(frames=frames, observed=observed, **request)
    if not observed:
        return _mirrored(rollout, frames=frames, observed=closing, **request)
    return _bridged(rollout, frames=frames, observed=observed, closing=closing, **request)


def _bridged(
    rollout: Rollout,
    *,
    frames: int,
    observed: int,
    closing: int,
    window: int,
    step: int,
    seed: int,
    poses: np.ndarray | None,
    features: Features | None,
) -> Iterator[Step]:
    """What lies between, planned in a window that is smaller by the places kept for the frames after it."""
    gap = frames - closing
    if gap <= observed:
        return
    if window < 3:
        raise BadValue(
            f"window={window} has no places for a frame before, one after and one to be made. Give window=3 or more."
        )
    if not 1 <= step <= window:
        raise BadValue(f"step={step} does not fit into window={window}. Give step={max(1, window // 2)}, half of it.")
    step = min(step, gap - observed, window - 2)
    kept = min(closing, (window - step) // 2)
    inner = rollout.plan(
        frames=gap, observed=observed, window=window - kept, step=step, seed=seed, poses=poses, features=features
    )
    for made in inner:
        # Places that the plan leaves free (its first steps may have little to look at) go to the far end, too.
        free = window - len(made.observed) - len(made.latent)
        yield Step((*made.observed, *range(gap, gap + min(closing, free))), made.latent, made.levels)


def _mirrored(
    rollout: Rollout,
    *,
    frames: int,
    observed: int,
    window: int,
    step: int,
    seed: int,
    poses: np.ndarray | None,
    features: Features | None,
) -> Iterator[Step]:
    """The plan of the video played backward, told in the frames of the video itself."""

    def there(indices: Sequence[int]) -> tuple[int, ...]:
        return tuple(frames - 1 - index for index in indices)

    plan = rollout.plan(
        frames=frames,
        observed=observed,
        window=window,
        step=step,
        seed=seed,
        poses=None if poses is None else poses[frames - 1 :: -1],
        features=None if features is None else lambda indices: features(there(indices)),
    )
    for made in plan:
        levels = None if made.levels is None else made.levels[::-1]
        yield Step(there(made.observed[::-1]), there(made.latent[::-1]), levels)
