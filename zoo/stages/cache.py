"""Two caches on disk: a split's frames, decoded or rendered once, and their latents, encoded once. No torch at import.

Arrays are memory-mapped: training reads the frames of its windows and no more.
"""

from __future__ import annotations

import json
import pickle
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from components.contracts import Clip, ReadError
from zoo.progress import Bar, say
from zoo.stages.cache_folder import FORMAT, CacheFolder, save_array
from zoo.store import atomic_file, short_hash

if TYPE_CHECKING:
    from components.contracts import Dataset, Split, Tokenizer
    from zoo.latent_form import Form

POOL_AFTER = 8.0
"""Seconds of work left from which processes are worth their start."""


# --------------------------------------------------------------------------------------------------------- frames


class FrameCache(CacheFolder):
    """The clips of one split: uint8 frames in one .npy each, times, actions and poses in an .npz beside it."""

    def __init__(self, dataset: Dataset, split: Split, root: Path | str, *, workers: int = 2) -> None:
        self.dataset, self.workers = dataset, workers
        self.split: Split = split
        self.name = f"frames{FORMAT}-{dataset.fingerprint()[:16]}-{split}"
        super().__init__(Path(root) / self.name)

    def fill(self) -> FrameCache:
        """Make what is missing, with a progress bar; returns itself. Clips that cannot be read are skipped and named.

        Raises StorageError where the folder cannot be written.
        """
        self._wait_or_build()
        return self

    def frames(self, index: int) -> np.ndarray:
        """uint8 [T, H, W, 3], memory-mapped, read-only."""
        return self.array(index)

    def clip(self, index: int) -> Clip:
        """As the data set's own, with memory-mapped frames."""
        facts = self.facts(index)
        with np.load(self.folder / f"{facts.file}.npz", allow_pickle=False) as arrays:
            return Clip(
                frames=self.frames(index),
                times=arrays["times"],
                fps=facts.fps,
                actions=arrays.get("actions"),
                poses=arrays.get("poses"),
                caption=facts.caption,
                episode=facts.episode,
                source=facts.source,
                licence=facts.licence,
            )

    def _fill(self) -> None:
        size = self.dataset.size(self.split)
        entries: dict[int, dict[str, Any]] = {}
        with Bar(f"caching {self.split} frames", size) as bar:
            for number, entry in self._entries(size):
                entries[number] = entry
                bar.advance()
        self._finish(entries)

    def _entries(self, size: int) -> Iterator[tuple[int, dict[str, Any]]]:
        """Alone at first; by `workers` processes once the rest is seen to take long and the data set can be sent."""
        began, left = time.monotonic(), list(range(size))
        while left:
            made = size - len(left)
            if made and self.workers > 1 and (time.monotonic() - began) / made * len(left) > POOL_AFTER:
                break
            number = left.pop(0)
            yield number, store_clip(self.dataset, self.split, number, self.folder)
        if left:
            yield from self._pooled(left)

    def _pooled(self, left: list[int]) -> Iterator[tuple[int, dict[str, Any]]]:
        try:
            sent = pickle.dumps((self.dataset, self.split, self.folder))
        except Exception:  # whatever a data set holds that cannot travel: files, readers, locks
            sent = None
        done: set[int] = set()
        if sent is not None:
            try:
                with ProcessPoolExecutor(self.workers, get_context("spawn"), _receive, (sent,)) as pool:
                    for future in as_completed([pool.submit(_store, number) for number in left]):
                        number, entry = future.result()
                        done.add(number)
                        yield number, entry
            except BrokenProcessPool:
                say("a process that caches frames died: going on with one process")
        for number in left:
            if number not in done:
                yield number, store_clip(self.dataset, self.split, number, self.folder)


_received: tuple[Dataset, Split, Path] | None = None


def _receive(sent: bytes) -> None:
    global _received
    _received = pickle.loads(sent)


def _store(number: int) -> tuple[int, dict[str, Any]]:
    assert _received is not None
    dataset, split, folder = _received
    return number, store_clip(dataset, split, number, folder)


def store_clip(dataset: Dataset, split: Split, number: int, folder: Path) -> dict[str, Any]:
    """Write clip `number` unless it is there, frames first; returns its index entry, or {"file", "error"}."""
    file = f"{number:06d}"
    stored = folder / f"{file}.npz"
    if stored.exists():
        with np.load(stored, allow_pickle=False) as arrays:
            return json.loads(str(arrays["entry"]))
    try:
        clip = dataset.clip(split, number)
    except ReadError as error:
        return {"file": file, "error": str(error)}
    save_array(folder / f"{file}.npy", clip.frames)
    entry = {
        "episode": clip.episode,
        "source": clip.source,
        "licence": clip.licence,
        "caption": clip.caption,
        "fps": float(clip.fps),
        "shape": [int(n) for n in clip.frames.shape],
        "file": file,
    }
    arrays = {"times": clip.times, "actions": clip.actions, "poses": clip.poses, "entry": np.array(json.dumps(entry))}
    with atomic_file(folder / f"{file}.npz") as temporary, open(temporary, "wb") as opened:
        np.savez(opened, **{name: value for name, value in arrays.items() if value is not None})
    return entry


# -------------------------------------------------------------------------------------------------------- latents


