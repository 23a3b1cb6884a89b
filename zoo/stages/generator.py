"""Stage 2: trains the network to undo noise on the latent frames of a window, given its observed frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from einops import rearrange, reduce, repeat
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from components.contracts import Condition, TokenObjective, Window
from zoo.stages.data import GeneratorBatch
from zoo.stages.loss_mean import mean_over_clips, mean_over_places, mean_where
from zoo.stages.optimiser import adamw, as_settings
from zoo.stages.outside import Outside


class GeneratorStage(LightningModule):
    """Loss: mean over clips of the mean over latent frames of weight(t)·|prediction - target|², observed frames given.

    Under a token objective, of what its `errors` says of a frame: nats in place of squares. `weighting: token` takes
    one mean over all places of all latent frames instead (zoo/stages/loss_mean.py). Columns that are dropped are in
    neither. Levels, noise and dropouts depend on (seed, step, rank) alone.
    """

    def __init__(
        self,
        network: Any,
        objective: Any,
        noise: Any,
        text_encoder: Any | None,
        settings: Any,
        *,
        seed: int | None = None,
    ) -> None:
        """`settings`: train.generator, as an object or a mapping; `seed` stands in for its own where that is None.

        A text encoder of width 0 counts as none.
        """
        super().__init__()
        self.network = network
        self.objective = objective
        self.noise = noise
        self.settings = as_settings(settings)
        self.seed = int(self.settings.seed if seed is None else seed)
        used = text_encoder if text_encoder is not None and text_encoder.width > 0 else None
        self.text_encoder = used if used is not None and used.trainable else None
        self._frozen = Outside(used if self.text_encoder is None else None)
        self._known = Outside({})  # embeddings of captions that were seen, for a frozen encoder

    trainable = True

    def trained_modules(self) -> dict[str, nn.Module]:
        """What the stage's weight file holds: the network, and the text encoder where it is trained."""
        return {"network": self.network} | ({} if self.text_encoder is None else {"text_encoder": self.text_encoder})

    def configure_optimizers(self) -> Any:
        return adamw(self.parameters(), self.settings)

    def finish(self, batches: Any) -> None:
        """Nothing is left to do after training."""

    def training_step(self, batch: GeneratorBatch, batch_idx: int) -> Tensor:
        loss = self.loss(batch, self.global_step)
        self.log("loss", loss.detach(), batch_size=len(batch))
        return loss

    def loss(self, batch: GeneratorBatch, step: int) -> Tensor:
        """The training loss of `batch` at `step`: a scalar."""
        draws = _generator("cpu", self.seed, step, self.global_rank, 0)
        batch = self._without_history(batch, step)
        observed, valid = batch.window.observed, batch.window.valid
        level = self.noise.levels(lambda shape: self.objective.sample_t(shape, draws).to(observed.device), observed)
        level = torch.where(observed, self._history_level(len(batch), step).to(level.device), level)
        level = torch.where(valid, level, 0.0)
        condition = self._condition(batch, level, draws)
        if isinstance(self.objective, TokenObjective):  # which hides tokens in place of adding noise
            draws = _generator(batch.z[0].device, self.seed, step, self.global_rank, 1)
            errors = self.objective.errors(self.network, batch.z, batch.window, condition, draws)
            return self._mean(errors, batch)
        noise = self._noise(batch.z, step)
        if isinstance(batch.z, Tensor):
            errors = self._errors(batch.z, noise, batch.window, condition)
        else:
            errors = self._mixed_errors(batch.z, noise, batch.window, condition)
        return self._mean(errors * self._weights(level, batch.window), batch)

    def _mean(self, values: Tensor, batch: GeneratorBatch) -> Tensor:
        """Of per-frame values [B, F], over the latent frames of the clips of all processes."""
        asked = batch.window.valid & ~batch.window.observed
        if getattr(self.settings, "weighting", "clip") == "clip":
            return mean_over_clips(values, asked)
        if batch.window.columns is None:
            places = torch.tensor([z.shape[-2] * z.shape[-1] for z in batch.z], device=values.device)
        else:
            places = torch.stack([judged.sum() for judged in self._judged(batch.z, batch.window)])
        return mean_over_places(values, asked, places)

    def _judged(self, zs: Sequence[Tensor] | Tensor, window: Window) -> list[Tensor]:
        """Per clip bool [H, W]: the places of its latents that lie in columns which are kept."""
        assert window.columns is not None
        _, ph, pw = self.network.grain
        spread = [repeat(kept, "h w -> (h ph) (w pw)", ph=ph, pw=pw) for kept in window.columns]
        return [judged[: z.shape[-2], : z.shape[-1]] for judged, z in zip(spread, zs, strict=True)]

    def _without_history(self, batch: GeneratorBatch, step: int) -> GeneratorBatch:
        """In a share history_dropout of the windows every frame is to be made: the branch that history guidance needs.

        Their frames' times count from the window's first frame then, as everywhere.
        """
        share = float(getattr(self.settings, "history_dropout", 0.0))
        if share == 0:
            return batch
        keep = torch.rand(len(batch), generator=_generator("cpu", self.seed, step, self.global_rank, 2)) >= share
        keep = keep.to(batch.window.observed.device)[:, None]
        times = torch.where(keep, batch.window.times, batch.window.times - batch.window.times[:, :1])
        return replace(batch, window=replace(batch.window, times=times, observed=batch.window.observed & keep))

    def _history_level(self, count: int, step: int) -> Tensor:
        """[B, 1]: the noise level of each window's observed frames, told to the network: what stabilisation needs."""
        highest = float(getattr(self.settings, "history_noise", 0.0))
        drawn = torch.rand((2, count, 1), generator=_generator("cpu", self.seed, step, self.global_rank, 3))
        return torch.where(drawn[0] < 0.5, highest * drawn[1], 0.0)

    def _errors(self, z_bcfhw: Tensor, noise: Tensor, window: Window, condition: Condition) -> Tensor:
        """Squared error [B, F] of clips of one size."""
        z_t = self._noisy(z_bcfhw, noise, condition.level, window.observed)
        target = self.objective.target(z_bcfhw, noise, condition.level)
        squares = (self.network(z_t, window, condition).float() - target) ** 2
        if window.columns is None:
            return reduce(squares, "b c f h w -> b f", "mean")
        return torch.stack([mean_where(*pair) for pair in zip(squares, self._judged(z_bcfhw, window), strict=True)])

    def _mixed_errors(
        self, zs: Sequence[Tensor], noises: Sequence[Tensor], window: Window, condition: Condition
    ) -> Tensor:
        """Squared error [B, F] of clips [C, F_b, H_b, W_b] of mixed sizes; 0 in filler slots."""
        levels = [condition.level[b : b + 1, : z.shape[1]] for b, z in enumerate(zs)]
        z_t = [
            self._noisy(z[None], noise[None], t, window.observed[b : b + 1, : z.shape[1]])[0]
            for b, (z, noise, t) in enumerate(zip(zs, noises, levels, strict=True))
        ]
        predictions = self.network(z_t, window, condition)
        errors = torch.zeros_like(condition.level)
        judged = [None] * len(zs) if window.columns is None else self._judged(zs, window)
        for b, (prediction, z, noise, t) in enumerate(zip(predictions, zs, noises, levels, strict=True)):
            target = self.objective.target(z[None], noise[None], t)[0]
            errors[b, : z.shape[1]] = mean_where((prediction.float() - target) ** 2, judged[b])
        return errors

    def _noisy(self, z_bcfhw: Tensor, noise: Tensor, level: Tensor, observed: Tensor) -> Tensor:
        alpha, sigma = (rearrange(part, "b f -> b 1 f 1 1") for part in self.objective.alpha_sigma(level))
        # Not left to alpha(0) = 1: a schedule may end just short of it, and observed frames are exact.
        exact = rearrange(observed & (level == 0), "b f -> b 1 f 1 1")
        return torch.where(exact, z_bcfhw, alpha * z_bcfhw + sigma * noise)

    def _weights(self, level: Tensor, window: Window) -> Tensor:
        # A weight may be infinite at level 0, where nothing is asked.
        return torch.where(window.valid & ~window.observed, self.objective.weight(level), 0.0)

    def _noise(self, z: Tensor | Sequence[Tensor], step: int) -> Any:
        first = z[0]
        generator = _generator(first.device, self.seed, step, self.global_rank, 1)

        def draw(like: Tensor) -> Tensor:
            return torch.randn(like.shape, generator=generator, device=like.device, dtype=like.dtype)

        return draw(z) if isinstance(z, Tensor) else [draw(one) for one in z]

    # ---------------------------------------------------------------------------------------------- conditions

    def _condition(self, batch: GeneratorBatch, level: Tensor, draws: torch.Generator) -> Condition:
        count = len(batch)
        # Both are drawn always, so that one dropout does not change the other's draws.
        keep_text = torch.rand(count, generator=draws) >= float(getattr(self.settings, "text_dropout", 0.0))
        keep_camera = torch.rand(count, generator=draws) >= float(getattr(self.settings, "camera_dropout", 0.0))
        text, mask = self._text(batch.captions or ("",) * count, keep_text.to(level.device))
        return Condition(
            level=level,
            text=text,
            text_mask=mask,
            actions=batch.actions,
            poses=batch.poses,
            origin=batch.origin,
            camera=None if batch.actions is None and batch.poses is None else keep_camera.to(level.device),
        )

    def _text(self, captions: Sequence[str], keep: Tensor) -> tuple[Tensor | None, Tensor | None]:
        if self.text_encoder is not None:
            text, mask = self.text_encoder.encode(captions)
        elif self._frozen.module is not None:
            text, mask = self._remembered(captions)
        else:
            return None, None
        return text.to(keep.device), mask.to(keep.device) & keep[:, None]

    KNOWN_CAPTIONS = 512
    """How many captions a frozen encoder's embeddings are kept of."""

    @torch.no_grad()
    def _remembered(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        known, encoder = self._known.module, self._frozen.module
        new = [caption for caption in dict.fromkeys(captions) if caption not in known]
        if new:
            if len(known) + len(new) > self.KNOWN_CAPTIONS:
                known.clear()
                new = list(dict.fromkeys(captions))
            encoder.to(self.device).eval()
            text, mask = encoder.encode(new)
            known.update({caption: (text[i], mask[i]) for i, caption in enumerate(new)})
        rows = [known[caption] for caption in captions]
        pad = torch.nn.utils.rnn.pad_sequence
        return pad([text for text, _ in rows], batch_first=True), pad([mask for _, mask in rows], batch_first=True)


def _generator(device: Any, *key: int) -> torch.Generator:
    """A torch generator seeded by whole numbers, well mixed, so that neighbouring steps are unrelated."""
    return torch.Generator(device).manual_seed(
        int(np.random.SeedSequence(list(key)).generate_state(1, np.uint64)[0] >> 1)
    )
