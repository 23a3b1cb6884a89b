"""Videos and their truth → scores with intervals. Model rows and control rows go through the same function.

Videos may be a generator: each is scored and let go, so memory holds one video and the metrics' per-video values.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from benchmarks.contracts import MetricPart, Results, Score, Scored, Setting
from benchmarks.frame_types import frame_types
from benchmarks.suite import Entry, Suite
from components.contracts import Clip, Dataset
from zoo import registry
from zoo.errors import BadValue, UnmetNeed


@dataclass(frozen=True)
class ControlRow:
    """A floor or ceiling, scored."""

    name: str
    role: Literal["floor", "ceiling"]
    results: Results
    videos: tuple[np.ndarray, ...] = ()
    """Those that were asked to be kept, in the order of the clips."""


def episodes(suite: Suite, dataset: Dataset) -> list[Clip]:
    """The suite's episodes, cut to its frames: the first ones of the split, fewer where the split holds fewer.

    Raises:
        BadValue: the split is empty, or an episode is too short for the context and one frame more.
    """
    count = min(suite.episodes, dataset.size(suite.split))
    if not count:
        raise BadValue(f"the {suite.split} split holds no episodes: give a larger data set or another suite.split.")
    return [cut(dataset.clip(suite.split, index), suite) for index in range(count)]


def cut(clip: Clip, suite: Suite) -> Clip:
    """The first ``suite.frames`` frames. Raises BadValue for a clip that ends before anything could be scored."""
    length = min(len(clip.frames), suite.frames)
    given = suite.context + suite.closing
    if length <= given:
        said = "suite.context+suite.closing" if suite.closing else "suite.context"
        raise BadValue(
            f"episode '{clip.episode}' has {length} frames and {said}={given} are given: "
            f"set {said} below {length}, or use longer videos."
        )
    if length == len(clip.frames):
        return clip
    return replace(
        clip,
        frames=clip.frames[:length],
        times=clip.times[:length],
        actions=None if clip.actions is None else clip.actions[: length - 1],
        poses=None if clip.poses is None else clip.poses[:length],
    )


def dataset_name(name: str, fingerprint: str) -> str:
    """How a data set enters metric keys: by name and content."""
    return f"{name}:{fingerprint[:12]}"


def build_feature(name: str, options: Mapping[str, Any]) -> Any:
    """What a metric looks through, by name."""
    return registry.build("feature", name, options)


def build_metrics(
    suite: Suite, dataset: str, feature: Callable[[str, Mapping[str, Any]], Any] = build_feature
) -> dict[str, MetricPart]:
    """Fresh metrics of a suite, by label; ``dataset`` is `dataset_name`'s answer."""
    setting = Setting(
        protocol=suite.protocol,
        dataset=dataset,
        seed=suite.seed,
        resamples=suite.resamples,
        feature=feature,
    )
    return {
        f"{entry.name}-{place}": registry.build("metric", entry.name, entry.options, setting=setting)
        for place, entry in enumerate(suite.metrics)
    }


def evaluate(
    videos: Iterable[np.ndarray],
    clips: Sequence[Clip],
    suite: Suite,
    *,
    dataset: str,
    progress: Callable[[int, int], None] | None = None,
) -> Results:
    """Score videos uint8 [T, H, W, 3] (context included) against the clips they continue, in the same order.

    Args:
        dataset: `dataset_name`'s answer; goes into every key.
        progress: called with (done, all) after each video.

    Raises:
        BadValue: fewer or more videos than clips, or a video of another shape or type than its truth.
        UnmetNeed: a metric needs what the clips do not have.
    """
    check_needs(suite.metrics, "metric", clips)
    metrics = build_metrics(suite, dataset)
    for done, scored in enumerate(_pairs(videos, clips, suite), start=1):
        for metric in metrics.values():
            metric.update(scored)
        if progress is not None:
            progress(done, len(clips))
    return collect(suite, metrics)


def collect(suite: Suite, metrics: Mapping[str, MetricPart]) -> Results:
    """Finish metrics that have seen their videos; on several ranks every rank gets the whole result."""
    scores: dict[str, Score] = {}
    versions: dict[str, str] = {}
    citations: list[str] = []
    silent: list[str] = []
    for entry, metric in zip(suite.metrics, metrics.values(), strict=True):
        computed = metric.compute()
        if not computed:
            silent.append(entry.name)
        for score in computed:
            if score.name in scores:
                raise BadValue(f"suite.metrics gives '{score.name}' twice: drop one of the two.")
            scores[score.name] = score
        versions[f"metric.{entry.name}"] = metric.version
        citations += _citations("metric", entry.name)
        if "feature" in registry.option_names("metric", entry.name):
            feature = entry.options.get("feature", "lite0")
            citations += _citations("feature", str(feature))
    return Results(
        metrics={name: score.metric for name, score in scores.items()},
        curves={name: score.curve for name, score in scores.items() if score.curve is not None},
        per_video={name: dict(score.per_video) for name, score in scores.items() if score.per_video},
        versions=versions,
        citations=tuple(dict.fromkeys(citations)),
        silent=tuple(silent),
    )


