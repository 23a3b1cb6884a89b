from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from components.carriers import Described
from zoo.component import Config, component
from zoo.errors import UnmetNeed

if TYPE_CHECKING:
    from components.contracts import Clip


@component(cite=None, note="the data set's own caption: of procedural worlds, their state in words", needs={"captions"})
class Oracle:
    """The caption that came with the clip, no paper: the ceiling of the axis, the state that drew the clip."""

    trainable: bool = False

    class Config(Config):
        pass

    def __init__(self, config: Oracle.Config) -> None:
        self.config = config

    def describe(self, clips: Sequence[Clip]) -> list[Described]:
        """Each clip's own caption, with confidence 1. Raises UnmetNeed for a clip without one."""
        for clip in clips:
            if not clip.caption:
                raise UnmetNeed(
                    f"captioner 'oracle' has nothing to say of '{clip.episode}', which came without a caption: add a "
                    "manifest with captions, or choose captioner=coca."
                )
        return [Described(clip.caption or "", 1.0) for clip in clips]
