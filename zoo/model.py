"""The composed model of a run, for use from Python: what ``zoo.load(RUN)`` gives."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from zoo import compose, pairings
from zoo.canvas import Cost
from zoo.errors import BadValue, UnmetNeed
from zoo.sampling import Engine, Request
from zoo.stages.cache import latent_actions
from zoo.stages.data import to_video
from zoo.store import atomic_file, writing

if TYPE_CHECKING:
    from components.contracts import Clip
    from zoo.recipe import Recipe


@dataclass(frozen=True)
class Scene:
    """What a video is made from: given frames, and what is known of the frames to come.

    `frames` counts video frames, given ones included. `actions` [frames-1, A] and `poses` [frames, 4] cover the whole
    video; either may be None where the model was not trained with them.
    """

    frames: int
    context: np.ndarray | None = None
    """uint8 [T, H, W, 3], T ≥ 0."""
    actions: np.ndarray | None = None
    poses: np.ndarray | None = None
    prompt: str = ""
    size: tuple[int, int] | None = None
    """(height, width) in pixels, where no context says it."""
    episode: str = "0"
    """Keys the noise: the same (seed, episode, frame) draws the same noise in any batch."""

    @classmethod
    def of(cls, clip: Clip, context: int) -> Scene:
        """What the model is told of a clip: its first frames, and the actions, poses and caption of all of it."""
        return cls(
            frames=len(clip.frames),
            context=clip.frames[:context],
            actions=clip.actions,
            poses=clip.poses,
            prompt=clip.caption or "",
            size=(clip.frames.shape[1], clip.frames.shape[2]),
            episode=clip.episode,
        )


@dataclass
class ZooModel:
    """A tokenizer and a generator that belong together, in eval mode on `device`."""

    recipe: Recipe
    tokenizer: Any
    generator: compose.Generator
    device: torch.device
    size: tuple[int, int]
    """(height, width) of the training videos: the default for scenes without context."""

    @torch.inference_mode()
    def encode(self, video_thwc: np.ndarray) -> Tensor:
        """uint8 video [T, H, W, 3] to its normalised latent [C, F, H/s, W/s]; T is cut to whole latents."""
        whole = self.tokenizer.video_frames(self.tokenizer.latent_frames(len(video_thwc)))
        pixels = to_video(np.ascontiguousarray(video_thwc[None, :whole])).to(self.device)
        return self.tokenizer.encode(pixels).z[0]

    @torch.inference_mode()
    def decode(self, z_cfhw: Tensor, chunk: int = 64) -> np.ndarray:
        """Latent [C, F, H, W] to uint8 video [T, H', W', 3], in one ordered streaming pass of `chunk` latents."""
        return np.concatenate(list(self._decoded(z_cfhw.split(chunk, dim=1))))

    def _decoded(self, chunks: Iterable[Tensor]) -> Iterator[np.ndarray]:
        """Pieces of latent [C, f, H, W], in order, to pieces of uint8 video [t, H', W', 3]."""
        pieces = (piece[None].to(self.device) for piece in chunks)
        return (to_uint8(part[0]) for part in self.tokenizer.decode_stream(pieces))

    def reconstruct(self, video_thwc: np.ndarray) -> np.ndarray:
        """What the tokenizer alone makes of a video [T, H, W, 3]: the ceiling of anything generated through it."""
        decoded = self.decode(self.encode(video_thwc))
        short = len(video_thwc) - len(decoded)
        return np.concatenate([decoded, np.repeat(decoded[-1:], short, axis=0)]) if short > 0 else decoded

    def engine(self, recipe: Recipe | None = None) -> Engine:
        """The sampling engine of a recipe, the run's own unless given: solver, guidance, rollout and settings."""
        recipe = recipe or self.recipe
        guidance = compose.build("guidance", recipe.part("guidance"))
        pairings.check_guidance(self.recipe, guidance)
        pairings.check_noise(recipe, trained=self.recipe)
        sample = recipe.sample
        return Engine(
            network=self.generator.network,
            objective=self.generator.objective,
            solver=compose.build("solver", recipe.part("solver")),
            guidance=guidance,
            rollout=compose.build("rollout", recipe.part("rollout")),
            text_encoder=self.generator.text_encoder,
            window=sample.window,
            step=sample.step,
            seed=sample.seed,
            stabilisation=sample.stabilisation,
            cache=sample.cache,
            batch=sample.batch,
        )

    def sample(self, scenes: Scene | Sequence[Scene], *, recipe: Recipe | None = None) -> list[np.ndarray]:
        """Videos uint8 [frames, H, W, 3] of the scenes; given frames come back as they are."""
        videos, _ = self.sample_with_cost([scenes] if isinstance(scenes, Scene) else scenes, recipe=recipe)
        return videos

    def sample_with_cost(
        self,
        scenes: Sequence[Scene],
        *,
        recipe: Recipe | None = None,
        done: Callable[[int], None] = lambda made: None,
    ) -> tuple[list[np.ndarray], Cost]:
        """As `sample`, with what it cost; `done(n)` is told of every n latent frames made."""
        canvases, cost = self.engine(recipe).paint([self.request(scene) for scene in scenes], done)
        made = zip(scenes, canvases, strict=True)
        return [np.concatenate(list(self._finished(scene, canvas.chunks()))) for scene, canvas in made], cost

    @torch.inference_mode()
    def sample_to(
        self,
        folder: Path,
        scenes: Sequence[Scene],
        *,
        recipe: Recipe | None = None,
        done: Callable[[int], None] = lambda made: None,
    ) -> tuple[list[Path], Cost]:
        """As `sample_with_cost`, into files ``0000.npy`` … in `folder`: memory does not grow with the length.

        A call that was stopped goes on at the plan step it had reached, if the scenes and settings are the same: give
        them a folder of their own. What it needed to go on is removed at the end.
        """
        working = folder / "rollout"
        with writing(folder):
            working.mkdir(parents=True, exist_ok=True)
            canvases, cost = self.engine(recipe).paint([self.request(scene) for scene in scenes], done, working)
            paths = [folder / f"{index:04d}.npy" for index in range(len(scenes))]
            for path, scene, canvas in zip(paths, scenes, canvases, strict=True):
                height, width = (side * self.tokenizer.spatial_factor for side in canvas.shape[1:])
                write_frames(path, (scene.frames, height, width, 3), self._finished(scene, canvas.chunks()))
                canvas.close()
            shutil.rmtree(working)
        return paths, cost

    def request(self, scene: Scene) -> Request:
        """A scene in latent frames: context cut to whole latents and encoded alone, poses of their last frames."""
        tokenizer = self.tokenizer
        given = self.generator.task.context(0 if scene.context is None else len(scene.context))
        total = latents_for(tokenizer, scene.frames)
        whole = tokenizer.latent_frames(given) if given else 0
        if whole:
            assert scene.context is not None
            context = self.encode(scene.context[:given])
        else:
            context = self._blank(scene.size)
        last = np.minimum([tokenizer.last_frame(f) for f in range(total)], scene.frames - 1)
        return Request(
            episode=scene.episode,
            context=context,
            frames=max(total, whole),
            actions=self._actions(scene, last),
            poses=self._poses(scene, last),
            prompt=scene.prompt,
        )

    def _blank(self, size: tuple[int, int] | None) -> Tensor:
        height, width = size or self.size
        factor = self.tokenizer.spatial_factor
        if height % factor or width % factor:
            raise BadValue(f"size={height}x{width} is not a multiple of the tokenizer's factor {factor}: choose one.")
        return torch.zeros(self.tokenizer.channels, 0, height // factor, width // factor)

    def _poses(self, scene: Scene, last: np.ndarray) -> Tensor | None:
        if scene.poses is None:
            if self.recipe.part("pose_encoding").name != "none":
                raise UnmetNeed(
                    "this model was trained with camera poses: give `poses` [frames, 4] for the whole video."
                )
            return None
        return torch.from_numpy(np.asarray(scene.poses, dtype=np.float32)[last])

    def _actions(self, scene: Scene, last: np.ndarray) -> Tensor | None:
        if self.generator.sizes.action_dim == 0:
            return None
        if scene.actions is None:
            raise UnmetNeed("this model was trained with actions: give `actions` [frames-1, A] for the whole video.")
        return torch.from_numpy(latent_actions(scene.actions, last))

    def _finished(self, scene: Scene, chunks: Iterable[Tensor]) -> Iterator[np.ndarray]:
        """The decoded video in pieces, cut to the scene's length; given frames as they were given."""
        given = 0 if scene.context is None else self.generator.task.context(len(scene.context))
        first = 0
        for piece in self._decoded(chunks):
            piece = piece[: scene.frames - first]
            if scene.context is not None and first < given:
                known = scene.context[first:given][: len(piece)]
                piece[: len(known)] = known
            first += len(piece)
            yield piece

    def dataset(self) -> Any:
        """The data set the model was trained on."""
        return compose.build_dataset(self.recipe.part("dataset"), self.recipe.part("reader"))


def write_frames(path: Path, shape: tuple[int, int, int, int], pieces: Iterable[np.ndarray]) -> None:
    """A .npy of uint8 [T, H, W, 3] from its pieces in order; the file appears whole or not at all."""
    with atomic_file(path) as temporary, open(temporary, "wb") as opened:
        np.lib.format.write_array_header_1_0(opened, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for piece in pieces:
            opened.write(np.ascontiguousarray(piece).tobytes())


def latents_for(tokenizer: Any, frames: int) -> int:
    """The fewest latent frames that decode to at least `frames` video frames: the video is padded, then cropped."""
    latents = max(tokenizer.latent_frames(frames), 1)
    while tokenizer.video_frames(latents) < frames:
        latents += 1
    return latents


def to_uint8(video_cthw: Tensor) -> np.ndarray:
    """Float [3, T, H, W] in [-1, 1] to uint8 [T, H, W, 3]."""
    levels = ((video_cthw.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return rearrange(levels, "c t h w -> t h w c").cpu().numpy()
