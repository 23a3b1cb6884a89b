"""A training step on clips of mixed sizes: packed rows beside padded ones, vit-pytorch's NaViT and what would be ideal.

    python -m benchmarks.peers.packing [clips=24] [frames=4] [width=128] [depth=4] [heads=4] [rounds=7] [threads=2]
                                       [cuda=0]

Clips of 4 to 16 patches a side, so 16 to 256 tokens a frame. The first table is of single frames, because NaViT packs
images: the same pictures, patches, width, depth, heads, MLP, QK-norm and number of outputs for all (ours has adaptive
layer norms besides, NaViT a pooling at the end). NaViT's rows hold 2048 tokens, its default, or those of one picture.
Our packed rows are one row of all tokens: attention stays inside clips, so its length costs nothing and nothing is
filler. The second table is of clips of 1 to `frames` frames, half of them observed. A step is forward, backward and
AdamW in float32; with cuda=1 it is taken on a GPU, everybody's under bfloat16 autocast, as one trains there. All calls
take turns, so that a busy machine slows all alike; times are medians and ratios are theirs.

ideal     ours on a regular batch, no filler and nothing to pack, of as many tokens and as much attention as the mixed
          batch: n = Σn²/Σn tokens a clip and Σn/n clips, its time scaled by what FLOPs rounding leaves. 1 is ideal.
peak      FLOPs of the clips by themselves (no filler, no masked pair) per second, over the best rate of torch.mm on
          matrices of the network's shapes in this run.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.peers import on_device
from components.contracts import Condition, Window
from zoo import registry
from zoo.errors import BadValue, UnmetNeed
from zoo.turns import in_turns

if TYPE_CHECKING:
    from torch import Tensor, nn

OPTIONS = {"clips": 24, "frames": 4, "width": 128, "depth": 4, "heads": 4, "rounds": 7, "threads": 2, "cuda": 0}
CHANNELS, PATCH, SIDES = 4, 2, (4, 16)
ROW = 2048
"""Tokens a row of vit-pytorch's NaViT, unless told otherwise."""
Size = tuple[int, int, int]


@dataclass(frozen=True)
class Entrant:
    """A network and its batch."""

    name: str
    network: nn.Module
    loss: Callable[[], Tensor]
    flops: float
    """Of one step on its clips by themselves."""


def sizes_of(count: int, frames: int) -> list[Size]:
    """(frames, rows, columns) in patches, drawn evenly."""
    draw = torch.Generator().manual_seed(0)

    def pick(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=draw, device="cpu"))

    return [(pick(1, frames), pick(*SIDES), pick(*SIDES)) for _ in range(count)]


def clips_of(sizes: Sequence[Size]) -> list[Tensor]:
    """Latents [C, F, H, W] of these sizes."""
    draw = torch.Generator().manual_seed(1)
    made = [torch.randn(CHANNELS, f, h * PATCH, w * PATCH, generator=draw, device="cpu") for f, h, w in sizes]
    return [clip.to(torch.get_default_device()) for clip in made]


def told_of(clips: Sequence[Tensor]) -> tuple[Window, Condition]:
    """A window in which the first half of each clip is observed."""
    lengths = torch.tensor([clip.shape[1] for clip in clips])[:, None]
    slots = torch.arange(int(lengths.max())).expand(len(clips), -1)
    valid, observed = slots < lengths, slots < lengths // 2
    return Window(slots.float(), observed, valid), Condition(torch.where(observed, 0.0, 0.5))


def equal_work(sizes: Sequence[Size], attention: str) -> list[Size]:
    """A regular batch of as many tokens and as much attention as these clips, as nearly as whole numbers come."""
    tokens = sum(f * h * w for f, h, w in sizes)
    frames = sum(f * f * h * w for f, h, w in sizes) / tokens
    if attention == "full":
        per_frame = sum((f * h * w) ** 2 for f, h, w in sizes) / tokens / frames
    else:
        per_frame = sum(f * (h * w) ** 2 for f, h, w in sizes) / tokens
    size = (max(1, round(frames)), 1, max(1, round(per_frame)))
    return [size] * max(1, round(tokens / (size[0] * size[2])))


# ---------------------------------------------------------------------------------------------------------- entrants


