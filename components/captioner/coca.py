from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from pydantic import Field, model_validator
from torch import nn

from components.captioned_frames import fitted
from components.carriers import Described
from components.video_captioner import CaptionerSizes, VideoCaptioner
from zoo.component import Config, component
from zoo.errors import BadValue

if TYPE_CHECKING:
    from torch import Tensor

    from components.contracts import Clip


@component(
    cite="yu2022coca,yan2022videococa",
    note="CoCa: trained here as a small video captioner, or open_clip's with a pretrained tag or path",
)
class Coca(nn.Module):
    """CoCa [Yu 2022]: L = λ_con·L_con + λ_cap·L_cap over frames that a decoder reads as one sequence [Yan 2022].

    Departs from it: trained here it is small and says whole words, and L_cap is a mean over words where the paper has
    a sum, so λ_con is less; `model` or `config_path` take open_clip's network instead, frozen, and its pooled tokens
    of every frame stand side by side.
    """

    class Config(Config):
        frames: int = Field(8, ge=1, le=256, description="frames looked at, evenly spaced over a clip")
        beams: int = Field(1, ge=1, le=64, description="captions kept while searching; 1 is greedy")
        length: int = Field(32, ge=1, le=512, description="most words of a caption; of open_clip's, most tokens")
        model: str | None = Field(None, description="an open_clip CoCa, such as coca_ViT-B-32; none: trained here")
        pretrained: str | None = Field(None, description="open_clip tag or path of the weights of `model`")
        config_path: str | None = Field(
            None, description="JSON architecture in open_clip's format, in place of a named model"
        )
        size: int = Field(32, ge=8, le=512, description="frames are resized to this side; a multiple of `patch`")
        tubelet: int = Field(2, ge=1, le=16, description="neighbouring frames a token covers; divides `frames`")
        patch: int = Field(8, ge=2, le=32, description="pixels a token covers; a power of two")
        glances: int = Field(3, ge=0, le=64, description="frames looked at closely too, inner ones evenly spaced")
        width: int = Field(96, ge=8, le=2048, description="channels of a token")
        heads: int = Field(4, ge=1, le=64, description="heads of every attention")
        frame_depth: int = Field(0, ge=0, le=48, description="blocks within a moment")
        time_depth: int = Field(2, ge=0, le=48, description="blocks in which all tokens of a clip meet")
        queries: int = Field(8, ge=1, le=1024, description="caption queries of the attentional pooler")
        text_depth: int = Field(1, ge=0, le=48, description="causal blocks over words alone")
        fusion_depth: int = Field(1, ge=1, le=48, description="causal blocks that look at the video")
        words: int = Field(512, ge=8, le=65536, description="largest vocabulary; rarer words are unknown")
        contrastive: float = Field(0.1, ge=0, le=100, description="λ_con")
        captioning: float = Field(2.0, ge=0, le=100, description="λ_cap")

        @model_validator(mode="after")
        def _fits(self) -> Coca.Config:
            if self.patch & (self.patch - 1):
                raise ValueError(f"patch {self.patch} is not a power of two")
            if self.frames % self.tubelet and self.model is None and self.config_path is None:
                raise ValueError(f"frames {self.frames} is not a multiple of tubelet {self.tubelet}")
            if self.size % self.patch:
                raise ValueError(f"size {self.size} is not a multiple of patch {self.patch}")
            if self.width % 4 or self.width % self.heads:
                raise ValueError(f"width {self.width} is not a multiple of 4 and of heads {self.heads}")
            return self

    AT_ONCE = 32
    """Clips described in one pass."""

    def __init__(self, config: Coca.Config) -> None:
        """Raises UserError where the weights of `model` cannot be loaded."""
        super().__init__()
        self.config = config
        self.frames = config.frames
        self.trainable = config.model is None and config.config_path is None
        if self.trainable:
            if config.pretrained is not None:
                raise BadValue(
                    f"captioner.pretrained={config.pretrained} belongs to a model of open_clip: name it, as in "
                    "captioner.model=coca_ViT-B-32, or leave pretrained out to train a captioner here."
                )
            self.network: Any = VideoCaptioner(_sizes(config))
        else:
            from components.open_clip_captioner import OpenClipCaptioner

            self.network = OpenClipCaptioner(config.model, config.pretrained, config.config_path, config.length)

    def learn_words(self, captions: Sequence[str]) -> None:
        """Take the vocabulary from the captions that it will be trained on."""
        self.network.vocabulary.learn(captions)

    def loss(self, video: Tensor, captions: Sequence[str]) -> Tensor:
        """λ_con·L_con + λ_cap·L_cap of video [B, 3, T, H, W] in [-1, 1] and its captions."""
        contrast, captioning = self.network.losses(self._seen(video), self._words(captions))
        return self.config.contrastive * contrast + self.config.captioning * captioning

    @torch.no_grad()
    def surprise(self, video: Tensor, captions: Sequence[str]) -> Tensor:
        """Nats a word [B] that the true captions cost, their ends included; the same in any company."""
        training = self.training
        self.eval()
        nats = self.network.surprise(self._seen(video), self._words(captions))
        self.train(training)
        return nats

    @torch.no_grad()
    def describe(self, clips: Sequence[Clip]) -> list[Described]:
        """One caption a clip, as sure as the mean probability of its words; the same on every call."""
        training = self.training
        self.eval()
        found: list[Described] = []
        for first in range(0, len(clips), self.AT_ONCE):
            some = clips[first : first + self.AT_ONCE]
            video = torch.cat([self._seen(fitted(clip.frames, self.frames)) for clip in some])
            said, confidence = self.network.write(video, self.config.beams)
            found += [Described(*pair) for pair in zip(said, confidence, strict=True)]
        self.train(training)
        return found

    def _words(self, captions: Sequence[str]) -> Tensor:
        return self.network.vocabulary.encode(captions, self.config.length)

    def _seen(self, video: Tensor) -> Tensor:
        """As the network takes it: evenly spaced frames of one size, on its device."""
        return self.network.seen(video, self.frames)


def _sizes(config: Coca.Config) -> CaptionerSizes:
    names = CaptionerSizes.__dataclass_fields__
    return CaptionerSizes(**{name: getattr(config, name) for name in names})
