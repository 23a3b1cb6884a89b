"""Drift: |M(last 15 %) − M(first 15 %)| of the generated frames, in excess of the same in the truth; 0 is best.

M is sharpness (headline, since rollouts turn to mud), contrast and saturation, each relative to the true mean, so that
the figure is a share: 0.5 says the video lost or gained half its sharpness more than the truth did. A still video does
not drift, and scores as well as the truth: read it beside ``flicker``.
"""

from __future__ import annotations

import numpy as np
import torchmetrics
from pydantic import Field

from benchmarks import per_frame
from benchmarks.contracts import Score, Scored, Setting
from benchmarks.record import Metric
from benchmarks.video_state import add_video_state, recall, remember
from zoo.component import Config, component

PROPERTIES = ("sharpness", "contrast", "saturation")
COLUMNS = tuple(f"{name}{of}" for of in ("", "_generated", "_truth") for name in PROPERTIES)
"""Parts: the excess, and what it is made of."""


def properties(video_thwc: np.ndarray) -> np.ndarray:
    """Sharpness (mean absolute gradient), contrast (deviation of luma) and saturation of each frame: float64 [T, 3]."""
    x = video_thwc.astype(np.float32) / 255
    luma = x @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    sharpness = np.abs(np.diff(luma, axis=1)).mean((1, 2)) + np.abs(np.diff(luma, axis=2)).mean((1, 2))
    red, green, blue = x[..., 0], x[..., 1], x[..., 2]
    highest = np.maximum(np.maximum(red, green), blue)  # three planes at once: far faster than max over the last axis
    saturation = (highest - np.minimum(np.minimum(red, green), blue)).mean((1, 2))
    return np.stack([sharpness, luma.std((1, 2)), saturation], 1).astype(np.float64)


@component(cite=None, note="change of sharpness, contrast and saturation over the video, in excess of the truth")
class Drift(torchmetrics.Metric):
    """Excess drift of sharpness, with contrast and saturation as parts; lower is better, 0 is best."""

    version = "1"
    full_state_update = False

    class Config(Config):
        """How much of the video is its beginning and its end."""

        share: float = Field(0.15, gt=0, le=0.5, description="share of the scored frames at either end")

    def __init__(self, config: Drift.Config, *, setting: Setting) -> None:
        super().__init__()
        self.config, self.setting = config, setting
        add_video_state(self)

    def update(self, video: Scored) -> None:
        """Add one video."""
        drifts = []
        for frames in (video.fake, video.real):
            table = properties(frames[video.made])
            ends = max(1, round(len(table) * self.config.share))
            drifts.append(np.abs(table[-ends:].mean(0) - table[:ends].mean(0)))
        typical = np.maximum(properties(video.real[video.made]).mean(0), 1e-3)
        excess = np.maximum(drifts[0] - drifts[1], 0)
        remember(self, video, np.concatenate([excess / typical, drifts[0] / typical, drifts[1] / typical])[None])

    def compute(self) -> list[Score]:
        """One Score named ``drift``; [] where there were no videos."""
        videos = recall(self)
        if not videos:
            return []
        table = np.concatenate([video.values for video in videos])
        parts = {name: per_frame.part(table[:, column], self.setting) for column, name in enumerate(COLUMNS)}
        parts |= per_frame.tour_parts(videos, table[:, 0].tolist(), self.setting)
        key = self.setting.key("drift", self.version, [video.shape for video in videos], share=self.config.share)
        metric = Metric(**parts[PROPERTIES[0]].model_dump(), higher_is_better=False, key=key, unit="share", parts=parts)
        per_video = {video.episode: float(value) for video, value in zip(videos, table[:, 0], strict=True)}
        return [Score("drift", metric, None, per_video)]
