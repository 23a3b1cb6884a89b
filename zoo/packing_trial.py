"""A way of packing judged alone, on one batch of mixed sizes: what is filler, what changes, how long a step takes.

The same steps as zoo/evaluation.py with another middle: nothing is trained or generated. How the network is measured
is said in zoo/packed_steps.py.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from benchmarks import harness, packed_figures
from benchmarks import record as records
from benchmarks.contracts import Results, Setting
from components.contracts import Clip
from zoo import compose
from zoo.evaluation import Evaluation
from zoo.progress import Bar
from zoo.rows import packing_row
from zoo.stage_key import full, module_of, source_of
from zoo.store import DIGEST_KEY, StageDir, write_json

if TYPE_CHECKING:
    from zoo.mixed_batch import MixedBatch

AXES = ("packing", "position", "pose_encoding", "attention", "conditioning", "text_encoder", "backbone", "tokenizer")
"""What the network is made of; of the tokenizer its factors and channels alone."""
ROUNDS = 7
"""Timed ones, after one that is not."""


class PackingTrial(Evaluation):
    """One recipe's packing judged by a suite that judges packings."""

    main_axis: ClassVar[str] = "packing"

    @cached_property
    def clips(self) -> list[Clip]:
        """The suite's episodes, cut to lengths of 1 to suite.frames frames."""
        from zoo.mixed_batch import lengths

        whole = harness.episodes(self.suite, self.dataset)
        each = zip(whole, lengths(len(whole), self.suite.frames, self.suite.seed), strict=True)
        return [replace(clip, frames=clip.frames[:n], times=clip.times[:n]) for clip, n in each]

    def check(self) -> None:
        """Build the network and pack the batch once, so that what cannot be packed is refused at once."""
        from zoo.packed_steps import Steps

        if self._known(self.evaluation_dir) is None:
            Steps(self._network(), self.batch).forward()

    def train(self) -> None:
        """Nothing is trained."""

    def controls(self) -> list[Path]:
        """None: padding stands beside every row, in its own run."""
        return []

    def _shown_videos(self) -> list[np.ndarray]:
        return []

    # --------------------------------------------------------------------------------------------- network and batch

    @cached_property
    def batch(self) -> MixedBatch:
        """The suite's clips as one batch."""
        import torch

        from zoo.mixed_batch import mixed_batch

        tokenizer = compose.build_tokenizer(self.recipe.part("tokenizer"))
        torch.manual_seed(self.pipeline.seed)
        encoder = compose.build("text_encoder", self.recipe.part("text_encoder"))
        channels = compose.sizes(self.recipe, tokenizer, 0).channels
        return mixed_batch(self.clips, tokenizer, channels, encoder, self.suite.seed).to(self.recipe.trainer.device)

    def _network(self, packing: str | None = None) -> Any:
        """The recipe's network with random weights, the same whatever packs its rows."""
        import torch

        from zoo.recipe import Part

        recipe = self.recipe
        if packing is not None:
            recipe = recipe.model_copy(update={"parts": {**recipe.parts, "packing": Part(name=packing)}})
        torch.manual_seed(self.pipeline.seed)
        tokenizer = compose.build_tokenizer(recipe.part("tokenizer"))
        encoder = compose.build("text_encoder", recipe.part("text_encoder"))
        torch.manual_seed(self.pipeline.seed)
        network = compose.build_network(recipe, compose.sizes(recipe, tokenizer, 0), encoder.width)
        for parameter in network.parameters():  # gates that begin at zero would make every answer the same
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.05)
        return network.to(self.recipe.trainer.device)

    # ------------------------------------------------------------------------------------------------------ measuring

    @cached_property
    def sample_key(self) -> dict[str, Any]:
        """Everything that influences what is measured."""
        parts = {axis: full(axis, self.recipe.part(axis)) for axis in AXES}
        modules = [module_of(axis, part["name"]) for axis, part in parts.items()]
        return {
            "parts": parts,
            "seed": self.pipeline.seed,
            "latent": self.recipe.train.generator.latent,
            "accelerator": self.recipe.trainer.accelerator,
            "test": [self.dataset_reference.fingerprint, self.suite.split, self.suite.episodes, self.suite.frames],
            "suite_seed": self.suite.seed,
            DIGEST_KEY: source_of(
                *modules, "zoo.packing_trial", "zoo.packed_steps", "zoo.turns", "zoo.mixed_batch", "zoo.compose"
            ),
        }

    @cached_property
    def sample_dir(self) -> StageDir:
        """Where the figures are, or will be."""
        return self.pipeline.store.stage_dir("packing", self.sample_key)

    def _generate(self) -> None:
        began = perf_counter()
        write_json(self.sample_dir.path / "recipe.json", self.recipe.to_dict())
        measured = self._measure()
        self.sample_dir.mark("done", parents={}, seconds=perf_counter() - began, measured=asdict(measured))
        self.seconds["packing"] = perf_counter() - began

    def _measure(self) -> packed_figures.Measured:
        from zoo.packed_steps import MATRIX, Steps, differences, matrix_product, packed_rows, useful_flops
        from zoo.turns import in_turns

        own = self._network()
        names = [clip.episode for clip in self.clips]
        with Bar(f"packing with {self.label}", len(names) + ROUNDS + 1) as bar:
            forward, gradient = differences(own, self.batch, bar.advance)
            rows = packed_rows(own, self.batch)
            flops = useful_flops(own, self.batch)
            padded = own if self.recipe.part("packing").name == "padding" else self._network(packing="padding")
            calls = [
                Steps(own, self._training_batch(own)).step,
                Steps(padded, self.batch).step,
                matrix_product(self.recipe.trainer.device),
            ]
            seconds = in_turns(calls if padded is not own else [calls[0], calls[2]], ROUNDS, done=bar.advance)
        return packed_figures.Measured(
            forward=dict(zip(names, forward, strict=True)),
            gradient=gradient,
            rows=rows,
            step_seconds=seconds[0],
            padded_seconds=seconds[-2],
            matrix_seconds=seconds[-1],
            matrix_flops=2.0 * MATRIX**3,
            step_flops=3 * flops,
            parameters=sum(parameter.numel() for parameter in own.parameters()),
        )

    def _training_batch(self, network: Any) -> MixedBatch:
        """The batch as a training step sees it: where the packing drops columns, without them."""
        import torch

        from zoo.stages.row_filling import kept_columns

        shapes = [(z.shape[1], z.shape[2], z.shape[3]) for z in self.batch.zs]
        packing, grain = getattr(network, "packing", None), getattr(network, "grain", (1, 1, 1))
        kept = [] if packing is None else kept_columns(shapes, packing, grain)
        if not kept:
            return self.batch
        rng = np.random.default_rng(self.suite.seed)
        drawn = [torch.from_numpy(rng.permutation(h * w).reshape(h, w) < n) for (h, w), n in kept]
        columns = tuple(one.to(self.recipe.trainer.device) for one in drawn)
        return replace(self.batch, window=replace(self.batch.window, columns=columns))

    # --------------------------------------------------------------------------------------------------------- record

    def _score(self) -> Results:
        self._see_to_videos()
        self.seconds.setdefault("packing", 0.0)
        setting = Setting(self.suite.protocol, self.judged_on, self.suite.seed, self.suite.resamples)
        return packed_figures.results(self.measured, setting, [clip.frames.shape[:3] for clip in self.clips])

    def record(self, results: Results) -> records.Record:
        """What the row says; no videos lie beside it."""
        measured = self.measured
        cost = records.Cost(
            wall_seconds={**self.seconds},
            parameters={"generator": measured.parameters},
            flops={"training_step": measured.step_flops},
        )
        return packing_row(self, results, cost)

    @property
    def measured(self) -> packed_figures.Measured:
        """What the trial's folder keeps."""
        return packed_figures.Measured(**self.sample_dir.facts()["measured"])
