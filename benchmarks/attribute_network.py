"""The network that reads a video's attributes: which colour, shape, motion and background it shows.

Two networks that share nothing: one looks at a few frames closely (what it is), one at all frames coarsely, as points
(where it goes). Points are spatial softmaxes (Finn et al. 2016), so motion is read from paths of positions. Trained by
benchmarks/train_attributes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from torch import Tensor, nn

from components.lite0_network import resized
from components.shape_words import ATTRIBUTES

FRAMES = 16
"""What a video is sampled to; shorter ones repeat frames."""
SIDE = 32
"""Short side in pixels."""
CLOSELY = (1, 8, 14)
"""Of these frames it is asked what they show."""
POINTS, WIDTH = 8, 64
STRETCH = 3.0
"""By which paths are enlarged about their middle: where a thing stands says nothing of how it moves."""
MOVING = ("motion",)
STANDING = tuple(name for name in ATTRIBUTES if name not in MOVING)


def prepared(video_thwc: np.ndarray) -> Tensor:
    """uint8 [T, H, W, 3] to float32 [16, 3, h, w] in [-1, 1], the short side 32 pixels."""
    at = np.linspace(0, len(video_thwc) - 1, FRAMES).round().astype(int)
    frames, place = np.unique(at, return_inverse=True)
    x = torch.from_numpy(np.ascontiguousarray(video_thwc[frames]))
    x = rearrange(x, "t h w c -> t c h w").float() / 127.5 - 1
    x = x if min(x.shape[-2:]) == SIDE else resized(x, SIDE)
    return x[torch.from_numpy(place)].contiguous()


def _convolved(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class What(nn.Module):
    """Videos [N, 16, 3, h, w] to [N, 96]: where one looks, the mean and the most of every channel, of a few frames."""

    def __init__(self) -> None:
        super().__init__()
        self.near = nn.Sequential(
            _convolved(3, 16, 5, 2),
            _convolved(16, 32, 3),
            _convolved(32, 48, 3),
            _convolved(48, WIDTH, 3, 2),
            _convolved(WIDTH, WIDTH, 3),
        )
        self.look = nn.Conv2d(WIDTH, 1, 1)
        self.out = nn.Sequential(nn.Linear(3 * WIDTH, 96), nn.ReLU())

    def forward(self, x_ntchw: Tensor) -> Tensor:
        n = len(x_ntchw)
        near = self.near(rearrange(x_ntchw[:, list(CLOSELY)], "n t c h w -> (n t) c h w"))
        flat = rearrange(near, "(n t) c h w -> n c (t h w)", n=n)
        where = rearrange(self.look(near), "(n t) 1 h w -> n 1 (t h w)", n=n).softmax(2)
        return self.out(torch.cat([(flat * where).sum(2), flat.mean(2), flat.amax(2)], 1))


class Goes(nn.Module):
    """Videos [N, 16, 3, h, w] to [N, 96]: positions, spreads and heights of points, and channels, as they change."""

    def __init__(self) -> None:
        super().__init__()
        self.far = nn.Sequential(_convolved(3, 16, 5, 2), _convolved(16, 24, 3, 2), _convolved(24, 24, 3))
        self.heat = nn.Conv2d(24, POINTS, 1)
        self.path = nn.Sequential(
            nn.Conv1d(5 * POINTS + 24, 48, 3, padding=1),
            nn.ReLU(),
            nn.Conv1d(48, 48, 3, padding=2, dilation=2),
            nn.ReLU(),
            nn.Conv1d(48, 48, 3, padding=4, dilation=4),
            nn.ReLU(),
        )
        self.out = nn.Sequential(nn.Linear(2 * 48, 96), nn.ReLU())

    def forward(self, x_ntchw: Tensor) -> Tensor:
        n = len(x_ntchw)
        far = self.far(rearrange(x_ntchw, "n t c h w -> (n t) c h w"))
        told = torch.cat([*self._points(self.heat(far)), reduce(far, "b c h w -> b c", "mean")], 1)
        told = rearrange(told, "(n t) c -> n c t", n=n)
        path = self.path(STRETCH * (told - told.mean(2, keepdim=True)))
        return self.out(torch.cat([path.mean(2), path.amax(2)], 1))

    def _points(self, heat: Tensor) -> list[Tensor]:
        """Of every point its place, its spread and its mean height, each [B, POINTS]; units of half a short side."""
        height, width = heat.shape[-2:]
        y, x = ((2 * torch.arange(side, device=heat.device) - side) / min(height, width) for side in (height, width))
        share = rearrange(heat, "b k h w -> b k (h w)").softmax(2)
        share = rearrange(share, "b k (h w) -> b k h w", h=height)
        across, down = share.sum(2), share.sum(3)
        at_x, at_y = (across * x).sum(2), (down * y).sum(2)
        spread = [(across * x.square()).sum(2) - at_x.square(), (down * y.square()).sum(2) - at_y.square()]
        return [at_x, at_y, *spread, reduce(heat, "b k h w -> b k", "mean")]


class AttributeNetwork(nn.Module):
    """Videos [N, 16, 3, h, w] to logits of every attribute, and the vector [N, 192] that they are read from."""

    def __init__(self) -> None:
        super().__init__()
        self.what, self.goes = What(), Goes()
        self.heads = nn.ModuleDict({name: nn.Linear(96, len(words)) for name, words in ATTRIBUTES.items()})

    def forward(self, x_ntchw: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Logits by attribute, each [N, words]; and the vector [N, 192]."""
        what, goes = self.what(x_ntchw), self.goes(x_ntchw)
        return self.said(what, STANDING) | self.said(goes, MOVING), torch.cat([what, goes], 1)

    def said(self, found: Tensor, attributes: Sequence[str]) -> dict[str, Tensor]:
        """Logits of some attributes."""
        return {name: self.heads[name](found) for name in attributes}


def loss(logits: Mapping[str, Tensor], words: Mapping[str, Tensor]) -> Tensor:
    """Sum over the attributes asked of the mean cross entropy; words [N] hold numbers."""
    each = [F.cross_entropy(found, words[name], label_smoothing=0.02) for name, found in logits.items()]
    return torch.stack(each).sum()
