"""Memory by place: look at the finished frames that were filmed nearest to where the camera will be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from components.contracts import Features, Step
from components.frame_choice import (
    HEADING_WEIGHT,
    RECENT,
    checked_poses,
    nearest_in_pose,
    places_to_look,
    pose_features,
)
from zoo.component import Config, component

if TYPE_CHECKING:
    import numpy as np


@component(
    cite="xiao2025worldmem",
    note="looks at a few recent frames and at the finished frames nearest in camera pose",
    needs={"poses"},
)
class PoseNearest:
    """Retrieval as in WorldMem (Xiao et al. 2025), by d = |Δxyz|² + weight · (1 − cos Δyaw), Y = the next s.

    Departs: a plain distance of poses in place of overlapping fields of view; the frames to be made take turns, each
    one's nearest finished frame before anyone's second nearest.
    """

    class Config(Config):
        recent: int = Field(
            RECENT, ge=0, description="most recent frames always looked at; one place at least is left for the nearest"
        )
        weight: float = Field(HEADING_WEIGHT, ge=0.0, description="squared cells that 1 - cos(turn) = 1 counts for")

    def __init__(self, config: Config) -> None:
        self.config = config

    def plan(
        self,
        *,
        frames: int,
        observed: int,
        window: int,
        step: int,
        seed: int = 0,
        poses: np.ndarray | None = None,
        features: Features | None = None,
    ) -> Iterator[Step]:
        """See contracts.Rollout. `poses` [frames, 4] are needed, of frames to come too; `seed` changes nothing.

        Raises UnmetNeed without poses, BadValue on a request that cannot be met.
        """
        step, room = places_to_look(frames=frames, observed=observed, window=window, step=step)
        places = pose_features(checked_poses(poses, frames, "rollout=pose_nearest"), self.config.weight)
        recent = max(0, min(self.config.recent, room - 1))
        for first in range(observed, frames, step):
            latent = range(first, min(first + step, frames))
            before = max(0, first - recent)
            near = nearest_in_pose(places, latent, before, room - (first - before))
            yield Step((*near, *range(before, first)), tuple(latent))
