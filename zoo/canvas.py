"""Where a rollout puts its frames: one canvas a video, in memory or in a file, and the journal that lets it go on.

Finished frames are never changed again. A file canvas is read and written frame by frame, so that memory does not grow
with the length of the video; the journal is replaced whole after every round, so that a kill costs at most one round.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from components.contracts import Step
from zoo.store import atomic_file

JOURNAL = "journal.npz"
Show = Callable[[Tensor], Tensor]
LOOK = 4
"""Rows and columns that a latent frame is pooled to where a planner asks what it shows."""


class Canvas:
    """The latent frames [C, H, W] of one video: given, finished, in progress (at a noise level) or untouched."""

    def __init__(
        self,
        context_cfhw: Tensor,
        frames: int,
        path: Path | None = None,
        show: Show = lambda z_cfhw: z_cfhw,
        closing_cfhw: Tensor | None = None,
    ) -> None:
        """Start with the given frames.

        Args:
            closing_cfhw: those given at the end of the video, if there are any.
            path: keep finished frames in this file, which is made, or taken up again if its size is right.
            show: frames to what planners look at: latents whose distances mean something, where frames are tokens.
        """
        channels, given, height, width = context_cfhw.shape
        closing = 0 if closing_cfhw is None else closing_cfhw.shape[1]
        self._made = range(given, frames - closing)
        self.frames, self.shape = frames, (channels, height, width)
        self.finished = bytearray(frames)
        self.in_progress: dict[int, tuple[float, Tensor]] = {}
        """Frame → its noise level and what it is at that level."""
        self._memory: Tensor | None = None
        self._file: io.FileIO | None = None
        self._show = show
        self._looks: np.ndarray | None = None
        self._looked = bytearray(frames)
        if path is None:
            self._memory = torch.zeros(frames, *self.shape)
        else:
            size = frames * self._bytes
            self._file = open(path, "r+b" if path.exists() else "w+b", buffering=0)  # noqa: SIM115 closed with the canvas
            if os.fstat(self._file.fileno()).st_size != size:
                self._file.truncate(size)
        for frame, z_chw in enumerate(context_cfhw.float().cpu().unbind(1)):
            self.finish(frame, z_chw)
        if closing_cfhw is not None:
            for frame, z_chw in enumerate(closing_cfhw.float().cpu().unbind(1), start=frames - closing):
                self.finish(frame, z_chw)

    def was_made(self, frame: int) -> bool:
        """Whether the frame is made rather than given."""
        return frame in self._made

    @property
    def _bytes(self) -> int:
        return 4 * int(np.prod(self.shape))

    def level(self, frame: int) -> float:
        """The noise level at which the frame stands: 0 finished, 1 untouched."""
        return 0.0 if self.finished[frame] else self.in_progress.get(frame, (1.0, None))[0]

    def finish(self, frame: int, z_chw: Tensor) -> None:
        """Put a finished frame in its place."""
        z_chw = z_chw.detach().float().cpu().contiguous()
        if self._memory is not None:
            self._memory[frame] = z_chw
        else:
            assert self._file is not None
            os.pwrite(self._file.fileno(), z_chw.numpy().tobytes(), frame * self._bytes)
        self.mark_finished(frame)

    def mark_finished(self, frame: int) -> None:
        """Say that a frame is in its place already (a rollout that goes on)."""
        self.finished[frame] = 1
        self.in_progress.pop(frame, None)

    def hold(self, frame: int, level: float, z_chw: Tensor) -> None:
        """Keep a frame that is on its way from noise to clean."""
        self.in_progress[frame] = level, z_chw.detach().float().cpu()

    def read(self, frames: Sequence[int]) -> Tensor:
        """Finished frames as [C, n, H, W]."""
        if self._memory is not None:
            return self._memory[list(frames)].transpose(0, 1)
        made = torch.empty(self.shape[0], len(frames), *self.shape[1:])
        for slot, frame in enumerate(frames):
            made[:, slot] = self._pread(frame)
        return made

    def _pread(self, frame: int) -> Tensor:
        assert self._file is not None
        raw = bytearray(os.pread(self._file.fileno(), self._bytes, frame * self._bytes))
        return torch.frombuffer(raw, dtype=torch.float32).view(self.shape)

    def chunks(self, size: int = 64) -> Iterator[Tensor]:
        """The whole video in order, as pieces [C, f, H, W] of at most `size` frames."""
        for first in range(0, self.frames, size):
            yield self.read(range(first, min(first + size, self.frames)))

    def looks(self, frames: Sequence[int]) -> np.ndarray:
        """What finished frames show, as float64 [n, D]: latents averaged over a 4 x 4 grid.

        Raises ValueError for a frame that is not finished: a planner must not look at what is still noise.
        """
        early = [frame for frame in frames if not self.finished[frame]]
        if early:
            raise ValueError(f"the rollout asks what frame {early[0]} shows before it is finished")
        new = [frame for frame in frames if not self._looked[frame]]
        shown = self._show(self.read(new)) if new else torch.empty(1, 0, 1, 1)
        if self._looks is None:
            self._looks = np.zeros((self.frames, shown.shape[0] * LOOK * LOOK))
        for frame, z_chw in zip(new, shown.unbind(1), strict=True):
            self._looks[frame] = adaptive_avg_pool2d(z_chw, LOOK).flatten().double().numpy()
            self._looked[frame] = 1
        return self._looks[list(frames)]

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()


@dataclass
class Cost:
    """What a rollout cost, for the record."""

    network_calls: int = 0
    """Forward passes of one video's window, summed over videos (guidance branches and memory passes count)."""
    frames_made: int = 0
    seconds_by_step: list[float] = field(default_factory=list)
    """Wall seconds of each round of plan steps, in order."""
    frames_by_step: list[int] = field(default_factory=list)
    """Frames finished in each round."""