def ours(name: str, sizes: Sequence[Size], options: Mapping[str, int], packing: str, attention: str) -> Entrant:
    """video_dit with adaptive layer norms and learned positions; weights random, also those that begin at zero."""
    torch.manual_seed(0)
    tokens = sum(f * h * w for f, h, w in sizes)
    net = registry.build(
        "backbone",
        "video_dit",
        {name: options[name] for name in ("width", "depth", "heads")} | {"qk_norm": True},
        channels=CHANNELS,
        action_dim=0,
        text_width=0,
        packing=registry.build("packing", packing, {"budget": tokens} if packing == "navit" else {}),
        position=partial(registry.build, "position", "learned_3d"),
        pose_encoding=partial(registry.build, "pose_encoding", "none"),
        attention=registry.build("attention", attention),
        conditioning=partial(registry.build, "conditioning", "adaln"),
    )
    for parameter in net.parameters():  # zero-initialised gates would make every output equal
        torch.nn.init.normal_(parameter, std=0.02) if not parameter.any() else None

    def loss(clips: Sequence[Tensor]) -> Tensor:
        outputs = net(torch.stack(list(clips)) if len(set(sizes)) == 1 else clips, *told_of(clips))
        return torch.stack([out.square().mean() for out in outputs]).mean()

    clips = clips_of(sizes)
    return Entrant(name, net, partial(loss, clips), flops_alone(loss, clips))


def navit(name: str, sizes: Sequence[Size], options: Mapping[str, int], row: int | None) -> Entrant:
    """vit-pytorch's: a dense mask over rows of `row` tokens, or nested tensors where there are no rows."""
    try:
        from vit_pytorch import na_vit, na_vit_nested_tensor
    except ImportError:
        raise UnmetNeed("this comparison needs vit-pytorch: pip install 'spacetime-zoo[peers]'.") from None
    torch.manual_seed(0)
    shape: dict[str, Any] = {
        "image_size": SIDES[1] * PATCH,
        "patch_size": PATCH,
        "num_classes": CHANNELS * PATCH * PATCH,
        "dim": options["width"],
        "depth": options["depth"],
        "heads": options["heads"],
        "dim_head": options["width"] // options["heads"],
        "mlp_dim": 4 * options["width"],
        "channels": CHANNELS,
    }
    dense = na_vit.NaViT(**shape)
    net = dense if row else na_vit_nested_tensor.NaViT(**shape, token_dropout_prob=0.0)
    pictures = [clip[:, 0] for clip in clips_of(sizes)]
    grouped = {"group_images": True, "group_max_seq_len": row} if row else {}

    def alone(clips: Sequence[Tensor]) -> Tensor:
        return dense([list(clips)]).square().mean()

    return Entrant(name, net, lambda: net(pictures, **grouped).square().mean(), flops_alone(alone, pictures))


def flops_alone(loss: Callable[[Sequence[Tensor]], Tensor], clips: Sequence[Tensor]) -> float:
    """FLOPs forward and backward of clips one at a time, each size counted once; attention as its matrix products."""
    known: dict[tuple[int, ...], float] = {}
    for clip in clips:
        if tuple(clip.shape) not in known:
            with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
                loss([clip]).backward()
            known[tuple(clip.shape)] = counter.get_total_flops()
    return sum(known[tuple(clip.shape)] for clip in clips)


# --------------------------------------------------------------------------------------------------------- measuring


def step_of(entrant: Entrant) -> Callable[[], None]:
    """One training step."""
    optimiser = torch.optim.AdamW(entrant.network.parameters(), 1e-4)

    def step() -> None:
        optimiser.zero_grad()
        with on_device.autocast():
            loss = entrant.loss()
        loss.backward()
        optimiser.step()

    return step


def products(tokens: int, width: int) -> list[tuple[Callable[[], object], float]]:
    """torch.mm on an MLP's two shapes, and FLOPs of each."""
    dtype = on_device.dtype()
    x, y = torch.randn(tokens, width, dtype=dtype), torch.randn(tokens, 4 * width, dtype=dtype)
    inner, outer = torch.randn(width, 4 * width, dtype=dtype), torch.randn(4 * width, width, dtype=dtype)
    return [(lambda a=a, b=b: torch.mm(a, b), 8.0 * tokens * width * width) for a, b in ((x, inner), (y, outer))]


