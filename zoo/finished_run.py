"""A finished run, opened for use from Python: ``zoo.load(RUN)``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from zoo import compose
from zoo.errors import UnmetNeed

if TYPE_CHECKING:
    from zoo.model import ZooModel


def load(run: str | Path, *, overrides: Sequence[str] = (), root: Path | str | None = None) -> ZooModel:
    """The trained model of RUN: a generator's folder, its name under ./runs, or a record.

    Args:
        overrides: sampling keys as on the command line, e.g. ``["rollout=hierarchical", "solver.steps=8"]``.
        root: where the runs are; ./runs or the environment variable ZOO_RUNS unless given.

    Raises:
        UserError: no such run, a run that is not finished, or an override that would need another training.
    """
    from zoo import runs
    from zoo.pipeline import Pipeline
    from zoo.recipe import override
    from zoo.store import Store

    store = Store(root)
    folder = runs.generator_of(store, run)
    trained = runs.recipe_of(store, run)
    recipe = override(trained, overrides)
    if compose.training_part(recipe) != compose.training_part(trained):
        raise UnmetNeed("only sampling keys can be overridden for a trained run (rollout, solver, guidance, sample.*).")
    return Pipeline(recipe, store).restore(folder)
