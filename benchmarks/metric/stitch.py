"""Stitch: the larger of ‖x̂_c − x̂_{c−1}‖ over the joins between given and made frames, in typical steps; 1 is smooth.

No paper: does what was made hang together with what was given? The typical step is the median of the made frames,
or the truth's where that is smaller; made frames that stand still score worst: see
benchmarks/joins.py. A slow cross-fade is smooth and scores well: PSNR and text alignment of the made frames see it.
"""

from __future__ import annotations

import numpy as np
import torchmetrics

from benchmarks import joins, per_frame
from benchmarks.contracts import Score, Scored, Setting
from benchmarks.record import Metric
from benchmarks.video_state import add_video_state, recall, remember
from zoo.component import Config, component

WORST, TRUE_WORST, OPENING, CLOSING, STILL = range(5)


@component(cite=None, note="jump from given to made frames, in typical steps")
class Stitch(torchmetrics.Metric):
    """The worse join of a video. Parts: ``opening`` and ``closing`` (each join), ``truth``, ``still`` (share of videos
    whose made frames stand still).
    """

    version = "1"
    full_state_update = False

    class Config(Config):
        """Nothing to choose."""

    def __init__(self, config: Stitch.Config, *, setting: Setting) -> None:
        super().__init__()
        self.config, self.setting = config, setting
        add_video_state(self)

    def update(self, video: Scored) -> None:
        """Add one video; no value where nothing was given, where the truth stands still, or of one made frame."""
        true = joins.typical(video.real)
        at = [place for place, given in ((video.context, video.context), (video.stop, video.closing)) if given]
        if not at or true < joins.LEAST or video.stop - video.context < 2:
            return
        own = joins.typical(video.fake[video.made])
        medians = (video.fake, own), (video.real, joins.typical(video.real[video.made]))
        fake, real = (
            {place: joins.relative(joins.step(film[place - 1], film[place]), median, true, len(film)) for place in at}
            for film, median in medians
        )
        opening = fake[video.context] if video.context else np.nan
        closing = fake[video.stop] if video.closing else np.nan
        still = own < joins.STILL * true
        remember(self, video, np.array([[max(fake.values()), max(real.values()), opening, closing, still]]))

    def compute(self) -> list[Score]:
        """One Score named ``stitch``; [] where no video has a join."""
        videos = recall(self)
        if not videos:
            return []
        table = np.concatenate([video.values for video in videos])
        columns = {"opening": OPENING, "closing": CLOSING, "truth": TRUE_WORST, "still": STILL}
        parts = {name: per_frame.part(table[:, column], self.setting) for name, column in columns.items()}
        metric = Metric(
            **per_frame.part(table[:, WORST], self.setting).model_dump(),
            higher_is_better=False,
            key=self.setting.key(
                "stitch", self.version, [v.shape for v in videos], still=joins.STILL, least=joins.LEAST
            ),
            unit="steps",
            parts={name: figure for name, figure in parts.items() if figure.n},
        )
        return [Score("stitch", metric, None, {v.episode: float(v.values[0, WORST]) for v in videos})]
