"""The perceptual distance as a loss: pd_lite0, or LPIPS where VGG's weights are on this machine. Nothing downloads."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from einops import rearrange
from torch import Tensor, nn

from components.lite0_network import lite0_stages, resized, stage_distance
from zoo.errors import UnmetNeed


class PerceptualDistance(nn.Module):
    """pd(x̂, x) = mean over frames and stages of the spatial mean of ‖â − b̂‖² (LPIPS, Zhang et al. 2018).

    `lite0` is the benchmark's pd_lite0, uncalibrated; `lpips` is LPIPS through VGG-16. Frozen, always in eval mode and
    in float32: differences of near-equal features are lost in bfloat16.
    """

    def __init__(self, network: Literal["lite0", "lpips"] = "lite0", size: int = 64) -> None:
        """`size`: short side the network sees. Raises UnmetNeed where the weights are not on this machine."""
        super().__init__()
        self.size = size
        self.calibrated = network == "lpips"
        self.network: nn.Module = _lpips() if self.calibrated else lite0_stages()
        self.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> PerceptualDistance:
        """Stays in eval mode."""
        return super().train(False)

    def forward(self, made_bcthw: Tensor, target_bcthw: Tensor) -> Tensor:
        """A scalar; videos in [-1, 1]. Gradients reach `made_bcthw` alone."""
        with torch.autocast(made_bcthw.device.type, enabled=False):
            made, target = (
                resized(rearrange(video.float(), "b c t h w -> (b t) c h w"), self.size)
                for video in (made_bcthw, target_bcthw.detach())
            )
            if self.calibrated:
                return self.network(made, target).mean()
            with torch.no_grad():
                wanted = self.network(target)
            return stage_distance(self.network(made), wanted).mean()


def drawn_frames(clips: int, frames: int, count: int, key: tuple[int, ...]) -> Tensor:
    """long [B, min(count, T)]: for each clip some of its frames, ascending, without repeats; a function of `key`."""
    order = np.random.default_rng(list(key)).random((clips, frames)).argsort(1)
    return torch.from_numpy(np.sort(order[:, : min(count, frames)], axis=1))


def gathered(video_bcthw: Tensor, at_bk: Tensor) -> Tensor:
    """Frames [B, 3, K, H, W] of a video at the places of `drawn_frames`."""
    rows = torch.arange(len(at_bk), device=video_bcthw.device)[:, None]
    picked = rearrange(video_bcthw, "b c t h w -> b t c h w")[rows, at_bk.to(video_bcthw.device)]
    return rearrange(picked, "b k c h w -> b c k h w")


def _lpips() -> nn.Module:
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

    file = _vgg_file()
    if not file.exists():
        raise UnmetNeed(
            f"perceptual_network=lpips needs VGG-16's weights as {file}, and nothing is downloaded here: put that file "
            "there, or take perceptual_network=lite0."
        )
    return LearnedPerceptualImagePatchSimilarity(net_type="vgg").net


def _vgg_file() -> Path:
    """Where torchvision looks for the weights before it would download them."""
    from torchvision.models import VGG16_Weights

    return Path(torch.hub.get_dir()) / "checkpoints" / VGG16_Weights.DEFAULT.url.rpartition("/")[2]
