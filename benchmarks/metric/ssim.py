"""SSIM (Wang et al. 2004): (2μₓμᵧ + c₁)(2σₓᵧ + c₂) / ((μₓ² + μᵧ² + c₁)(σₓ² + σᵧ² + c₂)), 11×11 Gaussian, σ 1.5.

Departure: computed on R, G and B and averaged, not on luminance; only windows that lie wholly inside the frame count.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
import torchmetrics
from einops import rearrange
from torch import Tensor

from benchmarks import per_frame
from benchmarks.contracts import Score, Scored, Setting
from benchmarks.selection import Selection
from benchmarks.video_state import add_video_state, recall
from zoo.component import component
from zoo.errors import BadValue

SIDE, SIGMA, K1, K2 = 11, 1.5, 0.01, 0.03
CHUNK = 64
"""Frames at once, so that memory does not grow with length."""


def ssim_per_frame(fake_thwc: np.ndarray, real_thwc: np.ndarray) -> np.ndarray:
    """Mean structural similarity of each frame, float64 [T]; uint8 videos of equal shape, at least 11 pixels a side."""
    pieces = [
        _ssim(_planes(fake_thwc[at : at + CHUNK]), _planes(real_thwc[at : at + CHUNK]))
        for at in range(0, len(fake_thwc), CHUNK)
    ]
    return torch.cat(pieces).double().numpy()


def _planes(video_thwc: np.ndarray) -> Tensor:
    return rearrange(torch.from_numpy(np.ascontiguousarray(video_thwc)), "t h w c -> (t c) 1 h w").float() / 255


def _blur(x: Tensor, line: Tensor) -> Tensor:
    """Separable Gaussian without padding."""
    return F.conv2d(F.conv2d(x, rearrange(line, "k -> 1 1 k 1")), rearrange(line, "k -> 1 1 1 k"))


def _ssim(x: Tensor, y: Tensor) -> Tensor:
    offset = torch.arange(SIDE, dtype=torch.float32) - SIDE // 2
    line = torch.softmax(-(offset**2) / (2 * SIGMA**2), 0)
    mean_x, mean_y = _blur(x, line), _blur(y, line)
    variance_x, variance_y = _blur(x * x, line) - mean_x**2, _blur(y * y, line) - mean_y**2
    covariance = _blur(x * y, line) - mean_x * mean_y
    c1, c2 = K1**2, K2**2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * covariance + c2) / (variance_x + variance_y + c2)
    return rearrange((luminance * structure).mean((1, 2, 3)), "(t c) -> t c", c=3).mean(1)


@component(cite="wang2004ssim", note="structural similarity of the frames after the context")
class Ssim(torchmetrics.Metric):
    """Per-frame similarity to the truth, at most 1; higher is better."""

    version = "1"
    full_state_update = False

    class Config(Selection):
        """Which frames; the constants are the published ones."""

    def __init__(self, config: Ssim.Config, *, setting: Setting) -> None:
        super().__init__()
        self.config, self.setting = config, setting
        add_video_state(self)

    def update(self, video: Scored) -> None:
        """Add one video. Raises BadValue for frames smaller than the window."""
        if min(video.real.shape[1:3]) < SIDE:
            size = "x".join(map(str, video.real.shape[1:3]))
            raise BadValue(f"SSIM needs frames of at least {SIDE}x{SIDE} pixels, not {size}: score larger videos.")
        per_frame.measure(self, video, self.config, ssim_per_frame)

    def compute(self) -> list[Score]:
        """One Score named ``ssim``."""
        return per_frame.score(
            "ssim", recall(self), self.setting, self.config, version=self.version, unit="", higher_is_better=True
        )
