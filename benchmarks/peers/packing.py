"""Padded rows beside packed rows: one backbone, one batch of clips of mixed size and length, on this machine.

    python -m benchmarks.peers.packing [clips=24] [repeats=5] [threads=1]

Prints tokens in rows, share of filler, and milliseconds forward and forward + backward, each with its ratio to padding;
then attention alone: equal-length segments (ours) beside the dense mask over packed rows that NaViT code commonly uses.
Times are medians of repeats taken in turns, so that a busy machine slows all alike. The filler is the honest part: it
depends on sizes only. The clips' outputs are checked to be equal (1e-4) before anything is printed.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from einops import rearrange

from components.contracts import Condition, Window
from components.segments import attend_segments, by_clip
from zoo import registry

if TYPE_CHECKING:
    from torch import Tensor

WAYS = (("padding", {}), ("navit", {"fit": "next"}), ("navit", {"fit": "first_decreasing"}))


def clips_of(count: int) -> list[Tensor]:
    """Latents [4, F, H, W] of mixed lengths and aspect ratios: 1 to 16 frames, 4 to 32 latent pixels a side."""
    draw = torch.Generator().manual_seed(0)

    def pick(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=draw))

    return [torch.randn(4, pick(1, 16), 2 * pick(2, 8), 2 * pick(2, 8), generator=draw) for _ in range(count)]


def told_of(clips: Sequence[Tensor]) -> tuple[Window, Condition]:
    """A window in which the first half of each clip is observed."""
    lengths = torch.tensor([clip.shape[1] for clip in clips])[:, None]
    slots = torch.arange(int(lengths.max())).expand(len(clips), -1)
    valid, observed = slots < lengths, slots < lengths // 2
    return Window(slots.float(), observed, valid), Condition(torch.where(observed, 0.0, 0.5))


def backbone(way: tuple[str, dict[str, Any]]) -> Any:
    """The same small video_dit for every way of packing, its weights random."""
    torch.manual_seed(0)
    net = registry.build(
        "backbone",
        "video_dit",
        {"width": 96, "depth": 4, "heads": 4},
        channels=4,
        action_dim=0,
        text_width=0,
        packing=registry.build("packing", *way),
        position=partial(registry.build, "position", "learned_3d"),
        pose_encoding=partial(registry.build, "pose_encoding", "none"),
        attention=registry.build("attention", "full"),
        conditioning=partial(registry.build, "conditioning", "adaln"),
    )
    for parameter in net.parameters():  # zero-initialised gates would make every output equal
        torch.nn.init.normal_(parameter, std=0.1) if not parameter.any() else None
    return net


def in_turns(calls: Sequence[Callable[[], object]], repeats: int) -> list[float]:
    """Median milliseconds of each call; the calls take turns, after one untimed round."""
    taken: list[list[float]] = [[] for _ in calls]
    for round_ in range(repeats + 1):
        for times, call in zip(taken, calls, strict=True):
            begin = time.perf_counter()
            call()
            if round_:
                times.append(1e3 * (time.perf_counter() - begin))
    return [statistics.median(times) for times in taken]


def compare_backbones(clips: Sequence[Tensor], repeats: int) -> None:
    """Check that all ways agree, time them, and print a line for each."""
    window, condition = told_of(clips)
    nets = [backbone(way) for way in WAYS]
    with torch.no_grad():
        outputs = [net(clips, window, condition) for net in nets]
        for other in outputs[1:]:
            for a, b in zip(outputs[0], other, strict=True):
                torch.testing.assert_close(a, b, rtol=0, atol=1e-4)
        forward = in_turns([partial(net, clips, window, condition) for net in nets], repeats)

    def train(net: Any) -> None:
        torch.stack([out.square().mean() for out in net(clips, window, condition)]).mean().backward()

    both = in_turns([partial(train, net) for net in nets], repeats)
    print(f"{'rows':32}{'tokens':>8}{'filler':>8}{'forward':>12}{'ratio':>7}{'+ backward':>12}{'ratio':>7}")
    for i, (name, options) in enumerate(WAYS):
        tokens = nets[i].packing.pack(nets[i]._patches(clips, window), window)
        filler = float((tokens.clip < 0).float().mean())
        label = " ".join([name, *(f"{key}={value}" for key, value in options.items())])
        print(
            f"{label:32}{tokens.clip.numel():8}{filler:8.0%}{forward[i]:9.0f} ms{forward[i] / forward[0]:7.2f}"
            f"{both[i]:9.0f} ms{both[i] / both[0]:7.2f}"
        )


def compare_attention(clips: Sequence[Tensor], repeats: int) -> None:
    """One attention over packed rows, by segments and by a dense mask: equal, then timed."""
    packing = registry.build("packing", "navit")
    window, _ = told_of(clips)
    patches = [rearrange(clip, "c f (h ph) (w pw) -> f h w (c ph pw)", ph=2, pw=2) for clip in clips]
    tokens = packing.pack(patches, window)
    q, k, v = torch.randn(3, *tokens.clip.shape, 4, 24)
    same = rearrange((tokens.clip[:, :, None] == tokens.clip[:, None]), "r q k -> r 1 q k")
    segments = by_clip(tokens)

    def dense() -> Tensor:
        rows = (rearrange(a, "r l k d -> r k l d") for a in (q, k, v))
        return rearrange(F.scaled_dot_product_attention(*rows, attn_mask=same), "r k l d -> r l k d")

    def ours() -> Tensor:
        return attend_segments(q, k, v, segments)

    real = tokens.clip >= 0
    torch.testing.assert_close(dense()[real], ours()[real], rtol=0, atol=1e-5)
    slow, fast = in_turns([dense, ours], repeats)
    print(f"attention in packed rows: dense mask {slow:.1f} ms, segments {fast:.1f} ms, ratio {fast / slow:.2f}")


def main(arguments: Sequence[str]) -> None:
    """Both comparisons; arguments are clips=N, repeats=N and threads=N."""
    options = {"clips": 24, "repeats": 5, "threads": 1} | {
        k: int(v) for k, v in (word.split("=", 1) for word in arguments)
    }
    torch.set_num_threads(options["threads"])
    clips = clips_of(options["clips"])
    compare_backbones(clips, options["repeats"])
    compare_attention(clips, options["repeats"])


if __name__ == "__main__":
    main(sys.argv[1:])
