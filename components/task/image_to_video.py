"""One picture is given, the video's first frame."""

from __future__ import annotations

from components.contracts import Layout
from components.masked_task import MaskedTask
from zoo.component import Config, component


@component(cite="brooks2024sora,lu2023vdt", note="makes a video from its first frame, a picture, and the prompt")
class ImageToVideo(MaskedTask):
    """Animating a picture (Sora's report, Brooks et al. 2024; VDT, Lu et al. 2023): p(frames 1 … T-1 | frame 0).

    Departs: the picture is an observed frame like any other, not a channel of the network's input.
    """

    class Config(Config):
        pass

    own_masks = {"first": 1.0, "window": 1.0}
    taught_by = ("first", "single", "window", "fdm")
    needs = ("first",)
    inputs = ("image",)

    def layout(self, first: int, last: int) -> Layout:
        """The first frame alone is looked at."""
        return Layout(first=min(first, 1))
