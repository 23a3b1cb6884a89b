"""temporal_detail = mean over frames of −10 log₁₀ MSE(x̂_t − x̂_{t−1}, x_t − x_{t−1}), pixels in [0, 1]: PSNR of motion.

No paper: it asks for what changes between neighbouring frames, which compression in time throws away first. It sees
flicker, smeared motion and motion that comes late; it does not see an error that stays the same from frame to frame
(a blurred or wrongly coloured background), which PSNR sees. Where little moves a still video scores high as well: read
it beside a floor that stands still (the control ``mean_frame``).

Departure from PSNR: changes between frames of 8 bits are known to half a level on either side, so MSE is floored at
what such rounding costs. Otherwise clips in which nothing moves would score 100 dB and outweigh all others.
"""

from __future__ import annotations

import numpy as np
import torchmetrics

from benchmarks import per_frame
from benchmarks.contracts import Score, Scored, Setting
from benchmarks.selection import Selection
from benchmarks.video_state import add_video_state, recall, remember
from zoo.component import component

ROUNDING = 2 / 12 / 255**2
"""Mean squared error of the difference of two frames, each rounded to 8 bits: 55.9 dB is the best score."""


@component(cite=None, note="PSNR of the differences between neighbouring frames, in dB: what moves, and no more")
class TemporalDetail(torchmetrics.Metric):
    """Error of each frame's change since the frame before it; higher is better, 55.9 dB where every change is right.

    The first frame of a video has no change and no value; with given frames the last of them is the first one's before.
    """

    version = "1"
    full_state_update = False

    class Config(Selection):
        """Which frames."""

    def __init__(self, config: TemporalDetail.Config, *, setting: Setting) -> None:
        super().__init__()
        self.config, self.setting = config, setting
        add_video_state(self)

    def update(self, video: Scored) -> None:
        """Add one video."""
        if not self.config.keeps(video):
            return
        kinds = None if video.frame_type is None else video.frame_type[video.made]
        chosen = self.config.chosen(kinds, video.stop - video.context)
        values = detail_per_frame(video.fake, video.real)[video.made]
        values[~chosen] = np.nan
        if not np.isnan(values).all():
            remember(self, video, values, kinds)

    def compute(self) -> list[Score]:
        """One Score named ``temporal_detail``."""
        return per_frame.score(
            "temporal_detail",
            recall(self),
            self.setting,
            self.config,
            version=self.version,
            unit="dB",
            higher_is_better=True,
        )


def detail_per_frame(fake_thwc: np.ndarray, real_thwc: np.ndarray) -> np.ndarray:
    """float64 [T], in dB, of uint8 videos of equal shape; NaN for the first frame."""
    error = fake_thwc.astype(np.float32) - real_thwc.astype(np.float32)
    change = np.square(np.diff(error, axis=0)).mean(axis=(1, 2, 3), dtype=np.float64) / 255.0**2
    return np.concatenate([[np.nan], -10 * np.log10(np.maximum(change, ROUNDING))])
