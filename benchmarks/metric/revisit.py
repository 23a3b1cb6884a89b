"""Revisits: error to the truth on frames whose place the camera has seen before, told from poses (WorldMem, Xiao 2025).

Departure: beside the error it asks whether a frame looks like *this* place: 1 − error to the truth / error to a true
view of another place in the same direction. Perfect is 1; a frozen, blurred or forgetful video earns about 0 or less.
And ``recall_at_1``: the frame is nearer to its truth than to each of K true frames of other views (chance 1 / (K + 1)).
That is the chance of a video of another world; where the context shows few places, any copy of it is near them: read
recall beside the floors.
"""

from __future__ import annotations

import numpy as np
import torchmetrics
from pydantic import Field

from benchmarks import per_frame
from benchmarks.contracts import Score, Scored, Setting
from benchmarks.frame_error import psnr_per_frame
from benchmarks.frame_types import NAMES, REVISIT_CONTEXT, REVISIT_GENERATED, frame_types, pose_gaps
from benchmarks.record import Metric, Part
from benchmarks.revisits import FAR, ages, by_gap, consistency, recalled
from benchmarks.video_state import VideoValues, add_video_state, recall, remember
from zoo.component import Config, component

PSNR, RIGHT_ERROR, WRONG_ERROR, AGE, RECALLED, CONSISTENCY, TRUE_CONSISTENCY = range(7)


@component(
    cite="xiao2025worldmem",
    note="error on frames that revisit the context, and its gain over wrong places",
    needs={"poses"},
)
class Revisit(torchmetrics.Metric):
    """``revisit``: PSNR on revisits of the context; ``revisit_gain``: nearer to its own place than to a wrong one;
    ``recall_at_1``: the true frame found among frames of other views.

    The parts tell revisits of the context, revisits of generated frames and unseen frames apart: memory shows as a gain
    on the first alone. ``self_consistency`` compares generated frames with generated frames, never with the truth, and
    ranks nothing: error to the frame that showed the view before, less the error to another place (below 0: alike).
    """

    version = "1"
    full_state_update = False

    class Config(Config):
        """What counts as the same view, and how hard recall is."""

        position: float = Field(0.5, gt=0, description="cells")
        yaw: float = Field(0.35, gt=0, le=3.15, description="radians")
        gap: int = Field(32, ge=1, description="frames before a return counts as a revisit")
        distractors: int = Field(7, ge=1, description="true frames of other views among which the truth is found")
        side: int = Field(4, ge=2, le=32, description="frames are shrunk to side x side pixels for recall")

    def __init__(self, config: Revisit.Config, *, setting: Setting) -> None:
        super().__init__()
        self.config, self.setting = config, setting
        add_video_state(self)

    def update(self, video: Scored) -> None:
        """Add one video with poses; the columns after PSNR are NaN where they mean nothing."""
        if video.poses is None:
            raise ValueError("the metric revisit needs poses")
        c, start = self.config, video.context
        kinds = frame_types(video.poses, start, position=c.position, yaw=c.yaw, gap=c.gap)[start:]
        error = psnr_per_frame(video.fake[start:], video.real[start:])
        found = recalled(video, kinds, distractors=c.distractors, side=c.side, yaw=c.yaw, seed=self.setting.seed)
        alike = consistency(video, kinds, c.position, c.yaw, c.gap)
        remember(self, video, np.column_stack([error, self._against_other_places(video, kinds), found, alike]), kinds)

    def _against_other_places(self, video: Scored, kinds: np.ndarray) -> np.ndarray:
        """[rows, 3]: squared error to the truth and to the wrong place, frames since the place was last seen."""
        c, start = self.config, video.context
        table = np.full((len(kinds), 3), np.nan)
        revisits = np.flatnonzero(kinds == REVISIT_CONTEXT)
        if not len(revisits) or video.poses is None:
            return table
        cells, turn = pose_gaps(video.poses[start:][revisits], video.poses[:start])
        # of the wrong places, the one whose direction is most alike
        other = np.where((cells >= FAR) & (turn <= c.yaw), turn, np.inf)
        wrong, exists = other.argmin(1), np.isfinite(other.min(1))
        fake = video.fake[start:][revisits]
        errors = [10 ** (-psnr_per_frame(fake, video.real[at]) / 10) for at in (revisits + start, wrong)]
        table[revisits, :2] = np.where(exists[:, None], np.stack(errors, 1), np.nan)
        table[:, 2] = ages(video.poses, start, c.position, c.yaw, c.gap)
        return table

    def compute(self) -> list[Score]:
        """Scores ``revisit`` in dB, ``revisit_gain``, and where there is something to measure ``recall_at_1`` and
        ``self_consistency``; [] where there were no videos.
        """
        videos = recall(self)
        if not videos:
            return []
        c = self.config
        facts = {"position": c.position, "yaw": c.yaw, "gap": c.gap}
        error, gain = _means(videos, PSNR), [_gain(video) for video in videos]
        parts = per_frame.by_type(videos, self.setting) | by_gap(videos, AGE, PSNR, self.setting)
        scores = [
            self._score("revisit", videos, error, parts, facts, unit="dB"),
            self._score("revisit_gain", videos, gain, {}, facts),
        ]
        found = _means(videos, RECALLED)
        if not np.isnan(found).all():
            facts_of_recall = {**facts, "distractors": c.distractors, "side": c.side}
            scores.append(self._score("recall_at_1", videos, found, self._recall_parts(videos), facts_of_recall))
        alike, truth = (_means(videos, column, REVISIT_GENERATED) for column in (CONSISTENCY, TRUE_CONSISTENCY))
        if not np.isnan(alike).all():
            parts = {"truth": per_frame.part(truth, self.setting)}
            scores.append(self._score("self_consistency", videos, alike, parts, facts, unit="mse", better=None))
        return scores

    def _score(
        self,
        name: str,
        videos: list[VideoValues],
        means: list[float],
        parts: dict[str, Part],
        facts: dict[str, float],
        *,
        unit: str = "share",
        better: bool | None = True,
    ) -> Score:
        metric = Metric(
            **per_frame.part(means, self.setting).model_dump(),
            higher_is_better=better,
            key=self.setting.key(name, self.version, [video.shape for video in videos], **facts),
            unit=unit,
            parts=parts | per_frame.tour_parts(videos, means, self.setting),
        )
        known = {v.episode: value for v, value in zip(videos, means, strict=True) if not np.isnan(value)}
        return Score(name, metric, None, known)

    def _recall_parts(self, videos: list[VideoValues]) -> dict[str, Part]:
        generated = per_frame.part(_means(videos, RECALLED, REVISIT_GENERATED), self.setting)
        chance = Part(value=1 / (self.config.distractors + 1), n=len(videos))
        gaps = by_gap(videos, AGE, RECALLED, self.setting)
        return {"chance": chance, NAMES[REVISIT_GENERATED]: generated, **gaps}


def _means(videos: list[VideoValues], column: int, kind: int = REVISIT_CONTEXT) -> list[float]:
    """Each video's mean of a column over frames of one type; NaN without any."""
    return [per_frame.mean_of(video.values[video.kinds == kind, column]) for video in videos]


def _gain(video: VideoValues) -> float:
    """1 − error to the truth / error to the wrong place, each summed over the video's revisits; NaN without any."""
    right, wrong = np.nansum(video.values[:, RIGHT_ERROR]), np.nansum(video.values[:, WRONG_ERROR])
    return float(1 - right / wrong) if wrong > 0 else float("nan")
