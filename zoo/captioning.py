"""Stage 0 of a recipe: a captioner, trained where it can be, and what it says of the training set."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from zoo import annotation, compose
from zoo.errors import UnmetNeed
from zoo.progress import say
from zoo.stage_key import CAPTIONER_SOURCE, full, module_of, source_of
from zoo.store import DIGEST_KEY, StageDir, process_rank

if TYPE_CHECKING:
    from pathlib import Path

    from components.contracts import Clip
    from zoo.pipeline import Pipeline
    from zoo.recipe import Recipe

MANIFEST = "captions.csv"
JUDGED = 256
"""Most held-out clips that a captioner is judged by."""


def wanted(recipe: Recipe) -> bool:
    """Whether stage 2 of a recipe learns from what a captioner says."""
    return recipe.train.generator.synthetic_share > 0


def generator_training(recipe: Recipe) -> dict[str, Any]:
    """train.generator as a stage's key has it: synthetic_share=0 names no other run than none at all."""
    training = recipe.train.generator.model_dump(mode="json")
    return training if wanted(recipe) else {k: v for k, v in training.items() if k != "synthetic_share"}


def check(recipe: Recipe) -> None:
    """Refuse, from cards alone, captions that nobody reads. Raises UnmetNeed."""
    share, captioner = recipe.train.generator.synthetic_share, recipe.part("captioner").name
    if share > 0 and recipe.part("text_encoder").name == "none":
        raise UnmetNeed(
            f"train.generator.synthetic_share={share} asks for captions that text_encoder=none does not read: choose "
            "text_encoder=byte_table, or synthetic_share=0."
        )
    if share == 0 and captioner != "oracle":
        raise UnmetNeed(
            f"captioner '{captioner}' has no part in this run, which learns from true captions alone: set "
            "train.generator.synthetic_share=1 (or a share), or leave the captioner out."
        )


@dataclass
class Captioning:
    """The captioner of a pipeline's recipe. Nothing is trained before `captioner` is called."""

    pipeline: Pipeline

    @cached_property
    def key(self) -> dict[str, Any]:
        """Everything that influences the captioner and what it says of the training set."""
        pipeline, part = self.pipeline, self.pipeline.recipe.part("captioner")
        return {
            "dataset": pipeline.dataset.fingerprint(),
            "captioner": full("captioner", part),
            "train": pipeline.recipe.train.captioner.model_dump(mode="json"),
            "trainer": pipeline.hardware_choices,
            DIGEST_KEY: source_of(module_of("captioner", part.name), *CAPTIONER_SOURCE),
        }

    @cached_property
    def folder(self) -> StageDir:
        """Where stage 0 is, or will be."""
        return self.pipeline.find("captioner", self.key)

    @property
    def named(self) -> dict[str, str]:
        """The stage and its folder's name, {} where stage 2 does not stand on it."""
        return {"captioner": self.folder.name} if wanted(self.pipeline.recipe) else {}

    @property
    def folders(self) -> tuple[StageDir, ...]:
        """The stage's folder, () where stage 2 does not stand on it."""
        return (self.folder,) if wanted(self.pipeline.recipe) else ()

    @cached_property
    def captioner(self) -> Any:
        """The captioner, in eval mode and on its device; trains it first if it is not there."""
        import torch

        recipe = self.pipeline.recipe
        torch.manual_seed(recipe.train.captioner.seed)
        captioner = compose.build("captioner", recipe.part("captioner"))
        self.pipeline.see_to("captioner", self.folder, lambda: self._train(captioner))
        if captioner.trainable:
            from zoo.stages.weights import WEIGHTS, read_weights

            read_weights(self.folder.path / WEIGHTS, {"captioner": captioner})
        if isinstance(captioner, torch.nn.Module):
            captioner.eval().requires_grad_(False).to(recipe.trainer.device)
        return captioner

    def _train(self, captioner: Any) -> None:
        from zoo.stages.captioner import CaptionBatches, CaptionerStage
        from zoo.stages.fit import fit

        settings = self.pipeline.recipe.train.captioner
        frames = self.pipeline.frames
        frames.fill()
        batches = CaptionBatches(
            frames,
            frames=getattr(captioner, "frames", 1),
            clips=settings.clips,
            batch=settings.batch,
            steps=settings.steps,
            seed=settings.seed,
        )
        if captioner.trainable:
            captioner.learn_words(batches.captions)
        stage = CaptionerStage(captioner, settings, self.held_out())
        facts = fit(stage, batches, self.folder, self.pipeline.recipe.trainer, settings)
        say(f"captioner: {_in_words(facts.get('accuracy', {}))}")

    def held_out(self) -> list[Clip]:
        """Captioned clips of the test split, whose combinations were never trained."""
        dataset = self.pipeline.dataset
        return [dataset.clip("test", index) for index in range(min(JUDGED, dataset.size("test")))]

    @property
    def weights(self) -> str:
        """A hash of the captioner's weights; empty where it has none."""
        import torch

        from zoo.stages.encode import weights_hash

        return weights_hash(self.captioner) if isinstance(self.captioner, torch.nn.Module) else ""

    def prepare(self) -> None:
        """See that all is there that stage 2 learns from, where it learns from synthetic captions."""
        if wanted(self.pipeline.recipe):
            self.captions()

    def captions(self) -> dict[str, str]:
        """Episode of the training set → what the captioner says of it; trains and annotates first if needed."""
        path = self.folder.path / MANIFEST
        if not (self.folder.done and path.exists()):
            self._annotate(path)
        return {row.path: row.caption for row in annotation.read_manifest(path)}

    def _annotate(self, path: Path) -> None:
        """Rank 0 writes the manifest; the other ranks wait for it."""
        captioner, frames = self.captioner, self.pipeline.frames
        frames.fill()
        while process_rank() != 0 and not path.exists():
            time.sleep(0.5)
        if not path.exists():
            clips = (frames.clip(index) for index in range(len(frames)))
            name = self.pipeline.recipe.part("captioner").name
            rows = list(annotation.describe(captioner, clips, len(frames), name=name, weights=self.weights))
            annotation.write_manifest(path, rows)
            say(f"captioner: wrote {path}")

    def mixed(self, latents: Any, seed: int) -> Any:
        """The latents of the training set with the captions that stage 2 is to learn from, synthetic ones in part."""
        if not wanted(self.pipeline.recipe):
            return latents
        share = self.pipeline.recipe.train.generator.synthetic_share
        return annotation.CaptionedLatents(latents, self.captions(), share, seed)


def _in_words(accuracy: dict[str, Any]) -> str:
    """``of 64 held-out clips all_right 0.91, colour 0.99, …``."""
    shares = {name: value for name, value in accuracy.items() if name != "clips"}
    said = ", ".join(f"{name} {value:.3f}" for name, value in shares.items())
    return f"of {accuracy['clips']} held-out clips {said}" if accuracy else "no held-out clip has a caption"
