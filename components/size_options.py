"""How large a backbone is, said once: by width, depth and heads, by a budget of parameters, or by a preset of DiT's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from zoo.component import Config

if TYPE_CHECKING:
    from typing import Self  # of Python 3.11; only read by type checkers

UNITS = {"k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9}


@dataclass(frozen=True)
class Shape:
    """The three numbers of a network's size."""

    width: int
    depth: int
    heads: int


PRESETS = {"S": Shape(384, 12, 6), "B": Shape(768, 12, 12), "L": Shape(1024, 24, 16), "XL": Shape(1152, 28, 16)}
"""DiT's sizes (Peebles & Xie 2023, table 1)."""


@dataclass(frozen=True)
class ShapeRule:
    """What a solved size should look like; zoo/model_size.py comes as near to it as the budget allows."""

    aspect: float
    """Width over depth of the narrowest networks."""
    head: int
    """Channels of a head of networks narrower than `wide`."""
    wide_head: int
    """Channels of a head of networks of that width and wider."""
    growth: float = 0.0
    """What a channel of width adds to width over depth."""
    wide: int = 384
    deepest: int = 128

    def ratio(self, width: int) -> float:
        """Width over depth at this width."""
        return self.aspect + self.growth * width

    def heads(self, width: int) -> int | None:
        """How many heads come nearest to the head's size; None where the width has none of about that size."""
        aim, step = (self.wide_head, 8) if width >= self.wide else (self.head, 4)
        sizes = [s for s in range(step, 2 * aim, step) if width % s == 0 and 3 * aim <= 4 * s <= 6 * aim]
        return width // min(sizes, key=lambda size: max(size / aim, aim / size)) if sizes else None


class SizeOptions(Config):
    """A backbone's Config inherits these, and says its own default shape."""

    DEFAULT: ClassVar[Shape]

    params: int | None = Field(
        None, ge=1, description="budget of parameters, such as 10M, 1.5B or 800k: solves width, depth and heads"
    )
    preset: Literal["S", "B", "L", "XL"] | None = Field(
        None, description="DiT's width, depth and heads of that name; other backbones, the parameters that it has here"
    )

    @field_validator("params", mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        """``10M`` to 10 000 000."""
        if not isinstance(value, str):
            return round(value) if isinstance(value, float) else value
        text = value.strip().lower().replace("_", "").replace(" ", "")
        unit = UNITS.get(text[-1:], 1.0)
        try:
            return round(float(text[:-1] if text[-1:] in UNITS else text) * unit)
        except (ValueError, OverflowError):
            raise ValueError(f"'{value}' is not a number of parameters: write it like 10M, 1.5B or 800k") from None

    @model_validator(mode="after")
    def _said_once(self) -> Self:
        said = [name for name in ("params", "preset", "width", "depth", "heads") if getattr(self, name) is not None]
        if len(said) > 1 and said[0] in ("params", "preset"):
            raise ValueError(
                f"{said[0]} says how large the network is, and so does {said[1]}: leave out one of the two "
                f"(backbone.{said[0]}=null or backbone.{said[1]}=null where a recipe sets it)"
            )
        return self

    def whole(self) -> Self:
        """With width, depth and heads written out. Raises ValueError where a budget is still to be solved."""
        if self.params is not None or self.preset is not None:
            raise ValueError("params and preset become width, depth and heads before a network is built")
        missing = {name: size for name, size in vars(self.DEFAULT).items() if getattr(self, name) is None}
        return self.model_copy(update=missing)

    def _divided(self) -> None:
        """Raises ValueError where the width is odd or no multiple of the heads."""
        if self.params is not None or self.preset is not None:
            return
        width, heads = (getattr(self.whole(), name) for name in ("width", "heads"))
        if width % heads or width % 2:
            raise ValueError(f"width {width} must be even and a multiple of heads {heads}")
