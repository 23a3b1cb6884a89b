"""Frozen protocols: what is generated, on which data, and what is measured. One versioned YAML per suite. Torch-free.

A recipe names a suite (``suite: quickstart``) and may override options (``suite: {name: quickstart, episodes: 2}``).
An overridden suite is another protocol: it says so in every metric key, and is never ranked with the original. What a
suite declares as a choice, its ``worlds``, ``contexts`` and ``tasks``, is no override; each choice is a protocol of its
own name.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from benchmarks import protocols
from benchmarks.record import SuiteReference, digest
from zoo.errors import BadValue, UnknownName, nearest

FOLDER = Path(__file__).resolve().parent / "suite"

SHORT_NAMES: dict[str, dict[str, Any]] = {
    "fd_lite0_motion": {"name": "frechet", "feature": "lite0", "feature_options": {"statistic": "motion"}},
    "fd_lite0_appearance": {"name": "frechet", "feature": "lite0", "feature_options": {"statistic": "appearance"}},
    "fvd": {"name": "frechet", "feature": "i3d"},
    "pd_lite0": {"name": "perceptual"},
}
"""What people write for a metric with options; ``fvd`` still needs ``feature_options: {path: …}``."""

FIXED = frozenset(
    {"name", "version", "description", "judges", "worlds", "contexts", "tasks", "headlines", "modified", "overrides"}
)
"""What a recipe cannot override."""

OF_A_TASK = frozenset({"context", "closing", "metrics", "controls", "headlines"})
"""What choosing a task may set."""


class Entry(BaseModel):
    """A part by name with its options, such as a metric or the suite's data set."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    options: dict[str, Any] = Field(default_factory=dict)


class Suite(BaseModel):
    """One protocol. Every option may be overridden by a recipe; ``modified`` then is True."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    version: int = Field(ge=1)
    description: str = ""
    judges: Literal["generator", "tokenizer", "packing"] = Field(
        "generator",
        description="what is asked: videos that are generated, clips taken there and back, or an untrained network's "
        "answers and steps on packed rows of mixed sizes",
    )
    dataset: Entry | None = Field(None, description="the suite's own world, or null: the recipe's data set")
    worlds: dict[str, Entry | None] = Field(
        default_factory=dict, description="data sets to choose from, null being the recipe's; then dataset is one"
    )
    world: str = Field("", description="the chosen one of the worlds")
    contexts: tuple[int, ...] = Field((), description="contexts to choose from without changing the protocol")
    tasks: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="tasks to choose from, each with the options that choosing it sets"
    )
    task: str | None = Field(None, description="what the model is asked to do; null: the recipe's task")
    split: Literal["train", "validation", "test"] = "test"
    episodes: int = Field(8, ge=1, description="videos; fewer where the split holds fewer")
    frames: int = Field(ge=2, description="video frames per episode, context included; longer ones are cut")
    context: int = Field(ge=0, description="video frames given at the start; 0 for generation from text")
    closing: int = Field(0, ge=0, description="video frames given at the end")
    seed: int = Field(0, ge=0, description="of resampling and of subsamples, never of generation")
    resamples: int = Field(1000, ge=10, le=100_000, description="bootstrap resamples of videos")
    metrics: tuple[Entry, ...] = Field(description="at least one, but where packing is judged, which has its own")
    controls: tuple[Entry, ...] = ()
    headlines: tuple[str, ...] = Field((), description="the results a table leads with, by name")
    modified: bool = False
    overrides: dict[str, Any] = Field(default_factory=dict)

    @field_validator("metrics", "controls", mode="before")
    @classmethod
    def _entries(cls, value: Any) -> Any:
        return tuple(entry(item) for item in value) if isinstance(value, (list, tuple)) else value

    @field_validator("dataset", mode="before")
    @classmethod
    def _dataset(cls, value: Any) -> Any:
        return _world(value)

    @field_validator("worlds", mode="before")
    @classmethod
    def _worlds(cls, value: Any) -> Any:
        return {name: _world(item) for name, item in value.items()} if isinstance(value, Mapping) else value

    @property
    def protocol(self) -> str:
        """``quickstart@1``, ``long500@1/maze500/c250`` or ``short16@1/shapes/infill``: part of a metric key.

        With a digest of the overrides where there are any.
        """
        task, context = self.task if self.tasks else "", f"c{self.context}" if self.contexts else ""
        chosen = "/".join(filter(None, [f"{self.name}@{self.version}", self.world, task, context]))
        return chosen + (f"+{digest(self.overrides)}" if self.modified else "")

    def reference(self) -> SuiteReference:
        """What a record says of the protocol; ``options`` holds all of them, resolved, and no choice not taken."""
        unsaid = {"name", "version", "description", "modified", "overrides", "worlds", "contexts", "tasks"}
        unsaid |= {key for key in ("world", "headlines", "task", "closing") if not getattr(self, key)}
        unsaid |= {"judges"} if self.judges == "generator" else set()  # records of before there was a choice say none
        options = self.model_dump(mode="json", exclude=unsaid)
        return SuiteReference(name=self.name, version=self.version, modified=self.modified, options=options)


def names() -> list[str]:
    """All suites: ours by file name, and the protocols of other papers."""
    return sorted({*(path.stem for path in FOLDER.glob("*.yaml")), *protocols.protocols()})


def _world(value: Any) -> Entry | None:
    """``null`` and ``recipe`` both mean the recipe's data set."""
    return None if value in (None, "recipe") else entry(value)


