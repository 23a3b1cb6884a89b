"""Our tokenizers beside those of public libraries: a training step, and encoding + decoding, on this machine.

    python -m benchmarks.peers.tokenizers [batch=4] [frames=9] [side=32] [width=32] [rounds=9] [threads=2]

`vae` frame by frame beside diffusers' AutoencoderKL; `magvit2` beside the VideoTokenizer of magvit2-pytorch (both peers
are in the extra `peers`). Weights are random, inputs and precision (float32) the same; width, levels, strides and the
number of 3×3 convolutions are matched as nearly as each library lets one, and what remains is printed: parameters, and
multiply-adds of a training step. A step is forward, backward and AdamW of the tokenizer alone, on squared error
and its bottleneck's terms, without perceptual or adversarial ones. All calls take turns, so that a busy machine slows
all alike; a ratio is the median over rounds of ours / theirs, with the quarters of its spread: below 1, ours is faster.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.peers.options import options_of
from zoo import compose
from zoo.errors import UnmetNeed
from zoo.recipe import Part
from zoo.turns import in_turns

OPTIONS = {"batch": 4, "frames": 9, "side": 32, "width": 32, "rounds": 9, "threads": 2}
MULTIPLIERS = (1, 2, 4)
"""Of the width, level by level: two steps down, each halving the side; those of the video tokenizers halve time too."""
BITS = 10


@dataclass(frozen=True)
class Entrant:
    """A tokenizer, and what is asked of it."""

    name: str
    network: nn.Module
    loss: Callable[[Tensor], Tensor]
    round_trip: Callable[[Tensor], Tensor]
    """Encode and decode."""


def ours(name: str, label: str, **options: Any) -> Entrant:
    """A tokenizer of this zoo without perceptual and adversarial terms."""
    torch.manual_seed(0)
    shape = {"spatial_factor": 4, "patch": 1, "multipliers": MULTIPLIERS, "perceptual": 0.0, "adversarial": 0.0}
    made = compose.build_tokenizer(Part(name=name, options={**shape, **options}))
    return Entrant(label, made, lambda x: made.training_losses(x, 0)["loss"], lambda x: made.decode(made.encode(x)))


def autoencoder_kl(width: int) -> Entrant:
    """diffusers' KL-VAE without attention, on frames; one block a level, to which it adds two, and one a level back."""
    try:
        import diffusers
    except ImportError:
        raise _missing("diffusers") from None
    torch.manual_seed(0)
    make: Any = diffusers.AutoencoderKL  # type: ignore[attr-defined]  its own hints are of one level
    made: Any = make(
        down_block_types=("DownEncoderBlock2D",) * len(MULTIPLIERS),
        up_block_types=("UpDecoderBlock2D",) * len(MULTIPLIERS),
        block_out_channels=tuple(width * multiplier for multiplier in MULTIPLIERS),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        mid_block_add_attention=False,
    )

    def loss(video: Tensor) -> Tensor:
        frames = rearrange(video, "b c t h w -> (b t) c h w")
        posterior = made.encode(frames).latent_dist
        return F.mse_loss(made.decode(posterior.sample()).sample, frames) + 1e-6 * posterior.kl().mean()

    def round_trip(video: Tensor) -> Tensor:
        frames = rearrange(video, "b c t h w -> (b t) c h w")
        made_of = made.decode(made.encode(frames).latent_dist.mode()).sample
        return rearrange(made_of, "(b t) c h w -> b c t h w", b=video.shape[0])

    return Entrant("diffusers AutoencoderKL", made, loss, round_trip)


