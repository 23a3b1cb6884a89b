"""Revisits: error to the truth on frames whose place the camera has seen before, told from poses (WorldMem, Xiao 2025).

Departure: beside the error it asks whether a frame looks like *this* place: 1 − error to the truth / error to a true
view of another place in the same direction. Perfect is 1; a frozen, blurred or forgetful video earns about 0 or less.
"""

from __future__ import annotations

import numpy as np
import torchmetrics
from pydantic import Field

from benchmarks import per_frame
from benchmarks.contracts import Score, Scored, Setting
from benchmarks.frame_error import psnr_per_frame
from benchmarks.frame_types import REVISIT_CONTEXT, frame_types, pose_gaps
from benchmarks.record import Metric, Part
from benchmarks.video_state import VideoValues, add_video_state, recall, remember
from zoo.component import Config, component

GAPS = ((32, 128), (129, 256), (257, None))
"""Frames since the place was last seen, both ends included."""
FAR = 1.5
"""Cells: a view of another place is at least this far away."""


@component(
    cite="xiao2025worldmem",
    note="error on frames that revisit the context, and its gain over wrong places",
    needs={"poses"},
)
class Revisit(torchmetrics.Metric):
    """``revisit``: PSNR on revisits of the context; ``revisit_gain``: nearer to its own place than to a wrong one.

    The parts tell revisits of the context, revisits of generated frames and unseen frames apart: memory shows as a gain
    on the first alone.
    """

    version = "1"
    full_state_update = False

    class Config(Config):
        """What counts as the same view."""

        position: float = Field(0.5, gt=0, description="cells")
        yaw: float = Field(0.35, gt=0, le=3.15, description="radians")
        gap: int = Field(32, ge=1, description="frames before a return counts as a revisit")

    def __init__(self, config: Revisit.Config, *, setting: Setting) -> None:
        super().__init__()
        self.config, self.setting = config, setting
        add_video_state(self)

    def update(self, video: Scored) -> None:
        """Add one video with poses; columns kept: PSNR, errors to truth and wrong place, gap (NaN off revisits)."""
        if video.poses is None:
            raise ValueError("the metric revisit needs poses")
        c, start = self.config, video.context
        kinds = frame_types(video.poses, start, position=c.position, yaw=c.yaw, gap=c.gap)[start:]
        error = psnr_per_frame(video.fake[start:], video.real[start:])
        remember(self, video, np.column_stack([error, self._against_other_places(video, kinds)]), kinds)

    def _against_other_places(self, video: Scored, kinds: np.ndarray) -> np.ndarray:
        """[rows, 3]: squared error to the truth and to the wrong place, frames since the place was last seen."""
        c, start = self.config, video.context
        table = np.full((len(kinds), 3), np.nan)
        revisits = np.flatnonzero(kinds == REVISIT_CONTEXT)
        if not len(revisits) or video.poses is None:
            return table
        cells, turn = pose_gaps(video.poses[start:][revisits], video.poses[:start])
        age = np.subtract.outer(revisits + start, np.arange(start))
        same = (cells <= c.position) & (turn <= c.yaw) & (age >= c.gap)
        # of the wrong places, the one whose direction is most alike
        other = np.where((cells >= FAR) & (turn <= c.yaw), turn, np.inf)
        wrong, exists = other.argmin(1), np.isfinite(other.min(1))
        fake = video.fake[start:][revisits]
        errors = [10 ** (-psnr_per_frame(fake, video.real[at]) / 10) for at in (revisits + start, wrong)]
        table[revisits, :2] = np.where(exists[:, None], np.stack(errors, 1), np.nan)
        table[revisits, 2] = np.where(same, age, np.inf).min(1)
        return table

    def compute(self) -> list[Score]:
        """Scores ``revisit`` in dB and ``revisit_gain``; [] where there were no videos."""
        videos = recall(self)
        if not videos:
            return []
        c = self.config
        facts = {"position": c.position, "yaw": c.yaw, "gap": c.gap}
        error = {v.episode: per_frame.mean_of(v.values[v.kinds == REVISIT_CONTEXT, 0]) for v in videos}
        parts = per_frame.by_type(videos, self.setting) | self._by_gap(videos)
        return [
            self._score("revisit", "dB", videos, error, parts, facts),
            self._score("revisit_gain", "share", videos, {v.episode: _gain(v) for v in videos}, {}, facts),
        ]

    def _score(
        self,
        name: str,
        unit: str,
        videos: list[VideoValues],
        means: dict[str, float],
        parts: dict[str, Part],
        facts: dict[str, float],
    ) -> Score:
        key = self.setting.key(name, self.version, [video.shape for video in videos], **facts)
        figure = per_frame.part(list(means.values()), self.setting)
        metric = Metric(**figure.model_dump(), higher_is_better=True, key=key, unit=unit, parts=parts)
        return Score(name, metric, None, {e: value for e, value in means.items() if not np.isnan(value)})

    def _by_gap(self, videos: list[VideoValues]) -> dict[str, Part]:
        found = {}
        for low, high in GAPS:
            inside = [(v.values[:, 3] >= low) & (v.values[:, 3] <= (high or np.inf)) for v in videos]
            means = [per_frame.mean_of(v.values[rows, 0]) for v, rows in zip(videos, inside, strict=True)]
            if not np.isnan(means).all():
                found[f"gap{low}_{high or 'end'}"] = per_frame.part(means, self.setting)
        return found


def _gain(video: VideoValues) -> float:
    """1 − error to the truth / error to the wrong place, each summed over the video's revisits; NaN without any."""
    right, wrong = np.nansum(video.values[:, 1]), np.nansum(video.values[:, 2])
    return float(1 - right / wrong) if wrong > 0 else float("nan")