def entry(value: Any) -> Entry:
    """``psnr``, ``fd_lite0_motion``, ``{name: frechet, frames: 32}`` or ``{name: …, options: {…}}`` to an Entry."""
    if isinstance(value, Entry):
        return value
    given = {"name": value} if isinstance(value, str) else dict(value) if isinstance(value, Mapping) else {}
    if not isinstance(given.get("name"), str):
        raise BadValue(f"a part is a name or a mapping with a name, not {value!r}.")
    nested = given.pop("options", {})
    if not isinstance(nested, Mapping):
        raise BadValue(f"options of '{given['name']}' are a mapping, not {nested!r}.")
    given |= nested
    short = SHORT_NAMES.get(given["name"])
    if short is not None:
        given = {**given, **short, "feature_options": {**short.get("feature_options", {}), **_features(given)}}
        if not given["feature_options"]:
            del given["feature_options"]
    return Entry(name=given["name"], options={key: kept for key, kept in given.items() if key != "name"})


def short_name(part: Entry) -> str:
    """The other way round: ``fd_lite0_motion`` for the Fréchet metric with these options; its own name for others."""
    for short, meant in SHORT_NAMES.items():
        asked = {key: value for key, value in meant.items() if key != "name"}
        if part.name == meant["name"] and all(_holds(part.options.get(key), value) for key, value in asked.items()):
            return short
    return part.name


def _holds(given: Any, asked: Any) -> bool:
    """Whether what was given says at least what is asked."""
    if isinstance(asked, Mapping):
        return isinstance(given, Mapping) and asked.items() <= given.items()
    return given == asked


def _features(given: Mapping[str, Any]) -> dict[str, Any]:
    options = given.get("feature_options", {})
    return dict(options) if isinstance(options, Mapping) else {}


def load(wanted: str | Mapping[str, Any]) -> Suite:
    """A suite by name, or ``{name: …, option: …}`` with overrides.

    Raises:
        UnknownName: no such suite, option, metric or control. BadValue: a value of the wrong type or range.
    """
    given = {"name": wanted} if isinstance(wanted, str) else dict(wanted)
    name = given.pop("name", None)
    if name not in names():
        raise UnknownName(f"no suite is named '{name}'.{nearest(str(name), names())}")
    frozen = {**_frozen(name), "name": name}
    worlds = frozen.get("worlds", {})
    allowed = sorted(set(Suite.model_fields) - FIXED - (set() if worlds else {"world"}))
    for option in given:
        if option not in allowed:
            raise UnknownName(f"suite '{name}' has no option '{option}'.{nearest(str(option), allowed)}")
    plain = _validate(_settled(frozen, {key: given[key] for key in ("task",) if frozen.get("tasks") and key in given}))
    asked = _validate(_settled(frozen, given))
    overrides = {key: given[key] for key in given if getattr(asked, key) != getattr(plain, key)}
    overrides.pop("world", None)
    if asked.tasks:
        overrides.pop("task", None)
    if asked.context in asked.contexts:
        overrides.pop("context", None)
    suite = asked.model_copy(update={"modified": bool(overrides), "overrides": overrides})
    _check(suite)
    return suite


