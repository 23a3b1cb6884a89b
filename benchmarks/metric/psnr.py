"""PSNR = mean over frames of −10 log₁₀ MSE, pixels in [0, 1] (Huynh-Thu and Ghanbari 2008 on what it can tell).

Departure: MSE is floored at 1e-10, so equal frames score 100 dB instead of infinity.
"""

from __future__ import annotations

import numpy as np
import torchmetrics

from benchmarks import per_frame
from benchmarks.contracts import Score, Scored, Setting
from benchmarks.frame_error import psnr_per_frame
from benchmarks.video_state import add_video_state, recall, remember
from zoo.component import Config, component


@component(cite=None, note="peak signal-to-noise ratio of the frames after the context, in dB")
class Psnr(torchmetrics.Metric):
    """Per-frame error to the truth; higher is better. A blurred mean frame does well: read it beside its floors."""

    version = "1"
    full_state_update = False

    class Config(Config):
        """Nothing to choose."""

    def __init__(self, config: Psnr.Config, *, setting: Setting) -> None:
        super().__init__()
        self.config, self.setting = config, setting
        add_video_state(self)

    def update(self, video: Scored) -> None:
        """Add one video."""
        values: np.ndarray = psnr_per_frame(video.fake[video.context :], video.real[video.context :])
        remember(self, video, values, per_frame.scored_kinds(video))

    def compute(self) -> list[Score]:
        """One Score named ``psnr``."""
        return per_frame.score(
            "psnr", recall(self), self.setting, version=self.version, unit="dB", higher_is_better=True
        )
