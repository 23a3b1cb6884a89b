"""What travels between generated videos and a leaderboard row, and what each benchmark part promises.

    generated + true video ─ Scored ─▶ Metric.update … Metric.compute ─▶ Score ─ harness ─▶ Results ─ record ─▶ row

Letters: V videos, T frames, H W height and width, N windows, D feature width. Videos are uint8 RGB. Torch-free.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, runtime_checkable

from benchmarks.record import Curve, Metric, digest

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from components.contracts import Clip


@dataclass(frozen=True)
class Scored:
    """One generated video beside its truth. The frames that were given, at either end, are never scored."""

    fake: np.ndarray
    """uint8 [T, H, W, 3]."""
    real: np.ndarray
    """uint8 [T, H, W, 3]; of the same shape."""
    context: int
    poses: np.ndarray | None = None
    """float32 [T, 4]: x, y, z in cells, yaw in radians."""
    caption: str | None = None
    episode: str = ""
    """Unique in the test set: duplicates (a padded distributed sampler makes them) count once."""
    frame_type: np.ndarray | None = None
    """int8 [T], see benchmarks/frame_types.py; None where there are no poses."""
    tour: str = ""
    """Kind of camera path, such as ``loop`` or ``wobbled_loop``; empty where unknown."""
    closing: int = 0
    """Frames given at the end."""

    @property
    def stop(self) -> int:
        """Where the made frames end."""
        return len(self.real) - self.closing

    @property
    def made(self) -> slice:
        """The frames that were made."""
        return slice(self.context, self.stop)


class Score(NamedTuple):
    """One finished figure; a metric may give several. A tuple, since torchmetrics refuses to return dataclasses."""

    name: str
    metric: Metric
    curve: Curve | None = None
    per_video: Mapping[str, float] = {}
    """Episode → value; empty where a single video has no value of its own (Fréchet distances)."""


@dataclass(frozen=True)
class Setting:
    """What a metric is told besides its options: the protocol's name for its key, and how to resample."""

    protocol: str
    """Suite and version, with a digest of the overrides where there are any."""
    dataset: str
    """Name and fingerprint of what is evaluated on."""
    seed: int = 0
    resamples: int = 1000
    feature: Callable[[str, Mapping[str, Any]], Feature] | None = None
    """Builds a feature by name; metrics that look through one raise UserError without it."""

    def key(self, name: str, version: str, shapes: Sequence[tuple[int, int, int]], **facts: object) -> str:
        """All that must match before two values may be compared; ``shapes``: scored frames, height, width."""
        same = set(shapes)
        size = "x".join(map(str, next(iter(same)))) if len(same) == 1 else f"mixed:{digest(sorted(shapes))}"
        said = {"videos": len(shapes), "frames_height_width": size, **facts}
        tail = "; ".join(f"{word}={said[word]}" for word in sorted(said))
        return f"{name} v{version}; protocol={self.protocol}; dataset={self.dataset}; {tail}"


@dataclass(frozen=True)
class Results:
    """Everything a row says about quality; the caller adds cost, recipe and environment and writes the Record."""

    metrics: dict[str, Metric]
    curves: dict[str, Curve]
    per_video: dict[str, dict[str, float]]
    versions: dict[str, str]
    """``metric.psnr`` → its version."""
    citations: tuple[str, ...]
    silent: tuple[str, ...] = ()
    """Metrics that gave no value, because there was too little to measure."""


@runtime_checkable
class MetricPart(Protocol):
    """A ``torchmetrics.Metric`` built as ``Metric(config, setting=Setting(…))``; its states synchronise over ranks."""

    version: str
    """Changes whenever the same videos would get another value."""

    def update(self, video: Scored) -> None: ...

    def compute(self) -> list[Score]: ...

    def reset(self) -> None: ...


@runtime_checkable
class Feature(Protocol):
    """What Fréchet metrics look through. Built as ``Feature(config)``; networks load on first use."""

    result_name: str
    """How a Fréchet distance through it is called: ``fd_lite0_motion``; ``fvd…`` is kept for I3D."""
    ddof: int
    """Of the covariance in the protocol it follows."""

    def facts(self) -> dict[str, str]:
        """Extractor, weight hash, resize and normalisation: goes into the key."""
        ...

    def embed(self, windows_nthwc: np.ndarray) -> Tensor:
        """uint8 [N, T, H, W, 3] to float32 [N, D]: one vector a window."""
        ...


@runtime_checkable
class Control(Protocol):
    """A row no model made: a floor to lie above or a ceiling to lie below. Built as ``Control(config)``."""

    role: Literal["floor", "ceiling"]

    def make(self, clip: Clip, context: int, reconstruct: Callable[[np.ndarray], np.ndarray] | None) -> np.ndarray:
        """The whole video uint8 [T, H, W, 3], context included.

        ``reconstruct`` takes uint8 [T, H, W, 3] through the tokenizer and back; None where there is no tokenizer.
        """
        ...
