"""The two things a component takes from the machinery: the ``@component`` card and the ``Config`` base. No torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from pydantic import BaseModel, ConfigDict

from zoo.card import Card

Class = TypeVar("Class", bound=type)


class Config(BaseModel):
    """Options of one component: frozen, unknown keys forbidden. Nest it as ``class Config(Config)`` in the component.

    Ranges are written with ``pydantic.Field(ge=…, le=…)`` and choices with ``Literal``, so a wrong value is refused
    before anything is built. What is known only at run time (latent channels) is no option: it arrives as a keyword.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)


def component(
    *, cite: str | None, note: str, needs: Iterable[str] = (), gives: Iterable[str] = ()
) -> Callable[[Class], Class]:
    """Attach a card to the one public class of a component file; the file name is its key.

    Args:
        cite: key of the paper in CITATIONS.bib; several keys are joined by a comma; None where there is no paper.
        note: one line for ``zoo list``. Literals only: ``list`` reads them from the syntax tree.
        needs: abilities that some other part or the data set must give, e.g. ``{"poses"}``.
        gives: abilities this part offers, e.g. ``{"poses", "actions"}``.
    """

    def attach(cls: Class) -> Class:
        if not issubclass(getattr(cls, "Config", object), Config):
            raise TypeError(f"{cls.__name__} needs a nested `class Config(Config)`, even if it is empty")
        cls.card = Card(cite, note, frozenset(needs), frozenset(gives))  # type: ignore[attr-defined]
        return cls

    return attach
