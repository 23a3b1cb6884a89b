"""What an objective on discrete tokens promises, and what the sampling engine lends it. Letters as in contracts.py.

Tokens travel as digits: float [B, G, F, H, W], one channel a factor of the codebook (see DiscreteTokenizer.factors), -1
where a token is unknown. The network answers with logits [B, N, F, H, W], N the sum of the factors, one factor's after
the other's. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from components.carriers import Condition, Memory, Window

if TYPE_CHECKING:
    from torch import Tensor


class TokenDecoder(Protocol):
    """The frames of one plan step, as a token objective asks for them; made by the sampling engine.

    A frame is made either by `predict`, all frames together, or by `begin`, `next` and `finish`, frame by frame in
    ascending time and token by token in raster order.
    """

    factors: tuple[int, ...]

    def predict(self, z: Tensor) -> Tensor:
        """Digits known so far [B, G, F, H, W] to logits of all tokens [B, N, F, H, W], guidance applied."""
        ...

    def begin(self, slot: int) -> None:
        """Turn to frame `slot`, none of whose tokens is known."""
        ...

    def next(self, digits: Tensor) -> Tensor:
        """Digits [B, G] of the token before (-1 at the first) to logits [B, N] of the next one, guidance applied."""
        ...

    def finish(self, slot: int, z: Tensor) -> None:
        """Frame `slot` is made, digits [B, G, H, W]: the frames after it see it."""
        ...

    def uniform(self, channels: int, draw: int) -> Tensor:
        """Uniform numbers in [0, 1), [B, channels, F, H, W], keyed by seed, episode, frame and `draw`."""
        ...


class RasterAttention(Protocol):
    """What an attention can besides (contracts.Attention), so that frames are made token by token.

    Its layout takes windows with `Window.raster`: a query token of such a frame sees no later token of that frame.
    """

    def layout_next(self, window: Window, memory: Memory | None, size: tuple[int, int]) -> Any:
        """What does not change from token to token of one frame of every clip (F = 1), `size` its rows and columns."""
        ...

    def attend_next(
        self,
        sublayer: str,
        q: Tensor,
        own: tuple[Tensor, Tensor],
        past: tuple[Tensor, Tensor] | None,
        layout: Any,
        bias: Tensor | None = None,
    ) -> Tensor:
        """One token of every clip, q [B, 1, K, Dh] to the same shape.

        `own`: keys and values [B, n, K, Dh] of its frame's tokens so far, its own the last; `past`: those of memory
        [B, Fo·S, K, Dh], where the sublayer crosses frames; bias [B, K, 1, Fo + 1].
        """
        ...


class RasterBackbone(Protocol):
    """What a backbone can besides (contracts.Backbone) if its card gives ``raster``."""

    def remember(
        self, z_observed: Tensor, window: Window, condition: Condition, memory: Memory | None = None
    ) -> Memory:
        """With `memory`, the memory of that and of these frames, which see it."""
        ...

    def begin_frame(self, window: Window, condition: Condition, memory: Memory | None, size: tuple[int, int]) -> Any:
        """Ready to make one frame of every clip token by token; window and condition are those frames' own (F = 1)."""
        ...

    def next_token(self, z_bc: Tensor, frame: Any) -> Tensor:
        """The token before the next one [B, C] to the prediction at the next [B, outputs]; `frame` moves on by one.

        Equal to the whole pass over that frame with `Window.raster` (1e-5).
        """
        ...


@runtime_checkable
class TokenObjective(Protocol):
    """Predicts the tokens of a discrete tokenizer and owns the loop that decodes them; it has no solver.

    Built as ``Objective(config)``.
    """

    embedding: int
    """Channels in which the network is told a token."""
    sampling_options: frozenset[str]
    """Options that only decoding reads: changing them trains nothing anew."""

    def sample_t(self, shape: tuple[int, ...], generator: Any = None) -> Tensor:
        """What `Noise.levels` spreads over the frames in training, in [0, 1]."""
        ...

    def shown(self, z: Tensor, window: Window, condition: Condition) -> tuple[Tensor, Window, Condition]:
        """What the network is given in training for digits z [B, G, F, H, W] (before tokens are hidden)."""
        ...

    def errors(
        self, network: Any, z: Tensor | Sequence[Tensor], window: Window, condition: Condition, draws: Any
    ) -> Tensor:
        """One training pass: nats [B, F] of each frame to be made, the mean of which over those frames is the loss.

        ``condition.level`` holds what was drawn by `sample_t`; `draws` is a generator on z's device. z may be a list of
        [G, F_b, H_b, W_b] of mixed sizes.
        """
        ...

    def decode(self, z: Tensor, decoder: TokenDecoder) -> Tensor:
        """Make the frames z [B, G, F, H, W], all unknown: digits of the same shape."""
        ...

    def calls(self, frames: int, tokens: int) -> int:
        """How often the network is called, per branch of guidance, to make `frames` of `tokens` tokens each."""
        ...
