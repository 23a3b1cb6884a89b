"""PSNR = mean over frames of −10 log₁₀ MSE, pixels in [0, 1] (Huynh-Thu and Ghanbari 2008 on what it can tell).

Departure: MSE is floored at 1e-10, so equal frames score 100 dB instead of infinity.
"""

from __future__ import annotations

import torchmetrics

from benchmarks import per_frame
from benchmarks.contracts import Score, Scored, Setting
from benchmarks.frame_error import psnr_per_frame
from benchmarks.selection import Selection
from benchmarks.video_state import add_video_state, recall
from zoo.component import component


@component(cite=None, note="peak signal-to-noise ratio of the frames after the context, in dB")
class Psnr(torchmetrics.Metric):
    """Per-frame error to the truth; higher is better. A blurred mean frame does well: read it beside its floors."""

    version = "1"
    full_state_update = False

    class Config(Selection):
        """Which frames."""

    def __init__(self, config: Psnr.Config, *, setting: Setting) -> None:
        super().__init__()
        self.config, self.setting = config, setting
        add_video_state(self)

    def update(self, video: Scored) -> None:
        """Add one video."""
        per_frame.measure(self, video, self.config, psnr_per_frame)

    def compute(self) -> list[Score]:
        """One Score named ``psnr``."""
        return per_frame.score(
            "psnr", recall(self), self.setting, self.config, version=self.version, unit="dB", higher_is_better=True
        )
