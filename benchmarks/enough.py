"""Are there videos enough for every metric of a suite? Asked before anything is trained or generated.

Metrics are tried on the truth itself, through features that are noise instead of networks, so the answer takes seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.contracts import MetricPart
from benchmarks.harness import build_feature, build_metrics, check_needs, scored
from benchmarks.suite import Entry, Suite, short_name
from components.contracts import Clip
from zoo.errors import BadValue

CURE = "raise suite.episodes, and the data set's videos where it holds fewer"
TRIED = 64
"""Videos up to which a metric is tried, to say how many it needs."""


def check_enough(suite: Suite, clips: Sequence[Clip], *, dataset: str, cure: str = CURE) -> None:
    """Refuse metrics to which these clips would give no value.

    Each metric is shown the truth of one clip after the other until it gives one: most need a single clip.

    Args:
        dataset: `harness.dataset_name`'s answer.
        cure: what the user should do where there are too few.

    Raises:
        BadValue: a clip is too short for a metric, or there are too few clips; names the metric and the number needed.
        UnmetNeed: a metric needs what the clips do not have.
    """
    check_needs(suite.metrics, "metric", clips)
    quick = suite.model_copy(update={"resamples": 10})
    for entry, metric in zip(suite.metrics, build_metrics(quick, dataset, unseeing).values(), strict=True):
        needed = _videos_needed(metric, suite, clips)
        if needed is None:
            raise BadValue(
                f"metric '{_called(entry)}' finds nothing to measure in these {len(clips)} videos{_chosen(entry)}: "
                "drop it, or judge on other videos."
            )
        if needed > len(clips):
            raise BadValue(
                f"metric '{_called(entry)}' needs {needed} videos like these{_chosen(entry)}, and there are "
                f"{len(clips)}: {cure}, or drop the metric."
            )


def _called(entry: Entry) -> str:
    """What a user would write or read in a table: ``fd_lite0_motion``, ``place_recognition_wobbled``."""
    label = entry.options.get("label")
    return short_name(entry) + (f"_{label}" if label else "")


def _chosen(entry: Entry) -> str:
    said = [name for key in ("tours", "types") for name in entry.options.get(key, ())]
    return f" (of them it looks at {', '.join(said)} alone)" if said else ""


def _videos_needed(metric: MetricPart, suite: Suite, clips: Sequence[Clip]) -> int | None:
    """How many videos, these and then copies of them, until the metric gives a value; None where copies do not help."""
    for count in range(1, max(len(clips), TRIED) + 1):
        clip = clips[(count - 1) % len(clips)]
        metric.update(scored(clip.frames, clip, suite.context, f"{clip.episode}#{count}", suite.closing))
        if metric.compute():
            return count
    return None


class _Unseeing:
    """A feature whose networks are replaced by noise; its name and facts stay."""

    def __init__(self, feature: Any) -> None:
        self._feature = feature

    def __getattr__(self, name: str) -> Any:
        return getattr(self._feature, name)

    def embed(self, windows_nthwc: np.ndarray) -> Any:
        """float32 [N, 4]."""
        import torch

        return torch.randn(len(windows_nthwc), 4, generator=torch.Generator().manual_seed(len(windows_nthwc)))

    def frames(self, video_thwc: np.ndarray) -> np.ndarray:
        """float32 [T, 4]."""
        return np.random.default_rng(0).standard_normal((len(video_thwc), 4), np.float32)

    def distance(self, left_thwc: np.ndarray, right_thwc: np.ndarray) -> np.ndarray:
        """float64 [T], all 0."""
        return np.zeros(len(left_thwc))


def unseeing(name: str, options: Mapping[str, Any]) -> Any:
    """A feature by name that sees nothing."""
    return _Unseeing(build_feature(name, options))