@dataclass
class Journal:
    """How far every video is. `steps` counts the plan steps that were done, a video each."""

    folder: Path | None
    steps: list[int]
    cost: Cost = field(default_factory=Cost)

    @classmethod
    def open(cls, folder: Path | None, canvases: Sequence[Canvas]) -> Journal:
        """The journal of a rollout that was stopped, its half-made frames put back; else an empty one."""
        path = None if folder is None else folder / JOURNAL
        if path is None or not path.is_file():
            return cls(folder, [0] * len(canvases))
        with np.load(path, allow_pickle=False) as kept:
            facts = json.loads(str(kept["facts"]))
            for video, frame, level, array in (
                (*place, kept[name]) for name, place in _places(facts["in_progress"]).items()
            ):
                canvases[video].hold(frame, level, torch.from_numpy(array))
        return cls(folder, facts["steps"], Cost(**facts["cost"]))

    def save(self, canvases: Sequence[Canvas]) -> None:
        """Write it whole or not at all; nothing where the rollout is in memory."""
        if self.folder is None:
            return
        arrays, places = {}, {}
        for video, canvas in enumerate(canvases):
            for frame, (level, z_chw) in canvas.in_progress.items():
                name = f"z{len(arrays)}"
                arrays[name], places[name] = z_chw.numpy(), (video, frame, level)
        facts = {"steps": self.steps, "cost": asdict(self.cost), "in_progress": places}
        with atomic_file(self.folder / JOURNAL) as path, open(path, "wb") as opened:
            np.savez(opened, facts=np.array(json.dumps(facts)), **arrays)

    def replay(self, video: int, canvas: Canvas, plan: Iterator[Step]) -> None:
        """Walk a fresh plan to where this video is; its finished frames are in the canvas already."""
        for _ in range(self.steps[video]):
            step = next(plan)
            levels = step.levels or (0.0,) * len(step.latent)
            for frame, level in zip(step.latent, levels, strict=True):
                if level == 0:
                    canvas.mark_finished(frame)


def _places(written: Mapping[str, Sequence[float]]) -> dict[str, tuple[int, int, float]]:
    return {name: (int(video), int(frame), float(level)) for name, (video, frame, level) in written.items()}
