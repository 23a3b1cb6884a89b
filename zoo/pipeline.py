"""One recipe from data to trained model: which stage is needed, what names it, and what it finds done already.

    data set ─ frames on disk ─▶ tokenizer (stage 1) ─ latents on disk ─▶ generator (stage 2) ─▶ ZooModel
                             └─▶ captioner (stage 0, zoo/captioning.py) ─ captions ──┘

Every stage lives in a folder named by the hash of what influences it (zoo/store.py), so a second run trains nothing,
and sweep points that differ only in sampling share one generator.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal

from zoo import captioning, compose
from zoo.compiled import compile_regions
from zoo.progress import say
from zoo.runs import stage_of, start_from
from zoo.stage_key import STAGE_1_SOURCE, STAGE_2_SOURCE, full, module_of, source_of
from zoo.store import DIGEST_KEY, StageDir, Store, write_json

if TYPE_CHECKING:
    from zoo.model import ZooModel
    from zoo.recipe import Recipe

Reuse = Literal["fresh", "stale"]


@dataclass
class Pipeline:
    """The stages of one recipe. Attributes are made when first asked for; nothing trains before `model` is called."""

    recipe: Recipe
    store: Store
    reuse: Reuse = "fresh"
    seconds: dict[str, float] = field(default_factory=dict)
    """Wall seconds this process spent in each stage; 0 where it was found done."""
    trained_seconds: dict[str, float] = field(default_factory=dict)
    """What each stage took when it was trained."""
    stale: list[str] = field(default_factory=list)
    """Stages reused although their source has changed."""
    _model: ZooModel | None = None
    _said: set[str] = field(default_factory=set)

    # ------------------------------------------------------------------------------------------------- names

    @cached_property
    def dataset(self) -> Any:
        """The training data set."""
        return compose.build_dataset(self.recipe.part("dataset"), self.recipe.part("reader"))

    @property
    def reader_version(self) -> str:
        """Name and version of the reader, since readers may choose different frames; empty for procedural data."""
        opens_files = compose.opens_files(self.recipe.part("dataset"))
        return compose.build("reader", self.recipe.part("reader")).version if opens_files else ""

    @property
    def hardware_choices(self) -> dict[str, Any]:
        """What of `trainer` can change a result; how often it logs or saves cannot."""
        trainer = self.recipe.trainer
        names = ("devices", "strategy", "precision", "compile")
        return {name: getattr(trainer, name) for name in names}

    @cached_property
    def tokenizer_key(self) -> dict[str, Any]:
        """Everything that influences stage 1."""
        recipe = self.recipe
        inner = compose.quantizer_part(recipe.part("tokenizer"))
        quantizer = [] if inner is None else [module_of("quantizer", inner.name)]
        modules = [module_of("tokenizer", recipe.part("tokenizer").name), *quantizer, *STAGE_1_SOURCE]
        return {
            "dataset": self.dataset.fingerprint(),
            "tokenizer": full("tokenizer", recipe.part("tokenizer")),
            "train": recipe.train.tokenizer.model_dump(mode="json"),
            "init_from": recipe.train.init_from,
            "trainer": self.hardware_choices,
            DIGEST_KEY: source_of(*modules),
        }

    @cached_property
    def tokenizer_dir(self) -> StageDir:
        """Where stage 1 is, or will be."""
        return self.find("tokenizer", self.tokenizer_key)

    @cached_property
    def captioning(self) -> captioning.Captioning:
        """Stage 0: asked for only where stage 2 learns from synthetic captions."""
        return captioning.Captioning(self)

    @cached_property
    def generator_key(self) -> dict[str, Any]:
        """Everything that influences stage 2: every axis but the sampling ones, and the tokenizer it stands on."""
        recipe = self.recipe
        parts = {axis: full(axis, recipe.part(axis)) for axis in compose.GENERATOR_AXES}
        for option in compose.decoding_options(recipe):
            del parts["objective"][option]  # enters the key of what is sampled
        modules = [module_of(axis, part["name"]) for axis, part in parts.items()]
        return {
            "tokenizer": self.tokenizer_dir.name,
            **self.captioning.named,
            "parts": parts,
            "train": captioning.generator_training(recipe),
            "init_from": recipe.train.init_from,
            "trainer": self.hardware_choices,
            DIGEST_KEY: source_of(*modules, *STAGE_2_SOURCE),
        }

    @cached_property
    def generator_dir(self) -> StageDir:
        """Where stage 2 is, or will be."""
        return self.find("generator", self.generator_key)

    @property
    def seed(self) -> int:
        """The generator's training seed, which is the recipe's unless it has its own."""
        return int(self.recipe.train.generator.seed or 0)

    def find(self, stage: str, key: dict[str, Any]) -> StageDir:
        folder = self.store.stage_dir(stage, key)
        if folder.done or self.reuse != "stale":
            return folder
        old = self.store.find_stale(stage, key)
        if old is None:
            return folder
        self.stale.append(stage)
        say(f"{stage}: reusing {old.path}, which older source code made (reuse=stale)")
        return old

    # ------------------------------------------------------------------------------------------------- stages

    @cached_property
    def frames(self) -> Any:
        """The training episodes, decoded once."""
        from zoo.stages.cache import FrameCache

        return FrameCache(self.dataset, "train", self.store.root / "data")

    def tokenizer(self) -> Any:
        """The trained tokenizer, in eval mode; trains it first if it is not there."""
        import torch

        torch.manual_seed(self.recipe.train.tokenizer.seed)
        tokenizer = compose.build_tokenizer(self.recipe.part("tokenizer"))
        self._stage("tokenizer", self.tokenizer_dir, lambda: self._train_tokenizer(tokenizer), tokenizer)
        return tokenizer.eval().requires_grad_(False)

    def _train_tokenizer(self, tokenizer: Any) -> None:
        from zoo.stages.data import TokenizerBatches
        from zoo.stages.fit import fit
        from zoo.stages.tokenizer import TokenizerStage

        settings = self.recipe.train.tokenizer
        self.frames.fill()
        start_from(self.store, self.recipe.train.init_from, "tokenizer", tokenizer)
        batches = TokenizerBatches(
            self.frames,
            frames=tokenizer.video_frames(compose.training_latents(self.recipe, tokenizer)),
            batch=settings.batch,
            steps=settings.steps,
            seed=settings.seed,
            images=settings.images,
            multiple=tokenizer.spatial_factor,
        )
        stage = TokenizerStage(tokenizer, settings)
        fit(stage, batches, self.tokenizer_dir, self.recipe.trainer, settings)

    def latents(self, tokenizer: Any) -> Any:
        """The training episodes through the frozen tokenizer, encoded once."""
        from zoo.stages.cache import LatentCache

        began = perf_counter()
        self.frames.fill()
        form = compose.latent_form(self.recipe, tokenizer).name
        cache = LatentCache(self.frames, tokenizer, self.tokenizer_dir.path / "latents", form=form)
        tokenizer.to(self.recipe.trainer.device)
        cache.fill()
        tokenizer.cpu()  # training has the GPU to itself, and its workers never see what lies there
        self.seconds["latents"] = perf_counter() - began
        return cache

    def generator(self, tokenizer: Any) -> compose.Generator:
        """The trained generator, in eval mode; trains it first if it is not there."""
        import torch

        torch.manual_seed(self.seed)
        sizes = compose.sizes(self.recipe, tokenizer, self.dataset.action_dim)
        generator = compose.build_generator(self.recipe, sizes)
        task = lambda: self._train_generator(generator, tokenizer)  # noqa: E731
        if not self.generator_dir.done:
            self.captioning.prepare()
        self._stage("generator", self.generator_dir, task, generator)
        for part in (generator.network, generator.text_encoder):
            part.eval().requires_grad_(False)
        return generator

    def _train_generator(self, generator: compose.Generator, tokenizer: Any) -> None:
        from zoo.stages.data import GeneratorBatches
        from zoo.stages.fit import fit
        from zoo.stages.generator import GeneratorStage

        settings = self.recipe.train.generator
        latents = self.captioning.mixed(self.latents(tokenizer), self.seed)
        start_from(self.store, self.recipe.train.init_from, "generator", generator)
        batches = GeneratorBatches(
            latents,
            generator.task,
            window=settings.window,
            masks=settings.masks,
            batch=settings.batch,
            steps=settings.steps,
            seed=self.seed,
            actions=settings.actions,
            packing=compose.build("packing", self.recipe.part("packing")),
            grain=generator.network.grain,
        )
        stage = GeneratorStage(
            generator.network, generator.objective, generator.noise, generator.text_encoder, settings, seed=self.seed
        )
        size = [int(side) * tokenizer.spatial_factor for side in latents.episode(0).z.shape[2:]]
        self.generator_dir.mark(self.generator_dir.state, size=size)
        fit(stage, batches, self.generator_dir, self.recipe.trainer, settings)

    def _stage(self, name: str, folder: StageDir, train: Any, part: Any) -> None:
        """Train unless done, then load the weights."""
        from zoo.stages.weights import load_weights

        self.see_to(name, folder, train)
        load_weights(folder, part)

    def see_to(self, name: str, folder: StageDir, train: Any) -> None:
        """Train unless done; keeps the clock and says what it did."""
        began = perf_counter()
        if folder.done:
            self._say_done(folder)
        else:
            folder.mark(folder.state, parents=self._parents(name))
            write_json(folder.path / "recipe.json", self.recipe.to_dict())
            say(f"{name}: training in {folder.path}")
            train()
        self.seconds[name] = perf_counter() - began
        self.trained_seconds[name] = float(folder.facts().get("seconds", 0.0))

    def _parents(self, stage: str) -> dict[str, str]:
        return {"tokenizer": self.tokenizer_dir.name, **self.captioning.named} if stage == "generator" else {}

    def train(self) -> None:
        """See that every stage is done; loads nothing where all are."""
        if not (self.tokenizer_dir.done and self.generator_dir.done):
            self.model()
            return
        for folder in (self.tokenizer_dir, self.generator_dir):
            self.seconds.setdefault(folder.stage, 0.0)
            self._say_done(folder)

    def _say_done(self, folder: StageDir) -> None:
        """Once a stage."""
        if folder.stage not in self._said:
            self._said.add(folder.stage)
            say(f"{folder.stage}: done before, in {folder.path}")

    def model(self) -> ZooModel:
        """The whole model, trained where needed and in eval mode; made once."""
        if self._model is None:
            self._model = self._compose()
        return self._model

    def _compose(self) -> ZooModel:
        import torch

        from zoo.model import ZooModel

        tokenizer = self.tokenizer()
        generator = self.generator(tokenizer)
        device = torch.device(self.recipe.trainer.device)
        for part in (tokenizer, generator.network, generator.text_encoder):
            part.to(device)
        compile_regions(generator.network, self.recipe.trainer.compile)
        height, width = self.generator_dir.facts().get("size", (0, 0))
        return ZooModel(self.recipe, tokenizer, generator, device, (height, width))

    def restore(self, generator_dir: StageDir) -> ZooModel:
        """The model of a finished generator folder, whatever source made it; trains nothing."""
        self.generator_dir = generator_dir
        self.tokenizer_dir = stage_of(self.store, generator_dir.path, "tokenizer")
        return self.model()