def _frozen(name: str) -> dict[str, Any]:
    if name in protocols.protocols():
        return protocols.suite_options(name)
    return yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))


def _settled(frozen: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The options with what the chosen task sets, and with the chosen world as the data set.

    A data set of the recipe's own is no world of the suite.
    """
    values = {**frozen, **_of_task(frozen, given), **given}
    worlds = frozen.get("worlds", {})
    if not worlds:
        return values
    if "dataset" in given:
        if "world" in given:
            raise BadValue("suite.world and suite.dataset both say what is judged on: keep one of the two.")
        return {**values, "world": ""}
    if str(values["world"]) not in worlds:
        raise UnknownName(
            f"suite '{frozen['name']}' has no world '{values['world']}'.{nearest(str(values['world']), list(worlds))}"
        )
    return {**values, "dataset": worlds[str(values["world"])]}


def _of_task(frozen: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """What choosing a task sets; {} where the suite declares none."""
    tasks = frozen.get("tasks", {})
    if not tasks:
        return {}
    chosen = str(given.get("task", frozen["task"]))
    if chosen not in tasks:
        raise UnknownName(f"suite '{frozen['name']}' has no task '{chosen}'.{nearest(chosen, list(tasks))}")
    sets = dict(tasks[chosen] or {})
    if not sets.keys() <= OF_A_TASK:
        raise BadValue(f"suite '{frozen['name']}': a task sets {', '.join(sorted(OF_A_TASK))}, and no other option.")
    return sets


def _validate(values: Mapping[str, Any]) -> Suite:
    try:
        return Suite.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(["suite", *(str(part) for part in first["loc"])])
        raise BadValue(f"{where}: {first['msg'][:1].lower()}{first['msg'][1:]}, not {first.get('input')!r}.") from None


def _check(suite: Suite) -> None:
    """Names and options of metrics and controls exist, and the numbers go together; imports no part."""
    from zoo import registry

    if suite.context + suite.closing >= suite.frames:
        both = f"suite.context={suite.context}" + (f" and suite.closing={suite.closing}" if suite.closing else "")
        leaves = "leave" if suite.closing else "leaves"
        raise BadValue(f"{both} {leaves} nothing to make of suite.frames={suite.frames}: lower the context.")
    if not suite.metrics and suite.judges != "packing":
        raise BadValue("suite.metrics=[] leaves nothing to measure: name at least one metric.")
    if suite.judges == "packing" and (suite.metrics or suite.controls):
        raise BadValue(
            f"suite '{suite.name}' measures its own figures, no videos: drop suite.metrics and suite.controls."
        )
    if suite.task is not None:
        registry.card("task", suite.task)
    if suite.judges == "tokenizer" and suite.split == "train":
        raise BadValue("suite.split=train: a tokenizer is never judged on the episodes it was trained on; choose test.")
    for axis, entries in (("metric", suite.metrics), ("control", suite.controls)):
        for part in entries:
            card = registry.card(axis, part.name)
            registry.check_options(axis, part.name, part.options)
            if suite.closing and axis == "metric" and "poses" in card.needs:
                raise BadValue(
                    f"metric '{part.name}' looks at all frames up to the end, and suite.closing={suite.closing} are "
                    "given there: drop the metric, or set suite.closing=0."
                )
    for dataset in (suite.dataset, *suite.worlds.values()):
        if dataset is not None:
            registry.card("dataset", dataset.name)
            registry.check_options("dataset", dataset.name, dataset.options)
