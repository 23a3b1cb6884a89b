"""I3D trained on Kinetics-400 (Carreira and Zisserman 2017): the network of FVD (Unterthiner 2018).

Its weights are not ours to ship: ``path`` names a TorchScript file, called as StyleGAN-V's is,
``net(video_ncthw, rescale=…, resize=…, return_features=True)`` → 400 logits. TorchScript runs code: trust the file.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from pydantic import Field
from torch import Tensor

from zoo.component import Config, component
from zoo.errors import BadValue, UserError

SIDE = 224
LOGITS = 400
CHUNK = 8
DDOF = {"google": 1, "styleganv": 0, "videogpt": 1}


def resize_legacy(x_nchw: Tensor, side: int = SIDE) -> Tensor:
    """TensorFlow 1's bilinear resize to a square: output pixel i samples i · (in / out), half a pixel off centre."""
    for axis in (-2, -1):
        length = x_nchw.shape[axis]
        place = torch.arange(side, dtype=torch.float32, device=x_nchw.device) * (length / side)
        low = place.floor().long().clamp(max=length - 1)
        high = (low + 1).clamp(max=length - 1)
        weight = place - low
        weight = rearrange(weight, "s -> s 1") if axis == -2 else weight
        below, above = x_nchw.index_select(axis, low), x_nchw.index_select(axis, high)
        x_nchw = below + (above - below) * weight
    return x_nchw


def resize_and_crop(x_nchw: Tensor, side: int = SIDE) -> Tensor:
    """VideoGPT: short side to ``side`` (half-pixel bilinear, not antialiased), then the middle square."""
    height, width = x_nchw.shape[-2:]
    scale = side / min(height, width)
    shape = (side, int(np.ceil(width * scale))) if height <= width else (int(np.ceil(height * scale)), side)
    x_nchw = F.interpolate(x_nchw, size=shape, mode="bilinear", align_corners=False)
    top, left = (shape[0] - side) // 2, (shape[1] - side) // 2
    return x_nchw[..., top : top + side, left : left + side]


@component(cite="unterthiner2018fvd", note="I3D logits from a local TorchScript file: the only feature called FVD")
class I3d:
    """Window features of I3D; the preset fixes resize and ddof of a protocol that people quote."""

    class Config(Config):
        """Where the network lies and whose protocol to follow."""

        path: Path = Field(description="local TorchScript file of I3D-Kinetics-400")
        preset: Literal["google", "styleganv", "videogpt"] = Field(
            "google",
            description="google: TF1 resize, ddof 1; styleganv: the file's own resize, ddof 0; "
            "videogpt: short side 224 and centre crop, ddof 1",
        )

    def __init__(self, config: I3d.Config) -> None:
        self.config = config
        self.result_name = f"fvd_{config.preset}"
        self.ddof = DDOF[config.preset]
        if not config.path.is_file():
            raise BadValue(
                f"there is no I3D file {config.path}: give feature_options.path=FILE, a TorchScript network."
            )

    @cached_property
    def digest(self) -> str:
        """First 12 hex digits of the file's sha256."""
        return hashlib.sha256(self.config.path.read_bytes()).hexdigest()[:12]

    @cached_property
    def network(self) -> Any:
        """The scripted network. Raises UserError when the file holds none."""
        device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            return torch.jit.load(str(self.config.path), map_location=device).eval()
        except (RuntimeError, ValueError) as error:
            raise UserError(
                f"{self.config.path} is not a TorchScript network: save I3D with torch.jit.save."
            ) from error

    def facts(self) -> dict[str, str]:
        """Extractor, weights and preset (resize, crop, normalisation)."""
        return {"extractor": "i3d_kinetics400", "weights": self.digest, "preset": self.config.preset}

    @torch.inference_mode()
    def embed(self, windows_nthwc: np.ndarray) -> Tensor:
        """uint8 [N, T, H, W, 3] to float32 [N, 400]. Raises UserError when the network gives something else."""
        pieces = []
        for at in range(0, len(windows_nthwc), CHUNK):
            features = self._call(torch.from_numpy(np.ascontiguousarray(windows_nthwc[at : at + CHUNK])))
            if features.ndim != 2 or features.shape[1] != LOGITS:
                raise UserError(
                    f"{self.config.path} gives features of shape {list(features.shape)} instead of [N, {LOGITS}]: "
                    "it is not I3D-Kinetics-400, so its distance may not be called FVD."
                )
            pieces.append(features.float().cpu())
        return torch.cat(pieces)

    def _call(self, windows_nthwc: Tensor) -> Tensor:
        device = next((p.device for p in self.network.parameters()), torch.device("cpu"))
        n, x = len(windows_nthwc), windows_nthwc.to(device).float()
        if self.config.preset == "styleganv":  # takes 0…255 and does both itself
            video = rearrange(x, "n t h w c -> n c t h w")
            return self.network(video, rescale=True, resize=True, return_features=True)
        resize = resize_legacy if self.config.preset == "google" else resize_and_crop
        frames = resize(rearrange(x, "n t h w c -> (n t) c h w")) / 127.5 - 1
        video = rearrange(frames, "(n t) c h w -> n c t h w", n=n)
        return self.network(video, rescale=False, resize=False, return_features=True)
