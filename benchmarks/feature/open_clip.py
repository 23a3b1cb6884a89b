"""CLIP's image and text towers (Radford 2021) by open_clip, from weights given by path: nothing downloads.

Both to unit length. Frames are resized by their short side and cropped in the middle, as CLIP was trained.
"""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from pydantic import Field
from torch import Tensor

from zoo.component import Config, component
from zoo.errors import BadValue, UnknownName, UserError, nearest

CHUNK = 64


@component(cite="radford2021clip,cherti2023openclip", note="CLIP's towers from local weights: clip_score, fd_open_clip")
class OpenClip:
    """Unit vectors of frames and captions; a window's is the mean of its frames'."""

    result_name = "fd_open_clip"
    ddof = 1

    class Config(Config):
        """Which architecture, and where its weights lie."""

        pretrained: Path = Field(description="local file of weights: open_clip's checkpoint, or safetensors")
        model: str = Field("ViT-B-32", description="open_clip model name")
        config_path: Path | None = Field(None, description="JSON architecture in place of a named model")

    def __init__(self, config: OpenClip.Config) -> None:
        self.config = config
        if not config.pretrained.is_file():
            raise BadValue(f"there are no CLIP weights {config.pretrained}: give the path of a file, pretrained=FILE.")

    def facts(self) -> dict[str, str]:
        """Architecture, weights, input size."""
        digest = hashlib.sha256(self.config.pretrained.read_bytes()).hexdigest()[:12]
        named = self.config.config_path.stem if self.config.config_path else self.config.model
        return {"extractor": f"open_clip:{named}", "weights": digest, "resize": f"bicubic:{self.side}"}

    @cached_property
    def network(self) -> Any:
        """The model with its weights. Raises UserError, BadValue or UnknownName where it cannot be had."""
        import open_clip as package

        open_clip: Any = package
        if self.config.config_path is None and self.config.model not in open_clip.list_models():
            raise UnknownName(
                f"no open_clip model named '{self.config.model}'.{nearest(self.config.model, open_clip.list_models())}"
            )
        model = open_clip.CLIP(**self._sizes()) if self.config.config_path else None
        try:
            if model is None:
                model = open_clip.create_model(self.config.model, pretrained=str(self.config.pretrained))
            else:
                open_clip.load_checkpoint(model, str(self.config.pretrained))
        except Exception as error:  # another format and another shape each raise their own kind
            said = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            raise UserError(
                f"{self.config.pretrained} does not hold the weights of this CLIP ({said}): give the file of the model "
                "that model=NAME or config_path=JSON describes."
            ) from error
        return model.eval().requires_grad_(False).to("cuda" if torch.cuda.is_available() else "cpu")

    def _sizes(self) -> dict[str, Any]:
        path = self.config.config_path
        assert path is not None
        try:
            return {key: value for key, value in json.loads(path.read_text("utf-8")).items() if key != "custom_text"}
        except (OSError, ValueError) as error:
            raise BadValue(f"config_path={path} is no JSON of an open_clip architecture ({error}).") from error

    @property
    def side(self) -> int:
        """Pixels of the square it sees."""
        size = self.network.visual.image_size
        return int(size if isinstance(size, int) else size[0])

    @torch.inference_mode()
    def frames(self, video_thwc: np.ndarray) -> np.ndarray:
        """uint8 [T, H, W, 3] to unit vectors float32 [T, D]."""
        pieces = [self._encoded(video_thwc[at : at + CHUNK]) for at in range(0, len(video_thwc), CHUNK)]
        return torch.cat(pieces).cpu().numpy()

    @torch.inference_mode()
    def text(self, caption: str) -> np.ndarray:
        """Unit vector float32 [D] of a caption; what is longer than the model's context is cut off."""
        import open_clip as package

        open_clip: Any = package
        named = self.config.config_path is None
        length = self.network.context_length
        named_tokenizer, plain = open_clip.get_tokenizer, open_clip.SimpleTokenizer
        tokenizer = named_tokenizer(self.config.model) if named else plain(context_length=length)
        index = tokenizer([caption]).to(self._device)
        return F.normalize(self.network.encode_text(index).float(), dim=-1)[0].cpu().numpy()

    def embed(self, windows_nthwc: np.ndarray) -> Tensor:
        """uint8 [N, T, H, W, 3] to float32 [N, D]."""
        return torch.stack([torch.from_numpy(self.frames(window)).mean(0) for window in windows_nthwc])

    def _encoded(self, frames_thwc: np.ndarray) -> Tensor:
        import open_clip as package

        open_clip: Any = package
        x = rearrange(torch.from_numpy(np.ascontiguousarray(frames_thwc)).to(self._device), "t h w c -> t c h w")
        short = min(x.shape[-2:])
        shape = [max(self.side, round(length * self.side / short)) for length in x.shape[-2:]]
        x = F.interpolate(x.float() / 255, shape, mode="bicubic", antialias=True).clamp(0, 1)
        top, left = ((length - self.side) // 2 for length in shape)
        x = x[..., top : top + self.side, left : left + self.side]
        said = getattr(self.network.visual, "preprocess_cfg", {})
        mean = said.get("mean", open_clip.OPENAI_DATASET_MEAN)
        deviation = said.get("std", open_clip.OPENAI_DATASET_STD)
        x = (x - x.new_tensor(mean)[:, None, None]) / x.new_tensor(deviation)[:, None, None]
        return F.normalize(self.network.encode_image(x).float(), dim=-1)

    @property
    def _device(self) -> Any:
        return next(self.network.parameters()).device
