"""The network that reads a video's attributes: which colour, shape, motion and background it shows.

Two looks at one stem: a few frames closely (what it is), all frames coarsely as points (where it goes). Points are
spatial softmaxes (Finn et al. 2016), so motion is read from paths of positions. Trained by benchmarks/train_attributes.
"""

from __future__ import annotations

from collections.abc import Mapping

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
CLOSELY = (0, 4, 7, 10, 15)
"""Of these frames it is asked what they show."""
POINTS, WIDTH = 8, 64
MOVING = ("motion",)


def prepared(video_thwc: np.ndarray) -> Tensor:
    """uint8 [T, H, W, 3] to float32 [16, 3, h, w] in [-1, 1], the short side 32 pixels."""
    at = np.linspace(0, len(video_thwc) - 1, FRAMES).round().astype(int)
    frames, place = np.unique(at, return_inverse=True)
    x = torch.from_numpy(np.ascontiguousarray(video_thwc[frames]))
    x = rearrange(x, "t h w c -> t c h w").float() / 127.5 - 1
    return resized(x, SIDE)[torch.from_numpy(place)].contiguous()


def _convolved(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class AttributeNetwork(nn.Module):
    """Videos [N, 16, 3, h, w] to logits of every attribute, and the vector [N, 192] that they are read from."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _convolved(3, 16, 5, 2)
        self.near = nn.Sequential(
            _convolved(16, 32, 3), _convolved(32, 48, 3), _convolved(48, WIDTH, 3, 2), _convolved(WIDTH, WIDTH, 3)
        )
        self.look = nn.Conv2d(WIDTH, 1, 1)
        self.far = nn.Sequential(_convolved(16, 24, 3, 2), _convolved(24, 24, 3))
        self.heat = nn.Conv2d(24, POINTS, 1)
        self.path = nn.Sequential(
            nn.Conv1d(5 * POINTS + 24, 48, 3, padding=1),
            nn.ReLU(),
            nn.Conv1d(48, 48, 3, padding=2, dilation=2),
            nn.ReLU(),
            nn.Conv1d(48, 48, 3, padding=4, dilation=4),
            nn.ReLU(),
        )
        self.what = nn.Sequential(nn.Linear(3 * WIDTH, 96), nn.ReLU())
        self.goes = nn.Sequential(nn.Linear(2 * 48, 96), nn.ReLU())
        self.heads = nn.ModuleDict({name: nn.Linear(96, len(words)) for name, words in ATTRIBUTES.items()})

    def forward(self, x_ntchw: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Logits by attribute, each [N, words]; and the vector [N, 192]."""
        n = len(x_ntchw)
        stem = self.stem(rearrange(x_ntchw, "n t c h w -> (n t) c h w"))
        what, goes = self._what(stem, n), self._goes(stem, n)
        logits = {name: head(goes if name in MOVING else what) for name, head in self.heads.items()}
        return logits, torch.cat([what, goes], 1)

    def _what(self, stem: Tensor, n: int) -> Tensor:
        """Where one looks, the mean and the most of every channel, over a few frames: [N, 96]."""
        some = rearrange(stem, "(n t) c h w -> n t c h w", n=n)[:, list(CLOSELY)]
        near = self.near(rearrange(some, "n t c h w -> (n t) c h w"))
        flat = rearrange(near, "(n t) c h w -> n c (t h w)", n=n)
        where = rearrange(self.look(near), "(n t) 1 h w -> n 1 (t h w)", n=n).softmax(2)
        return self.what(torch.cat([(flat * where).sum(2), flat.mean(2), flat.amax(2)], 1))

    def _goes(self, stem: Tensor, n: int) -> Tensor:
        """Positions, spreads and heights of points over time, and mean channels: [N, 96]."""
        far = self.far(stem)
        heat = self.heat(far)
        height, width = heat.shape[-2:]
        y = torch.arange(height, device=heat.device) / min(height, width) * 2 - height / min(height, width)
        x = torch.arange(width, device=heat.device) / min(height, width) * 2 - width / min(height, width)
        share = rearrange(rearrange(heat, "b k h w -> b k (h w)").softmax(2), "b k (h w) -> b k h w", h=height)
        across, down = share.sum(2), share.sum(3)
        middle = [(across * x).sum(2), (down * y).sum(2)]
        spread = [(across * x.square()).sum(2) - middle[0].square(), (down * y.square()).sum(2) - middle[1].square()]
        size = reduce(heat, "b k h w -> b k", "mean")
        told = torch.cat([*middle, *spread, size, reduce(far, "b c h w -> b c", "mean")], 1)
        path = self.path(rearrange(told, "(n t) c -> n c t", n=n))
        return self.goes(torch.cat([path.mean(2), path.amax(2)], 1))


def loss(logits: Mapping[str, Tensor], words: Mapping[str, Tensor]) -> Tensor:
    """Sum over attributes of the mean cross entropy; words [N] hold numbers."""
    return torch.stack([F.cross_entropy(logits[name], words[name], label_smoothing=0.05) for name in ATTRIBUTES]).sum()
