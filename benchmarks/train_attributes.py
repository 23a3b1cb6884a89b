"""Trains the network of benchmarks/feature/attributes.py and writes its weights: python -m benchmarks.train_attributes

It is a judge and no contestant: it is shown all combinations of colour, shape, motion and background, those too that
the shapes' training split never holds, in clips of seeds that no suite and no recipe uses. Clips are spoiled as models
spoil them (blurred, coarsened, noisy, smeared in time, cut short), so that it reads what they made. Four minutes of
one CPU thread; the same machine writes the same weights. Accuracy on new clips is printed before the file is written.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from benchmarks.attribute_network import FRAMES, AttributeNetwork, loss, prepared
from components.shape_words import ATTRIBUTES, attributes_of
from zoo import registry

SEED, NEW_SEED = 771_001, 771_002
"""Of the clips to train on, and of those to report on."""
SIZES = [(32, 32), (32, 48), (48, 32), (24, 64), (64, 24), (40, 40), (48, 48)]
WEIGHTS = Path(__file__).parent / "feature" / "attributes.safetensors"
BATCH, STEPS, RATE = 48, 440, 4e-3


def clips(count: int, seed: int, batch: int, rng: np.random.Generator) -> Iterator[tuple[list[np.ndarray], list[str]]]:
    """Batches of one size: videos and captions, every combination as often as it comes."""
    for number in range(count // batch):
        options = {"sizes": [SIZES[number % len(SIZES)]], "seed": seed + 1000 * number, "validation": 0}
        trained = int(rng.binomial(batch, 0.8))
        world = registry.build("dataset", "moving_shapes", {**options, "train": trained, "test": batch - trained})
        shown = [world.clip("train", i) for i in range(trained)] + [
            world.clip("test", i) for i in range(batch - trained)
        ]
        yield [clip.frames for clip in shown], [str(clip.caption) for clip in shown]


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
    noise = torch.randn(x_ntchw.shape, generator=draw) * 0.3 * torch.rand(n, 1, 1, 1, 1, generator=draw)
    return (x_ntchw + some() * flicker + some() * noise).clamp(-1, 1)


def batch_of(videos: Sequence[np.ndarray], rng: np.random.Generator | None, draw: torch.Generator | None) -> Tensor:
    """float32 [N, 16, 3, h, w]; spoiled where there is something to draw from."""
    cut = videos if rng is None else [cut_short(video, rng) for video in videos]
    x_ntchw = torch.stack([prepared(video) for video in cut])
    return x_ntchw if draw is None else spoiled(x_ntchw, draw)


def train(steps: int = STEPS) -> AttributeNetwork:
    """The network after `steps` batches of new clips; prints its loss now and then."""
    torch.manual_seed(SEED)
    rng, draw = np.random.default_rng(SEED), torch.Generator().manual_seed(SEED)
    network = AttributeNetwork()
    optimiser = torch.optim.AdamW(network.parameters(), RATE, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps, pct_start=0.15)
    began, running = perf_counter(), 0.0
    for step, (videos, captions) in enumerate(clips(steps * BATCH, SEED, BATCH, rng), start=1):
        found = loss(network(batch_of(videos, rng, draw))[0], numbers(captions))
        optimiser.zero_grad()
        found.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        running += 0.05 * (float(found) - running) if step > 1 else float(found)
        if step % 50 == 0:
            print(f"step {step:4}  loss {running:.3f}  {perf_counter() - began:4.0f} s", flush=True)
    return network.eval()


@torch.inference_mode()
def accuracy(network: AttributeNetwork, count: int = 1008, *, fault: bool = False) -> dict[str, float]:
    """Share of new clips read right, by attribute and ``all``."""
    rng, draw = np.random.default_rng(NEW_SEED), torch.Generator().manual_seed(NEW_SEED) if fault else None
    right = []
    for videos, captions in clips(count, NEW_SEED, BATCH, rng):
        logits, _ = network(batch_of(videos, rng if fault else None, draw))
        words = numbers(captions)
        right.append(torch.stack([logits[name].argmax(1) == words[name] for name in ATTRIBUTES], 1))
    each = torch.cat(right).float()
    return {**dict(zip(ATTRIBUTES, each.mean(0).tolist(), strict=True)), "all": float(each.amin(1).mean())}


def main(arguments: Sequence[str]) -> None:
    """``steps=N`` for a shorter run, ``out=FILE`` for another place."""
    from safetensors.torch import save_file

    options = dict(argument.split("=", 1) for argument in arguments)
    torch.set_num_threads(1)
    network = train(int(options.get("steps", STEPS)))
    for fault in (False, True):
        figures = ", ".join(f"{name} {share:.1%}" for name, share in accuracy(network, fault=fault).items())
        print(f"new clips, {'spoiled' if fault else 'clean'}: {figures}")
    out = Path(options.get("out", WEIGHTS))
    save_file({name: tensor.half() if tensor.is_floating_point() else tensor
               for name, tensor in network.state_dict().items()}, out)  # fmt: skip
    print(f"{sum(p.numel() for p in network.parameters())} parameters, {out.stat().st_size} bytes in {out}")


if __name__ == "__main__":
    main(sys.argv[1:])
