"""Given the first frames, make the rest, or given the last ones, what led up to them: the task of long videos."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from components.contracts import Layout
from components.masked_task import MaskedTask
from components.training_masks import CONTINUING
from zoo.component import Config, component

LEADING_UP = ("backward", "fdm", "uniform")
"""Families that show frames to be made before given ones with none given before them."""


@component(cite="harvey2022fdm", note="makes the rest of a video from its first frames; trains on a mix of masks")
class Extend(MaskedTask):
    """FDM (Harvey et al. 2022): p(frames Y | frames X), with X and Y drawn anew for every training window.

    Departs: `masks` mixes FDM's family with others (components/training_masks.py), by weight; and time may run the
    other way, as in Sora's report (Brooks et al. 2024).
    """

    class Config(Config):
        direction: Literal["forward", "backward"] = Field(
            "forward", description="forward: goes on after the first frames; backward: leads up to the last ones"
        )

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.back = config.direction == "backward"
        self.own_masks = {"backward": 1.0} if self.back else {"fdm": 1.0}
        self.taught_by = LEADING_UP if self.back else CONTINUING
        self.continued_by = self.taught_by
        self.needs = ("last",) if self.back else ()

    def layout(self, first: int, last: int) -> Layout:
        """All frames at the given end are looked at."""
        return Layout(last=last) if self.back else Layout(first=first)
