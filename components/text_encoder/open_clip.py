from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from pydantic import Field
from torch import nn

from zoo.component import Config, component
from zoo.errors import BadValue, UnknownName, UserError, nearest

if TYPE_CHECKING:
    from torch import Tensor


@component(cite="radford2021clip,cherti2023openclip", note="any open_clip text tower, frozen", needs={"captions"})
class OpenClip(nn.Module):
    """CLIP's text transformer [Radford 2021; open_clip, Cherti 2023], frozen: every token's last hidden state.

    Departs from it: the final layer norm's output is taken at all tokens, not the projected end-of-text token alone.
    """

    class Config(Config):
        model: str = Field("ViT-B-32", description="open_clip model name, hf-hub:… or local-dir:…")
        pretrained: str | None = Field(
            "laion2b_s34b_b79k", description="open_clip tag or path of a weights file; none for random weights"
        )
        config_path: str | None = Field(
            None, description="JSON architecture in open_clip's format, in place of a named model"
        )

    trainable: bool = False

    def __init__(self, config: OpenClip.Config) -> None:
        super().__init__()
        self.config = config
        self.model, self.tokenizer = _load(config)
        self.model.requires_grad_(False).eval()
        self.width = self.encode(["a"])[0].shape[-1]

    def train(self, mode: bool = True) -> OpenClip:
        """Stays in evaluation mode: a frozen tower has no dropout to train."""
        return super().train(False)

    def cut(self, caption: str) -> str | None:
        """See contracts.TextEncoder; start and end of text count as tokens."""
        limit = self.tokenizer.context_length
        # No prompt has more tokens than bytes, but for the two at its ends.
        index = self.tokenizer([caption], context_length=max(limit, len(caption.encode("utf-8")) + 2))
        size = int((index != _filler(self.tokenizer)).sum())
        return f"{size} tokens, of which {limit} are read" if size > limit else None

    @torch.no_grad()
    def encode(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Prompts to [B, S, E] and mask [B, S], True from start to end of text; an empty prompt is all False."""
        device = next(self.model.parameters()).device
        index = self.tokenizer(list(captions)).to(device)
        seen: list[Any] = []
        hook = _last_layer(self.model).register_forward_hook(lambda _module, _inputs, output: seen.append(output))
        try:
            self.model.encode_text(index)
        finally:
            hook.remove()
        hidden = getattr(seen[-1], "last_hidden_state", seen[-1])[:, : index.shape[1]]
        said = torch.tensor([bool(caption.strip()) for caption in captions], dtype=torch.bool, device=device)
        # Up to the last token that is no filler: CLIP's own vocabulary gives "!" the filler's id, 0.
        real = (index != _filler(self.tokenizer)).flip(1).cummax(1).values.flip(1)
        return hidden, real & said[:, None]


def _load(config: OpenClip.Config) -> tuple[nn.Module, Any]:
    """The model without its image tower, and its tokenizer; every failure is one sentence with the cure."""
    try:
        import open_clip as package
    except ImportError as error:
        raise UserError(
            "text_encoder=open_clip needs the package open_clip_torch: pip install open_clip_torch"
        ) from error
    open_clip: Any = package
    if config.config_path is not None:
        return _from_file(open_clip, config)
    known = open_clip.list_models()
    if ":" not in config.model and config.model not in known:
        raise UnknownName(f"no open_clip model named '{config.model}'.{nearest(config.model, known)}")
    try:
        model = open_clip.create_model(config.model, pretrained=config.pretrained)
        tokenizer = open_clip.get_tokenizer(config.model)
    except Exception as error:  # open_clip, huggingface_hub and torch each raise their own kinds
        raise UserError(
            f"open_clip could not load '{config.model}' with weights '{config.pretrained}' ({_first_line(error)}): "
            "connect to the network once, give text_encoder.pretrained=/path/to/weights, or use text_encoder=byte_table"
        ) from error
    return _text_only(model), tokenizer


def _from_file(open_clip: Any, config: OpenClip.Config) -> tuple[nn.Module, Any]:
    """A model from a JSON file of open_clip's format: embed_dim, vision_cfg, text_cfg, optionally custom_text."""
    path = Path(str(config.config_path))
    try:
        sizes = json.loads(path.read_text(encoding="utf-8"))
        kind = open_clip.CustomTextCLIP if sizes.pop("custom_text", False) else open_clip.CLIP
        model = kind(**sizes)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise BadValue(
            f"text_encoder.config_path={path} is no open_clip architecture ({error}): "
            "give a JSON file with embed_dim, vision_cfg and text_cfg"
        ) from error
    if config.pretrained is not None:
        try:
            open_clip.load_checkpoint(model, config.pretrained)
        except Exception as error:  # a missing file, another format and another shape each raise their own kind
            raise BadValue(
                f"text_encoder.pretrained={config.pretrained} does not hold the weights of {path.name} "
                f"({_first_line(error)}): with config_path give the path of such weights, or null for random ones"
            ) from error
    length = sizes["text_cfg"].get("context_length", 77)
    return _text_only(model), open_clip.SimpleTokenizer(context_length=length)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def _text_only(model: nn.Module) -> nn.Module:
    """Drop the image tower: it is most of the weights and never called."""
    if hasattr(model, "visual"):
        del model.visual
    return model


def _last_layer(model: nn.Module) -> nn.Module:
    """The module whose output is the last hidden state: the final norm, or a Hugging Face text tower as a whole."""
    text = getattr(model, "text", model)
    return text.ln_final if hasattr(text, "ln_final") else text.transformer


def _filler(tokenizer: Any) -> int:
    """The id that fills a prompt up to the context length: 0 in CLIP's own tokenizer."""
    inner = getattr(tokenizer, "tokenizer", None)
    return getattr(inner, "pad_token_id", None) or 0
