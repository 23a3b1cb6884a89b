"""Which videos and frames a metric looks at, as options of the metric: by kind of tour and by type of frame."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from benchmarks.contracts import Scored
from benchmarks.frame_types import NAMES
from zoo.component import Config
from zoo.errors import UnmetNeed

FrameType = Literal["unseen", "revisit_context", "revisit_generated"]


class Selection(Config):
    """Options of a metric that may look at some frames only; base of its Config. Nothing chosen means everything."""

    tours: tuple[str, ...] = Field((), description="kinds of tour, such as wobbled_loop; empty: all videos")
    types: tuple[FrameType, ...] = Field((), description="frame types; empty: all frames after the context")
    label: str = Field("", pattern=r"^[a-z0-9_]*$", description="ends the figure's name: pd_lite0_LABEL")

    @model_validator(mode="after")
    def _has_a_name(self) -> Selection:
        if (self.tours or self.types) and not self.label:
            raise ValueError("a choice of tours or types needs a label, so that its figure has a name of its own")
        return self

    def named(self, name: str) -> str:
        """The figure's name: ``pd_lite0``, or ``pd_lite0_wobbled_revisit``."""
        return f"{name}_{self.label}" if self.label else name

    def facts(self) -> dict[str, str]:
        """For the key: what was chosen, whatever the order; {} where all is looked at."""
        chosen = {"tours": self.tours, "types": self.types}
        return {word: "+".join(sorted(set(names))) for word, names in chosen.items() if names}

    def keeps(self, video: Scored) -> bool:
        """Whether the video is of a chosen kind of tour."""
        return not self.tours or video.tour in self.tours

    def chosen(self, kinds: np.ndarray | None, rows: int) -> np.ndarray:
        """bool [rows]: frames of a chosen type. Raises UnmetNeed where types are chosen and there are no poses."""
        if not self.types:
            return np.ones(rows, dtype=bool)
        if kinds is None:
            raise UnmetNeed(
                f"the metric option types={'+'.join(self.types)} needs poses, which these clips do not have: "
                "drop that metric, or choose a data set with poses."
            )
        return np.isin(kinds, [kind for kind, name in NAMES.items() if name in self.types])
