"""What a video is made from, and where its given frames lie on the canvas: counts of frames, no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from components.contracts import Layout
from zoo.errors import BadValue
from zoo.fitting import latents_for

if TYPE_CHECKING:
    from components.contracts import Clip


@dataclass(frozen=True)
class Scene:
    """What a video is made from: given frames, and what is known of the frames to come.

    `frames` counts video frames, given ones included. `actions` [frames-1, A] and `poses` [frames, 4] cover the whole
    video; either may be None where the model was not trained with them.
    """

    frames: int
    context: np.ndarray | None = None
    """uint8 [T, H, W, 3], T ≥ 0: frames given at the start."""
    actions: np.ndarray | None = None
    poses: np.ndarray | None = None
    prompt: str = ""
    size: tuple[int, int] | None = None
    """(height, width) in pixels, where no given frame says it."""
    episode: str = "0"
    """Keys the noise: the same (seed, episode, frame) draws the same noise in any batch."""
    last: np.ndarray | None = None
    """uint8 [T, H, W, 3]: frames given at the end, of the context's size."""
    task: str | Mapping[str, Any] | None = None
    """Name of a task, or ``{"name": …, option: …}``; None is the task the model was trained for."""

    @classmethod
    def of(cls, clip: Clip, context: int, closing: int = 0, task: str | Mapping[str, Any] | None = None) -> Scene:
        """What the model is told of a clip: its first and its last frames, and actions, poses and caption of all of it.

        Args:
            context: how many first frames are given, of which the task takes what it looks at.
            closing: how many last ones.
        """
        return cls(
            frames=len(clip.frames),
            context=clip.frames[:context],
            actions=clip.actions,
            poses=clip.poses,
            prompt=clip.caption or "",
            size=(clip.frames.shape[1], clip.frames.shape[2]),
            episode=clip.episode,
            last=clip.frames[len(clip.frames) - closing :] if closing else None,
            task=task,
        )

    def layout(self, task: Any) -> Layout:
        """Where the task lays the given frames. Raises BadValue where they do not fit into the video."""
        layout = task.layout(_count(self.context), _count(self.last))
        if layout.last and layout.first + layout.last > self.frames:
            raise BadValue(
                f"{layout.first} first and {layout.last} last frames are given of a video of frames={self.frames}: "
                "ask for more frames, or give fewer."
            )
        sizes = {part.shape[1:3] for part in (self.context, self.last) if part is not None and len(part)}
        if layout.first and layout.last and len(sizes) > 1:
            one, other = (f"{width}x{height}" for height, width in sorted(sizes))
            raise BadValue(f"the first frames and the last are of two sizes, {one} and {other}: scale them to one.")
        return layout

    def closing_frames(self, layout: Layout) -> np.ndarray:
        """What stands at the end of the canvas: the last frames, or copies of the first."""
        if layout.copies:
            assert self.context is not None
            return self.context[: layout.copies]
        assert self.last is not None
        return self.last[len(self.last) - layout.last :]

    def wants_opening(self, task: Any) -> bool:
        """Whether the task looks at copies of an opening that is not given: it is made first."""
        return task.layout(1, 0).copies > 0 and not _count(self.context)


def _count(frames: np.ndarray | None) -> int:
    return 0 if frames is None else len(frames)


@dataclass(frozen=True)
class Places:
    """A layout in latent frames."""

    total: int
    """Latent frames of the canvas."""
    observed: int
    """So many are given at its start."""
    closing: int
    """So many are given at its end."""
    lead: int
    """Video frames before those of the closing latents that are encoded with them …"""
    padding: int
    """… and so many times the last video frame is repeated after them, where the length is no whole number."""

    @property
    def missing(self) -> int:
        """Latent frames to be made."""
        return max(self.total - self.observed - self.closing, 0)


def places(tokenizer: Any, frames: int, layout: Layout) -> Places:
    """Where the given frames of a video of so many frames lie among its latents.

    Closing frames are encoded alone, on the canvas's own grid. A latent frame in the middle of a video stands for k
    frames that others go before, so unless frames are on their own the first latent of what is encoded is left out:
    of a causal tokenizer it would be a still. What the others know of earlier frames begins there.

    Raises BadValue where too few closing frames are given to make one latent.
    """
    total = latents_for(tokenizer, frames + layout.copies)
    observed = tokenizer.latent_frames(layout.first) if layout.first else 0
    given = layout.last or layout.copies
    if not given:
        return Places(max(total, observed), observed, 0, 0, 0)
    whole = tokenizer.video_frames(total)
    padding = whole - frames - layout.copies
    lead = 0 if tokenizer.training_latents == 1 else tokenizer.video_frames(1)
    earliest = whole - padding - given + lead
    first = next((latent for latent in range(total) if tokenizer.video_frames(latent) >= earliest), total)
    if first == total:
        raise BadValue(
            f"{given} frames at the end make no whole latent frame of the tokenizer, which joins "
            f"{tokenizer.temporal_factor} and needs {lead} before them: give {lead + 2 * tokenizer.temporal_factor}."
        )
    return Places(total, observed, total - first, lead, padding)


def opening(scene: Scene, tokenizer: Any, step: int) -> Scene:
    """A scene of its first frames alone: what one plan step makes of nothing, at most a third of the video.

    Raises BadValue where the video is too short for that.
    """
    third = tokenizer.latent_frames(scene.frames) // 3
    # Unless frames are on their own some of the copies only lead up to the others, see `places`.
    least = 1 if tokenizer.training_latents == 1 else 3
    frames = tokenizer.video_frames(max(min(step, third), least))
    if frames >= scene.frames:
        raise BadValue(f"frames={scene.frames} are too few for an opening of {frames} to come back: ask for more.")
    actions = None if scene.actions is None else scene.actions[: frames - 1]
    poses = None if scene.poses is None else scene.poses[:frames]
    return replace(scene, frames=frames, context=None, actions=actions, poses=poses)
