"""A small network of ours that reads the procedural videos: colour, shape, motion and background (train_attributes.py).

argmax of the softmax of each attribute. It is a judge that has seen every combination, in clips of seeds of its own.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.attribute_network import FRAMES, SIDE, AttributeNetwork, prepared
from components.shape_words import ATTRIBUTES
from zoo.component import Config, component
from zoo.errors import UserError

WEIGHTS = Path(__file__).with_suffix(".safetensors")
REMEMBERED = 20_000
"""Videos kept: the true ones are looked at once for all rows."""


@component(cite="finn2016spatial", note="reads colour, shape, motion and background of procedural videos; our weights")
class Attributes:
    """Which words the network finds for a video; or, for Fréchet distances, the vector that it finds them from."""

    result_name = "fd_attributes"
    ddof = 1

    class Config(Config):
        """Nothing to choose."""

    def __init__(self, config: Attributes.Config) -> None:
        self.config = config
        self.seen: OrderedDict[bytes, dict[str, str]] = OrderedDict()

    @cached_property
    def digest(self) -> str:
        """First 12 hex digits of the weights' sha256."""
        return hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()[:12]

    @cached_property
    def network(self) -> AttributeNetwork:
        """The network with its weights. Raises UserError where their file is missing or another one's."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        network = AttributeNetwork()
        try:
            network.load_state_dict(load_file(WEIGHTS))
        except (OSError, SafetensorError, RuntimeError) as error:
            raise UserError(
                f"{WEIGHTS} does not hold the attribute network: restore it from the repository, or train it again by "
                "python -m benchmarks.train_attributes."
            ) from error
        return network.eval().requires_grad_(False).to("cuda" if torch.cuda.is_available() else "cpu")

    def facts(self) -> dict[str, str]:
        """Extractor, weights, input."""
        return {"extractor": "attributes", "weights": self.digest, "resize": f"bilinear:{SIDE}", "sampled": str(FRAMES)}

    @torch.inference_mode()
    def read(self, video_thwc: np.ndarray) -> dict[str, str]:
        """uint8 [T, H, W, 3] to the likeliest word of every attribute; T of 6 or more is what it was trained on."""
        pixels = np.ascontiguousarray(video_thwc)
        name = hashlib.blake2b(str(pixels.shape).encode() + pixels.tobytes(), digest_size=16).digest()
        if name not in self.seen:
            logits, _ = self.network(self._shown(pixels))
            self.seen[name] = {key: words[int(logits[key].argmax())] for key, words in ATTRIBUTES.items()}
            if len(self.seen) > REMEMBERED:
                self.seen.popitem(last=False)
        return self.seen[name]

    @torch.inference_mode()
    def embed(self, windows_nthwc: np.ndarray) -> Tensor:
        """uint8 [N, T, H, W, 3] to float32 [N, 192]."""
        return torch.cat([self.network(self._shown(window))[1] for window in windows_nthwc]).cpu()

    def _shown(self, video_thwc: np.ndarray) -> Tensor:
        return prepared(video_thwc)[None].to(next(self.network.parameters()).device)
