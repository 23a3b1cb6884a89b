"""What each part promises, and (from components/carriers.py) what travels between them. The first file to read.

The promises of tokenizers stand in components/tokenizer_contracts.py, those of objectives on discrete tokens in
components/token_contracts.py; both are imported from here as well.

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
    Latent,
    Memory,
    Quantised,
    Step,
    Tokens,
    VideoInfo,
    Window,
)
from components.token_contracts import (  # noqa: F401 so are those of discrete tokens
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
class Packing(Protocol):
    """Clips of any size to rows of tokens and back, exactly. Built as ``Packing(config)``."""

    def pack(self, patches: Sequence[Tensor], window: Window) -> Tokens:
        """Per-clip patches [F, H, W, D] to rows; window slot f of clip b is patches[b][f]."""
        ...

    def unpack(self, tokens: Tokens) -> list[Tensor]:
        """Back to per-clip [F, H, W, D]."""
        ...


@runtime_checkable
class Position(Protocol):
    """Where a token is. An nn.Module built as ``Position(config, width=…, heads=…)``."""

    def embed(self, place: Tensor) -> Tensor | None:
        """[R, L, 3] continuous coordinates to an additive embedding [R, L, D], or None."""
        ...

    def rotate(self, q: Tensor, k: Tensor, place_q: Tensor, place_k: Tensor) -> tuple[Tensor, Tensor]:
        """Rotate queries and keys [R, L, K, D/K]; the identity for additive positions."""
        ...


@runtime_checkable
class PoseEncoding(Protocol):
    """How a camera pose enters. An nn.Module built as ``PoseEncoding(config, width=…, heads=…, depth=…)``."""

    def embed(self, poses: Tensor, origin: Tensor) -> Tensor | None:
        """Poses [B, F, 4] and origin [B, 4] to a per-frame signal [B, F, D], or None."""
        ...

    def bias(self, poses_q: Tensor, poses_k: Tensor) -> Tensor | None:
        """Pairwise: [B, Fq, 4], [B, Fk, 4] to [depth, B, K, Fq, Fk], added to logits where tokens of frames meet."""
        ...


@runtime_checkable
class Attention(Protocol):
    """Who looks at whom; holds no weights. Built as ``Attention(config)``. Projections belong to the backbone."""

    sublayers: tuple[str, ...]
    """In order, e.g. ("space", "time"): each gets its own norm, modulation, projections and residual."""
    crossing: frozenset[str]
    """The sublayers in which tokens of different frames meet: these are cached and take the pose bias."""

    def layout(self, queries: Tokens, window: Window, memory: Memory | None = None) -> Any:
        """All index and mask work, once per batch. Keys are memory's tokens followed by the queries' own."""
        ...

    def attend(self, sublayer: str, q: Tensor, k: Tensor, v: Tensor, layout: Any, bias: Tensor | None = None) -> Tensor:
        """q [R, Lq, K, Dh]; k, v [R, Lk, K, Dh] (memory's first, where the sublayer crosses); bias [B, K, Fq, Fk].

        An observed token sees observed tokens of its own clip only; a latent token sees, of latent frames, those the
        alternative allows, and every observed frame of its clip.
        """
        ...


@runtime_checkable
class Conditioning(Protocol):
    """How signals reach the tokens. An nn.Module built as ``Conditioning(config, width=…)``."""

    def enter(self, x: Tensor, signal: Tensor) -> Tensor:
        """Before the first block: x [R, L, D] and the per-token signal [R, L, D] to [R, L, D]."""
        ...

    def modulator(self) -> Any:
        """A new nn.Module for one sublayer: (x [R, L, D], signal [B, F, D], tokens) → (input to it, gate).

        The gate is per frame [B, F, D], or 1 where there is none; components/token_rows.py adds a gated result to x.
        """
        ...


@runtime_checkable
class TextEncoder(Protocol):
    """Prompts to vectors. An nn.Module built as ``TextEncoder(config)``; ``trainable`` says whether stage 2 trains it."""

    width: int
    trainable: bool

    def encode(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Token embeddings [B, S, E] and mask [B, S], True at real tokens."""
        ...


@runtime_checkable
class Backbone(Protocol):
    """The network. ``Backbone(config, *, channels, action_dim, text_width, packing, position, pose_encoding,
    attention, conditioning)``; the last five are factories ``f(**runtime) -> part`` since their sizes are the backbone's.
    For tokens it is given ``outputs`` as well: the channels of its answer, which are not those of z.
    """

    def forward(
        self, z: Sequence[Tensor] | Tensor, window: Window, condition: Condition, memory: Memory | None = None
    ) -> Sequence[Tensor] | Tensor:
        """Latents [B, C, F, H, W], or a list of [C, F, H, W] of mixed sizes, to a prediction of the same shapes.

        With `memory`, z holds the latent frames alone and the result is that of the whole window (1e-5).
        """
        ...

    def remember(self, z_observed: Tensor, window: Window, condition: Condition) -> Memory:
        """Keys and values of observed frames [B, C, Fo, H, W]; window and condition describe exactly these frames."""
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

    def step(
        self, z_t: Tensor, clean: Tensor, t: Tensor, s: Tensor, objective: Objective, draw: Callable[[], Tensor]
    ) -> Tensor:
        """From level t to level s < t (both [B, F]); `draw` gives fresh unit noise of z's shape for stochastic ones."""
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
    """What is given and what is asked. Built as ``Task(config)``."""

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

        F = min(window, frames); at least one frame is latent.
        """
        ...

    def context(self, context: int) -> int:
        """How many of the `context` given frames are observed at sampling (0 for generation from text)."""
        ...
