"""pd_lite0: mean over network stages of the spatial mean of ‖â − b̂‖², features of unit length at each place.

The construction of LPIPS (Zhang et al. 2018) through EfficientNet-Lite0, without its calibration to human judgements:
an uncalibrated distance, named so that nobody takes it for LPIPS.
"""

from __future__ import annotations

from typing import Any

import torchmetrics
from pydantic import Field

from benchmarks import per_frame
from benchmarks.contracts import Score, Scored, Setting
from benchmarks.selection import Selection
from benchmarks.video_state import add_video_state, recall
from zoo.component import component


@component(cite="zhang2018lpips,tan2019efficientnet", note="pd_lite0: uncalibrated perceptual distance to the truth")
class Perceptual(torchmetrics.Metric):
    """Per-frame distance to the truth; lower is better."""

    version = "1"
    full_state_update = False

    class Config(Selection):
        """Which frames, how many of them, and how large."""

        every: int = Field(8, ge=1, description="look at every n-th frame after the context")
        size: int = Field(64, ge=32, le=512, description="short side in pixels the network sees")

    def __init__(self, config: Perceptual.Config, *, setting: Setting) -> None:
        super().__init__()
        self.config, self.setting = config, setting
        if setting.feature is None:
            raise ValueError("the perceptual distance needs a feature factory in its setting")
        self.feature: Any = setting.feature("lite0", {"size": config.size})
        add_video_state(self)

    def update(self, video: Scored) -> None:
        """Add one video."""
        per_frame.measure(self, video, self.config, self.feature.distance, self.config.every)

    def compute(self) -> list[Score]:
        """One Score named ``pd_lite0`` (and the label); the curve has a point for every n-th frame."""
        facts = {"feature": self.feature.facts()}
        return per_frame.score(
            "pd_lite0",
            recall(self),
            self.setting,
            self.config,
            version=self.version,
            unit="",
            higher_is_better=False,
            every=self.config.every,
            **facts,
        )
