"""A suite with its test set, as `zoo export` and `zoo evaluate` name it: suite=NAME suite.world=… dataset.root=…"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo import registry
from zoo.errors import BadValue, UnknownName, UnmetNeed, nearest
from zoo.overrides import plain_value, split

if TYPE_CHECKING:
    from benchmarks.record import DatasetReference
    from benchmarks.suite import Suite
    from components.contracts import Clip

READER = "pyav"


@dataclass(frozen=True)
class SuiteData:
    """What is judged and on what; no recipe and no model are part of it."""

    suite: Suite
    reference: DatasetReference
    judged_on: str
    """The data set's part of every metric key."""
    clips: list[Clip]
    reader: Any
    """Opens video files."""

    @property
    def group(self) -> str:
        """Rows of one test set, whoever made the videos: they can be compared video by video. As zoo.evaluation's."""
        from benchmarks.record import digest

        return digest([self.suite.protocol, self.judged_on])


def arguments(given: Sequence[str], own: Sequence[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """``suite…``, ``dataset…`` and ``reader`` as one mapping of plain values, and the command's `own` keys as text.

    Raises UnknownName for any other key, BadValue where no suite is named.
    """
    shared: dict[str, Any] = {}
    others: dict[str, str] = {}
    for key, raw in split(given):
        head, _, option = key.partition(".")
        if head in ("suite", "dataset") and "." not in option:
            part = shared.setdefault(head, {})
            part[option or "name"] = plain_value(raw, key) if option else raw
        elif key == "reader":
            shared["reader"] = raw
        elif key in own:
            others[key] = raw
        else:
            known = ["suite", "suite.OPTION", "dataset", "dataset.OPTION", "reader", *own]
            raise UnknownName(f"there is no option '{key}' here.{nearest(key, known)}")
    if "name" not in shared.get("suite", {}):
        from benchmarks.suite import names

        raise BadValue(f"say which suite: suite=NAME. Known: {', '.join(names())}.")
    return shared, others


def read(shared: Mapping[str, Any]) -> SuiteData:
    """The suite and its clips; a world is drawn or a folder read, so call it after everything else was checked."""
    from benchmarks import harness
    from benchmarks.record import DatasetReference

    suite, part, options = named(shared)
    reader = registry.build("reader", shared.get("reader", READER))
    needs_reader = "reader" in registry.card("dataset", part).needs
    dataset = registry.build("dataset", part, options, reader=reader if needs_reader else None)
    report = dataset.report()
    said = {"episodes": dict(report.episodes), "skipped": dict(report.skipped)}
    reference = DatasetReference(name=part, fingerprint=dataset.fingerprint(), options=dict(options), report=said)
    judged_on = harness.dataset_name(reference.name, reference.fingerprint)
    return SuiteData(suite, reference, judged_on, harness.episodes(suite, dataset), reader)


def named(shared: Mapping[str, Any]) -> tuple[Suite, str, dict[str, Any]]:
    """The suite, and name and options of the data set it is judged on: its own, else the one that was given.

    Raises:
        UnmetNeed: the suite has no world of its own and none was given, or it has and another was given.
    """
    from benchmarks.suite import load

    suite, given = load(shared["suite"]), dict(shared.get("dataset", {}))
    registry.card("reader", shared.get("reader", READER))
    if suite.dataset is not None:
        if given:
            raise UnmetNeed(
                f"suite '{suite.name}' has a world of its own: drop dataset=…, or override it by suite.dataset=…"
            )
        return suite, suite.dataset.name, dict(suite.dataset.options)
    if "name" not in given:
        raise UnmetNeed(
            f"suite '{suite.name}' is judged on data of yours: say which, as in dataset=video_folder "
            "dataset.root=FOLDER."
        )
    name = given.pop("name")
    registry.card("dataset", name)
    registry.check_options("dataset", name, given)
    return suite, name, given
