"""Finds what a user means by RUN: the folder of a stage, its name under ./runs, or the record of a row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import UnknownName, UserError, nearest
from zoo.progress import say
from zoo.store import StageDir, Store, read_json

if TYPE_CHECKING:
    from zoo.recipe import Recipe


def stage_dir(store: Store, run: str | Path) -> StageDir:
    """The stage folder that RUN names.

    Raises:
        UnknownName: there is none; the message gives the nearest that is.
    """
    for path in (Path(run), store.root / run):
        config = read_json(path / "config.json") if path.is_dir() else None
        if isinstance(config, dict) and {"stage", "key"} <= config.keys():
            return StageDir(path, config["stage"], config["key"])
    known = [folder.name for folder in store.stages("generator")]
    raise UnknownName(f"no run is named '{run}'.{nearest(str(run), known)}")


def recipe_of(store: Store, run: str | Path) -> Recipe:
    """The resolved recipe that made RUN, which is a stage folder or a record's JSON file."""
    from zoo.recipe import Recipe

    if Path(run).is_file():
        return Recipe.from_dict(_record(Path(run))["recipe"])
    folder = stage_dir(store, run)
    value = read_json(folder.path / "recipe.json")
    if not isinstance(value, dict):
        raise UserError(f"{folder.path} holds no recipe.json: give the folder of a finished run.")
    return Recipe.from_dict(value)


def generator_of(store: Store, run: str | Path) -> StageDir:
    """The finished generator folder of RUN. Raises UserError where it is gone, not finished, or never was."""
    without = "judges a tokenizer alone and has no generator: give the record of a generated row."
    return _finished(store, run, "generator", without)


def captioner_of(store: Store, run: str | Path) -> StageDir:
    """The finished captioner's folder of RUN, or of the generator or record that learned from it."""
    without = "learned from true captions alone: give a run with train.generator.synthetic_share."
    return _finished(store, run, "captioner", without)


def _finished(store: Store, run: str | Path, stage: str, without: str) -> StageDir:
    """The finished folder of a stage of RUN; `without` is said of a record that names no such stage."""
    if Path(run).is_file():
        stages = _record(Path(run)).get("stages", {})
        if stage not in stages:
            raise UserError(f"{run} {without}")
        run = stages[stage]
    folder = stage_of(store, run, stage)
    if not folder.done:
        raise UserError(f"{folder.path} is not finished ({folder.state}): run its recipe again, it goes on from there.")
    return folder


def _record(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read the record {path}: {error}.") from error
    if not isinstance(value, dict) or not isinstance(value.get("recipe"), dict) or not value["recipe"]:
        raise UserError(f"{path} is not the record of a trained run: it holds no recipe.")
    return value


def stage_of(store: Store, run: str | Path, stage: str) -> StageDir:
    """The folder of one stage ("tokenizer" or "generator") of RUN, following its parents."""
    folder = stage_dir(store, run)
    if folder.stage == stage:
        return folder
    parent = folder.facts().get("parents", {}).get(stage)
    if parent is None:
        raise UserError(f"{folder.path} is a {folder.stage} run and has no {stage}: give a {stage} run.")
    return stage_dir(store, folder.path.parent / parent)


def start_from(store: Store, run: str | Path | None, stage: str, part: Any) -> None:
    """``train.init_from=RUN``: give `part` the weights of a stage of that run; without a run, nothing.

    Raises:
        UserError: the run is not finished, or its weights do not fit.
    """
    from zoo.stages.weights import load_weights

    if run is None:
        return
    source = stage_of(store, run, stage)
    if not source.done:
        raise UserError(f"train.init_from: {source.path} is not a finished run; choose one that is.")
    load_weights(source, part)
    say(f"{stage}: starting from {source.path}")
