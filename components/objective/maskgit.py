"""Predict the tokens that are hidden, all at once; decode in a few rounds, the surest first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from components.contracts import Condition, TokenDecoder, Window
from components.noise_schedule import uniform_levels
from components.token_digits import UNKNOWN
from components.token_distribution import draw_digits, token_nats
from zoo.component import Config, component


@component(
    cite="chang2022maskgit",
    note="masked tokens, decoded in rounds from the surest to the least sure; observed frames are known tokens",
    gives={"tokens"},
)
class MaskGIT:
    """MaskGIT (Chang et al. 2022): hide a share cos(π/2 · u) of the tokens, u uniform, and minimise −log p of these.

    Departs: a token is hidden with that probability, at least one a clip, rather than an exact number, so that frames
    may have a share each (noise=per_frame); a token of several digits predicts them side by side and is as sure as all
    of them together; and one schedule runs over the tokens of all frames that a plan step makes.
    """

    class Config(Config):
        iterations: int = Field(12, ge=1, le=1024, description="rounds of decoding: network calls per branch")
        choice_temperature: float = Field(
            4.5, ge=0, description="of the Gumbel noise on how sure a token is; falls to 0 over the rounds"
        )
        temperature: float = Field(1.0, ge=0, description="of the tokens drawn; 0 takes the likeliest")
        label_smoothing: float = Field(0.1, ge=0, lt=1, description="of the cross-entropy, in training")
        embedding: int = Field(64, ge=1, le=8192, description="channels in which the network is told a token")

    sampling_options: frozenset[str] = frozenset({"iterations", "choice_temperature", "temperature"})

    def __init__(self, config: Config) -> None:
        self.config = config
        self.embedding = config.embedding

    # ------------------------------------------------------------------------------------------------- training

    def sample_t(self, shape: tuple[int, ...], generator: Any = None) -> Tensor:
        """u, uniform in (0, 1]."""
        return uniform_levels(shape, generator)

    def shown(self, z: Tensor, window: Window, condition: Condition) -> tuple[Tensor, Window, Condition]:
        """The digits; the level told is 1 for frames to be made whatever share of them is hidden, 0 for observed."""
        asked = window.valid & ~window.observed
        return z, window, replace(condition, level=asked.to(condition.level.dtype))

    def errors(
        self, network: Any, z: Tensor | Sequence[Tensor], window: Window, condition: Condition, draws: Any
    ) -> Tensor:
        """Nats [B, F], scaled so that their mean over a clip's frames to be made is that over its hidden tokens."""
        asked = window.valid & ~window.observed
        share = torch.cos(math.pi / 2 * condition.level)
        whole = isinstance(z, Tensor)
        # One piece of all clips, or a piece a clip.
        pieces = [z] if whole else [clip[None] for clip in z]
        rows = [slice(None)] if whole else [slice(b, b + 1) for b in range(len(z))]
        hidden = [
            self._hidden(piece, share[row, : piece.shape[2]], asked[row, : piece.shape[2]], draws)
            for piece, row in zip(pieces, rows, strict=True)
        ]
        given = [piece.masked_fill(mask[:, None], UNKNOWN) for piece, mask in zip(pieces, hidden, strict=True)]
        told = replace(condition, level=asked.to(condition.level.dtype))
        said = [network(given[0], window, told)] if whole else network([piece[0] for piece in given], window, told)
        errors = torch.zeros_like(condition.level)
        for logits, piece, mask, row in zip(said, pieces, hidden, rows, strict=True):
            logits = logits if whole else logits[None]
            nats = token_nats(logits, piece, network.factors, self.config.label_smoothing) * mask
            frames = asked[row].sum(1, keepdim=True) / mask.sum((1, 2, 3))[:, None]
            errors[row, : piece.shape[2]] = nats.sum((2, 3)) * frames
        return errors

    @staticmethod
    def _hidden(z: Tensor, share: Tensor, asked: Tensor, draws: Any) -> Tensor:
        """bool [B, F, H, W]: a share [B, F] of the tokens of the frames that are asked for, at least one a clip."""
        drawn = torch.rand(z[:, 0].shape, generator=draws, device=z.device) - share[..., None, None]
        drawn = drawn.masked_fill(~asked[..., None, None], float("inf"))
        return (drawn < 0) | ((drawn == drawn.amin((1, 2, 3), keepdim=True)) & asked[..., None, None])

    # ------------------------------------------------------------------------------------------------- decoding

    def decode(self, z: Tensor, decoder: TokenDecoder) -> Tensor:
        """All tokens unknown [B, G, F, H, W] to known: each round draws every unknown one and keeps the surest."""
        config, (_, digits, *grid) = self.config, z.shape
        left = self.schedule(math.prod(grid))
        for iteration, unknown in enumerate(left):
            uniform = decoder.uniform(digits + 1, iteration)
            drawn, log_p = draw_digits(
                decoder.predict(z), decoder.factors, uniform[:, :-1], temperature=config.temperature
            )
            known = z[:, 0] >= 0
            z = torch.where(known[:, None], z, drawn)
            if unknown:
                gumbel = -torch.log(-torch.log(uniform[:, -1].clamp(1e-6, 1 - 1e-6)))
                heat = config.choice_temperature * (1 - (iteration + 1) / config.iterations)
                sure = (log_p + heat * gumbel).masked_fill(known, float("inf"))
                least = sure.flatten(1).topk(unknown, dim=1, largest=False).indices
                hidden = torch.zeros_like(sure.flatten(1), dtype=torch.bool).scatter(1, least, True)
                z = z.masked_fill(hidden.view_as(known)[:, None], UNKNOWN)
        return z

    def schedule(self, tokens: int) -> list[int]:
        """How many of `tokens` are unknown after each round: ⌊tokens · cos(π/2 · r)⌋, r = round / rounds.

        Every round keeps at least one and, but for the last, leaves at least one.
        """
        left, rounds = [], self.config.iterations
        for number in range(1, rounds):
            before = left[-1] if left else tokens
            wanted = int(tokens * math.cos(math.pi / 2 * number / rounds))
            left.append(max(1, min(wanted, before - 1)))
        return [*left, 0]

    def calls(self, frames: int, tokens: int) -> int:
        """The rounds, however many tokens there are."""
        return self.config.iterations
