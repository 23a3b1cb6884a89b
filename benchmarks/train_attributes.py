"""Trains the network of benchmarks/feature/attributes.py and writes its weights: python -m benchmarks.train_attributes

It is a judge and no contestant: it is shown all combinations of colour, shape, motion and background, those too that
the shapes' training split never holds, in clips of seeds that no suite and no recipe uses. Clips are spoiled as models
spoil them (blurred, coarsened, noisy, smeared in time, cut short), so that it reads what they made. Three minutes of
one CPU thread; the same machine writes the same weights, however many workers draw clips. Accuracy on new clips is
printed before the file is written.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from benchmarks.attribute_network import FRAMES, MOVING, STANDING, AttributeNetwork, loss, prepared
from components.shape_words import ATTRIBUTES, attributes_of
from zoo import registry

SEED, NEW_SEED = 771_001, 771_002
"""Of the clips to train on, and of those to report on."""
SIZES = [(32, 32), (32, 48), (48, 32), (24, 64), (64, 24), (40, 40), (48, 48)]
WEIGHTS = Path(__file__).parent / "feature" / "attributes.safetensors"
BATCH, RATE = 48, 6e-3
STEPS = {"what": 360, "goes": 220}
ASKED = {"what": STANDING, "goes": MOVING}


def clips(number: int, seed: int) -> tuple[list[np.ndarray], list[str]]:
    """Batch `number`, of one size: videos and captions, every combination as often as it comes."""
    options = {"sizes": [SIZES[number % len(SIZES)]], "seed": seed + 1000 * number, "validation": 0}
    trained = int(np.random.default_rng([seed, number]).binomial(BATCH, 0.8))
    world = registry.build("dataset", "moving_shapes", {**options, "train": trained, "test": BATCH - trained})
    shown = [world.clip(split, i) for split in ("train", "test") for i in range(world.size(split))]
    return [clip.frames for clip in shown], [str(clip.caption) for clip in shown]


def numbers(captions: Sequence[str]) -> dict[str, Tensor]:
    """Word numbers [N] by attribute."""
    said = [attributes_of(caption) or {} for caption in captions]
    return {name: torch.tensor([words.index(s[name]) for s in said]) for name, words in ATTRIBUTES.items()}


def cut_short(video_thwc: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One in three clips loses its beginning, its end or both; at least 6 frames stay."""
    if rng.random() < 2 / 3:
        return video_thwc
    kept = int(rng.integers(6, len(video_thwc) + 1))
    first = int(rng.integers(0, len(video_thwc) - kept + 1))
    return video_thwc[first : first + kept]


def spoiled(x_ntchw: Tensor, draw: torch.Generator) -> Tensor:
    """Each fault by itself in about a third of the clips: coarse, blurred, smeared in time, tinted, noisy."""
    n, _, _, height, width = x_ntchw.shape

    def some(share: float = 0.35) -> Tensor:
        return (torch.rand(n, 1, 1, 1, 1, generator=draw) < share).float()

    flat = rearrange(x_ntchw, "n t c h w -> (n t) c h w")
    small = F.interpolate(flat, scale_factor=0.5, mode="area")
    coarse = F.interpolate(small, size=(height, width), mode="bilinear", align_corners=False)
    blurred = F.avg_pool2d(F.pad(flat, (1, 1, 1, 1), mode="replicate"), 3, 1)
    for other in (coarse, blurred):
        weight = some() * torch.rand(n, 1, 1, 1, 1, generator=draw)
        x_ntchw = torch.lerp(x_ntchw, rearrange(other, "(n t) c h w -> n t c h w", n=n), weight)
    neighbours = torch.cat([x_ntchw[:, :1], x_ntchw[:, :-1]], 1)
    x_ntchw = torch.lerp(x_ntchw, neighbours, some() * 0.5 * torch.rand(n, 1, 1, 1, 1, generator=draw))
    tint = 1 + 0.15 * torch.randn(n, 1, 3, 1, 1, generator=draw)
    shift = 0.1 * torch.randn(n, 1, 3, 1, 1, generator=draw)
    x_ntchw = torch.where(some() > 0, x_ntchw * tint + shift, x_ntchw)
    flicker = 0.08 * torch.randn(n, FRAMES, 3, 1, 1, generator=draw)
    x_ntchw = x_ntchw + some() * flicker
    noisy = some().flatten().nonzero().flatten()
    noise = torch.randn(len(noisy), *x_ntchw.shape[1:], generator=draw)
    x_ntchw[noisy] += noise * 0.3 * torch.rand(len(noisy), 1, 1, 1, 1, generator=draw)
    return x_ntchw.clamp(-1, 1)


