"""What each part promises, and (from components/carriers.py) what travels between them. The first file to read.

The promises of tokenizers stand in components/tokenizer_contracts.py, those of the network's parts in
components/network_contracts.py, those of objectives on discrete tokens in components/token_contracts.py; all are
imported from here as well.

    video file ─ Reader ─▶ Dataset ─▶ Clip ─▶ Tokenizer ─▶ Latent ─▶ patches ─ Packing ─▶ Tokens
      ─▶ Position, Conditioning, PoseEncoding, Attention inside a Backbone ─▶ Objective + Noise (training)
         / Solver + Guidance (sampling) ─▶ Rollout plan (which frames next, which to look at)
      ─▶ Tokenizer.decode ─▶ video

Letters in shapes: B clips, R rows of a packed batch, L tokens a row, D width, T video frames, F latent frames,
C channels, H W height and width, K heads, A action size. Model pixels are float in [-1, 1]; metrics take uint8.
Poses are (x, y, z, yaw) in cells (a corridor's width) and radians. Noise levels t lie in [0, 1]: 0 clean, 1 noise.
Torch is imported for type checkers only, so that planners and the command line start without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from components.carriers import (  # noqa: F401 what travels is imported from here
    Autoencoded,
    Clip,
    Condition,
    DataReport,
    Described,
    Latent,
    Layout,
    Memory,
    Quantised,
    Step,
    Tokens,
    VideoInfo,
    Window,
)
from components.network_contracts import (  # noqa: F401 so are the promises of the network's parts
    Attention,
    Backbone,
    Conditioning,
    Packing,
    PoseEncoding,
    Position,
)
from components.token_contracts import (  # noqa: F401 those of discrete tokens
    RasterAttention,
    RasterBackbone,
    TokenDecoder,
    TokenObjective,
)
from components.tokenizer_contracts import (  # noqa: F401 as are the promises of tokenizers
    AdversarialTokenizer,
    DiscreteTokenizer,
    Quantizer,
    Tokenizer,
)

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

Split = Literal["train", "validation", "test"]
Features = Callable[[Sequence[int]], "np.ndarray"]
"""Frame indices to vectors [n, D] of what these frames show."""


class ReadError(Exception):
    """A video file that cannot be opened or holds no picture; ``str(error)`` says why, in one line."""


@runtime_checkable
class Reader(Protocol):
    """Decodes video files. Built as ``Reader(config)``."""

    version: str
    """Library name and version, for the record."""

    def probe(self, path: Path) -> VideoInfo: ...

    def read(self, path: Path, *, start: int, count: int, stride: int) -> tuple[np.ndarray, np.ndarray]:
        """Frames start, start+stride, … (at most count): uint8 [T, H, W, 3] and seconds [T]; shorter at the end.

        Raises ReadError when nothing can be decoded.
        """
        ...


@runtime_checkable
class Dataset(Protocol):
    """Episodes, each a Clip, the same on every call. Built as ``Dataset(config, reader=…)``."""

    action_dim: int
    """0 where there are no actions."""

    def fingerprint(self) -> str:
        """A hash of the content (not of paths), which names cached latents and enters every stage's hash."""
        ...

    def size(self, split: Split) -> int: ...

    def clip(self, split: Split, index: int) -> Clip: ...

    def report(self) -> DataReport: ...


