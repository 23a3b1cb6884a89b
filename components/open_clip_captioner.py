"""open_clip's CoCa as a video captioner: named with pretrained weights, or built from a file of sizes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from einops import rearrange, repeat
from torch import Tensor, nn

from components.caption_search import beam_search
from components.captioned_frames import resized
from zoo.errors import BadValue, UnknownName, UserError, nearest

MEAN, DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""Of the pixels that CLIP models were trained on."""


class OpenClipCaptioner(nn.Module):
    """CoCa's decoder, looking at the pooled tokens of every frame side by side [Yan 2022, VideoCoCa, zero-shot].

    Departs from it: each frame is pooled by itself, since open_clip's pooler is inside its image tower.
    """

    def __init__(self, model: str | None, pretrained: str | None, config_path: str | None, length: int) -> None:
        """Raises UserError, in one sentence with the cure, for whatever cannot be loaded."""
        super().__init__()
        try:
            import open_clip as package
        except ImportError as error:
            raise UserError("captioner.model needs the package open_clip_torch: pip install open_clip_torch") from error
        open_clip: Any = package
        self.model = (
            _from_file(open_clip, config_path, pretrained) if config_path else _named(open_clip, model, pretrained)
        )
        self.model.requires_grad_(False).eval()
        self.tokenizer: Any = open_clip.SimpleTokenizer(context_length=self.model.context_length)
        self.length = min(length, self.model.context_length - 1)
        size = self.model.visual.image_size
        self.size = int(size[0] if isinstance(size, (tuple, list)) else size)
        self.register_buffer("mean", torch.tensor(MEAN).reshape(1, 3, 1, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(DEVIATION).reshape(1, 3, 1, 1, 1), persistent=False)

    mean: Tensor
    deviation: Tensor

    def train(self, mode: bool = True) -> OpenClipCaptioner:
        """Stays in evaluation mode: a frozen network has no dropout to train."""
        return super().train(False)

    def seen(self, video_bcthw: Tensor, frames: int) -> Tensor:
        """Evenly spaced frames, resized and normalised as CLIP takes them."""
        video = resized(video_bcthw.to(self.mean.device), self.size, frames)
        return ((video + 1) / 2 - self.mean) / self.deviation

    def write(self, video_bcthw: Tensor, beams: int) -> tuple[list[str], list[float]]:
        """Captions, and the mean probability of the tokens of each."""
        count, frames = video_bcthw.shape[0], video_bcthw.shape[2]
        _, tokens = self.model._encode_image(rearrange(video_bcthw, "b c t h w -> (b t) c h w"))
        seen = repeat(rearrange(tokens, "(b t) q d -> b (t q) d", t=frames), "b n d -> (b k) n d", k=beams)

        def score(said: Tensor) -> Tensor:
            _, hidden = self.model._encode_text(said)
            return self.model.text_decoder(seen, hidden[:, : said.shape[1]])[:, -1].float().log_softmax(dim=-1)

        start, end = self.tokenizer.sot_token_id, self.tokenizer.eot_token_id
        found, confidence = beam_search(
            score, count=count, beams=beams, length=self.length, start=start, end=end, device=video_bcthw.device
        )
        return [self._caption(row, end) for row in found.tolist()], confidence.tolist()

    def _caption(self, row: list[int], end: int) -> str:
        said = row[: row.index(end)] if end in row else row
        special = set(self.tokenizer.all_special_ids)
        return " ".join(self.tokenizer.decode([number for number in said if number not in special]).split())


def _named(open_clip: Any, model: str | None, pretrained: str | None) -> Any:
    known = [name for name in open_clip.list_models() if name.startswith("coca")]
    if model not in known:
        raise UnknownName(f"open_clip has no CoCa named '{model}'.{nearest(str(model), known)}")
    if pretrained is None:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(model)) or "none is published"
        raise BadValue(
            f"captioner.model={model} has random weights as it stands: set captioner.pretrained to a path or to a tag "
            f"({tags}), or leave captioner.model out to train a captioner here."
        )
    try:
        return open_clip.create_model_and_transforms(model, pretrained=pretrained)[0]
    except Exception as error:  # open_clip, huggingface_hub and torch each raise their own kinds
        raise UserError(
            f"open_clip could not load '{model}' with weights '{pretrained}' ({_first_line(error)}): connect to the "
            "network once, give captioner.pretrained=/path/to/weights, or leave captioner.model out to train one here."
        ) from error


def _from_file(open_clip: Any, config_path: str, pretrained: str | None) -> Any:
    """From a JSON file of open_clip's format: embed_dim, vision_cfg, text_cfg and multimodal_cfg."""
    path = Path(config_path).expanduser()
    try:
        sizes = json.loads(path.read_text(encoding="utf-8"))
        sizes.pop("custom_text", None)
        model = open_clip.CoCa(**sizes)
        # open_clip leaves this one as it found the memory: sometimes NaN, never twice the same.
        torch.nn.init.normal_(
            model.text_decoder.text_projection, std=model.text_decoder.text_projection.shape[0] ** -0.5
        )
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise BadValue(
            f"captioner.config_path={path} is no open_clip CoCa ({_first_line(error)}): give a JSON file with "
            "embed_dim, vision_cfg, text_cfg and multimodal_cfg."
        ) from error
    if pretrained is not None:
        try:
            open_clip.load_checkpoint(model, pretrained)
        except Exception as error:  # a missing file, another format and another shape each raise their own kind
            raise BadValue(
                f"captioner.pretrained={pretrained} does not hold the weights of {path.name} ({_first_line(error)}): "
                "with config_path give the path of such weights, or null for random ones."
            ) from error
    return model


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
