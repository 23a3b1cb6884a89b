"""What the parts of the network promise: how latents become rows of tokens, and who looks at whom.

Letters as in contracts.py. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from components.carriers import Condition, Memory, Tokens, Window

if TYPE_CHECKING:
    from torch import Tensor


@runtime_checkable
class Packing(Protocol):
    """Which clips share a training step, and clips of any size as rows and back, exactly. Built as ``Packing(config)``.

    A column is one place (y, x) of a clip, in patches, through all its frames.
    """

    one_size: bool
    """Whether the clips of a training step are all of one size and length."""
    rows: int
    """Rows that a training step fills by `fill`; 0: it holds train.generator.batch clips, however many rows."""
    look_ahead: int
    """How many clips wait, at least, when rows are filled."""

    def fill(self, sizes: Sequence[int]) -> list[list[int]]:
        """Tokens of waiting clips, the longest waiting first, to rows of their indices: a pure function.

        A step takes the first rows, of which clip 0's is one, so that none waits for ever; filled alone, what it took
        gives the same rows. Raises BadValue for a clip that no row can hold.
        """
        ...

    def kept(self, columns: int, span: tuple[int, int]) -> int:
        """How many of a picture's columns training keeps; span: the fewest and most that a training picture has."""
        ...

    def pack(self, patches: Sequence[Tensor], window: Window) -> Tokens:
        """Per-clip patches [F, H, W, D] to rows; window slot f of clip b is patches[b][f].

        A clip of which `window.columns` drops some arrives as those kept, in (y, x) order: [F, kept, 1, D].
        """
        ...

    def unpack(self, tokens: Tokens) -> list[Tensor]:
        """Back to what `pack` was given, per clip [F, H, W, D] or [F, kept, 1, D]."""
        ...


@runtime_checkable
class Position(Protocol):
    """Where a token is. An nn.Module built as ``Position(config, width=…, heads=…)``."""

    def embed(self, place: Tensor, sides: Tensor) -> Tensor | None:
        """Coordinates [R, L, 3] and sides [R, L, 2] (see Tokens) to an additive embedding [R, L, D], or None.

        Coordinates are real numbers: any spacing in time, any size of picture, also sizes never trained.
        """
        ...

    def rotary(self, place: Tensor, sides: Tensor) -> tuple[Tensor, Tensor] | None:
        """Cosines and sines, each [R, L, D/K/2], by which components/rotary.py turns queries and keys; None for none.

        Asked once a batch; a head's channels 2i and 2i + 1 turn together.
        """
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
    """How signals reach the tokens. An nn.Module built as ``Conditioning(config, width=…, heads=…, text_width=…)``."""

    reads_text: bool
    """Whether `reader` looks at the prompt's tokens, so that the signal holds no mean of them."""

    def enter(self, x: Tensor, signal: Tensor) -> Tensor:
        """Before the first block: x [R, L, D] and the per-token signal [R, L, D] to [R, L, D]."""
        ...

    def modulator(self) -> Any:
        """A new nn.Module for one sublayer: (x [R, L, D], signal [B, F, D], tokens) → (input to it, gate).

        The gate is per frame [B, F, D], or 1 where there is none; components/token_rows.py adds a gated result to x.
        """
        ...

    def told(self, condition: Condition, tokens: Tokens) -> Any:
        """What every `reader` reads, worked out once a batch; None where `reads_text` is False."""
        ...

    def reader(self) -> Any:
        """A new nn.Module for one block, (x [R, L, D], told, tokens) → x; None where `reads_text` is False.

        What a token reads depends on its own clip's prompt alone, so observed frames stay the same at every step.
        """
        ...


@runtime_checkable
class Backbone(Protocol):
    """The network. ``Backbone(config, *, channels, action_dim, text_width, packing, position, pose_encoding,
    attention, conditioning)``; position, pose_encoding and conditioning are factories ``f(**runtime) -> part``, since
    their sizes are the backbone's. For tokens it is given ``outputs`` as well: the channels of its answer, which are
    not those of z.
    """

    grain: tuple[int, int, int]
    """Latent frames, rows and columns of one token; a side that it does not divide is padded."""

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
