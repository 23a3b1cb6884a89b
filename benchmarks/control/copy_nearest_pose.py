"""Floor or ceiling: each generated frame is the context frame with the nearest pose, |Δp|² + λ · 2(1 − cos Δθ).

No paper: retrieval without generation. Where tours never quite repeat, a model with memory should beat it (floor);
where a lap repeats bit for bit, copying is the truth itself and nothing can (ceiling): the suite says which.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from zoo.component import Config, component
from zoo.errors import UnmetNeed

if TYPE_CHECKING:
    from components.contracts import Clip


@component(cite=None, note="floor or ceiling: copies of the context frames with the nearest pose", needs={"poses"})
class CopyNearestPose:
    """The context frame seen from nearest by; the latest of equals."""

    class Config(Config):
        """How position and direction weigh against each other, and what the row is for."""

        role: Literal["floor", "ceiling"] = Field("floor", description="ceiling where revisits are exact")
        yaw_weight: float = Field(1.0, ge=0, description="square cells per unit of 2(1 - cos of the turn)")

    def __init__(self, config: CopyNearestPose.Config) -> None:
        self.config = config
        self.role = config.role

    def make(self, clip: Clip, context: int, reconstruct: Callable[[np.ndarray], np.ndarray] | None) -> np.ndarray:
        """uint8 [T, H, W, 3]; needs poses and at least one context frame."""
        if clip.poses is None:
            raise UnmetNeed(
                "control 'copy_nearest_pose' needs poses: choose a data set with poses, or drop the control."
            )
        poses = np.asarray(clip.poses, dtype=np.float64)
        asked, given = poses[context:, None], poses[None, :context][:, ::-1]
        gap = np.square(asked[..., :3] - given[..., :3]).sum(-1)
        gap += self.config.yaw_weight * 2 * (1 - np.cos(asked[..., 3] - given[..., 3]))
        video = clip.frames.copy()
        video[context:] = clip.frames[:context][::-1][gap.argmin(1)]
        return video