def compare(entrants: Sequence[Entrant], ideals: Sequence[Entrant], options: Mapping[str, int]) -> list[dict[str, Any]]:
    """A line for each entrant; `ideals[i]` is the regular batch for entrant i, where there is one for it."""
    tokens = sum(f * h * w for f, h, w in sizes_of(options["clips"], 1))
    shapes = products(tokens, options["width"])
    everyone = [*entrants, *ideals]
    taken = in_turns([*map(step_of, everyone), *(call for call, _ in shapes)], options["rounds"])
    times = [statistics.median(each) for each in taken]
    rates = [flops / taken for (_, flops), taken in zip(shapes, times[len(everyone) :], strict=True)]
    lines: list[dict[str, Any]] = []
    for i, entrant in enumerate(entrants):
        line = {"name": entrant.name, "ms": 1e3 * times[i], "ratio": times[i] / times[0]}
        line["peak"] = entrant.flops / times[i] / max(rates)
        if i < len(ideals):
            ideal = ideals[i]
            line["ideal"] = times[len(entrants) + i] * entrant.flops / ideal.flops / times[i]
            line["ideal_peak"] = ideal.flops / times[len(entrants) + i] / max(rates)
        lines.append(line | {"mm": max(rates)})
    return lines


def show(title: str, lines: Sequence[Mapping[str, Any]]) -> None:
    """One table."""
    print(f"{title}; torch.mm {lines[0]['mm'] / 1e9:.0f} GFLOP/s")
    print(f"{'':44}{'step':>10}{'time':>9}{'of ideal':>10}{'of peak':>9}{'(ideal)':>9}")
    for line in lines:
        said = f"{line['name']:44}{line['ms']:7.0f} ms{line['ratio']:8.2f}×"
        if "ideal" in line:
            print(f"{said}{line['ideal']:10.2f}{line['peak']:9.2f}{line['ideal_peak']:9.2f}")
        else:
            print(f"{said}{line['peak']:19.2f}")


def require_equal(entrants: Sequence[Entrant]) -> None:
    """Packed and padded are the same network: their losses agree to 1e-4 of themselves."""
    found = [float(entrant.loss().detach()) for entrant in entrants]
    if max(found) - min(found) > 1e-4 * abs(max(found)):
        raise AssertionError(f"packed and padded rows disagree: {found}")


def pictures(options: Mapping[str, int]) -> list[dict[str, Any]]:
    """Ours and vit-pytorch's on single frames."""
    sizes = sizes_of(options["clips"], 1)
    first = [ours("packing=navit attention=full", sizes, options, "navit", "full")]
    padded = ours("packing=padding attention=full", sizes, options, "padding", "full")
    require_equal([*first, padded])
    peers = [
        navit(f"vit-pytorch NaViT, dense mask, rows of {ROW}", sizes, options, ROW),
        navit(f"vit-pytorch NaViT, dense mask, rows of {SIDES[1] ** 2}", sizes, options, SIDES[1] ** 2),
        navit("vit-pytorch NaViT, nested tensors", sizes, options, None),
    ]
    ideal = ours("", equal_work(sizes, "full"), options, "padding", "full")
    return compare([*first, padded, *peers], [ideal], options)


def clips(options: Mapping[str, int], attention: str) -> list[dict[str, Any]]:
    """Ours on clips of several frames."""
    sizes = sizes_of(options["clips"], options["frames"])
    packed, padded = (
        ours(f"packing={name} attention={attention}", sizes, options, name, attention) for name in ("navit", "padding")
    )
    require_equal([packed, padded])
    return compare([packed, padded], [ours("", equal_work(sizes, attention), options, "padding", attention)], options)


def main(arguments: Sequence[str]) -> None:
    """All tables; arguments are OPTIONS."""
    options = dict(OPTIONS)
    for word in arguments:
        key, _, value = word.partition("=")
        if key not in options or not value.isdigit() or int(value) < (key != "cuda"):
            raise BadValue(f"'{word}' is not one of {', '.join(f'{k}={v}' for k, v in OPTIONS.items())}.")
        options[key] = int(value)
    torch.set_num_threads(options["threads"])
    with on_device.device(options["cuda"]):
        show(f"{options['clips']} single frames, 16 to 256 tokens", pictures(options))
        for attention in ("full", "space_time_causal"):
            show(f"{options['clips']} clips of 1 to {options['frames']} frames", clips(options, attention))


if __name__ == "__main__":
    main(sys.argv[1:])
