"""Videos that somebody else's model made for a suite: found by episode, checked before scoring, read one by one."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.folder_pair import ENDINGS
from components.contracts import Clip, Reader, ReadError
from components.frame_size import fit_to
from zoo.errors import BadValue, UserError

ARRAYS = frozenset({".npy", ".npz"})
NAMES = ("video", "frames")
"""What the array in an .npz may be called where the file holds several."""


def file_stem(episode: str) -> str:
    """Name of an episode's files, without ending: everything but letters, digits, ``._-`` becomes ``-``."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", episode).strip("-.") or "episode"


def file_stems(clips: Sequence[Clip]) -> list[str]:
    """One name for each clip. Raises BadValue where two episodes would share one."""
    stems = [file_stem(clip.episode) for clip in clips]
    twice = next((stem for stem in stems if stems.count(stem) > 1), None)
    if twice is not None:
        raise BadValue(f"two episodes of this data set would both be called '{twice}': rename one of them.")
    return stems


@dataclass(frozen=True)
class OutsideVideos:
    """One video a clip, in the order of the clips; each starts with the given frames, whoever wrote them."""

    paths: Sequence[Path]
    clips: Sequence[Clip]
    context: int
    reader: Reader
    resize: bool = False

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[np.ndarray]:
        """uint8 [T, H, W, 3], of the shape of the clip."""
        return (self.read(index) for index in range(len(self)))

    def read(self, index: int) -> np.ndarray:
        """One video. Raises UserError, naming the file, for one that cannot be read or has another size or length."""
        path, clip = self.paths[index], self.clips[index]
        frames, size = self._decoded(path, len(clip.frames)), clip.frames.shape[1:3]
        if len(frames) not in (len(clip.frames), len(clip.frames) - self.context):
            raise UserError(
                f"{path} has {_many(len(frames), len(clip.frames))} frames: give all {len(clip.frames)}, or the "
                f"{len(clip.frames) - self.context} after the context."
            )
        if frames.shape[1:3] != size:
            if not self.resize:
                raise UserError(
                    f"{path} is {frames.shape[1]} pixels high and {frames.shape[2]} wide, and the truth {size[0]} and "
                    f"{size[1]}: make them equal, or say resize=true."
                )
            frames = fit_to(frames, (int(size[0]), int(size[1])))
        made = frames[len(frames) - (len(clip.frames) - self.context) :]
        return np.concatenate([clip.frames[: self.context], made])

    def _decoded(self, path: Path, most: int) -> np.ndarray:
        if path.suffix.lower() in ARRAYS:
            frames = _array(path)
            if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3:
                raise UserError(f"{path} holds {frames.dtype} {list(frames.shape)}: save uint8 [T, H, W, 3], RGB.")
            return frames
        try:
            return self.reader.read(path, start=0, count=most + 1, stride=1)[0]
        except ReadError as error:
            raise UserError(f"cannot read {path}: {error}; write it again.") from error


def _many(frames: int, most: int) -> str:
    return f"more than {most}" if frames > most else str(frames)


def _array(path: Path) -> np.ndarray:
    """The one array of an .npy or .npz file; nothing is unpickled."""
    try:
        loaded = np.load(path, allow_pickle=False, mmap_mode="r" if path.suffix.lower() == ".npy" else None)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded as archive:
            names = archive.files if len(archive.files) == 1 else [name for name in NAMES if name in archive.files]
            if len(names) != 1:
                raise UserError(
                    f"{path} holds {', '.join(archive.files) or 'nothing'}: call the video's array 'video'."
                )
            return archive[names[0]]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise UserError(f"cannot read {path}: {reason}; save it by numpy.save or numpy.savez.") from error


def find(folder: Path, clips: Sequence[Clip]) -> list[Path]:
    """The file of each clip's video in a folder, as the manifest of `zoo export` calls them.

    Raises UserError for a folder, a video that is missing, twice there, or of no episode.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder: give the one with your videos, videos=FOLDER.")
    stems = file_stems(clips)
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.suffix.lower() in ENDINGS | ARRAYS:
            found.setdefault(path.name[: -len(path.suffix)], []).append(path)
    missing = [stem for stem in stems if stem not in found]
    if missing:
        raise UserError(
            f"{folder} lacks the video '{missing[0]}' (.npy, .npz, .mp4, …), {len(missing)} of {len(stems)} in all: "
            "one video per episode, called as the manifest of `zoo export` says."
        )
    extra = sorted(found.keys() - set(stems))
    if extra:
        raise UserError(f"{found[extra[0]][0]} is the video of no episode of this suite: remove or rename it.")
    twice = next((paths for paths in found.values() if len(paths) > 1), None)
    if twice is not None:
        raise UserError(f"{twice[0]} and {twice[1].name} are both the video of one episode: remove one.")
    return [found[stem][0] for stem in stems]
