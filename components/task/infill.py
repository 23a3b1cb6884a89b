"""Both ends of a video are given: make what lies between."""

from __future__ import annotations

from components.masked_task import MaskedTask
from components.training_masks import BETWEEN
from zoo.component import Config, component


@component(cite="lu2023vdt,harvey2022fdm", note="makes the middle of a video whose first and last frames are given")
class Infill(MaskedTask):
    """Frame completion (VDT, Lu et al. 2023; FDM, Harvey et al. 2022): p(frames a … T-b-1 | the first a, the last b).

    Departs: a hole longer than a window is filled from its start on, the nearest frames after it always in sight.
    """

    class Config(Config):
        pass

    own_masks = {"ends": 1.0}
    taught_by = BETWEEN
    continued_by = BETWEEN
    needs = ("first", "last")
