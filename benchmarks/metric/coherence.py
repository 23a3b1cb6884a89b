"""Coherence: C(Δ) = 1 − mean_t ‖f_t − f_{t+Δ}‖² / 2v; score mean over Δ of |C_generated − C_true|; lower is better.

f: lite0 frame features; v: their variance over the *true* frames of the episode. C is the mean cosine of centred
features where all lie √v from the centre. Departure from that cosine: a constant offset cancels, while to the cosine a
little grain on every frame is one long agreement (measured: it cost four times what looping the context did). A still
or grey video has C = 1 and is told from the truth, whose C falls. Raw C rewards freezing: it is a part, never a score.
Blind to time reversal, and to content: the right rhythm in another world costs little. Shuffling costs no more than the
short Δ over which the truth still agrees with itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import torchmetrics
from pydantic import Field

from benchmarks import per_frame
from benchmarks.contracts import Score, Scored, Setting
from benchmarks.record import Metric, Part
from benchmarks.video_state import VideoValues, add_video_state, recall, remember
from zoo.component import Config, component

GENERATED, TRUE = range(2)
STILL = 1e-3
"""Variance below which a true video is taken for still, so that nothing is divided by zero."""


def coherence(features_td: np.ndarray, variance: float, longest: int) -> np.ndarray:
    """C(1) … C(longest), float64 [longest]; ``variance``: mean squared distance of the true features to their mean."""
    x = features_td.astype(np.float64)
    x = x - x.mean(0)  # changes no difference and keeps the squares small
    product = x @ x.T
    size = np.diagonal(product)
    gaps = size[:, None] + size[None] - 2 * product
    return 1 - np.array([np.diagonal(gaps, gap).mean() for gap in range(1, longest + 1)]) / (2 * variance)


@component(cite="tan2019efficientnet", note="how fast frames come to differ, against how fast the true ones do")
class Coherence(torchmetrics.Metric):
    """Gap between the generated and the true autocorrelation of frame features; 0 is best."""

    version = "1"
    full_state_update = False

    class Config(Config):
        """How far apart frames are compared, and how large the network sees them."""

        longest: int = Field(200, ge=2, description="frames: the largest Δ; at most four fifths of the scored frames")
        size: int = Field(64, ge=32, le=512, description="short side in pixels the network sees")

    def __init__(self, config: Coherence.Config, *, setting: Setting) -> None:
        super().__init__()
        self.config, self.setting = config, setting
        if setting.feature is None:
            raise ValueError("coherence needs a feature factory in its setting")
        self.feature: Any = setting.feature("lite0", {"size": config.size})
        add_video_state(self)

    def update(self, video: Scored) -> None:
        """Add one video of at least five scored frames; a row for every Δ. Shorter ones have no value."""
        longest = min(self.config.longest, (video.stop - video.context) * 4 // 5)
        if longest < 4:
            return
        fake, real = (self.feature.frames(frames[video.made]) for frames in (video.fake, video.real))
        variance = max(float(real.var(0, dtype=np.float64).sum()), STILL)
        remember(self, video, np.stack([coherence(x, variance, longest) for x in (fake, real)], 1))

    def compute(self) -> list[Score]:
        """One Score named ``coherence``, its curve C(Δ) of the generated videos over Δ; [] where there were none."""
        videos = recall(self)
        if not videos:
            return []
        gaps = [float(np.abs(v.values[:, GENERATED] - v.values[:, TRUE]).mean()) for v in videos]
        c, shapes = self.config, [video.shape for video in videos]
        metric = Metric(
            **per_frame.part(gaps, self.setting).model_dump(),
            higher_is_better=False,
            key=self.setting.key(
                "coherence", self.version, shapes, feature=self.feature.facts(), longest=c.longest, form="variogram"
            ),
            parts=self._parts(videos, gaps),
        )
        curve = per_frame.curve(videos, 1, self.setting, "C at distance t", GENERATED, first=1)
        per_video = {video.episode: gap for video, gap in zip(videos, gaps, strict=True)}
        return [Score("coherence", metric, curve, per_video)]

    def _parts(self, videos: Sequence[VideoValues], gaps: list[float]) -> dict[str, Part]:
        raw = {
            name: per_frame.part([float(v.values[:, column].mean()) for v in videos], self.setting)
            for name, column in (("raw", GENERATED), ("raw_truth", TRUE))
        }
        floor = _between_true_videos(videos)
        others = {} if floor is None else {"real_vs_real": Part(value=floor, n=len(videos))}
        return raw | others | per_frame.tour_parts(videos, gaps, self.setting)


def _between_true_videos(videos: Sequence[VideoValues]) -> float | None:
    """What a true video of another world on the same kind of tour would score; None where there are no two."""
    pairs = [(a.values, b.values) for a, b in combinations(videos, 2) if a.tour == b.tour]
    if not pairs:
        return None
    found = []
    for a, b in pairs:
        both = min(len(a), len(b))
        found.append(np.abs(a[:both, TRUE] - b[:both, TRUE]).mean())
    return float(np.mean(found))