def video_tokenizer(width: int, side: int) -> Entrant:
    """magvit2-pytorch's; a residual unit of it has one 3×3×3 convolution, a block of ours two."""
    try:
        from magvit2_pytorch import VideoTokenizer
    except ImportError:
        raise _missing("magvit2-pytorch") from None
    torch.manual_seed(0)
    blocks = ("consecutive_residual", 2)
    layers: list[Any] = [blocks]
    for multiplier in MULTIPLIERS[1:]:
        layers += [("compress_space", width * multiplier), ("compress_time", width * multiplier), blocks]
    made = VideoTokenizer(
        image_size=side,
        init_dim=width,
        layers=tuple(layers),
        codebook_size=2**BITS,
        input_conv_kernel_size=(3, 3, 3),
        perceptual_loss_weight=0.0,
        use_gan=False,
    )
    del made.discr  # built whether wanted or not; it would only be counted

    def round_trip(video: Tensor) -> Tensor:
        codes, _, _ = made.encode(video, quantize=True)
        return made.decode(codes)

    return Entrant("magvit2-pytorch VideoTokenizer", made, lambda x: made(x, return_loss=True)[0], round_trip)


def _missing(package: str) -> UnmetNeed:
    return UnmetNeed(f"this comparison needs {package}: pip install 'spacetime-zoo[peers]'.")


def pairs(width: int, side: int) -> list[tuple[Entrant, Entrant]]:
    """(ours, theirs), matched."""
    return [
        (ours("vae", "vae, two blocks a level", width=width, depth=2), autoencoder_kl(width)),
        (
            ours("magvit2", "magvit2", width=width, depth=1, quantizer={"name": "lfq", "bits": BITS}),
            video_tokenizer(width, side),
        ),
    ]


# ------------------------------------------------------------------------------------------------------- measuring


def calls(entrant: Entrant, video: Tensor) -> Mapping[str, Callable[[], object]]:
    """What is timed, by name."""
    optimiser = torch.optim.AdamW(list(entrant.network.parameters()), 1e-4)

    def train() -> None:
        entrant.network.train()
        optimiser.zero_grad()
        entrant.loss(video).backward()
        optimiser.step()

    def rebuild() -> Tensor:
        entrant.network.eval()
        with torch.no_grad():
            return entrant.round_trip(video)

    return {"training step": train, "encode + decode": rebuild}


def compare(left: Entrant, right: Entrant, video: Tensor, rounds: int) -> dict[str, dict[str, Any]]:
    """For each call: median milliseconds of both, and quartiles of the ratio of each round."""
    both = [calls(left, video), calls(right, video)]
    for entrant, mine in zip((left, right), both, strict=True):
        shape = tuple(mine["encode + decode"]().shape)  # type: ignore[attr-defined]
        assert shape == tuple(video.shape), f"{entrant.name} made {shape}"
    found = {}
    for name in both[0]:
        taken = in_turns([mine[name] for mine in both], rounds, untimed=2)  # the first ones choose kernels
        ratios = [a / b for a, b in zip(*taken, strict=True)]
        found[name] = {
            "ms": tuple(1e3 * statistics.median(times) for times in taken),
            "ratio": statistics.quantiles(ratios, n=4, method="inclusive"),
        }
    return found


def size(entrant: Entrant, video: Tensor) -> tuple[float, float]:
    """Parameters in millions; multiply-adds of a training step in billions."""
    with FlopCounterMode(display=False) as counter:
        calls(entrant, video)["training step"]()
    return sum(p.numel() for p in entrant.network.parameters()) / 1e6, counter.get_total_flops() / 2e9


def main(arguments: Sequence[str]) -> None:
    """Print both comparisons; arguments are option=N."""
    options = options_of(arguments, OPTIONS)
    torch.set_num_threads(options["threads"])
    torch.manual_seed(0)
    side = options["side"]
    video = torch.rand(options["batch"], 3, options["frames"], side, side) * 2 - 1
    print(f"{'×'.join(map(str, video.shape))} float32, {torch.get_num_threads()} threads, {options['rounds']} rounds")
    for left, right in pairs(options["width"], side):
        for entrant in (left, right):
            parameters, work = size(entrant, video)
            print(f"{entrant.name:34}{parameters:6.2f} M parameters{work:9.2f} G multiply-adds a step")
        for name, found in compare(left, right, video, options["rounds"]).items():
            low, middle, high = found["ratio"]
            first, second = found["ms"]
            print(
                f"  {name:18}{first:8.1f} ms, theirs{second:8.1f} ms, ratio {middle:.2f} ({low:.2f} to {high:.2f})",
                flush=True,
            )


if __name__ == "__main__":
    main(sys.argv[1:])
