"""The composed model of a run, for use from Python: what ``zoo.load(RUN)`` gives."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from zoo import compose, fitting, pairings, registry, task_pairings
from zoo.canvas import Cost
from zoo.errors import BadValue, UnmetNeed
from zoo.fitting import to_uint8
from zoo.latent_form import LatentForm
from zoo.sampling import Engine, Request
from zoo.scene import Places, Scene, opening, places
from zoo.stages.cache import latent_actions
from zoo.store import atomic_file, writing

if TYPE_CHECKING:
    from components.contracts import Layout
    from zoo.recipe import Recipe


@dataclass
class ZooModel:
    """A tokenizer and a generator that belong together, in eval mode on `device`."""

    recipe: Recipe
    tokenizer: Any
    generator: compose.Generator
    device: torch.device
    size: tuple[int, int]
    """(height, width) of the training videos: the default for scenes without context."""

    @property
    def form(self) -> LatentForm:
        """What the generator sees of a latent."""
        return compose.latent_form(self.recipe, self.tokenizer)

    @torch.inference_mode()
    def encode(self, video_thwc: np.ndarray) -> Tensor:
        """uint8 video [T, H, W, 3] to what the generator sees [C, F, H/s, W/s]; T is cut to whole latents.

        A size that the tokenizer does not take is padded where sample.pad allows; see `zoo.fitting`, also for memory.
        """
        whole = self.tokenizer.video_frames(self.tokenizer.latent_frames(len(video_thwc)))
        if not whole:
            return self._blank((video_thwc.shape[1], video_thwc.shape[2]))
        return self._encoded(video_thwc[:whole], self._fit(video_thwc[:whole]), self.form)

    def _fit(self, video_thwc: np.ndarray) -> fitting.Fit:
        frames, height, width = video_thwc.shape[:3]
        return fitting.fit(self.tokenizer, (frames, height, width), pad=self.recipe.sample.pad)

    def _encoded(self, video_thwc: np.ndarray, to: fitting.Fit, form: LatentForm) -> Tensor:
        parts = fitting.encoded(self.tokenizer, [video_thwc], to, self.device)
        return torch.cat([form.of(part)[0] for part in parts], dim=1)

    @torch.inference_mode()
    def decode(self, z_cfhw: Tensor, chunk: int = 64) -> np.ndarray:
        """What the generator makes [C, F, H, W] to uint8 video [T, H', W', 3], in one pass of `chunk` latents."""
        return np.concatenate(list(self._decoded(z_cfhw.split(chunk, dim=1))))

    def _decoded(self, chunks: Iterable[Tensor]) -> Iterator[np.ndarray]:
        """Pieces of latent [C, f, H, W], in order, to pieces of uint8 video [t, H', W', 3]."""
        pieces = (self.form.codes(piece[None].to(self.device)) for piece in chunks)
        return (to_uint8(part[0]) for part in self.tokenizer.decode_stream(pieces))

    @torch.inference_mode()
    def reconstruct(self, video_thwc: np.ndarray) -> np.ndarray:
        """What the tokenizer alone makes of a video [T, H, W, 3]: the ceiling of anything generated through it.

        Any length and size where sample.pad allows, else BadValue for those that the tokenizer does not take.
        """
        to = self._fit(video_thwc)
        z = self._encoded(video_thwc, to, LatentForm(self.tokenizer))[None]
        return np.concatenate(list(fitting.decoded(self.tokenizer, z, to, self.device)))

    def engine(self, recipe: Recipe | None = None) -> Engine:
        """The sampling engine of a recipe, the run's own unless given: solver, guidance, rollout and settings."""
        recipe = recipe or self.recipe
        guidance = compose.build("guidance", recipe.part("guidance"))
        pairings.check_guidance(self.recipe, guidance)
        pairings.check_noise(recipe, trained=self.recipe)
        pairings.check_token_sampling(recipe, trained=self.recipe)
        sample = recipe.sample
        return Engine(
            network=self.generator.network,
            objective=compose.build("objective", recipe.part("objective")),  # whose decoding a recipe may change
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
            show=self._show if compose.predicts_tokens(self.recipe) else lambda z_cfhw: z_cfhw,
        )

    def _show(self, z_cfhw: Tensor) -> Tensor:
        """Tokens to the codes that planners look at: digits that are close need not look alike."""
        return self.form.codes(z_cfhw[None].to(self.device))[0].float().cpu()

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
        return self._sampled(self._opened(scenes, recipe), recipe, done)

    def _sampled(
        self, scenes: Sequence[Scene], recipe: Recipe | None, done: Callable[[int], None] = lambda made: None
    ) -> tuple[list[np.ndarray], Cost]:
        canvases, cost = self.engine(recipe).paint([self.request(scene, recipe) for scene in scenes], done)
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
            scenes = self._opened(scenes, recipe)
            requests = [self.request(scene, recipe) for scene in scenes]
            canvases, cost = self.engine(recipe).paint(requests, done, working)
            paths = [folder / f"{index:04d}.npy" for index in range(len(scenes))]
            for path, scene, canvas in zip(paths, scenes, canvases, strict=True):
                shape = (scene.frames, *self._size(scene), 3)
                write_frames(path, shape, self._finished(scene, canvas.chunks()))
                canvas.close()
            shutil.rmtree(working)
        return paths, cost

    def task(self, scene: Scene) -> Any:
        """What is asked of a scene: its own task, or the one the model was trained for."""
        if scene.task is None:
            return self.generator.task
        options = {"name": scene.task} if isinstance(scene.task, str) else dict(scene.task)
        return registry.build("task", options.pop("name"), options)

    def check(self, scene: Scene, recipe: Recipe | None = None) -> tuple[Layout, Places]:
        """Where the given frames of a scene lie, in video frames and in latents; refuses what cannot be made.

        Raises UnmetNeed for a task that training never showed, BadValue for frames that do not fit, with the cure.
        """
        task = self.task(scene)
        layout = scene.layout(task)
        found = places(self.tokenizer, scene.frames, layout)
        if scene.task is not None:
            name = scene.task if isinstance(scene.task, str) else scene.task["name"]
            task_pairings.check_task(name, task, layout, found, trained=self.recipe, recipe=recipe or self.recipe)
        return layout, found

    def _opened(self, scenes: Sequence[Scene], recipe: Recipe | None) -> list[Scene]:
        """Scenes whose task looks at its own opening, where none is given, with an opening that is made first."""
        step = (recipe or self.recipe).sample.step
        wanting = {i: scene for i, scene in enumerate(scenes) if scene.wants_opening(self.task(scene))}
        opened = list(scenes)
        if wanting:
            made, _ = self._sampled([opening(scene, self.tokenizer, step) for scene in wanting.values()], recipe)
            for i, video in zip(wanting, made, strict=True):
                opened[i] = replace(scenes[i], context=video)
        return opened

    def request(self, scene: Scene, recipe: Recipe | None = None) -> Request:
        """A scene in latent frames: given frames cut to whole latents, encoded alone; poses of the last frames.

        Raises what `check` raises.
        """
        layout, found = self.check(scene, recipe)
        if found.observed:
            assert scene.context is not None
            context = self.encode(scene.context[: layout.first])
        else:
            context = self._blank(self._size(scene))
        covered = scene.frames + layout.copies
        last = np.minimum([self.tokenizer.last_frame(f) for f in range(found.total)], covered - 1)
        return Request(
            episode=scene.episode,
            context=context,
            frames=found.total,
            actions=self._actions(scene, layout, last),
            poses=self._poses(scene, layout, last),
            prompt=scene.prompt,
            closing=self._closing(scene.closing_frames(layout), found) if found.closing else None,
        )

    @torch.inference_mode()
    def _closing(self, given_thwc: np.ndarray, found: Places) -> Tensor:
        """The latents [C, F, H, W] of the last frames, encoded with their lead and without what stands for that."""
        padded = np.concatenate([given_thwc, given_thwc[-1:].repeat(found.padding, axis=0)])
        before = self.tokenizer.video_frames(found.total - found.closing)
        video = padded[len(padded) - (self.tokenizer.video_frames(found.total) - before + found.lead) :]
        return self._encoded(video, self._fit(video), self.form)[:, -found.closing :]

    def _size(self, scene: Scene) -> tuple[int, int]:
        """(height, width) of a scene's frames: those of what is given of it, where anything is."""
        layout = scene.layout(self.task(scene))
        for count, given in ((layout.first, scene.context), (layout.last, scene.last)):
            if count and given is not None:
                return given.shape[1], given.shape[2]
        return scene.size or self.size

    def _blank(self, size: tuple[int, int]) -> Tensor:
        height, width = size
        factor = self.tokenizer.spatial_factor
        if (height % factor or width % factor) and not self.recipe.sample.pad:
            raise BadValue(
                f"size={width}x{height} (width × height) is not a multiple of the tokenizer's factor {factor}: choose "
                "one, or set sample.pad=true, which pads and crops back."
            )
        return torch.zeros(self.form.channels, 0, -(-height // factor), -(-width // factor))

    def _poses(self, scene: Scene, layout: Layout, last: np.ndarray) -> Tensor | None:
        if scene.poses is None:
            if self.recipe.part("pose_encoding").name != "none":
                raise UnmetNeed(
                    "this model was trained with camera poses: give `poses` [frames, 4] for the whole video."
                )
            return None
        poses = np.asarray(scene.poses, dtype=np.float32)[: scene.frames]
        return torch.from_numpy(np.concatenate([poses, poses[: layout.copies]])[last])

    def _actions(self, scene: Scene, layout: Layout, last: np.ndarray) -> Tensor | None:
        if self.generator.sizes.action_dim == 0:
            return None
        if scene.actions is None:
            raise UnmetNeed("this model was trained with actions: give `actions` [frames-1, A] for the whole video.")
        actions = np.asarray(scene.actions)[: scene.frames - 1]
        if layout.copies:  # nobody knows what leads from the end to the beginning
            actions = np.concatenate([actions, np.zeros_like(actions[:1]), actions[: layout.copies - 1]])
        return torch.from_numpy(latent_actions(actions, last))

    def _finished(self, scene: Scene, chunks: Iterable[Tensor]) -> Iterator[np.ndarray]:
        """The decoded video in pieces, cut to the scene's length; given frames as they were given."""
        layout = scene.layout(self.task(scene))
        first, (height, width) = 0, self._size(scene)
        for piece in self._decoded(chunks):
            piece = piece[: max(scene.frames - first, 0), :height, :width]
            if not len(piece):  # copies of the opening, which are looked at alone
                break
            if scene.context is not None and first < layout.first:
                known = scene.context[first : layout.first][: len(piece)]
                piece[: len(known)] = known
            since = scene.frames - layout.last
            if scene.last is not None and first + len(piece) > since:
                known = scene.closing_frames(layout)[max(first - since, 0) :]
                place = max(since - first, 0)
                piece[place:] = known[: len(piece) - place]
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
