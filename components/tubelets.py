"""Patches that span several latent frames: consecutive slots of one kind are folded into one, and unfolded afterwards.

Observed frames of a clip are grouped among themselves, in the order of their slots, and so are the frames to be made:
a group is either given or not, so what is remembered of the one kind never depends on the other. A last group that is
short is filled with zeros. Each frame of a group brings a flag as one more channel: 1 observed, 0 to be made, -1 no
frame. A group stands where its last frame does in time and pose, as a latent stands for its last video frame. Frames of
one group see each other, so causality holds at the grain of a group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from einops import rearrange, reduce, repeat

from components.contracts import Condition, Window

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Tubelets:
    """Which slots of a window form which groups; G groups of `span` places each. Made by `tubelets`."""

    span: int
    place: Tensor
    """long [B, F]: of each slot among the G · span places; G · span for slots that hold no frame."""
    source: Tensor
    """long [B, G · span]: the slot at each place; F where there is none."""
    flags: Tensor
    """float32 [B, G · span]: 1 observed, 0 to be made, -1 no frame."""
    groups: tuple[int, ...] | None
    """How many groups each clip has; None unless asked for."""

    def fold(self, z: Sequence[Tensor] | Tensor) -> Sequence[Tensor] | Tensor:
        """[B, C, F, H, W] to [B, span · (C + 1), G, H, W]; a list of clips to such a list, G each clip's own."""
        if isinstance(z, torch.Tensor):
            return _folded(z, self.source, self.flags, self.span)
        assert self.groups is not None
        if len({clip.shape for clip in z}) == 1:  # clips of one size stay of one size, however their frames are mixed
            return list(_folded(torch.stack(list(z)), self.source, self.flags, self.span))
        folded = []
        for clip, source, flags, groups in zip(z, self.source, self.flags, self.groups, strict=True):
            length = groups * self.span
            rows = source[None, :length].clamp(max=clip.shape[1]), flags[None, :length]
            folded.append(_folded(clip[None], *rows, self.span)[0])
        return folded

    def unfold(self, folded: Sequence[Tensor] | Tensor, frames: Sequence[int]) -> Sequence[Tensor] | Tensor:
        """[B, span · C, G, H, W] to [B, C, F, H, W], zero where there is no frame; a list to clips of so many."""
        if isinstance(folded, torch.Tensor):
            return _unfolded(folded, self.place, self.span)
        rows = zip(folded, self.place, frames, strict=True)
        return [_unfolded(clip[None], place[None, :count], self.span)[0] for clip, place, count in rows]

    def window(self, window: Window) -> Window:
        """Of the groups: the time of each one's last frame; a place without any frame is not valid."""
        flags = rearrange(self.flags, "b (g p) -> b g p", p=self.span)
        valid = flags[..., 0] >= 0  # a group fills up from its first place
        return replace(window, times=self._last(window.times), observed=flags[..., 0] > 0, valid=valid)

    def condition(self, condition: Condition) -> Condition:
        """Of the groups: the pose of the last frame, the mean level and the mean action of all its frames."""
        actions, poses = condition.actions, condition.poses
        return replace(
            condition,
            level=self._mean(condition.level[..., None])[..., 0],
            actions=None if actions is None else self._mean(actions),
            poses=None if poses is None else self._last(poses),
        )

    def _last(self, told: Tensor) -> Tensor:
        """Per-slot values [B, F, …] of each group's last frame [B, G, …]; zero where there is none."""
        real = reduce((self.flags >= 0).long(), "b (g p) -> b g", "sum", p=self.span)
        first = torch.arange(real.shape[1], device=real.device) * self.span
        slot = self.source.gather(1, first + (real - 1).clamp(min=0))
        return _taken(told, slot)

    def _mean(self, told: Tensor) -> Tensor:
        """The mean over each group's frames: [B, F, A] to [B, G, A]."""
        taken = rearrange(_taken(told, self.source), "b (g p) a -> b g p a", p=self.span)
        real = rearrange(self.flags >= 0, "b (g p) -> b g p 1", p=self.span).to(told.dtype)
        return (taken * real).sum(2) / real.sum(2).clamp(min=1)


def tubelets(window: Window, span: int, *, each: bool) -> Tubelets:
    """Group the slots of a window; `each` says whether every clip's own number of groups is asked for.

    Raises ValueError for frames that are predicted token by token, whose patch is one token.
    """
    if window.raster is not None:
        raise ValueError("frames predicted token by token have patches of one token: set patch to 1×1×1")
    clips, frames = window.observed.shape
    given, made = window.valid & window.observed, window.valid & ~window.observed
    first_made = -(-given.sum(1, keepdim=True) // span) * span
    places = first_made + -(-made.sum(1, keepdim=True) // span) * span
    # Without storage there are no counts: then as many groups as frames of one kind would need.
    counts = None if window.times.is_meta else [count // span for count in places[:, 0].tolist()]
    length = span * (-(-frames // span) if counts is None else max(max(counts), 1))
    place = torch.where(given, given.cumsum(1) - 1, first_made + made.cumsum(1) - 1)
    place = torch.where(window.valid, place, length)
    slots = repeat(torch.arange(frames, device=place.device), "f -> b f", b=clips)
    source = torch.full((clips, length + 1), frames, device=place.device).scatter(1, place, slots)[:, :length]
    flags = torch.where(source == frames, -1.0, _taken(window.observed.float(), source))
    return Tubelets(span, place, source, flags, tuple(counts) if each and counts is not None else None)


def _taken(told: Tensor, slots: Tensor) -> Tensor:
    """Per-slot values [B, F, …] at slots [B, N]; zero at the slot F, which is none."""
    padded = torch.cat([told, torch.zeros_like(told[:, :1])], dim=1)
    index = slots.reshape(*slots.shape, *[1] * (told.ndim - 2)).expand(-1, -1, *told.shape[2:])
    return padded.gather(1, index)


def _folded(z: Tensor, source: Tensor, flags: Tensor, span: int) -> Tensor:
    """[B, C, F, H, W] to [B, span · (C + 1), G, H, W], each frame's flag after its channels."""
    frames = rearrange(z, "b c f h w -> b f c h w")
    marks = rearrange(flags.to(z.dtype), "b n -> b n 1 1 1").expand(-1, -1, 1, *z.shape[-2:])
    marked = torch.cat([_taken(frames, source), marks], dim=2)
    return rearrange(marked, "b (g p) c h w -> b (p c) g h w", p=span)


def _unfolded(folded: Tensor, place: Tensor, span: int) -> Tensor:
    """[B, span · C, G, H, W] to [B, C, F, H, W]."""
    frames = rearrange(folded, "b (p c) g h w -> b (g p) c h w", p=span)
    return rearrange(_taken(frames, place.clamp(max=frames.shape[1])), "b f c h w -> b c f h w")
