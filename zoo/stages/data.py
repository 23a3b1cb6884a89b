"""From data set to training batches: frames decoded once, latents encoded once, batches that depend on (seed, step).

Batch `step` is a pure function of the seed and the step, so a resumed run sees what an unbroken one would have seen,
with no random state to store. The global batch is drawn whole and dealt out over the ranks, so it does not depend on
their number either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from components.contracts import Window
from zoo.errors import BadValue
from zoo.progress import say
from zoo.stages.row_filling import kept_columns, step_clips

if TYPE_CHECKING:
    from components.contracts import Packing, Task
    from zoo.stages.cache import FrameCache, LatentCache, LatentEpisode


def window_times(indices: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """`Window.times` of one clip: latent-frame indices [F] minus that of its first latent (unobserved) frame."""
    first = indices[np.flatnonzero(~observed)[0]]
    return (indices - first).astype(np.float32)


class _Movable:
    """Moves every tensor of a dataclass, for Lightning; other fields stay."""

    def to(self, *args: Any, **kwargs: Any) -> Any:
        return replace(self, **{f.name: _map(getattr(self, f.name), "to", *args, **kwargs) for f in fields(self)})  # type: ignore[type-var, arg-type]

    def pin_memory(self) -> Any:
        return replace(self, **{f.name: _map(getattr(self, f.name), "pin_memory") for f in fields(self)})  # type: ignore[type-var, arg-type]


def _map(value: Any, method: str, *args: Any, **kwargs: Any) -> Any:
    if isinstance(value, Tensor):
        return getattr(value, method)(*args, **kwargs)
    if isinstance(value, Window):
        return replace(value, **{f.name: _map(getattr(value, f.name), method, *args, **kwargs) for f in fields(value)})
    if isinstance(value, list | tuple) and value and isinstance(value[0], Tensor):
        return type(value)(_map(one, method, *args, **kwargs) for one in value)
    return value


@dataclass(frozen=True)
class TokenizerBatch(_Movable):
    """Stage 1: pieces of video of one size."""

    video: Tensor
    """float [B, 3, T, H, W] in [-1, 1]."""
    episodes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.episodes)


@dataclass(frozen=True)
class GeneratorBatch(_Movable):
    """Stage 2: windows of latent episodes. F is the longest window; shorter clips have filler slots, not `valid`."""

    z: Tensor | list[Tensor]
    """[B, C, F, H, W], or a list of [C, F_b, H, W] where sizes or lengths differ."""
    window: Window
    indices: Tensor
    """long [B, F]: latent-frame index of each slot in its episode; 0 in filler."""
    actions: Tensor | None
    """float [B, F, A]."""
    poses: Tensor | None
    """float [B, F, 4]."""
    origin: Tensor | None
    """float [B, 4]."""
    captions: tuple[str, ...] | None
    episodes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.episodes)


class TokenizerBatches:
    """Item `step` is that step's TokenizerBatch. A size is drawn first, by how many clips have it: one per batch."""

    def __init__(
        self,
        cache: FrameCache,
        *,
        frames: int,
        batch: int,
        steps: int,
        seed: int,
        images: float = 0.0,
        multiple: int = 1,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        """Raises BadValue where no clip has `frames` frames, or a side shorter than `multiple`.

        Args:
            images: share of the training steps whose clips are single frames; those after `steps` are all video.
            multiple: sides that it does not divide are cropped, about their middle, to the next smaller multiple.
        """
        self.cache, self.frames, self.batch, self.steps, self.seed = cache, frames, batch, steps, seed
        self.images, self.multiple, self.rank, self.world = images, multiple, rank, world
        self.groups: list[list[int]] = _by_size(cache, frames, multiple)
        self.excluded = len(cache) - sum(map(len, self.groups))
        """Clips that are shorter than `frames`."""
        self._weights = np.array([len(group) for group in self.groups]) / max(1, len(cache) - self.excluded)
        self.dealt = ("train.tokenizer.batch", batch)

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> TokenizerBatch:
        rng = np.random.default_rng([self.seed, step])
        group = self.groups[rng.choice(len(self.groups), p=self._weights)]
        chosen = [group[i] for i in rng.integers(len(group), size=self.batch)]
        frames = 1 if self.of_images(step) else self.frames
        starts = [int(rng.integers(self.cache.shape(i)[0] - frames + 1)) for i in chosen]
        mine = range(self.rank, self.batch, self.world)
        pieces = [self.piece(chosen[n], starts[n], frames) for n in mine]
        return TokenizerBatch(to_video(np.stack(pieces)), tuple(self.cache.facts(chosen[n]).episode for n in mine))

    def of_images(self, step: int) -> bool:
        """Whether the batch of `step` is single frames, decided by (seed, step) apart from what else is drawn."""
        if self.images == 0 or step >= self.steps:
            return False
        return bool(np.random.default_rng([self.seed, step, 1]).random() < self.images)

    def piece(self, index: int, start: int, frames: int) -> np.ndarray:
        """Frames uint8 [T, H, W, 3] of a clip, its sides cropped to the multiple."""
        return _cropped(self.cache.frames(index)[start : start + frames], self.multiple)


def _cropped(frames_thwc: np.ndarray, multiple: int) -> np.ndarray:
    height, width = frames_thwc.shape[1:3]
    top, left = height % multiple // 2, width % multiple // 2
    return frames_thwc[:, top : top + height // multiple * multiple, left : left + width // multiple * multiple]


def _by_size(cache: FrameCache, frames: int, multiple: int) -> list[list[int]]:
    groups: dict[tuple[int, ...], list[int]] = {}
    odd: set[tuple[int, ...]] = set()
    for index in range(len(cache)):
        length, *size = cache.shape(index)[:3]
        if length >= frames:
            groups.setdefault(tuple(side // multiple * multiple for side in size), []).append(index)
            odd |= {tuple(size)} if any(side % multiple for side in size) else set()
    if any(0 in size for size in groups):
        raise BadValue(
            f"frames of {min(odd)[0]}×{min(odd)[1]} are smaller than the tokenizer's spatial factor {multiple}: "
            "choose a larger dataset.size or a smaller tokenizer.spatial_factor."
        )
    if odd:
        sizes = ", ".join(f"{height}×{width}" for height, width in sorted(odd)[:4]) + (", …" if len(odd) > 4 else "")
        say(f"tokenizer: frames of {sizes} are cropped about their middle to multiples of {multiple} for training")
    if not groups:
        longest = max((cache.shape(index)[0] for index in range(len(cache))), default=0)
        raise BadValue(
            f"no training clip has train.tokenizer.frames={frames} frames; the longest of {len(cache)} has {longest}: "
            f"lower it to {longest} or less, or add longer clips."
        )
    return [groups[size] for size in sorted(groups)]


def to_video(frames_bthwc: np.ndarray) -> Tensor:
    """uint8 [B, T, H, W, 3] to float [B, 3, T, H, W] in [-1, 1]."""
    video = rearrange(torch.from_numpy(frames_bthwc), "b t h w c -> b c t h w")
    return video.to(torch.float32, memory_format=torch.contiguous_format).div_(127.5).sub_(1.0)


class GeneratorBatches:
    """Item `step` is that step's GeneratorBatch: the clips that the packing wants, the window the task draws of each.

    Which clips those are is decided in zoo/stages/row_filling.py.
    """

    def __init__(
        self,
        cache: LatentCache,
        task: Task,
        *,
        window: int,
        masks: Mapping[str, float],
        batch: int,
        steps: int,
        seed: int,
        actions: bool = True,
        rank: int = 0,
        world: int = 1,
        packing: Packing | None = None,
        grain: tuple[int, int, int] = (1, 1, 1),
    ) -> None:
        """Raises BadValue for an empty cache, and for a clip that is longer than a row may be.

        Args:
            actions: False leaves actions out even where the data has them.
            packing: says which clips share a step and what is dropped of them; None draws `batch` of any clips.
            grain: of the backbone: latent frames, rows and columns of one token.
        """
        if len(cache) == 0:
            raise BadValue("there is no training clip to make batches of: check the data set's folder and split.")
        self.cache, self.task, self.window, self.masks = cache, task, window, dict(masks)
        self.batch, self.steps, self.seed, self.actions = batch, steps, seed, actions
        self.rank, self.world = rank, world
        shapes = [(min(window, f), h, w) for f, _, h, w in (cache.shape(clip) for clip in range(len(cache)))]
        self.step_clips = step_clips(shapes, packing, grain, batch, seed)
        self.dealt = self.step_clips.dealt
        self._kept = [] if packing is None else kept_columns(shapes, packing, grain)

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> GeneratorBatch:
        drawn = self.step_clips.windows(step, self.rank, self.world, self._drawn)
        batch = collate([(episode, indices, observed) for episode, indices, observed, _ in drawn], actions=self.actions)
        columns = [one for *_, one in drawn if one is not None]
        return replace(batch, window=replace(batch.window, columns=tuple(columns))) if columns else batch

    def _drawn(
        self, clip: int, rng: np.random.Generator
    ) -> tuple[LatentEpisode, np.ndarray, np.ndarray, Tensor | None]:
        """Episode, indices [F], observed [F], and the columns kept: bool [H, W] in tokens, None where all are."""
        episode = self.cache.episode(clip)
        indices, observed = self.task.draw(
            frames=episode.frames, window=self.window, masks=self.masks, rng=rng, poses=episode.poses
        )
        columns = None
        if self._kept:
            (height, width), kept = self._kept[clip]
            columns = torch.from_numpy(rng.permutation(height * width).reshape(height, width) < kept)
        return episode, np.asarray(indices), np.asarray(observed, dtype=bool), columns


def collate(clips: Sequence[tuple[LatentEpisode, np.ndarray, np.ndarray]], *, actions: bool) -> GeneratorBatch:
    """Windows of episodes (episode, indices [F], observed [F]) to one batch; stacked where all shapes agree."""
    zs = [
        rearrange(torch.from_numpy(episode.z[indices].astype(np.float32)), "f c h w -> c f h w").contiguous()
        for episode, indices, _ in clips
    ]
    lengths = [len(indices) for _, indices, _ in clips]
    window = Window(
        times=_padded([window_times(indices, observed) for _, indices, observed in clips]),
        observed=_padded([observed for _, _, observed in clips]),
        valid=_padded([np.ones(length, dtype=bool) for length in lengths]),
    )
    return GeneratorBatch(
        z=torch.stack(zs) if len({z.shape for z in zs}) == 1 else zs,
        window=window,
        indices=_padded([indices.astype(np.int64) for _, indices, _ in clips]),
        actions=_gathered("actions", clips) if actions else None,
        poses=_gathered("poses", clips),
        origin=_origins(clips),
        captions=_captions(clips),
        episodes=tuple(episode.name for episode, _, _ in clips),
    )


def _padded(rows: Sequence[np.ndarray]) -> Tensor:
    """Rows [F_b, …] to [B, F, …], zeros (False) behind the short ones."""
    made = np.zeros((len(rows), max(map(len, rows)), *rows[0].shape[1:]), dtype=rows[0].dtype)
    for target, row in zip(made, rows, strict=True):
        target[: len(row)] = row
    return torch.from_numpy(made)


def _gathered(name: str, clips: Sequence[tuple[LatentEpisode, np.ndarray, np.ndarray]]) -> Tensor | None:
    """A per-frame signal [B, F, …], or None unless every episode has it."""
    values = [getattr(episode, name) for episode, _, _ in clips]
    if any(value is None for value in values):
        return None
    return _padded([value[indices] for value, (_, indices, _) in zip(values, clips, strict=True)])


def _origins(clips: Sequence[tuple[LatentEpisode, np.ndarray, np.ndarray]]) -> Tensor | None:
    origins = [episode.origin for episode, _, _ in clips]
    if any(origin is None for origin in origins):
        return None
    return torch.from_numpy(np.stack([origin for origin in origins if origin is not None]))


def _captions(clips: Sequence[tuple[LatentEpisode, np.ndarray, np.ndarray]]) -> tuple[str, ...] | None:
    """Captions, empty where one clip lacks one; None where all do."""
    captions = [episode.caption for episode, _, _ in clips]
    return None if all(one is None for one in captions) else tuple(one or "" for one in captions)