@dataclass(frozen=True)
class LatentEpisode:
    """One episode as the generator sees it; signals are those of each latent's last video frame."""

    z: np.ndarray
    """float [F, C, H, W], memory-mapped, normalised."""
    poses: np.ndarray | None
    """float32 [F, 4]."""
    actions: np.ndarray | None
    """float32 [F, A]: sum of the actions since the previous latent's last frame; zeros for latent 0."""
    origin: np.ndarray | None
    """float32 [4]: pose of video frame 0."""
    caption: str | None
    name: str

    @property
    def frames(self) -> int:
        """Latent frames."""
        return len(self.z)


class LatentCache(CacheFolder):
    """The latents of a FrameCache under one frozen tokenizer, each video encoded in one streaming pass."""

    BUDGET = 1 << 19
    """Pixels encoded together; a longer video goes alone. Groups do not depend on what is already there."""

    def __init__(
        self,
        frames: FrameCache,
        tokenizer: Tokenizer,
        root: Path | str,
        *,
        dtype: Literal["float16", "float32"] = "float32",
        form: Form = "quantised",
    ) -> None:
        """The folder under `root` is named by the frames, the tokenizer's weights, `dtype` and `form`.

        Args:
            form: what is kept of a latent (zoo/latent_form.py).
        """
        from zoo.stages.encode import weights_hash

        self.video, self.tokenizer, self.dtype = frames, tokenizer, dtype
        self.form: Form = form
        self.key = {"frames": frames.name, "weights": weights_hash(tokenizer), "dtype": dtype, "format": FORMAT}
        self.key |= {} if form == "quantised" else {"form": form}
        self._signals: dict[int, tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]] = {}
        super().__init__(Path(root) / f"latents-{short_hash(self.key)}-{frames.split}")

    def fill(self) -> LatentCache:
        """Encode what is missing, on the tokenizer's device, with a progress bar; returns itself."""
        self.video.fill()
        self._wait_or_build()
        return self

    def episode(self, index: int) -> LatentEpisode:
        """Latents (memory-mapped) and signals of episode `index`."""
        facts = self.facts(index)
        if index not in self._signals:
            with np.load(self.folder / f"{facts.file}.npz", allow_pickle=False) as arrays:
                poses, actions, origin = (arrays.get(name) for name in ("poses", "actions", "origin"))
                self._signals[index] = (poses, actions, origin)
        poses, actions, origin = self._signals[index]
        return LatentEpisode(self.array(index), poses, actions, origin, facts.caption, facts.episode)

    def _fill(self) -> None:
        entries: dict[int, dict[str, Any]] = {}
        with Bar(f"encoding {self.video.split} latents", len(self.video)) as bar:
            for group in self._groups():
                files = [self.folder / f"{self.video.facts(index).file}.npz" for index in group]
                if not all(file.exists() for file in files):
                    self._encode(group)
                for index, file in zip(group, files, strict=True):
                    with np.load(file, allow_pickle=False) as arrays:
                        entries[index] = json.loads(str(arrays["entry"]))
                bar.advance(len(group))
        self._finish(entries)

    def _groups(self) -> Iterator[list[int]]:
        """Neighbours of one shape, up to the budget; clips too short for one latent frame are left out."""
        group: list[int] = []
        for index in range(len(self.video)):
            length, height, width, _ = self.video.shape(index)
            if self.tokenizer.latent_frames(length) < 1:
                continue
            full = length * height * width * (len(group) + 1) > self.BUDGET
            if group and (full or self.video.shape(group[0]) != self.video.shape(index)):
                yield group
                group = []
            group.append(index)
        if group:
            yield group

    def _encode(self, group: list[int]) -> None:
        from zoo.stages.encode import encode_videos

        whole = self.tokenizer.video_frames(self.tokenizer.latent_frames(self.video.shape(group[0])[0]))
        z_bfchw = encode_videos(self.tokenizer, [self.video.frames(index)[:whole] for index in group], self.form)
        for index, z in zip(group, z_bfchw.astype(self.dtype), strict=True):
            self._save(index, z)

    def _save(self, index: int, z: np.ndarray) -> None:
        clip, facts = self.video.clip(index), self.video.facts(index)
        last = np.array([self.tokenizer.last_frame(f) for f in range(len(z))])
        save_array(self.folder / f"{facts.file}.npy", z)
        arrays: dict[str, np.ndarray] = {"entry": np.array(json.dumps({**facts.__dict__, "shape": list(z.shape)}))}
        if clip.poses is not None:
            arrays |= {"poses": clip.poses[last].astype(np.float32), "origin": clip.poses[0].astype(np.float32)}
        if clip.actions is not None:
            arrays["actions"] = latent_actions(clip.actions, last)
        with atomic_file(self.folder / f"{facts.file}.npz") as temporary, open(temporary, "wb") as opened:
            np.savez(opened, **arrays)  # type: ignore[arg-type]


def latent_actions(actions: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Actions [T-1, A] to [F, A]: what happened between the last frame of latent f-1 and that of f; zeros for f = 0."""
    totals = np.concatenate([np.zeros((1, actions.shape[1])), np.cumsum(actions, axis=0, dtype=np.float64)])
    return np.diff(totals[last], axis=0, prepend=totals[last[:1]]).astype(np.float32)
