from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from components.attention_rules import Rule, RuledAttention
from components.column_cuts import each_place, whole_picture
from zoo.component import Config, component

if TYPE_CHECKING:
    from torch import Tensor


@component(
    cite="bertasius2021timesformer,yan2023teco",
    note="space within each frame, then causal time at each place with a configurable history",
)
class SpaceTimeCausal(RuledAttention):
    """Divided space-time attention [Bertasius 2021]: tokens of one frame, then one place (y, x) through the frames.

    Departs from it: time is causal among latent frames, within `history`; observed frames see only each other and are
    seen by every latent frame whatever its time, so their keys and values can be cached and any plan can use them.
    """

    class Config(Config):
        history: Annotated[int, Field(ge=0)] | Literal["all"] = Field(
            "all", description="how many latent frames back a latent frame sees; 0 is itself alone"
        )

    def __init__(self, config: SpaceTimeCausal.Config) -> None:
        self.config = config
        time = Rule(each_place, latents=self._looks_back)
        super().__init__({"space": Rule(whole_picture, frames_meet=False), "time": time})

    def _looks_back(self, asking: Tensor, asked: Tensor) -> Tensor:
        """Times of queries and of keys to whether the query may look."""
        past = asked <= asking
        return past if self.config.history == "all" else past & (asking - asked <= self.config.history)
