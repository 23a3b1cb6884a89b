"""A video whose end flows into its beginning."""

from __future__ import annotations

from components.contracts import Layout
from components.masked_task import MaskedTask
from components.training_masks import BETWEEN
from zoo.component import Config, component


@component(cite="brooks2024sora", note="makes a video whose last frames flow into its first")
class Loop(MaskedTask):
    """Seamless loops (Sora's report, Brooks et al. 2024): p(frames a … T-1 | frames 0 … a-1, and T+i looks as i).

    Departs: the opening is observed once more after the end, and these copies are cut off. Where no clip is given the
    opening is made first, from the prompt.
    """

    class Config(Config):
        pass

    own_masks = {"ends": 3.0, "none": 1.0}
    taught_by = BETWEEN
    continued_by = BETWEEN

    def layout(self, first: int, last: int) -> Layout:
        """The first frames, and as many copies of them after the end."""
        return Layout(first=first, copies=first)
