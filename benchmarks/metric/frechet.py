"""Fréchet distance of window features, ‖μ₁−μ₂‖² + tr Σ₁ + tr Σ₂ − 2 tr (Σ₁Σ₂)^½ (Heusel 2017; FVD: Unterthiner 2018).

Only through I3D is it called FVD; through any other network it is fd_<network>. Windows of one video are resampled
together, and the interval is the basic bootstrap, which (unlike percentiles) covers the true distance.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torchmetrics
from pydantic import Field

from benchmarks import sliding, stats
from benchmarks.contracts import Score, Scored, Setting
from benchmarks.frechet import Resampler, fd_infinity, frechet_distance, polynomial_mmd, real_floor
from benchmarks.record import Curve, Metric, Part
from benchmarks.selection import Selection
from benchmarks.video_state import VideoValues, add_video_state, recall, remember
from zoo.component import component
from zoo.errors import BadValue

RESAMPLES = 200
FEWEST = 8
"""Windows of chosen frames below which there is no value: so few say more of their number than of the videos."""


@component(cite="heusel2017fid,unterthiner2018fvd", note="Fréchet distance of 16-frame windows: fd_lite0_*, fvd (I3D)")
class Frechet(torchmetrics.Metric):
    """Distance between the generated and the true windows as two crowds; lower is better. Biased upward at small N:
    compare equal N only, and read it beside its parts ``real_vs_real`` (at half of N) and ``infinity``.
    It asks whether frames look real, not whether they are the right ones: a video that plays its context again is real.
    """

    version = "1"
    full_state_update = False

    class Config(Selection):
        """What to look through and which windows: with ``types``, those all of whose frames are of these types."""

        feature: str = Field("lite0", description="an alternative of the axis feature")
        feature_options: dict[str, Any] = Field(default_factory=dict, description="options of that feature")
        frames: int = Field(16, ge=2, description="frames in a window")
        stride: int = Field(1, ge=1, description="video frames from one frame of a window to the next")
        hop: int = Field(32, ge=1, description="video frames from the start of one window to the next")
        include_context: bool = Field(False, description="take windows of given frames as well")
        ddof: int | None = Field(None, ge=0, le=1, description="1 divides by N - 1; null: as the feature's protocol")

    def __init__(self, config: Frechet.Config, *, setting: Setting) -> None:
        super().__init__()
        self.config, self.setting = config, setting
        if setting.feature is None:
            raise ValueError("the Fréchet distance needs a feature factory in its setting")
        self.feature = setting.feature(config.feature, config.feature_options)
        self.ddof = self.feature.ddof if config.ddof is None else config.ddof
        add_video_state(self)

    def update(self, video: Scored) -> None:
        """Add one video, or leave it out if it has no chosen window. Raises BadValue where not one window fits."""
        c = self.config
        if not c.keeps(video):
            return
        first, stop = (0, len(video.real)) if c.include_context else (video.context, video.stop)
        reach = (c.frames - 1) * c.stride + 1
        starts = np.arange(first, stop - reach + 1, c.hop)
        if not len(starts):
            raise BadValue(
                f"{self.feature.result_name} needs windows of {reach} frames, and video '{video.episode}' has "
                f"{stop - first}: give longer videos or fewer frames."
            )
        at = starts[:, None] + c.stride * np.arange(c.frames)
        at = at[c.chosen(video.frame_type, len(video.real))[at].all(1)]
        if not len(at):
            return
        fake, real = (self.feature.embed(frames[at]).cpu().numpy() for frames in (video.fake, video.real))
        remember(self, video, np.concatenate([fake, real], axis=1))

    def compute(self) -> list[Score]:
        """One Score named as the feature says; none of fewer than two windows in all, or eight of chosen frames."""
        videos, c = recall(self), self.config
        if sum(len(video.values) for video in videos) < (FEWEST if c.facts() else 2):
            return []
        name = c.named(self.feature.result_name)
        fake, real = np.split(np.concatenate([video.values for video in videos]), 2, axis=1)
        value = frechet_distance(fake, real, self.ddof)
        key = self.setting.key(
            name,
            self.version,
            [video.shape for video in videos],
            feature=self.feature.facts(),
            windows=len(fake),
            window_frames=c.frames,
            stride=c.stride,
            hop=c.hop,
            ddof=self.ddof,
            context="included" if c.include_context else "excluded",
            **c.facts(),
        )
        metric = Metric(
            value=value,
            n=len(videos),
            interval=self._interval(value, fake, real, videos),
            higher_is_better=False,
            key=key,
            parts=self._parts(fake, real) | self._trend(videos),
        )
        return [Score(name, metric, self._curve(videos))]

    def _interval(
        self, value: float, fake: np.ndarray, real: np.ndarray, videos: Sequence[VideoValues]
    ) -> tuple[float, float] | None:
        """Videos are drawn with all their windows, generated and true together."""
        if len(videos) < 3:
            return None
        resampler = Resampler(fake, real, self.ddof)
        rows = np.split(np.arange(len(fake)), np.cumsum([len(video.values) for video in videos])[:-1])
        draws = stats.resample_indices(len(videos), min(RESAMPLES, self.setting.resamples), self.setting.seed)
        picked = (np.concatenate([rows[video] for video in draw]) for draw in draws)
        usable = [resampler.distance(chosen, chosen) for chosen in picked if len(chosen) > self.ddof]
        return stats.basic_interval(value, np.array(usable))

    def _parts(self, fake: np.ndarray, real: np.ndarray) -> dict[str, Part]:
        """Floor and extrapolation need enough windows; the discrepancy is on the same features."""
        n, seed = len(fake), self.setting.seed
        parts = {"mmd": Part(value=polynomial_mmd(fake, real), n=n)}
        if n >= 8:
            parts["real_vs_real"] = Part(value=real_floor(real, self.ddof, seed=seed), n=n // 2)
            parts["infinity"] = Part(value=fd_infinity(fake, real, self.ddof, seed=seed), n=n)
        return parts

    def _by_position(self, videos: Sequence[VideoValues]) -> tuple[np.ndarray, np.ndarray] | None:
        """Generated and true windows [V, P, D]; None of chosen frames, whose windows lie anywhere."""
        positions = min(len(video.values) for video in videos)
        if len(videos) < 3 or positions < 2 or self.config.types:
            return None
        fake, real = np.split(np.stack([video.values[:positions] for video in videos]), 2, axis=2)
        return fake, real

    def _trend(self, videos: Sequence[VideoValues]) -> dict[str, Part]:
        windows = self._by_position(videos)
        if windows is None:
            return {}
        resamples = min(RESAMPLES, self.setting.resamples)
        return sliding.trend(*windows, self.ddof, self.config.hop, resamples, self.setting.seed)

    def _curve(self, videos: Sequence[VideoValues]) -> Curve | None:
        """Sliding distance: the windows of all videos at one position against the true ones at that position."""
        windows = self._by_position(videos)
        if windows is None:
            return None
        found = sliding.distances(*windows, self.ddof)
        return Curve(t=[float(p * self.config.hop) for p in range(len(found))], mean=list(found))