@runtime_checkable
class TextEncoder(Protocol):
    """Prompts to vectors. An nn.Module built as ``TextEncoder(config)``; ``trainable`` says whether stage 2 trains it."""

    width: int
    trainable: bool

    def encode(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Token embeddings [B, S, E] and mask [B, S], True at real tokens."""
        ...

    def cut(self, caption: str) -> str | None:
        """How much of a prompt is left out, such as ``200 bytes, of which 128 are read``; None where all is read."""
        ...


@runtime_checkable
class Objective(Protocol):
    """What the network predicts, and the noise schedule. Built as ``Objective(config)``; t has shape [B, F]."""

    def alpha_sigma(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """z_t = alpha · z + sigma · noise; same shape as t. alpha falls from 1 (about) to 0 as t goes 0 → 1."""
        ...

    def sample_t(self, shape: tuple[int, ...], generator: Any = None) -> Tensor:
        """Training noise levels, from the objective's own distribution."""
        ...

    def target(self, z: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """What the network should say. z, noise [B, C, F, H, W]; t [B, F]."""
        ...

    def weight(self, t: Tensor) -> Tensor:
        """Loss weight [B, F]."""
        ...

    def clean(self, prediction: Tensor, z_t: Tensor, t: Tensor) -> Tensor:
        """The estimate of z: the currency between objective, guidance and solver."""
        ...


@runtime_checkable
class Noise(Protocol):
    """Whether frames of a window share one level. Built as ``Noise(config)``."""

    def levels(self, sample_t: Callable[[tuple[int, ...]], Tensor], observed: Tensor) -> Tensor:
        """Observed mask [B, F] to levels [B, F]; observed frames get 0."""
        ...


@runtime_checkable
class Solver(Protocol):
    """Walks from noise to data. Built as ``Solver(config)``; has no schedule of its own; ``steps`` is in its Config."""

    def times(self, objective: Objective) -> Sequence[float]:
        """steps + 1 noise levels, from 1 down to 0."""
        ...

    def calls(self, objective: Objective) -> int:
        """Network calls of a whole walk, per guidance branch; a step of a rolling plan is one call."""
        ...

    def step(
        self,
        z_t: Tensor,
        clean: Tensor,
        t: Tensor,
        s: Tensor,
        objective: Objective,
        draw: Callable[[], Tensor],
        estimate: Callable[[Tensor, Tensor], Tensor] | None = None,
    ) -> Tensor:
        """From level t to level s < t (both [B, F]), given the clean estimate of z_t, guidance applied.

        `draw` gives fresh unit noise of z's shape for stochastic ones. `estimate(z, t)` asks the network once more, for
        solvers of higher order; None where there is but one call to be had (a rolling plan).
        """
        ...


@runtime_checkable
class Guidance(Protocol):
    """Combines clean estimates of several conditionings. Built as ``Guidance(config)``."""

    branches: tuple[Mapping[str, Any], ...]
    """What each branch keeps: {"text": True, "camera": True}; the first is fully conditional. One memory each.

    ``"history": False`` shows it no observed frames, ``"history_level": 0.3`` shows them noised to that level.
    """
    dropouts: frozenset[str]
    """The keys of train.generator that must be above 0, or a branch was never trained."""

    def combine(self, cleans: Sequence[Tensor]) -> Tensor: ...


@runtime_checkable
class Rollout(Protocol):
    """Which frames to make next and which to look at: a pure planner, free of torch. Built as ``Rollout(config)``."""

    def plan(
        self,
        *,
        frames: int,
        observed: int,
        window: int,
        step: int,
        seed: int = 0,
        poses: np.ndarray | None = None,
        features: Features | None = None,
    ) -> Iterator[Step]:
        """Yields steps and is resumed when each is done; frames are latent frames, poses [frames, 4] likewise.

        `features(indices)` shows finished frames as vectors [n, D] (float64): what a planner that looks at content
        sees, and all it sees. Asking for a frame that is not finished is an error.

        Every frame from `observed` on is finished exactly once (a step with `levels` works on frames several times
        before that), a step holds at most `window` frames and makes at most `step`, and looks at finished frames only.
        """
        ...


@runtime_checkable
class Task(Protocol):
    """What is given and what is asked. Built as ``Task(config)``. Families are those of components/training_masks.py."""

    own_masks: Mapping[str, float]
    """Family → weight: the mix of training windows where train.generator.masks is empty."""
    taught_by: tuple[str, ...]
    """Families any of which teaches a network this task, the one made for it first."""
    continued_by: tuple[str, ...]
    """Families any of which teaches it, besides, where more frames are asked than one plan step makes."""
    needs: tuple[str, ...]
    """What it cannot do without at sampling: frames at the ``first`` or the ``last`` end."""
    inputs: tuple[str, ...]
    """What ``zoo sample`` makes it from: ``prompt``, ``image``, ``first`` or ``last`` (files); these mean the task."""

    def draw(
        self,
        *,
        frames: int,
        window: int,
        masks: Mapping[str, float],
        rng: np.random.Generator,
        poses: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """One training window of an episode of `frames` latents: ascending indices [F] and observed mask [F] (bool).

        F = min(window, frames); at least one frame is latent. `masks` decides whatever the task is, unless it is empty.
        """
        ...

    def context(self, context: int) -> int:
        """How many of the `context` given frames are observed at sampling (0 for generation from text)."""
        ...

    def layout(self, first: int, last: int) -> Layout:
        """Where frames stand, of which so many are given at the start and at the end of the video."""
        ...


@runtime_checkable
class Captioner(Protocol):
    """Says in words what a clip shows. Built as ``Captioner(config)``; a `TrainableCaptioner` where `trainable`."""

    trainable: bool

    def describe(self, clips: Sequence[Clip]) -> Sequence[Described]:
        """One caption a clip, the same on every call. Raises UnmetNeed for clips that it cannot describe."""
        ...


@runtime_checkable
class TrainableCaptioner(Captioner, Protocol):
    """A captioner that is an nn.Module and learns from captioned clips."""

    frames: int
    """How many frames it looks at, evenly spaced over a clip."""

    def learn_words(self, captions: Sequence[str]) -> None:
        """Take the vocabulary from the captions of the training set; called once, before training."""
        ...

    def surprise(self, video: Tensor, captions: Sequence[str]) -> Tensor:
        """Nats a word [B] that the true captions cost."""
        ...

    def loss(self, video: Tensor, captions: Sequence[str]) -> Tensor:
        """Video [B, 3, T, H, W] in [-1, 1] and its true captions to a differentiable scalar."""
        ...
