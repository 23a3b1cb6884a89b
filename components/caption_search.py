"""Beam search over the words of captions; one beam is greedy decoding."""

from __future__ import annotations

from collections.abc import Callable

import torch
from einops import rearrange, repeat
from torch import Tensor


@torch.no_grad()
def beam_search(
    score: Callable[[Tensor], Tensor],
    *,
    count: int,
    beams: int,
    length: int,
    start: int,
    end: int,
    device: torch.device,
) -> tuple[Tensor, Tensor]:
    """The captions of highest mean log probability a word: long [B, S] without `start`, and confidence [B].

    A caption ends with `end`, which counts as a word and fills the rest, or after `length` words. Confidence is the
    mean probability of a caption's words, each given those before it.

    Args:
        score: long [B·beams, S], clip by clip, to log probabilities [B·beams, V] of the next word.
        count: B.
    """
    said = torch.full((count, beams, 1), start, dtype=torch.long, device=device)
    total = torch.full((count, beams), -torch.inf, device=device)
    total[:, 0] = 0.0  # all beams begin alike: one of them is enough
    chance, words = torch.zeros_like(total), torch.zeros_like(total)
    done = torch.zeros_like(total, dtype=torch.bool)
    for _ in range(length):
        logits = rearrange(score(rearrange(said, "b k s -> (b k) s")).float(), "(b k) v -> b k v", k=beams)
        only_end = torch.full_like(logits, -torch.inf)
        only_end[..., end] = 0.0
        logits = torch.where(done[..., None], only_end, logits)
        best, place = rearrange(total[..., None] + logits, "b k v -> b (k v)").topk(beams, dim=1)
        beam, word = place // logits.shape[-1], place % logits.shape[-1]
        given = logits.flatten(1).gather(1, place).exp()
        total, done = best, done.gather(1, beam)
        words = words.gather(1, beam) + ~done
        chance = chance.gather(1, beam) + torch.where(done, 0.0, given)
        kept = said.gather(1, repeat(beam, "b k -> b k s", s=said.shape[2]))
        said = torch.cat([kept, word[..., None]], dim=2)
        done = done | (word == end)
        if bool(done.all()):
            break
    chosen = (total / words.clamp_min(1)).argmax(dim=1)
    rows = torch.arange(count, device=device)
    return said[rows, chosen, 1:], (chance / words.clamp_min(1))[rows, chosen]