@dataclass(frozen=True)
class Batches(Dataset):
    """Item n is [N, 16, 3, h, w] and the word numbers by attribute, a function of (seed, n) alone."""

    seed: int
    count: int
    fault: bool = True

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> tuple[Tensor, dict[str, Tensor]]:
        videos, captions = clips(number, self.seed)
        rng, draw = np.random.default_rng([self.seed, number, 1]), torch.Generator().manual_seed(self.seed + number)
        x_ntchw = torch.stack([prepared(cut_short(video, rng) if self.fault else video) for video in videos])
        return spoiled(x_ntchw, draw) if self.fault else x_ntchw, numbers(captions)


def train(network: AttributeNetwork, part: str, workers: int = 0) -> None:
    """One of the two networks, on batches of new clips; prints its loss now and then."""
    trained, asked, steps = getattr(network, part), ASKED[part], STEPS[part]
    weights = [*trained.parameters(), *(weight for name in asked for weight in network.heads[name].parameters())]
    optimiser = torch.optim.AdamW(weights, RATE, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps, pct_start=0.15)
    began, running = perf_counter(), 0.0
    batches = DataLoader(Batches(SEED, steps), batch_size=None, num_workers=workers)
    for step, (x_ntchw, words) in enumerate(batches, start=1):
        found = loss(network.said(trained(x_ntchw), asked), words)
        optimiser.zero_grad()
        found.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        schedule.step()
        running += (0.05 if step > 1 else 1) * (float(found.detach()) - running)
        if step % 40 == 0:
            print(f"{part}: step {step:4}  loss {running:.3f}  {perf_counter() - began:4.0f} s", flush=True)


@torch.inference_mode()
def accuracy(network: AttributeNetwork, batches: int = 21, *, fault: bool = False) -> dict[str, float]:
    """Share of new clips read right, by attribute and ``all``; 48 clips a batch, all sizes in every seven batches."""
    right = []
    for x_ntchw, words in DataLoader(Batches(NEW_SEED, batches, fault), batch_size=None):
        logits, _ = network(x_ntchw)
        right.append(torch.stack([logits[name].argmax(1) == words[name] for name in ATTRIBUTES], 1))
    each = torch.cat(right).float()
    return {**dict(zip(ATTRIBUTES, each.mean(0).tolist(), strict=True)), "all": float(each.amin(1).mean())}


def main(arguments: Sequence[str]) -> None:
    """``out=FILE``: another place; ``parts=goes``: one of the two networks; ``workers=2``: clips are drawn beside."""
    from safetensors.torch import save_file

    options = dict(argument.split("=", 1) for argument in arguments)
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    network = AttributeNetwork()
    for part in options.get("parts", "what,goes").split(","):
        train(network, part, int(options.get("workers", 0)))
    network.eval()
    for fault in (False, True):
        figures = ", ".join(f"{name} {share:.1%}" for name, share in accuracy(network, fault=fault).items())
        print(f"new clips, {'spoiled' if fault else 'clean'}: {figures}")
    out = Path(options.get("out", WEIGHTS))
    save_file({name: tensor.half() if tensor.is_floating_point() else tensor
               for name, tensor in network.state_dict().items()}, out)  # fmt: skip
    print(f"{sum(p.numel() for p in network.parameters())} parameters, {out.stat().st_size} bytes in {out}")


if __name__ == "__main__":
    main(sys.argv[1:])
