"""video_dit beside diffusers' LatteTransformer3DModel and a plain factorised DiT: a training step and a sampling call.

    python -m benchmarks.peers.backbone [width=256] [depth=9] [heads=4] [batch=2] [frames=16] [side=16] [rounds=9]
                                        [threads=1] [compile=0] [bf16=0] [cuda=0]

`video_dit` has attention=space_time, conditioning=adaln and position=sincos_3d. Latte alternates whole spatial and
temporal blocks, two attentions and two MLPs a layer, where a block of ours has two attentions and one MLP: of three
blocks of ours, two of its layers have the multiply-adds, so depth divides by three. The plain DiT is written below:
ours without per-frame signals, masks or memory. Width, heads, tokens (2×2 patches) and precision are the same;
parameters and FLOPs, counted by PyTorch, are printed. A training step is forward, backward and fused AdamW; a sampling
call a forward pass without gradients. All take turns with one large matrix product, whose rate is the machine's peak
beside which shares stand; a ratio is the median over rounds of theirs / ours, with its quarters: above 1, ours is
faster. On a CPU our large float32 products go through oneDNN (components/dense.py); theirs and the peak's are MKL's,
which is some 10 % slower on AMD, so that shares of the peak are that much kinder to ours.
compile=1 adds video_dit with trainer.compile, bf16=1 video_dit under bfloat16 autocast. With cuda=1 all run on a GPU,
under bfloat16 autocast, as one trains there.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.peers import on_device
from benchmarks.peers.options import options_of
from components.contracts import Condition, Window
from components.sinusoid import sinusoid
from zoo import registry
from zoo.compiled import compile_regions
from zoo.errors import BadValue, UnmetNeed
from zoo.turns import in_turns

OPTIONS = {
    "width": 256,
    "depth": 9,
    "heads": 4,
    "batch": 2,
    "frames": 16,
    "side": 16,
    "rounds": 9,
    "threads": 1,
    "compile": 0,
    "bf16": 0,
    "cuda": 0,
}
CHANNELS = 4
PATCH = 2
PEAK_SIDE = {"cpu": 1536, "cuda": 8192}
"""Of the square matrices whose product shows what the machine can do."""


@dataclass(frozen=True)
class Entrant:
    """A network, and how it is called with latents [B, C, F, H, W]."""

    name: str
    network: nn.Module
    call: Callable[[Tensor], Tensor]
    autocast: bool = False


def ours(options: Mapping[str, int], label: str = "video_dit", **changes: Any) -> Entrant:
    """video_dit with random weights, its zero-initialised ones included."""
    torch.manual_seed(0)
    shape = {name: options[name] for name in ("width", "depth", "heads")}
    made = registry.build(
        "backbone",
        "video_dit",
        {**shape, "patch": (1, PATCH, PATCH)},
        channels=CHANNELS,
        action_dim=0,
        text_width=0,
        packing=registry.build("packing", "padding"),
        position=partial(registry.build, "position", "sincos_3d"),
        pose_encoding=partial(registry.build, "pose_encoding", "none"),
        attention=registry.build("attention", "space_time"),
        conditioning=partial(registry.build, "conditioning", "adaln"),
    )
    shape = options["batch"], options["frames"]
    slots = torch.arange(options["frames"]).float().expand(shape)
    window = Window(slots, torch.zeros(shape, dtype=torch.bool), torch.ones(shape, dtype=torch.bool))
    condition = Condition(torch.full(shape, 0.5))
    return Entrant(label, made, lambda z: made(z, window, condition), **changes)


def latte(options: Mapping[str, int]) -> Entrant:
    """diffusers' Latte without cross-attention; its caption is one token that nothing reads."""
    try:
        from diffusers.models.transformers.latte_transformer_3d import LatteTransformer3DModel
    except ImportError:
        raise UnmetNeed("this comparison needs diffusers: pip install 'spacetime-zoo[diffusers]'.") from None
    torch.manual_seed(0)
    make: Any = LatteTransformer3DModel
    made = make(
        num_attention_heads=options["heads"],
        attention_head_dim=options["width"] // options["heads"],
        in_channels=CHANNELS,
        num_layers=2 * options["depth"] // 3,
        attention_bias=True,
        sample_size=options["side"],
        patch_size=PATCH,
        activation_fn="gelu-approximate",
        norm_type="ada_norm_single",
        num_embeds_ada_norm=1000,
        norm_elementwise_affine=False,
        norm_eps=1e-6,
        caption_channels=8,
        video_length=options["frames"],
    )
    times, caption = torch.full((options["batch"],), 500), torch.zeros(options["batch"], 1, 8)
    return Entrant(
        "diffusers Latte",
        made,
        lambda z: made(z, times, encoder_hidden_states=caption, return_dict=False)[0],
    )


