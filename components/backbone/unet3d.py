from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from pydantic import Field, model_validator
from torch import nn

from components.attention_sublayer import AttentionSublayer, pose_bias
from components.contracts import Attention, Condition, Memory, Packing, Window
from components.feature_map_attention import Call, KeysValues, LevelEntry, MapAttention, map_tokens
from components.frame_convolution import FrameResBlock, FrameUpsample, frame_downsample, frame_norm
from components.frame_runs import rows_of
from components.frame_signal import FrameSignal
from components.size_options import Shape, ShapeRule, SizeOptions
from zoo.component import component

if TYPE_CHECKING:
    from torch import Tensor


class _Block(nn.Module):
    """A residual block within each frame, then attention where the resolution has it."""

    def __init__(self, residual: FrameResBlock, attend: MapAttention | None) -> None:
        super().__init__()
        self.residual = residual
        self.attend = attend

    def forward(self, x: Tensor, call: Call) -> Tensor:
        x = self.residual(x, call.per_frame)
        return x if self.attend is None else self.attend(x, call)


class _Down(nn.Module):
    """One resolution on the way down: every block leaves its output for the way up."""

    def __init__(self, step: nn.Module, entry: LevelEntry | None, blocks: Sequence[_Block]) -> None:
        super().__init__()
        self.step, self.entry, self.blocks = step, entry, nn.ModuleList(blocks)

    def forward(self, x: Tensor, call: Call, skips: list[Tensor]) -> Tensor:
        x = self.step(x)
        x = x if self.entry is None else self.entry(x, call)
        for block in self.blocks:
            x = block(x, call)
            skips.append(x)
        return x


class _Up(nn.Module):
    """The same resolution on the way up: every block takes what its mirror image left."""

    def __init__(self, blocks: Sequence[_Block], step: nn.Module) -> None:
        super().__init__()
        self.blocks, self.step = nn.ModuleList(blocks), step

    def forward(self, x: Tensor, call: Call, skips: list[Tensor]) -> Tensor:
        for block in self.blocks:
            x = block(torch.cat([x, skips.pop()], dim=1), call)
        return self.step(x)


