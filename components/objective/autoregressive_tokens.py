"""Predict the next token: frame after frame, and within a frame in raster order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import torch
from einops import rearrange
from pydantic import Field
from torch import Tensor

from components.contracts import Condition, TokenDecoder, Window
from components.token_digits import UNKNOWN
from components.token_distribution import draw_digits, token_nats
from components.token_streams import two_streams
from zoo.component import Config, component


@component(
    cite="yan2021videogpt",
    note="next token in raster order, frames in order of time; cached keys and values, temperature, top-k",
    needs={"raster"},
    gives={"tokens"},
)
class AutoregressiveTokens:
    """VideoGPT (Yan et al. 2021): minimise −log p(token | tokens before it), in raster order and frames in time.

    Departs: observed frames may lie anywhere in time and are seen whole; a frame sees the true tokens of earlier ones
    through a second stream (components/token_streams.py), which attention over one place through time needs, where a
    shifted sequence would hide the later tokens of earlier frames; the digits of one token are predicted side by side.
    """

    class Config(Config):
        temperature: float = Field(1.0, ge=0, description="of the tokens drawn; 0 takes the likeliest")
        top_k: int = Field(0, ge=0, description="only the k likeliest values of a digit can be drawn; 0 is all")
        label_smoothing: float = Field(0.0, ge=0, lt=1, description="of the cross-entropy, in training")
        embedding: int = Field(64, ge=1, le=8192, description="channels in which the network is told a token")

    sampling_options: frozenset[str] = frozenset({"temperature", "top_k"})

    def __init__(self, config: Config) -> None:
        self.config = config
        self.embedding = config.embedding

    def sample_t(self, shape: tuple[int, ...], generator: Any = None) -> Tensor:
        """1: every token of a window is asked for at once."""
        return torch.ones(shape)

    def shown(self, z: Tensor, window: Window, condition: Condition) -> tuple[Tensor, Window, Condition]:
        """All frames as content, then those to be made once more as queries."""
        return two_streams(z, window, condition)

    def errors(
        self, network: Any, z: Tensor | Sequence[Tensor], window: Window, condition: Condition, draws: Any
    ) -> Tensor:
        """Nats [B, F], the mean over each frame's tokens. Clips of one shape go through the network together."""
        if isinstance(z, Tensor):
            return self._nats(network, z, window, condition)
        errors = torch.zeros_like(condition.level)
        for shape in dict.fromkeys(clip.shape for clip in z):
            members = [b for b, clip in enumerate(z) if clip.shape == shape]
            rows = torch.tensor(members, device=errors.device)
            own = _rows(window, rows, shape[1]), _rows(condition, rows, shape[1])
            errors[rows, : shape[1]] = self._nats(network, torch.stack([z[b] for b in members]), *own)
        return errors

    def _nats(self, network: Any, z: Tensor, window: Window, condition: Condition) -> Tensor:
        logits = network(*self.shown(z, window, condition))[:, :, z.shape[2] :]
        return token_nats(logits, z, network.factors, self.config.label_smoothing).mean((2, 3))

    def decode(self, z: Tensor, decoder: TokenDecoder) -> Tensor:
        """The frames [B, G, F, H, W] one after the other, each token drawn in sight of all before it."""
        uniform, frames = decoder.uniform(z.shape[1], 0), []
        for slot in range(z.shape[2]):
            decoder.begin(slot)
            token, made = torch.full_like(z[:, :, 0, 0, 0], float(UNKNOWN)), []
            for u in rearrange(uniform[:, :, slot], "b g h w -> (h w) b g"):
                logits = decoder.next(token)
                token, _ = draw_digits(
                    logits, decoder.factors, u, temperature=self.config.temperature, top_k=self.config.top_k
                )
                made.append(token)
            frames.append(rearrange(made, "(h w) b g -> b g h w", h=z.shape[3]))
            decoder.finish(slot, frames[-1])
        return torch.stack(frames, dim=2)

    def calls(self, frames: int, tokens: int) -> int:
        """One a token."""
        return frames * tokens


def _rows(described: Any, rows: Tensor, frames: int) -> Any:
    """Window or condition of some clips of the batch, what is said of frames cut to the first `frames`."""
    told = {field.name: getattr(described, field.name) for field in fields(described)}
    of_clips = {"text", "text_mask", "origin", "camera"}
    cut = {name: value[rows] for name, value in told.items() if value is not None}
    return replace(described, **{n: value if n in of_clips else value[:, :frames] for n, value in cut.items()})
