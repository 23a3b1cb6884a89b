"""The recipe's settings outside the parts: training, sampling, trainer. Each key has a default, a range, a word.

What is shared between parts (window, mask mix, dropouts) is written here and never derived from a sampling choice, so
that points of a sweep that differ in sampling alone share one trained generator.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from zoo.errors import nearest

Positive = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Rate = Annotated[float, Field(gt=0, le=10, allow_inf_nan=False)]
Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Settings(BaseModel):
    """Frozen, unknown keys forbidden."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class TokenizerTraining(Settings):
    """Stage 1."""

    steps: int = Field(1000, ge=0, description="optimiser steps; 0 leaves the tokenizer untrained")
    batch: Positive = Field(16, description="clips per step, dealt out over the processes")
    lr: Rate = Field(1e-3, description="peak learning rate, after the warm-up")
    frames: Positive | None = Field(
        None, description="latent frames per training clip; null takes what the tokenizer is made for"
    )
    seed: Seed = Field(0, description="initial weights and batches")
    warmup: int = Field(50, ge=0, description="steps of linear warm-up before the cosine decay")
    weight_decay: Weight = Field(0.0, description="AdamW's decoupled weight decay")
    ema: Fraction = Field(0.99, description="decay of the averaged weights; 0 turns averaging off")
    grad_clip: Weight = Field(1.0, description="gradients are clipped to this norm; 0 turns clipping off")
    images: Probability = Field(
        0.0, description="share of batches that are single frames, for tokenizers whose first frame is an image"
    )
    discriminator_lr: Rate | None = Field(
        None, description="peak learning rate of a discriminator; null takes that of the tokenizer"
    )


class CaptionerTraining(Settings):
    """Stage 0, of a captioner that is trained here; it runs where train.generator.synthetic_share is above 0."""

    steps: int = Field(2000, ge=0, description="optimiser steps")
    batch: Positive = Field(16, description="clips per step, dealt out over the processes")
    lr: Rate = Field(3e-3, description="peak learning rate, after the warm-up")
    clips: Positive = Field(1000, description="the curated set: so many captioned training clips, the first ones")
    seed: Seed = Field(0, description="initial weights and batches")
    warmup: int = Field(100, ge=0, description="steps of linear warm-up before the cosine decay")
    weight_decay: Weight = Field(0.01, description="AdamW's decoupled weight decay")
    ema: Fraction = Field(0.99, description="decay of the averaged weights; 0 turns averaging off")
    grad_clip: Weight = Field(10.0, description="gradients are clipped to this norm; 0 turns clipping off")


class GeneratorTraining(Settings):
    """Stage 2, on latents; frames are latent frames."""

    steps: int = Field(1000, ge=0, description="optimiser steps")
    batch: Positive = Field(16, description="windows per step, dealt out over the processes")
    lr: Rate = Field(1e-3, description="peak learning rate, after the warm-up")
    window: Positive = Field(16, description="latent frames per training window, observed ones included")
    masks: dict[str, Weight] = Field(
        {"fdm": 1.0}, description="mask distribution → weight; the task says which distributions it knows"
    )
    synthetic_share: Probability = Field(
        0.0, description="share of the clips whose caption is the captioner's; 0 trains no captioner"
    )
    text_dropout: Probability = Field(0.0, description="share of windows trained without their prompt")
    camera_dropout: Probability = Field(0.0, description="share of windows trained without actions and poses")
    history_dropout: Probability = Field(
        0.0, description="share of windows all of whose frames are to be made, so that nothing is observed"
    )
    history_noise: Fraction = Field(
        0.0, description="half of the windows show observed frames noised to a level up to this, and say so"
    )
    actions: bool = Field(True, description="whether the actions of the data set are given to the network")
    weighting: Literal["clip", "token"] = Field(
        "clip", description="what counts the same in the loss: every clip whatever its size, or every latent token"
    )
    latent: Literal["quantised", "unquantised"] = Field(
        "quantised", description="of a discrete tokenizer: diffusion sees the codes, or what they were chosen for"
    )
    seed: Seed | None = Field(None, description="initial weights and batches; null takes the recipe's seed")
    warmup: int = Field(40, ge=0, description="steps of linear warm-up before the cosine decay")
    weight_decay: Weight = Field(0.0, description="AdamW's decoupled weight decay")
    ema: Fraction = Field(0.995, description="decay of the averaged weights; 0 turns averaging off")
    grad_clip: Weight = Field(1.0, description="gradients are clipped to this norm; 0 turns clipping off")


class TrainSettings(Settings):
    """The training stages."""

    tokenizer: TokenizerTraining = TokenizerTraining.model_validate({})
    captioner: CaptionerTraining = CaptionerTraining.model_validate({})
    generator: GeneratorTraining = GeneratorTraining.model_validate({})
    init_from: str | None = Field(None, description="a run whose weights the stages start from, to fine-tune")


class SampleSettings(Settings):
    """Rollout; frames are latent frames. These keys influence no training stage."""

    window: Positive = Field(16, description="most latent frames in one network call; at most train.generator.window")
    step: Positive = Field(8, description="most latent frames made by one plan step")
    batch: Positive = Field(8, description="videos sampled at once; changes results only within tolerance")
    seed: Seed = Field(0, description="keys the sampling noise together with episode and frame")
    stabilisation: Fraction = Field(
        0.0, description="noise level at which observed frames are shown; 0 shows them clean"
    )
    cache: bool = Field(True, description="keep keys and values of observed frames over the denoising steps")
    pad: bool = Field(True, description="pad lengths and sizes that the tokenizer does not take, and crop back")


PRECISIONS = (
    "auto",
    "32-true",
    "bf16-mixed",
    "16-mixed",
    "bf16-true",
    "16-true",
    "64-true",
    "32",
    "64",
    "16",
    "bf16",
    "transformer-engine",
    "transformer-engine-float16",
)


class TrainerSettings(Settings):
    """Passed through to the Lightning Trainer."""

    accelerator: str = Field("auto", description="auto, cpu, gpu, …")
    devices: Literal["auto"] | Annotated[int, Field(ge=-1)] | list[int] = Field(
        "auto", description="how many, a list of indices, or -1 for all"
    )
    strategy: str = Field("auto", description="auto, ddp, fsdp, …")
    precision: str = Field("auto", description="bf16-mixed, 32-true, …; auto is bf16-mixed where that is fast")
    compile: bool | Literal["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"] = Field(
        False, description="torch.compile of the network's blocks, in training and sampling; true is mode default"
    )
    log_every: Positive = Field(50, description="steps between log lines")
    checkpoint_every: Positive = Field(500, description="steps between checkpoints")

    @property
    def device(self) -> Literal["cuda", "cpu"]:
        """Where everything but training runs: encoding, captions, sampling, reconstruction."""
        import torch

        wanted = self.accelerator in ("auto", "gpu", "cuda")
        return "cuda" if wanted and torch.cuda.is_available() else "cpu"

    @field_validator("precision", mode="before")
    @classmethod
    def _known_precision(cls, value: Any) -> str:
        if str(value) not in PRECISIONS:
            raise ValueError(f"no precision is called '{value}'.{nearest(str(value), PRECISIONS)}")
        return str(value)
