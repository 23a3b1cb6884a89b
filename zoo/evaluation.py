"""From a trained model to leaderboard rows: generate the suite's videos, score them, write the record.

Generated videos live in a stage folder of their own, named by everything that influences them, so that judging again
with another metric generates nothing. Floors and ceilings are rows of the same table, scored once per group.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from benchmarks import harness
from benchmarks import record as records
from benchmarks.enough import check_enough
from benchmarks.suite import Suite
from components.contracts import Clip
from zoo import compose
from zoo.pipeline import Pipeline
from zoo.progress import Bar, say
from zoo.rows import control_row, model_row, shown, write_row
from zoo.stage_key import full, module_of, source_of
from zoo.store import DIGEST_KEY, StageDir, write_json

if TYPE_CHECKING:
    from benchmarks.contracts import Results

SAMPLE_SOURCE = ("zoo.sampling", "zoo.model")


@dataclass
class Evaluation:
    """One recipe judged by its suite."""

    pipeline: Pipeline
    suite: Suite
    seconds: dict[str, float] = field(default_factory=dict)
    main_axis: ClassVar[str] = "rollout"
    """What a row is called by where a sweep says nothing."""

    @property
    def recipe(self) -> Any:
        return self.pipeline.recipe

    @property
    def records_folder(self) -> Path:
        """Where the rows of this suite go."""
        return self.pipeline.store.root / "records" / self.suite.name

    # ------------------------------------------------------------------------------------------------ test set

    @cached_property
    def dataset(self) -> Any:
        """What is judged on: the suite's own world, or the recipe's data set."""
        if self.suite.dataset is None:
            return self.pipeline.dataset
        from zoo.recipe import Part

        part = Part(name=self.suite.dataset.name, options=self.suite.dataset.options)
        return compose.build_dataset(part, self.recipe.part("reader"))

    @cached_property
    def dataset_reference(self) -> records.DatasetReference:
        """Its name and content, and what was left out of it."""
        chosen = self.suite.dataset or self.recipe.part("dataset")
        report = self.dataset.report()
        said = {"episodes": dict(report.episodes), "skipped": dict(report.skipped)}
        return records.DatasetReference(
            name=chosen.name, fingerprint=self.dataset.fingerprint(), options=dict(chosen.options), report=said
        )

    @cached_property
    def clips(self) -> list[Clip]:
        """The suite's episodes."""
        return harness.episodes(self.suite, self.dataset)

    @cached_property
    def judged_on(self) -> str:
        """The data set's part of every metric key."""
        return harness.dataset_name(self.dataset_reference.name, self.dataset_reference.fingerprint)

    def train(self) -> None:
        """See that all that is judged is trained."""
        self.pipeline.train()

    def check(self) -> None:
        """Refuse, before anything is trained, test clips that the suite cannot judge.

        The shortest is scored once, and for every metric it is seen whether there are videos enough.
        """
        if self._known(self.evaluation_dir) is None:
            shortest = min(self.clips, key=lambda clip: clip.frames.size)
            for metric in harness.build_metrics(self.suite, self.judged_on).values():
                metric.update(harness.scored(shortest.frames, shortest, self.suite.context, closing=self.suite.closing))
            check_enough(self.suite, self.clips, dataset=self.judged_on)

    # ---------------------------------------------------------------------------------------------- generation

    @cached_property
    def sample_key(self) -> dict[str, Any]:
        """Everything that influences the generated videos."""
        parts = {axis: full(axis, self.recipe.part(axis)) for axis in compose.SAMPLING_AXES}
        modules = [module_of(axis, part["name"]) for axis, part in parts.items()]
        suite = self.suite
        modules += [module_of("task", suite.task)] if suite.task else []
        decoding = compose.decoding_options(self.recipe)
        return {
            **({"decoding": decoding} if decoding else {}),
            "generator": self.pipeline.generator_dir.name,
            "parts": parts,
            "sample": self.recipe.sample.model_dump(mode="json"),
            "test": [self.dataset_reference.fingerprint, suite.split, suite.episodes, suite.frames, suite.context],
            **({"task": [suite.task, suite.closing]} if suite.task or suite.closing else {}),
            DIGEST_KEY: source_of(*modules, *SAMPLE_SOURCE),
        }

    @cached_property
    def sample_dir(self) -> StageDir:
        """Where the generated videos are, or will be."""
        return self.pipeline.store.stage_dir("sample", self.sample_key)

    def videos(self) -> Iterator[np.ndarray]:
        """The generated videos uint8 [T, H, W, 3], in the order of the clips; generates them first if needed."""
        self._see_to_videos()
        for index in range(len(self.clips)):
            yield np.load(self._video(index), mmap_mode="r")

    def _video(self, index: int) -> Path:
        return self.sample_dir.path / f"{index:04d}.npy"

    def _see_to_videos(self) -> None:
        if not self.sample_dir.done:
            with self.sample_dir.lock():
                if not self.sample_dir.done:  # by a process that we waited for
                    self._generate()

    def _generate(self) -> None:
        from zoo.model import Scene

        began = perf_counter()
        model = self.pipeline.model()
        suite = self.suite
        scenes = [Scene.of(clip, suite.context, suite.closing, suite.task) for clip in self.clips]
        asked = sum(scene.frames - suite.context - suite.closing for scene in scenes)
        rollout = self.recipe.part("rollout").name
        write_json(self.sample_dir.path / "recipe.json", self.recipe.to_dict())
        with Bar(f"generating with {rollout}", asked) as bar:
            _, cost = model.sample_to(self.sample_dir.path, scenes, done=bar.advance)
        seconds = perf_counter() - began
        made = max(cost.frames_made, 1)
        self.sample_dir.mark(
            "done",
            parents={"generator": self.pipeline.generator_dir.name, "tokenizer": self.pipeline.tokenizer_dir.name},
            seconds=seconds,
            seconds_per_frame=sum(cost.seconds_by_step) / made,
            seconds_by_step=cost.seconds_by_step,
            frames_by_step=cost.frames_by_step,
            videos=len(scenes),
            network_calls_per_frame=cost.network_calls / made,
        )
        self.seconds["sample"] = seconds

    # -------------------------------------------------------------------------------------------------- record

    @cached_property
    def evaluation_dir(self) -> StageDir:
        """Names the record of this row."""
        metrics = [module_of("metric", entry.name) for entry in self.suite.metrics]
        key = {
            "sample": self.sample_dir.name,
            "suite": self.suite.reference().model_dump(mode="json"),
            DIGEST_KEY: source_of("benchmarks.harness", "benchmarks.record", *metrics),
        }
        return self.pipeline.store.stage_dir("evaluation", key)

    @property
    def group(self) -> str:
        """Rows of one test set, which can be compared video by video."""
        return records.digest([self.suite.protocol, self.judged_on])

    def row(self) -> Path:
        """The record of this recipe, as a file; judged now unless it was before."""
        path = self._known(self.evaluation_dir)
        if path is not None:
            say(f"{self.label}: judged before, in {path}")
            return path
        results = self._score()
        path = self._write(self.record(results), self._shown_videos())
        self.evaluation_dir.mark("done", record=str(path.relative_to(self.pipeline.store.root)))
        return path

    def _shown_videos(self) -> list[np.ndarray]:
        """Those that go beside the record."""
        return [np.load(self._video(place)) for place in shown(self.clips)]

    def record(self, results: Results) -> records.Record:
        """What the row says of this recipe; its artifacts are still to be written."""
        return model_row(self, results)

    def _known(self, folder: StageDir) -> Path | None:
        path = self.pipeline.store.root / folder.facts().get("record", "-")
        return path if folder.done and path.is_file() else None

    def _score(self) -> Results:
        began = perf_counter()
        self._see_to_videos()
        began_scoring = perf_counter()
        with Bar(f"judging {self.label}", len(self.clips)) as bar:
            results = harness.evaluate(
                self.videos(), self.clips, self.suite, dataset=self.judged_on, progress=lambda *_: bar.advance()
            )
        for name in results.silent:
            say(f"metric '{name}' gave no value: {len(self.clips)} videos are too few for it")
        self.seconds.setdefault("sample", began_scoring - began)
        self.seconds["evaluate"] = perf_counter() - began_scoring
        return results

    @property
    def label(self) -> str:
        """What tells this row from its neighbours: what the sweep set, else the alternative of the main axis."""
        point = self.recipe.point.items()
        told = {key: value for key, value in point if key != "case" and not key.startswith("suite.")}
        told = told or {self.main_axis: self.recipe.part(self.main_axis).name}
        return ", ".join(f"{key}={_short(value)}" for key, value in told.items())

    def _write(self, record: records.Record, videos: list[np.ndarray]) -> Path:
        """`videos` are those of the clips that are shown beside a record."""
        clips = [self.clips[place] for place in shown(self.clips)]
        return write_row(record, self.records_folder, clips, videos, self.suite.context)

    # ------------------------------------------------------------------------------------------------ controls

    @cached_property
    def controls_key(self) -> dict[str, Any]:
        """Everything that influences the floors and ceilings."""
        return {
            "tokenizer": self.pipeline.tokenizer_dir.name,
            "test": self.judged_on,
            "suite": self.suite.reference().model_dump(mode="json"),
            DIGEST_KEY: source_of(
                "benchmarks.harness", *(module_of("control", entry.name) for entry in self.suite.controls)
            ),
        }

    def reconstruct(self, video: np.ndarray) -> np.ndarray:
        """A true video uint8 [T, H, W, 3] through the tokenizer and back."""
        return self.pipeline.model().reconstruct(video)

    def controls(self) -> list[Path]:
        """The records of the suite's floors and ceilings; scored once for a test set and a tokenizer."""
        folder = self.pipeline.store.stage_dir("controls", self.controls_key)
        known = self._controls_in(folder)
        if known is None:
            with folder.lock():
                known = self._controls_in(folder)  # made by a process that we waited for
                if known is None:
                    known = list(self._score_controls())
                    root = self.pipeline.store.root
                    folder.mark("done", records=[str(path.relative_to(root)) for path in known])
        return known

    def _controls_in(self, folder: StageDir) -> list[Path] | None:
        """The records that the folder lists; None where it is not done or one of them is gone."""
        known = [self.pipeline.store.root / path for path in folder.facts().get("records", ())]
        return known if folder.done and all(path.is_file() for path in known) else None

    def _score_controls(self) -> Iterator[Path]:
        rows = harness.control_rows(
            self.suite, self.clips, dataset=self.judged_on, reconstruct=self.reconstruct, keep=shown(self.clips)
        )
        with Bar("judging floors and ceilings", len(self.suite.controls)) as bar:
            for row in rows:
                yield self._write(control_row(self, row), list(row.videos))
                bar.advance()


def evaluation_of(pipeline: Pipeline, suite: Suite) -> Evaluation:
    """What judges a recipe by a suite: its generator, its tokenizer alone, or its untrained network's rows."""
    if suite.judges == "tokenizer":
        from zoo.reconstruction import Reconstruction

        return Reconstruction(pipeline, suite)
    if suite.judges == "packing":
        from zoo.packing_trial import PackingTrial

        return PackingTrial(pipeline, suite)
    return Evaluation(pipeline, suite)


def _short(value: Any) -> str:
    """``long_range(distant=spread)`` for a part with options."""
    if not isinstance(value, dict):
        return str(value)
    options = ", ".join(f"{key}={item}" for key, item in value.items() if key != "name")
    return f"{value.get('name', '')}({options})"
