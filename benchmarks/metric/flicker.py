"""Dynamics as a ratio to the truth: flicker = mean |x̂_{t+1} − x̂_t| / mean |x_{t+1} − x_t|; 1 is right, 0 is frozen.

Beside it the second difference (jitter), and the shares of frozen steps and of cuts, with those of the truth. No score
by itself: it is read to see *why* another figure is bad, so it ranks nothing.
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

SPEED, REAL_SPEED, JITTER, REAL_JITTER, FROZEN, CUT, REAL_FROZEN, REAL_CUT = range(8)


@component(cite=None, note="frame differences as a ratio to the truth, frozen steps and cuts")
class Flicker(torchmetrics.Metric):
    """Ratio of mean absolute frame differences, generated to true; best at 1."""

    version = "1"
    full_state_update = False

    class Config(Config):
        """What counts as frozen and as a cut."""

        frozen: float = Field(0.1, ge=0, le=1, description="a step below this share of the true mean step is frozen")
        cut: float = Field(4.0, ge=1, description="a step above this many times the true mean step is a cut")

    def __init__(self, config: Flicker.Config, *, setting: Setting) -> None:
        super().__init__()
        self.config, self.setting = config, setting
        add_video_state(self)

    def update(self, video: Scored) -> None:
        """Add one video of at least three scored frames, the given neighbours included; shorter ones have no value."""
        first, stop = max(video.context - 1, 0), video.stop + bool(video.closing)
        if stop - first < 3:
            return
        steps, jitters = zip(*(_differences(frames[first:stop]) for frames in (video.fake, video.real)), strict=True)
        typical = steps[1].mean()
        frozen = [(step < self.config.frozen * typical).mean() for step in steps]
        cut = [(step > self.config.cut * typical).mean() for step in steps]
        rates = [frozen[0], cut[0], frozen[1], cut[1]]
        remember(self, video, np.array([[steps[0].mean(), typical, *jitters, *rates]]))

    def compute(self) -> list[Score]:
        """One Score named ``flicker`` that ranks nothing; [] where there were no videos."""
        videos = recall(self)
        if not videos:
            return []
        table = np.concatenate([video.values for video in videos])

        def ratio(top: int, bottom: int) -> np.ndarray:
            return np.divide(
                table[:, top], table[:, bottom], out=np.full(len(table), np.nan), where=table[:, bottom] > 0
            )

        speed = ratio(SPEED, REAL_SPEED)
        parts = {
            "jitter": per_frame.part(ratio(JITTER, REAL_JITTER), self.setting),
            "frozen_steps": per_frame.part(table[:, FROZEN], self.setting),
            "cuts": per_frame.part(table[:, CUT], self.setting),
            "frozen_steps_truth": per_frame.part(table[:, REAL_FROZEN], self.setting),
            "cuts_truth": per_frame.part(table[:, REAL_CUT], self.setting),
            **per_frame.tour_parts(videos, speed.tolist(), self.setting),
        }
        shapes = [video.shape for video in videos]
        key = self.setting.key("flicker", self.version, shapes, frozen=self.config.frozen, cut=self.config.cut)
        figure = per_frame.part(speed, self.setting)
        metric = Metric(**figure.model_dump(), higher_is_better=None, key=key, unit="ratio", parts=parts)
        known = {v.episode: float(value) for v, value in zip(videos, speed, strict=True) if not np.isnan(value)}
        return [Score("flicker", metric, None, known)]


def _differences(video_thwc: np.ndarray) -> tuple[np.ndarray, float]:
    """Mean absolute step of each frame [T - 1], and the mean absolute second difference, in grey levels."""
    x = video_thwc.astype(np.float32)
    step = np.diff(x, axis=0)
    return np.abs(step).mean(axis=(1, 2, 3)), float(np.abs(np.diff(step, axis=0)).mean())
