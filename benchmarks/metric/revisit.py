"""Revisits: error to the truth on frames whose place the camera has seen before, told from poses (WorldMem, Xiao 2025).

Departure: beside the error it asks whether a frame looks like *this* place: PSNR to the true earlier view minus PSNR to
a true view of another place in the same direction, which no blurred or frozen video can earn.
"""

from __future__ import annotations

import numpy as np
import torchmetrics
from pydantic import Field

from benchmarks import per_frame
from benchmarks.contracts import Score, Scored, Setting
from benchmarks.frame_error import psnr_per_frame
from benchmarks.frame_types import REVISIT_CONTEXT, frame_types, pose_gaps
from benchmarks.record import Metric
from benchmarks.video_state import VideoValues, add_video_state, recall, remember
from zoo.component import Config, component

GAPS = ((32, 128), (129, 256), (257, None))
"""Frames since the place was last seen, both ends included."""
FAR = 1.5
"""Cells: a view of another place is at least this far away."""


@component(cite="xiao2025worldmem", note="PSNR on frames that revisit the context, and its excess over wrong places", needs={"poses"})
class Revisit(torchmetrics.Metric):
    """``revisit``: PSNR on revisits of the context; ``revisit_excess``: how much nearer to the true place than to others.

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

    def __init__(self, config: Config, *, setting: Setting) -> None:
        super().__init__()
        self.config, self.setting = config, setting
        add_video_state(self)

    def update(self, video: Scored) -> None:
        """Add one video with poses; columns kept: PSNR, excess, gap (the last two NaN off revisits)."""
        if video.poses is None:
            raise ValueError("the metric revisit needs poses")
        c, start = self.config, video.context
        kinds = frame_types(video.poses, start, position=c.position, yaw=c.yaw, gap=c.gap)[start:]
        error = psnr_per_frame(video.fake[start:], video.real[start:])
        excess, since = self._against_other_places(video, kinds)
        remember(self, video, np.stack([error, excess, since], 1), kinds)

    def _against_other_places(self, video: Scored, kinds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        c, start = self.config, video.context
        excess, since = np.full(len(kinds), np.nan), np.full(len(kinds), np.nan)
        revisits = np.flatnonzero(kinds == REVISIT_CONTEXT)
        if not len(revisits):
            return excess, since
        cells, turn = pose_gaps(video.poses[start:][revisits], video.poses[:start])
        age = np.subtract.outer(revisits + start, np.arange(start))
        same = (cells <= c.position) & (turn <= c.yaw) & (age >= c.gap)
        # the best of the same views, and of the wrong places the one whose direction is most alike
        right = np.where(same, cells + turn, np.inf).argmin(1)
        other = np.where((cells >= FAR) & (turn <= c.yaw), turn, np.inf)
        wrong, exists = other.argmin(1), np.isfinite(other.min(1))
        fake = video.fake[start:][revisits]
        gain = psnr_per_frame(fake, video.real[right]) - psnr_per_frame(fake, video.real[wrong])
        excess[revisits] = np.where(exists, gain, np.nan)
        since[revisits] = np.where(same, age, np.inf).min(1)
        return excess, since

    def compute(self) -> list[Score]:
        """Scores ``revisit`` and ``revisit_excess`` in dB; [] where there were no videos."""
        videos = recall(self)
        if not videos:
            return []
        c = self.config
        facts = {"position": c.position, "yaw": c.yaw, "gap": c.gap}
        error = self._score("revisit", videos, 0, facts)
        error.metric.parts.update(per_frame.by_type(videos, self.setting))
        error.metric.parts.update(self._by_gap(videos))
        return [error, self._score("revisit_excess", videos, 1, facts)]

    def _score(self, name: str, videos: list[VideoValues], column: int, facts: dict[str, float]) -> Score:
        means = {v.episode: per_frame.mean_of(v.values[v.kinds == REVISIT_CONTEXT, column]) for v in videos}
        key = self.setting.key(name, self.version, [video.shape for video in videos], **facts)
        figure = per_frame.part(list(means.values()), self.setting)
        metric = Metric(**figure.model_dump(), higher_is_better=True, key=key, unit="dB")
        return Score(name, metric, None, {e: value for e, value in means.items() if not np.isnan(value)})

    def _by_gap(self, videos: list[VideoValues]) -> dict[str, per_frame.Part]:
        found = {}
        for low, high in GAPS:
            inside = [(v.values[:, 2] >= low) & (v.values[:, 2] <= (high or np.inf)) for v in videos]
            means = [per_frame.mean_of(v.values[rows, 0]) for v, rows in zip(videos, inside, strict=True)]
            if not np.isnan(means).all():
                found[f"gap{low}_{high or 'end'}"] = per_frame.part(means, self.setting)
        return found
