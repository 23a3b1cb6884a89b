"""Seam of a loop: ‖x̂_0 − x̂_{T−1}‖ / median_t ‖x̂_{t+1} − x̂_t‖; 1 is as smooth as inside, lower is better.

No paper: played again and again, is the last frame followed by the first as any frame is by the next? The median is
the truth's where that is smaller, and a video that stands still scores worst: see benchmarks/joins.py. Shuffled true
frames have no typical step of their own and score as they jump. Blind to content: read it beside text_alignment.
"""

from __future__ import annotations

import numpy as np
import torchmetrics

from benchmarks import joins, per_frame
from benchmarks.contracts import Score, Scored, Setting
from benchmarks.record import Metric
from benchmarks.video_state import add_video_state, recall, remember
from zoo.component import Config, component

SEAM, TRUE_SEAM, VELOCITY, TRUE_VELOCITY, STILL = range(5)


@component(cite=None, note="jump from a loop's last frame to its first, in typical steps")
class Seam(torchmetrics.Metric):
    """Jump over the seam in typical steps. Parts: ``velocity`` (how much the steps beside the seam differ from it, in
    the same unit), ``truth`` and ``truth_velocity`` (of true videos, which need not loop), ``still`` (share of videos).
    """

    version = "1"
    full_state_update = False

    class Config(Config):
        """Nothing to choose."""

    def __init__(self, config: Seam.Config, *, setting: Setting) -> None:
        super().__init__()
        self.config, self.setting = config, setting
        add_video_state(self)

    def update(self, video: Scored) -> None:
        """Add one video; no value where both of its ends were given, or where the truth stands still."""
        if (video.context and video.closing) or len(video.real) < 4:
            return
        own, true = (joins.typical(frames) for frames in (video.fake, video.real))
        if true < joins.LEAST:
            return
        frames = len(video.real)
        values = []
        for film, median in ((video.fake, own), (video.real, true)):
            jump, turn = joins.step(film[-1], film[0]), _turn(film)
            values.append([joins.relative(size, median, true, frames) for size in (jump, turn)])
        (seam, velocity), (true_seam, true_velocity) = values
        remember(self, video, np.array([[seam, true_seam, velocity, true_velocity, own < joins.STILL * true]]))

    def compute(self) -> list[Score]:
        """One Score named ``seam``; [] where no video has one."""
        videos = recall(self)
        if not videos:
            return []
        table = np.concatenate([video.values for video in videos])
        columns = {"velocity": VELOCITY, "truth": TRUE_SEAM, "truth_velocity": TRUE_VELOCITY, "still": STILL}
        metric = Metric(
            **per_frame.part(table[:, SEAM], self.setting).model_dump(),
            higher_is_better=False,
            key=self.setting.key("seam", self.version, [v.shape for v in videos], still=joins.STILL, least=joins.LEAST),
            unit="steps",
            parts={name: per_frame.part(table[:, column], self.setting) for name, column in columns.items()},
        )
        return [Score("seam", metric, None, {v.episode: float(v.values[0, SEAM]) for v in videos})]


def _turn(video_thwc: np.ndarray) -> float:
    """Root mean square change of velocity over the seam, the mean of both sides, in grey levels a frame."""
    x = video_thwc[[-2, -1, 0, 1]].astype(np.float32)
    return float(np.sqrt(np.square(np.diff(x, n=2, axis=0)).mean((1, 2, 3))).mean())
