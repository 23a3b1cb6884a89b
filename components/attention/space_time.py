from __future__ import annotations

from components.attention_rules import Rule, RuledAttention
from components.column_cuts import each_place, whole_picture
from zoo.component import Config, component


@component(cite="bertasius2021timesformer", note="space within each frame, then time at each place, in both directions")
class SpaceTime(RuledAttention):
    """Divided space-time attention [Bertasius 2021]: tokens of one frame, then one place (y, x) through the frames.

    Departs from it: space comes first, and observed frames see only each other, so that their keys and values can be
    cached; latent frames see all frames, earlier and later.
    """

    class Config(Config):
        pass

    def __init__(self, config: SpaceTime.Config) -> None:
        self.config = config
        super().__init__({"space": Rule(whole_picture, frames_meet=False), "time": Rule(each_place)})
