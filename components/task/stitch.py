"""Two clips are given: make what leads from one to the other."""

from __future__ import annotations

from components.masked_task import MaskedTask
from components.training_masks import BETWEEN
from zoo.component import Config, component


@component(cite="brooks2024sora", note="joins two clips by frames that lead from one to the other")
class Stitch(MaskedTask):
    """Connecting videos (Sora's report, Brooks et al. 2024): p(the frames between | the end of a, the start of b).

    Departs: the two clips stand at the ends of one video and are kept as they are; the report blends them.
    """

    class Config(Config):
        pass

    own_masks = {"ends": 1.0}
    taught_by = BETWEEN
    continued_by = BETWEEN
    needs = ("first", "last")
    inputs = ("first", "last")
