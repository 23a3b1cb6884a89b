"""Nothing is given but the prompt."""

from __future__ import annotations

from components.contracts import Layout
from components.masked_task import MaskedTask
from components.training_masks import NOTHING_GIVEN
from zoo.component import Config, component


@component(cite="brooks2024sora", note="makes a video from its prompt alone; no frame is given")
class TextToVideo(MaskedTask):
    """Text to video as Sora's report (Brooks et al. 2024) shows it: p(all frames | prompt).

    Departs: with ``masks: {}`` a training window is min(window, frames) frames in a row, all to be made.
    """

    class Config(Config):
        pass

    own_masks = {"none": 1.0}
    taught_by = NOTHING_GIVEN
    inputs = ("prompt",)

    def layout(self, first: int, last: int) -> Layout:
        """Given frames are not looked at."""
        return Layout()