class _Plain(nn.Module):
    """A factorised DiT as one would write it down: space, time and MLP, each modulated by one vector a clip."""

    def __init__(self, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.width, self.heads = width, heads
        self.enter = nn.Linear(CHANNELS * PATCH**2, width)
        self.told = nn.Sequential(nn.Linear(256, width), nn.SiLU(), nn.Linear(width, width))

        def block() -> nn.ModuleDict:
            mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU("tanh"), nn.Linear(4 * width, width))
            inner = {name: nn.Linear(width, 3 * width) for name in ("space", "time")}
            outer = {f"{name}_out": nn.Linear(width, width) for name in ("space", "time")}
            return nn.ModuleDict({**inner, **outer, "mlp": mlp, "modulate": nn.Linear(width, 9 * width)})

        self.blocks = nn.ModuleList(block() for _ in range(depth))
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.head = nn.Linear(width, CHANNELS * PATCH**2)

    def attend(self, h: Tensor, block: Any, name: str) -> Tensor:
        q, k, v = rearrange(block[name](h), "b n (a k d) -> a b k n d", a=3, k=self.heads)
        return block[f"{name}_out"](rearrange(F.scaled_dot_product_attention(q, k, v), "b k n d -> b n (k d)"))

    def forward(self, z: Tensor) -> Tensor:
        clips, _, frames, height, _ = z.shape
        x = self.enter(rearrange(z, "b c f (h p) (w q) -> b f (h w) (p q c)", p=PATCH, q=PATCH))
        places = sinusoid(torch.arange(frames * x.shape[2]), self.width)
        x = x + rearrange(places, "(f s) d -> f s d", f=frames)
        c = self.told(sinusoid(torch.full((clips,), 500.0), 256))
        for block in self.blocks:
            parts: Any = rearrange(block["modulate"](F.silu(c)), "b (n d) -> n b 1 1 d", n=9)  # type: ignore[index]
            h = rearrange(self.norm(x) * (1 + parts[0]) + parts[1], "b f s d -> (b f) s d")
            x = x + parts[2] * rearrange(self.attend(h, block, "space"), "(b f) s d -> b f s d", b=clips)
            h = rearrange(self.norm(x) * (1 + parts[3]) + parts[4], "b f s d -> (b s) f d")
            x = x + parts[5] * rearrange(self.attend(h, block, "time"), "(b s) f d -> b f s d", b=clips)
            x = x + parts[8] * block["mlp"](self.norm(x) * (1 + parts[6]) + parts[7])  # type: ignore[index]
        sides = {"p": PATCH, "q": PATCH, "h": height // PATCH}
        return rearrange(self.head(self.norm(x)), "b f (h w) (p q c) -> b c f (h p) (w q)", **sides)


def plain(options: Mapping[str, int]) -> Entrant:
    """The plain factorised DiT."""
    torch.manual_seed(0)
    made = _Plain(options["width"], options["depth"], options["heads"])
    return Entrant("plain factorised DiT", made, made)


def entrants(options: Mapping[str, int]) -> list[Entrant]:
    """Ours first; variants of ours last."""
    found = [ours(options), latte(options), plain(options)]
    if options["compile"]:
        compiled = ours(options, "video_dit, compiled")
        compile_regions(compiled.network, True)
        found.append(compiled)
    if options["bf16"]:
        found.append(ours(options, "video_dit, bf16 autocast", autocast=True))
    for entrant in found:
        for parameter in entrant.network.parameters():  # zero-initialised gates would switch branches off
            torch.nn.init.normal_(parameter, std=0.02) if not parameter.any() else None
    return found


# ------------------------------------------------------------------------------------------------------- measuring


def calls(entrant: Entrant, z: Tensor) -> Mapping[str, Callable[[], object]]:
    """What is timed, by name."""
    optimiser = torch.optim.AdamW(list(entrant.network.parameters()), 1e-5, fused=True)

    def train() -> None:
        optimiser.zero_grad()
        with on_device.autocast(always=entrant.autocast):
            made = entrant.call(z)
        F.mse_loss(made.float(), z).backward()
        optimiser.step()

    def sample() -> Tensor:
        with torch.no_grad(), on_device.autocast(always=entrant.autocast):
            return entrant.call(z)

    return {"training step": train, "sampling call": sample}


def size(entrant: Entrant, z: Tensor) -> tuple[float, dict[str, float]]:
    """Parameters, and FLOPs of each call."""
    flops = {}
    for name, call in calls(entrant, z).items():
        with FlopCounterMode(display=False) as counter:
            call()
        flops[name] = counter.get_total_flops()
    return sum(p.numel() for p in entrant.network.parameters()), flops


def peak() -> tuple[Callable[[], object], float]:
    """One large product, and its FLOPs."""
    side = PEAK_SIDE[torch.get_default_device().type]
    a, b = torch.randn(2, side, side, dtype=on_device.dtype()).unbind()
    return lambda: a @ b, 2.0 * side**3


def compare(found: Sequence[Entrant], z: Tensor, rounds: int) -> dict[str, list[dict[str, Any]]]:
    """For each call, one line an entrant: milliseconds, quartiles of the ratio to ours, share of the peak."""
    flops = [size(entrant, z)[1] for entrant in found]
    lines: dict[str, list[dict[str, Any]]] = {}
    for name in flops[0]:
        product, work = peak()
        every = [product, *(calls(entrant, z)[name] for entrant in found)]
        top, *taken = in_turns(every, rounds, untimed=2)  # the first ones choose kernels, compile, fill the allocator
        rate = work / statistics.median(top)
        lines[name] = [
            {
                "ms": 1e3 * statistics.median(times),
                "ratio": statistics.quantiles(
                    [b / a for a, b in zip(taken[0], times, strict=True)], n=4, method="inclusive"
                ),
                "share": mine[name] / statistics.median(times) / rate,
                "gflop": mine[name] / 1e9,
                "peak": rate / 1e9,
            }
            for mine, times in zip(flops, taken, strict=True)
        ]
    return lines


def show(options: Mapping[str, int]) -> None:
    """Print the comparison."""
    torch.manual_seed(0)
    z = torch.randn(options["batch"], CHANNELS, options["frames"], options["side"], options["side"])
    found = entrants(options)
    kind = "bfloat16 autocast on a GPU" if options["cuda"] else f"float32, {torch.get_num_threads()} threads"
    print(f"{'×'.join(map(str, z.shape))} {kind}, {options['rounds']} rounds")
    for entrant in found:
        print(f"{entrant.name:28}{sum(p.numel() for p in entrant.network.parameters()) / 1e6:8.2f} M parameters")
    for name, lines in compare(found, z, options["rounds"]).items():
        print(f"{name}, matmul peak {lines[0]['peak']:.0f} GFLOP/s")
        for entrant, line in zip(found, lines, strict=True):
            low, middle, high = line["ratio"]
            print(
                f"  {entrant.name:28}{line['gflop']:8.2f} GFLOP{line['ms']:9.1f} ms{line['share']:7.2f} of peak"
                f"   {middle:.2f} ({low:.2f} to {high:.2f}) of ours",
                flush=True,
            )


def main(arguments: Sequence[str]) -> None:
    """Read the arguments, option=N, and show."""
    options = options_of(arguments, OPTIONS)
    if options["depth"] % 3:
        raise BadValue(f"depth={options['depth']} has no Latte of as many FLOPs: choose a multiple of 3.")
    torch.set_num_threads(options["threads"])
    with on_device.device(options["cuda"]):
        show(options)


if __name__ == "__main__":
    main(sys.argv[1:])
