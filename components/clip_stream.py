"""Pieces of a stream of any length, joined and cut into clips of one length: what works clip by clip reads these."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor


def in_clips(pieces_bcfhw: Iterable[Tensor], length: int) -> Iterator[Tensor]:
    """Pieces [B, C, f, H, W], in order, to clips of `length` frames, each yielded when complete; the last is the rest.

    Never holds more than one piece and one clip.
    """
    held: Tensor | None = None
    for piece in pieces_bcfhw:
        held = piece if held is None else torch.cat([held, piece], dim=2)
        while held.shape[2] >= length:
            yield held[:, :, :length]
            held = held[:, :, length:]
        held = held.clone()  # a view would keep the whole piece alive
    if held is not None and held.shape[2]:
        yield held
