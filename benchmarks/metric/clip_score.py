"""CLIPScore = 2.5 · max(cos(image, text), 0), mean over frames (Hessel 2021); of videos as in GODIVA (Wu 2021).

Needs CLIP's weights by path: no suite names it, a recipe adds {name: clip_score, pretrained: FILE} to suite.metrics.
It looks at single frames, so that direction and order of motion do not matter to it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torchmetrics
from pydantic import Field

from benchmarks import per_frame
from benchmarks.contracts import Score, Scored, Setting
from benchmarks.record import Metric
from benchmarks.video_state import add_video_state, recall, remember
from zoo.component import Config, component

SCALE = 2.5
FAKE, REAL = range(2)


@component(
    cite="hessel2021clipscore", note="CLIP's agreement of frames and prompt, from local weights", needs={"captions"}
)
class ClipScore(torchmetrics.Metric):
    """Mean over made frames of the scaled cosine; higher is better. Part ``truth``: the same of the true videos."""

    version = "1"
    full_state_update = False

    class Config(Config):
        """Whose CLIP, and how many frames."""

        pretrained: Path = Field(description="local file of CLIP's weights")
        model: str = Field("ViT-B-32", description="open_clip model name")
        config_path: Path | None = Field(None, description="JSON architecture in place of a named model")
        every: int = Field(4, ge=1, description="look at every n-th made frame")

    def __init__(self, config: ClipScore.Config, *, setting: Setting) -> None:
        super().__init__()
        self.config, self.setting = config, setting
        if setting.feature is None:
            raise ValueError("clip_score needs a feature factory in its setting")
        self.clip: Any = setting.feature("open_clip", config.model_dump(exclude={"every"}))
        add_video_state(self)

    def update(self, video: Scored) -> None:
        """Add one video; one without a caption has no value."""
        if not video.caption:
            return
        text = self.clip.text(video.caption)
        films = (video.fake, video.real)
        cosines = np.stack([self.clip.frames(film[video.made][:: self.config.every]) @ text for film in films], 1)
        remember(self, video, SCALE * np.maximum(cosines, 0))

    def compute(self) -> list[Score]:
        """One Score named ``clip_score``; [] where there were no captions."""
        videos = recall(self)
        if not videos:
            return []
        means = np.stack([video.values.mean(0) for video in videos])
        shapes = [video.shape for video in videos]
        key = self.setting.key("clip_score", self.version, shapes, clip=self.clip.facts(), every=self.config.every)
        metric = Metric(
            **per_frame.part(means[:, FAKE], self.setting).model_dump(),
            higher_is_better=True,
            key=key,
            parts={"truth": per_frame.part(means[:, REAL], self.setting)},
        )
        return [
            Score("clip_score", metric, None, {v.episode: float(m) for v, m in zip(videos, means[:, 0], strict=True)})
        ]