@component(
    cite="ho2022video,ronneberger2015unet", note="U-Net that convolves within frames; attention alone crosses them"
)
class UNet3d(nn.Module):
    """Space-time factorised U-Net [Ho 2022]: per level, x = res(x, c) then x += attention(x); skips join down and up.

    Departs from it: no convolution and no normalisation spans frames, attention is the recipe's own policy, and the
    signal c is per frame, so that an observed frame is the same at every denoising step whatever its distance. Residual
    blocks are always scaled and shifted by c; the recipe's `conditioning` and `position` act on the feature map's
    positions as tokens, at each resolution with attention: when it is first entered, and before every sublayer.
    Clips of equal shape are computed together as regular rows, so the recipe's `packing` changes nothing here.
    """

    class Config(SizeOptions):
        DEFAULT: ClassVar[Shape] = Shape(64, 2, 4)

        width: int | None = Field(
            None, ge=8, le=4096, description="channels of the finest level, a multiple of heads and of 2; null is 64"
        )
        depth: int | None = Field(
            None, ge=1, le=16, description="residual blocks of a level, on the way down and again up; null is 2"
        )
        heads: int | None = Field(None, ge=1, le=128, description="attention heads, at every level; null is 4")
        multipliers: tuple[int, ...] = Field(
            (1, 2), min_length=1, max_length=8, description="channels of each level over width; each halves the sides"
        )
        attention_levels: tuple[int, ...] | Literal["all"] = Field(
            "all", description="levels with attention after each block, 0 the finest; the middle always has it"
        )
        qk_norm: bool = Field(True, description="RMS-normalise queries and keys of each head")

        @model_validator(mode="after")
        def _fits(self) -> UNet3d.Config:
            self._divided()
            if min(self.multipliers) < 1:
                raise ValueError("multipliers are at least 1")
            levels = self.attention_levels
            if levels != "all" and not set(levels) <= set(range(len(self.multipliers))):
                raise ValueError(f"attention_levels are of 0 to {len(self.multipliers) - 1}, one for each multiplier")
            return self

        @property
        def attends(self) -> tuple[bool, ...]:
            """Whether each level, finest first, has attention after its blocks."""
            levels = self.attention_levels
            return tuple(levels == "all" or level in levels for level in range(len(self.multipliers)))

    shape_rule = ShapeRule(aspect=48, head=16, wide_head=32, wide=192, deepest=16)
    """Channels of a head at the finest level; coarser ones have `multipliers` as many."""

    grain = (1, 1, 1)
    """Every place of a latent is a position of the finest feature map."""

    def __init__(
        self,
        config: UNet3d.Config,
        *,
        channels: int,
        action_dim: int,
        text_width: int,
        packing: Packing,
        position: Callable[..., Any],
        pose_encoding: Callable[..., Any],
        attention: Attention,
        conditioning: Callable[..., Any],
        outputs: int | None = None,
    ) -> None:
        """`outputs`: channels of the prediction, where they are not those of z."""
        super().__init__()
        config = config.whole()
        self.config, self.attention = config, attention
        self.widths = [config.width * multiplier for multiplier in config.multipliers]
        signal, count = 4 * config.width, 1 + 2 * config.depth * sum(config.attends)
        conditioning = partial(conditioning, text_width=text_width)
        self.pose_encoding = pose_encoding(width=signal, heads=config.heads, depth=count)
        entries = [
            LevelEntry(level, width, config.heads, signal, position, conditioning) if attends or level == last else None
            for last in [len(self.widths) - 1]
            for level, (width, attends) in enumerate(zip(self.widths, config.attends, strict=True))
        ]
        reads_text = any(entry is not None and entry.conditioning.reads_text for entry in entries)
        self.signal = FrameSignal(width=signal, action_dim=action_dim, text_width=0 if reads_text else text_width)
        self._build(nn.Conv2d(channels + 1, self.widths[0], 3, padding=1), signal, entries)
        self.norm = frame_norm(self.widths[0])
        self.head = nn.Conv2d(self.widths[0], channels if outputs is None else outputs, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def _build(self, enter: nn.Module, signal: int, entries: Sequence[LevelEntry | None]) -> None:
        """Down, middle and up, in the order in which they run: so are the attention blocks numbered."""
        config, widths, number = self.config, self.widths, itertools.count()

        def block(level: int, inputs: int, attends: bool) -> _Block:
            entry, attend = entries[level] if attends else None, None
            if entry is not None:
                options = {"heads": config.heads, "qk_norm": config.qk_norm, "attention": self.attention}
                attend = MapAttention(entry, next(number), **options)
            return _Block(FrameResBlock(inputs, widths[level], signal), attend)

        def blocks(level: int, inputs: int) -> list[_Block]:
            return [block(level, inputs, config.attends[level]) for _ in range(config.depth)]

        steps = [enter, *(frame_downsample(a, b) for a, b in itertools.pairwise(widths))]
        self.down = nn.ModuleList(
            _Down(step, entries[level], blocks(level, widths[level])) for level, step in enumerate(steps)
        )
        last = len(widths) - 1
        self.middle = nn.ModuleList(block(last, widths[last], attends) for attends in (True, False))
        grow = [nn.Identity(), *(FrameUpsample(b, a) for a, b in itertools.pairwise(widths))]
        self.up = nn.ModuleList(_Up(blocks(level, 2 * widths[level]), grow[level]) for level in range(last, -1, -1))

    def forward(
        self, z: Sequence[Tensor] | Tensor, window: Window, condition: Condition, memory: Memory | None = None
    ) -> Sequence[Tensor] | Tensor:
        """Noisy latents to a prediction of the same shapes.

        Args:
            z: [B, C, F, H, W], or clips [C, F_b, H_b, W_b] of mixed sizes; slot f of the window is frame f of the clip.
            window, condition: of exactly these frames, F being the longest clip's.
            memory: of the observed frames; z then holds the latent frames alone, all clips of one size.

        Returns:
            What z was, tensor or list; zero in the window's filler slots.

        Raises:
            ValueError: memory is given with clips of mixed sizes.
        """
        window = replace(window, columns=None)  # convolutions need whole frames: zoo/packing_pairings.py refuses others
        if isinstance(z, torch.Tensor):
            return self._run(z, window, condition, memory)[0]
        groups: dict[torch.Size, list[int]] = {}
        for b, clip in enumerate(z):
            groups.setdefault(clip.shape, []).append(b)
        if memory is not None and len(groups) > 1:
            raise ValueError("memory needs clips of one size; group clips of different sizes before sampling")
        made: dict[int, Tensor] = {}
        for shape, members in groups.items():
            own = rows_of(window, members, shape[1]), rows_of(condition, members, shape[1])
            out, _ = self._run(torch.stack([z[b] for b in members]), *own, memory)
            made.update(zip(members, out, strict=True))
        return [made[b] for b in range(len(z))]

    def remember(self, z_observed: Tensor, window: Window, condition: Condition) -> Memory:
        """Keys and values of observed frames [B, C, Fo, H, W], Fo ≥ 1; window and condition are those frames' own."""
        _, layers = self._run(z_observed, window, condition, None)
        height, width = (side + self._missing(side) for side in z_observed.shape[-2:])
        return Memory(map_tokens(window, (height, width)), window, condition, layers)

    def regions(self) -> list[nn.Module]:
        """What torch.compile takes by itself: residual blocks and attention sublayers."""
        return [module for module in self.modules() if isinstance(module, FrameResBlock | AttentionSublayer)]

    def _missing(self, side: int) -> int:
        """How many zeros make a side halve evenly through all levels."""
        return -side % 2 ** (len(self.widths) - 1)

    def _run(
        self, z: Tensor, window: Window, condition: Condition, memory: Memory | None
    ) -> tuple[Tensor, tuple[KeysValues, ...]]:
        """Clips of one size [B, C, F, H, W] to the prediction, and keys and values of each attention block."""
        biases = pose_bias(self.pose_encoding, condition, memory)
        signal = self.signal(window, condition, self.pose_encoding)
        call = Call(self.attention, window, memory, signal, condition, biases)
        flag = rearrange(window.observed.to(z.dtype), "b f -> b 1 f 1 1").expand(-1, -1, -1, *z.shape[-2:])
        x = rearrange(torch.cat([z, flag], dim=1), "b c f h w -> (b f) c h w")
        x = F.pad(x, (0, self._missing(z.shape[-1]), 0, self._missing(z.shape[-2])))
        skips: list[Tensor] = []
        for level in self.down:
            x = level(x, call, skips)
        for block in self.middle:
            x = block(x, call)
        for level in self.up:
            x = level(x, call, skips)
        x = self.head(F.silu(self.norm(x)))[..., : z.shape[-2], : z.shape[-1]]
        out = rearrange(x, "(b f) c h w -> b c f h w", b=z.shape[0])
        return out * rearrange(window.valid.to(out.dtype), "b f -> b 1 f 1 1"), tuple(call.kept)
