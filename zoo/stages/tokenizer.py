"""Stage 1: trains a tokenizer, and where it has one its discriminator, then fits its latent statistics."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor, nn

from components.adversarial import LeCam, adaptive_weight, discriminator_hinge, generator_hinge, pulled, r1
from components.contracts import Autoencoded
from components.perceptual import PerceptualDistance, drawn_frames, gathered
from components.video_tokenizer import summed
from zoo.errors import BadValue, UnmetNeed
from zoo.progress import say
from zoo.stages.callbacks import Reconstructions, sharded
from zoo.stages.code_use import CodeUse
from zoo.stages.data import TokenizerBatch, TokenizerBatches
from zoo.stages.optimiser import adamw, as_settings
from zoo.stages.outside import Outside

CRITIC_BETAS = (0.5, 0.9)
"""Of the discriminator's AdamW (Esser et al. 2021): gradients of an opponent that moves are soon out of date."""


class TokenizerStage(LightningModule):
    """Minimises the tokenizer's own terms + w_p · perceptual + λ · w_a · hinge; a discriminator learns beside it.

    The discriminator has no say and does not learn before `adversarial_start` of the training; from then on both move
    at every step, by the same reconstruction. Only the tokenizer's optimiser is counted as a step. A tokenizer without
    weights only gets its statistics.
    """

    STATISTICS_CLIPS = 256
    """Pieces of video, drawn after those of training, from which latent statistics and code use are measured."""
    COLLAPSED = 0.05
    """A codebook of which a smaller share is used is warned about."""

    def __init__(self, tokenizer: Any, settings: Any) -> None:
        """`settings`: train.tokenizer, as an object or a mapping.

        Raises BadValue where single frames are asked of a tokenizer that takes none, UnmetNeed where the weights of
        the perceptual network are missing.
        """
        super().__init__()
        self.tokenizer = tokenizer
        self.settings = as_settings(settings)
        self.options: Any = getattr(tokenizer, "critic", None)
        self.seed = int(getattr(self.settings, "seed", 0))
        self._check_images()
        self._perceptual = Outside(self._perceptual_distance())
        self.discriminator: Any = None
        self.lecam: Any = None
        if getattr(tokenizer, "needs_discriminator", False) and self.trainable:
            self._add_discriminator()

    def _perceptual_distance(self) -> PerceptualDistance | None:
        if self.options is None or self.options.perceptual == 0 or not self.trainable:
            return None
        return PerceptualDistance(self.options.perceptual_network, self.options.perceptual_size)

    def _add_discriminator(self) -> None:
        self.automatic_optimization = False
        with torch.random.fork_rng(devices=[]):  # so that it does not change what is drawn after it
            torch.manual_seed(self.seed)
            self.discriminator = self.tokenizer.discriminator()
        self.lecam = LeCam() if self.options.regulariser == "lecam" else None

    def _check_images(self) -> None:
        if getattr(self.settings, "images", 0.0) > 0 and self.tokenizer.video_frames(1) != 1:
            raise BadValue(
                f"train.tokenizer.images={self.settings.images} asks for single frames, and this tokenizer's first "
                f"latent frame covers {self.tokenizer.video_frames(1)}: set images=0, or choose a tokenizer whose "
                "first frame is an image."
            )

    @property
    def trainable(self) -> bool:
        """False where there is nothing to train."""
        has_weights = any(p.requires_grad for p in self.tokenizer.parameters())
        return has_weights and bool(getattr(self.tokenizer, "trainable", True))

    @property
    def adversarial_start(self) -> int:
        """The step at which the discriminator begins; 0 is the first."""
        return round(self.options.adversarial_start * int(self.settings.steps))

    def trained_modules(self) -> dict[str, nn.Module]:
        """What the stage's weight file holds; a discriminator is in the checkpoints alone."""
        return {"tokenizer": self.tokenizer}

    def watchers(self, batches: TokenizerBatches, folder: Path) -> list[Callback]:
        """What else looks on while this stage trains."""
        return [Reconstructions(batches, folder / "logs" / "reconstructions", int(self.settings.steps))]

    # ------------------------------------------------------------------------------------------------------ set-up

    def setup(self, stage: str) -> None:
        """Refuse what two optimisers cannot do, and tell DDP that a pass may leave weights alone."""
        strategy = self.trainer.strategy
        if self.discriminator is not None and getattr(self.trainer.precision_plugin, "scaler", None) is not None:
            raise UnmetNeed(
                f"a tokenizer with a discriminator does not train in {self.trainer.precision}, whose loss scale two "
                "losses would share: take trainer.precision=bf16-mixed or 32-true."
            )
        if self.discriminator is not None and sharded(strategy):
            raise UnmetNeed(
                "a tokenizer with a discriminator trains whole in every process: take trainer.strategy=ddp or auto."
            )
        partial = self.discriminator is not None or getattr(self.settings, "images", 0.0) > 0
        if partial and isinstance(strategy, DDPStrategy):
            # Each of the two losses reaches one of the networks, and a single frame may pass layers of time by.
            strategy._ddp_kwargs["find_unused_parameters"] = True

    def on_fit_start(self) -> None:
        if self._perceptual.module is not None:
            self._perceptual.module.to(self.device)

    def configure_optimizers(self) -> Any:
        own = adamw(self.tokenizer.parameters(), self.settings)
        if self.discriminator is None:
            return own
        critic = adamw(
            self.discriminator.parameters(),
            self.settings,
            lr=getattr(self.settings, "discriminator_lr", None),
            start=self.adversarial_start,
            betas=CRITIC_BETAS,
        )
        return [own, critic]

    # ------------------------------------------------------------------------------------------------------ a step

    def training_step(self, batch: TokenizerBatch, batch_idx: int) -> Tensor:
        step = self.global_step
        if self.discriminator is not None:
            losses = self._adversarial_step(batch.video, step)
        elif self._perceptual.module is not None:
            made = self.tokenizer.autoencode(batch.video, step)
            losses = summed(made, {"perceptual": self._perceptual_term(made.video, made.target, step)})
        else:
            losses = self.tokenizer.training_losses(batch.video, step)
        self.log_dict({name: value.detach() for name, value in losses.items()}, batch_size=len(batch))
        return losses["loss"]

    def _adversarial_step(self, video: Tensor, step: int) -> dict[str, Tensor]:
        """Gradients of both networks, then a step of each: no weight moves before both are known to be finite."""
        own, critic = self.optimizers(use_pl_optimizer=True)  # type: ignore[misc]
        made = self.tokenizer.autoencode(video, step)
        judged = made.video.detach().requires_grad_()
        further, figures, critic_loss = self._critique(made, judged, step)
        losses = summed(made, further)
        own.zero_grad()
        self.manual_backward(losses["loss"])
        self._clip(self.tokenizer)
        if critic_loss is not None:
            critic.zero_grad()
            self.manual_backward(critic_loss)
            self._clip(self.discriminator)
        own.step()
        schedules: Any = self.lr_schedulers()
        schedules[0].step()
        if critic_loss is not None:
            # Not through Lightning's wrapper, which would count a second step; bfloat16 needs nothing of it.
            critic.optimizer.step()
            schedules[1].step()
            figures["discriminator"] = critic_loss.detach()
        return {**losses, **figures}

    def _critique(
        self, made: Autoencoded, judged: Tensor, step: int
    ) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor | None]:
        """Terms for the tokenizer, figures to log, and the discriminator's loss once it has begun.

        `judged` is a detached copy of the reconstruction: each network that judges is passed once.
        """
        further: dict[str, Tensor] = {}
        own = made.terms["reconstruction"]
        if self._perceptual.module is not None:
            term = self._perceptual_term(judged, made.target, step)
            further["perceptual"] = pulled(term, judged, made.video)
            own = own + further["perceptual"]
        if step < self.adversarial_start:
            return further, {}, None
        fake = self.discriminator(judged)
        hinge = pulled(generator_hinge(fake), judged, made.video)
        weight = adaptive_weight(own, hinge, self.tokenizer.last_layer) if self.options.adaptive else torch.ones(())
        further["adversarial"] = self.options.adversarial * weight.to(hinge.device) * hinge
        figures = {"adaptive_weight": weight} if self.options.adaptive else {}
        critic_loss, more = self._critic_loss(made.target, fake)
        return further, {**figures, **more}, critic_loss

    def _critic_loss(self, target: Tensor, fake: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        options = self.options
        if options.regulariser == "r1":
            target = target.detach().requires_grad_()
            with torch.autocast(target.device.type, enabled=False):  # a gradient of a gradient wants float32
                real = self.discriminator(target.float())
                penalty = r1(real, target)
        else:
            real = self.discriminator(target)
            penalty = self.lecam(real, fake) if self.lecam is not None else None
        loss = discriminator_hinge(real, fake)
        figures = {"logits_real": real.detach().float().mean(), "logits_fake": fake.detach().float().mean()}
        if penalty is not None:
            loss = loss + options.regulariser_weight * penalty
            figures[options.regulariser] = penalty.detach()
        return loss, figures

    def _perceptual_term(self, made: Tensor, target: Tensor, step: int) -> Tensor:
        """w_p · distance over some frames of each clip, drawn by (seed, step, rank)."""
        key = (self.seed, step, self.global_rank, 3)
        at = drawn_frames(len(made), made.shape[2], self.options.perceptual_frames, key)
        return self.options.perceptual * self._perceptual.module(gathered(made, at), gathered(target, at))

    def _clip(self, module: nn.Module) -> None:
        norm = float(getattr(self.settings, "grad_clip", 0.0))
        if norm:
            torch.nn.utils.clip_grad_norm_(module.parameters(), norm)

    # -------------------------------------------------------------------------------------------------- afterwards

    @torch.no_grad()
    def finish(self, batches: TokenizerBatches) -> dict[str, float]:
        """Fit the latent statistics with the final weights, on the module's device; returns further facts.

        Warns of a collapsed codebook.
        """
        self.tokenizer.eval()
        self.tokenizer.fit_statistics(self._videos(batches))
        facts: dict[str, float] = {}
        if self.discriminator is not None:
            facts["discriminator_parameters"] = sum(p.numel() for p in self.discriminator.parameters())
        if getattr(self.tokenizer, "kind", "continuous") == "discrete":
            facts |= self._measure_codes(batches)
        return facts

    def _measure_codes(self, batches: TokenizerBatches) -> dict[str, float]:
        use = CodeUse(self.tokenizer.codes)
        for video in self._videos(batches):
            use.add(self.tokenizer.encode(video).indices)
        if use.reached < self.COLLAPSED and self.trainable and int(self.settings.steps):
            say(
                f"WARNING: the codebook has collapsed: {use.used} of {use.codes} codes are in use on {use.seen} places "
                f"({100 * use.reached:.1f} % of those that could be); lower train.tokenizer.lr, raise "
                "train.tokenizer.batch, let dead codes restart (tokenizer.quantizer.restart) or ask for fewer codes."
            )
        return {"codebook_use": use.share, "perplexity": use.perplexity}

    def _videos(self, batches: TokenizerBatches) -> Iterator[Tensor]:
        count = max(1, math.ceil(self.STATISTICS_CLIPS / batches.batch))
        for step in range(batches.steps, batches.steps + count):
            yield batches[step].video.to(self.device)
