"""``zoo export suite=long500 [suite.world=… suite.context=…] [dataset=NAME dataset.OPTION=…] DIR``

What a model of any make needs to take part in a suite: per episode the given frames (``frames`` in an .npz, exact, and
an .mp4 to look at), actions and poses of all frames; never a true frame after the context. manifest.json names the
protocol, every file and its sha256, and how the answer is to be called. Score the answer by ``zoo evaluate``.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo import suite_data
from zoo.errors import BadValue, UserError

if TYPE_CHECKING:
    from components.contracts import Clip

MANIFEST = "manifest.json"
FORMAT = "spacetime-zoo export 1"
ANSWER = (
    "Make the frames after the context and save one file per episode in one folder, called as 'video' says, with the "
    "ending .npy or .npz (uint8 [T, H, W, 3], RGB; best) or .mp4 or .avi: all frames, or those after the context. "
    "actions[t] leads from frame t to t + 1; poses are (x, y, z, yaw) in cells and radians."
)


def main(arguments: list[str]) -> int:
    """Run the command; returns the exit code."""
    places = [argument for argument in arguments if "=" not in argument]
    if len(places) != 1:
        raise BadValue("export takes one folder to write to: zoo export suite=long500 DIR.")
    shared, _ = suite_data.arguments([argument for argument in arguments if "=" in argument], ())
    suite, _, _ = suite_data.named(shared)
    folder = Path(places[0])
    _check_free(folder)
    data = suite_data.read(shared)

    from zoo.progress import say
    from zoo.store import write_json, writing

    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / MANIFEST, manifest(data, folder))
    say(f"{len(data.clips)} episodes of {suite.protocol} in {folder}: {MANIFEST} says how to answer")
    return 0


def _check_free(folder: Path) -> None:
    """An empty folder, or one that an export wrote before."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file: give a folder to write to.")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MANIFEST).is_file():
        raise UserError(f"{folder} holds other things already: give an empty or a new folder.")


def manifest(data: suite_data.SuiteData, folder: Path) -> dict[str, Any]:
    """Write the episodes below `folder` and say what was written."""
    from benchmarks.outside_videos import file_stems

    suite = data.suite
    episodes = [
        _episode(clip, stem, suite.context, folder)
        for clip, stem in zip(data.clips, file_stems(data.clips), strict=True)
    ]
    return {
        "format": FORMAT,
        "protocol": suite.protocol,
        "suite": suite.reference().model_dump(mode="json"),
        "dataset": {"name": data.reference.name, "fingerprint": data.reference.fingerprint},
        "answer": ANSWER,
        "context": suite.context,
        "episodes": episodes,
    }


def _episode(clip: Clip, stem: str, context: int, folder: Path) -> dict[str, Any]:
    import numpy as np

    from components.video_file import write_mp4
    from zoo.store import atomic_file

    given = np.ascontiguousarray(clip.frames[:context])
    arrays = {"frames": given, "times": clip.times, "actions": clip.actions, "poses": clip.poses}
    path = folder / "episodes" / f"{stem}.npz"
    with atomic_file(path) as partial, open(partial, "wb") as opened:
        np.savez_compressed(opened, **{name: array for name, array in arrays.items() if array is not None})  # type: ignore[arg-type]
    files = [path]
    if context:
        files.append(write_mp4(path.with_suffix(".mp4"), given, clip.fps))
    frames, height, width, _ = clip.frames.shape
    return {
        "episode": clip.episode,
        "video": stem,
        "frames": frames,
        "height": height,
        "width": width,
        "fps": clip.fps,
        "caption": clip.caption,
        "files": {file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files},
    }
