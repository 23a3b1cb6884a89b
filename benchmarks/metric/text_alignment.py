"""Text alignment: mean over a prompt's attributes of [what a classifier reads in the video = what the prompt says].

No paper's: as CLIP score (Hessel 2021), with a reader that knows these videos and tells left from right, which CLIP,
looking at single frames, cannot. It reads the made frames alone: given ones would show colour and ground for free.
A still video keeps colour, shape and ground and loses motion (``stands still`` is right for one prompt in eight); the
wrong true video (control ``another_video``) and noise lose all but chance. Blind to how real a video looks: read it
beside Fréchet distances, which in turn do not know the prompt.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torchmetrics

from benchmarks import per_frame
from benchmarks.contracts import Score, Scored, Setting
from benchmarks.record import Metric, Part
from benchmarks.video_state import add_video_state, recall, remember
from components.shape_words import ATTRIBUTES, said_attributes
from zoo.component import Config, component

FEWEST = 2
"""Made frames below which nothing can be said of motion."""


@component(cite="hessel2021clipscore", note="share of the prompt's attributes that the video shows", needs={"captions"})
class TextAlignment(torchmetrics.Metric):
    """``text_alignment``: mean share of right attributes. ``prompt_followed``: videos in which all are right.

    Parts: each attribute; the same of the true videos (``truth``: what this reader can reach); ``chance``, a guess.
    """

    version = "1"
    full_state_update = False

    class Config(Config):
        """Nothing to choose."""

    def __init__(self, config: TextAlignment.Config, *, setting: Setting) -> None:
        super().__init__()
        self.config, self.setting = config, setting
        if setting.feature is None:
            raise ValueError("text_alignment needs a feature factory in its setting")
        self.reader: Any = setting.feature("attributes", {})
        add_video_state(self)

    def update(self, video: Scored) -> None:
        """Add one video; one whose prompt says nothing of these attributes, or of one made frame, has no value."""
        said = said_attributes(video.caption or "")
        if not said or video.stop - video.context < FEWEST:
            return
        right = np.full((2, len(ATTRIBUTES)), np.nan)
        for row, frames in enumerate((video.fake, video.real)):
            shown = self.reader.read(frames[video.made])
            right[row] = [shown[name] == said[name] if name in said else np.nan for name in ATTRIBUTES]
        remember(self, video, right)

    def compute(self) -> list[Score]:
        """Two Scores; [] where no prompt said anything."""
        videos = recall(self)
        if not videos:
            return []
        right = np.stack([video.values for video in videos])  # [V, fake and true, attributes]
        guess = np.where(np.isnan(right[:, 0]), np.nan, [1 / len(words) for words in ATTRIBUTES.values()])
        fake, real = right[:, 0], right[:, 1]
        parts = {name: per_frame.part(fake[:, place], self.setting) for place, name in enumerate(ATTRIBUTES)}
        parts |= {"truth": self._part(np.nanmean(real, 1)), "chance": self._part(np.nanmean(guess, 1))}
        every = {"truth": self._part(np.nanmin(real, 1)), "chance": self._part(np.nanprod(guess, 1))}
        names = [video.episode for video in videos]
        shapes = [video.shape for video in videos]
        found = [("text_alignment", np.nanmean(fake, 1), parts), ("prompt_followed", np.nanmin(fake, 1), every)]
        return [self._score(name, values, inner, names, shapes) for name, values, inner in found]

    def _part(self, values_v: np.ndarray) -> Part:
        return per_frame.part(values_v, self.setting)

    def _score(self, name: str, values_v: np.ndarray, parts: Any, names: Any, shapes: Any) -> Score:
        key = self.setting.key(name, self.version, shapes, reader=self.reader.facts())
        metric = Metric(**self._part(values_v).model_dump(), higher_is_better=True, key=key, unit="share", parts=parts)
        return Score(name, metric, None, {name: float(v) for name, v in zip(names, values_v, strict=True)})
