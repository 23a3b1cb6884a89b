from __future__ import annotations

from components.attention_rules import Rule, RuledAttention
from components.column_cuts import whole_picture
from zoo.component import Config, component


@component(cite="vaswani2017attention,arnab2021vivit", note="every token sees every token of its clip")
class Full(RuledAttention):
    """ViViT's joint space-time attention [Arnab 2021, model 1]: softmax(q kᵀ / √d + bias) v over all tokens of a clip.

    Departs from it so that memory is exact: observed frames see only observed frames. Latent frames see everything.
    """

    class Config(Config):
        pass

    def __init__(self, config: Full.Config) -> None:
        self.config = config
        super().__init__({"full": Rule(whole_picture)})