def control_rows(
    suite: Suite,
    clips: Sequence[Clip],
    *,
    dataset: str,
    reconstruct: Callable[[np.ndarray], np.ndarray] | None = None,
    keep: int | Collection[int] = 0,
) -> Iterator[ControlRow]:
    """Score the suite's floors and ceilings on the same clips; yields each row when it is done.

    Args:
        reconstruct: uint8 [T, H, W, 3] through the tokenizer and back; needed by the control ``reconstruction`` alone.
        keep: how many videos, or of which clips by place, are given back with each row, for artifacts.
    """
    check_needs(suite.controls, "control", clips)
    wanted = range(keep) if isinstance(keep, int) else keep
    for entry in suite.controls:
        control = registry.build("control", entry.name, entry.options)
        kept: list[np.ndarray] = []

        def made(control: Any = control, kept: list[np.ndarray] = kept) -> Iterator[np.ndarray]:
            for place, clip in enumerate(clips):
                source = control.source(clips, place) if hasattr(control, "source") else clip
                video = _with_given(control.make(source, suite.context, reconstruct), clip, suite)
                if place in wanted:
                    kept.append(video)
                yield video

        results = evaluate(made(), clips, suite, dataset=dataset)
        results = replace(
            results, citations=tuple(dict.fromkeys([*results.citations, *_citations("control", entry.name)]))
        )
        yield ControlRow(entry.name, control.role, results, tuple(kept))


def without_tokenizer(suite: Suite, clip: Clip) -> Suite:
    """The suite without the controls that ask for a tokenizer, as tried on one clip."""
    kept = []
    for entry in suite.controls:
        asked: list[bool] = []

        def reconstruct(video: np.ndarray, asked: list[bool] = asked) -> np.ndarray:
            asked.append(True)
            return video

        registry.build("control", entry.name, entry.options).make(clip, suite.context, reconstruct)
        if not asked:
            kept.append(entry)
    return suite.model_copy(update={"controls": tuple(kept)})


def _with_given(video: np.ndarray, clip: Clip, suite: Suite) -> np.ndarray:
    """A control's video with the frames that are given, where it made others: those at the end it knows nothing of."""
    given = [*range(suite.context), *range(len(video) - suite.closing, len(video))]
    if (video[given] == clip.frames[given]).all():
        return video
    video = video.copy()
    video[given] = clip.frames[given]
    return video


def _pairs(videos: Iterable[np.ndarray], clips: Sequence[Clip], suite: Suite) -> Iterator[Scored]:
    given = iter(videos)
    for place, clip in enumerate(clips):
        video = next(given, None)
        if video is None:
            raise BadValue(f"there are {place} videos for {len(clips)} clips: give one video per clip.")
        if video.dtype != np.uint8 or video.shape != clip.frames.shape:
            raise BadValue(
                f"the video of '{clip.episode}' is {video.dtype} {list(video.shape)} and its truth uint8 "
                f"{list(clip.frames.shape)}: both must be uint8 of one shape."
            )
        yield scored(video, clip, suite.context, clip.episode or f"#{place}", suite.closing)
    if next(given, None) is not None:
        raise BadValue(f"there are more videos than the {len(clips)} clips: give one video per clip.")


def scored(video: np.ndarray, clip: Clip, context: int, name: str = "", closing: int = 0) -> Scored:
    """A video uint8 [T, H, W, 3] beside the clip it continues, as metrics take it."""
    kinds = None if clip.poses is None else frame_types(clip.poses, context)
    return Scored(
        video, clip.frames, context, clip.poses, clip.caption, name or clip.episode, kinds, clip.tour, closing
    )


def check_needs(entries: Sequence[Entry], axis: str, clips: Sequence[Clip]) -> None:
    """Raise UnmetNeed where a metric or control needs what the clips do not have."""
    missing = {
        "poses": any(clip.poses is None for clip in clips),
        "captions": any(clip.caption is None for clip in clips),
    }
    for entry in entries:
        for need in registry.card(axis, entry.name).needs:
            if missing.get(need, False):
                raise UnmetNeed(
                    f"{axis} '{entry.name}' needs {need}, which these clips do not have: "
                    f"drop it from suite.{axis}s, or choose a data set with {need}."
                )


def _citations(axis: str, name: str) -> list[str]:
    cite = registry.card(axis, name).cite
    return [key.strip() for key in cite.split(",")] if cite else []
