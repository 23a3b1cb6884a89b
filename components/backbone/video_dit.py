from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from einops import rearrange
from pydantic import Field, field_validator, model_validator
from torch import nn

from components.attention_sublayer import AttentionSublayer, Sight, pose_bias
from components.contracts import Attention, Condition, Memory, Packing, Tokens, Window
from components.dense import dense, dense_gelu
from components.frame_runs import join_memories
from components.frame_signal import FrameSignal
from components.patches import from_patches, to_patches
from components.raster_frame import RasterFrame
from components.size_options import PRESETS, Shape, ShapeRule, SizeOptions
from components.token_rows import add_gated, kept_columns, per_token, put_back
from components.tubelets import tubelets
from zoo.component import component

if TYPE_CHECKING:
    from torch import Tensor

KeysValues = Mapping[str, "tuple[Tensor, Tensor]"]


class _Block(nn.Module):
    """The attention sublayers in order, then the MLP; each modulated, gated and residual."""

    def __init__(self, config: VideoDiT.Config, attention: Attention, conditioning: Any) -> None:
        super().__init__()
        modulator = conditioning.modulator
        width, hidden = config.width, int(config.mlp_ratio * config.width)
        self.attentions = nn.ModuleList(
            AttentionSublayer(name, width, config.heads, config.qk_norm, modulator()) for name in attention.sublayers
        )
        self.reader = conditioning.reader()
        self.modulator = modulator()
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(approximate="tanh"), nn.Linear(hidden, width))
        for layer in (self.mlp[0], self.mlp[2]):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self, x: Tensor, sight: Sight, past: KeysValues, bias: Tensor | None
    ) -> tuple[Tensor, dict[str, tuple[Tensor, Tensor]]]:
        """Tokens [R, L, D] to the same shape, and the keys and values of the sublayers in which frames meet."""
        kept = {}
        for sublayer in self.attentions:
            crosses = sublayer.name in sight.attention.crossing
            x, keys_values = sublayer(x, sight, past.get(sublayer.name), bias if crosses else None)
            if crosses:
                kept[sublayer.name] = keys_values
        x = x if self.reader is None else self.reader(x, sight.told, sight.tokens)
        h, gate = self.modulator(x, sight.signal, sight.tokens)
        return add_gated(x, self._mlp(h), gate, sight.tokens), kept

    def _mlp(self, h: Tensor) -> Tensor:
        enter, _, leave = self.mlp
        return dense(dense_gelu(h, enter.weight, enter.bias), leave.weight, leave.bias)

    def next_token(self, x: Tensor, sight: Sight, frame: RasterFrame, number: int) -> Tensor:
        """One token of every clip, x [B, 1, D], to the same shape; the frame keeps its keys and values."""
        past, earlier = frame.past(number), frame.earlier[number]
        for sublayer in self.attentions:
            name = sublayer.name
            bias = frame.biases[number] if frame.biases is not None and name in sight.attention.crossing else None
            x, earlier[name] = sublayer.next_token(x, sight, past.get(name), earlier.get(name), bias)
        x = x if self.reader is None else self.reader(x, sight.told, sight.tokens)
        h, gate = self.modulator(x, sight.signal, sight.tokens)
        return add_gated(x, self._mlp(h), gate, sight.tokens)


@component(
    cite="peebles2023dit,ma2024latte",
    note="diffusion transformer over spacetime patches, or tokens",
    gives={"raster", "dropping"},
)
class VideoDiT(nn.Module):
    """DiT over video patches [Peebles 2023; Latte, Ma 2024]: x += gate · attention(…) per sublayer, x += gate · MLP(…).

    Departs from them: noise level, action and pose are per frame; a channel of the input marks the observed frames;
    observed frames look only at each other, so their keys and values can be cached.
    """

    class Config(SizeOptions):
        DEFAULT: ClassVar[Shape] = Shape(192, 8, 4)

        width: int | None = Field(
            None, ge=8, le=8192, description="channels of a token, a multiple of heads and of 2; null is 192"
        )
        depth: int | None = Field(None, ge=1, le=128, description="blocks; null is 8")
        heads: int | None = Field(None, ge=1, le=128, description="attention heads; null is 4")
        patch: tuple[int, int, int] | None = Field(
            None, description="latent frames, rows and columns of a patch; null is 1×2×2, and 1×1×1 for tokens"
        )
        mlp_ratio: float = Field(4.0, gt=0, le=16, description="hidden width of the MLP over width")
        qk_norm: bool = Field(
            False, description="RMS-normalise queries and keys of each head: steadier in wide bf16 models, 9 % slower"
        )

        @field_validator("patch")
        @classmethod
        def _positive(cls, patch: tuple[int, int, int] | None) -> tuple[int, int, int] | None:
            if patch is not None and min(patch) < 1:
                raise ValueError("the sides of a patch are at least 1")
            return patch

        @model_validator(mode="after")
        def _divides(self) -> VideoDiT.Config:
            self._divided()
            return self

    shape_rule = ShapeRule(aspect=22, growth=1 / 60, head=32, wide_head=64)  # DiT: 32 at S, 41 at XL
    """DiT's presets have a width of 32 to 64 times their depth, and heads of 64 channels."""
    presets = PRESETS

    def __init__(
        self,
        config: VideoDiT.Config,
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
        """`outputs`: channels of the prediction, where a patch is one token and they are not those of z."""
        super().__init__()
        config = config.whole()
        self.config, self.packing, self.attention = config, packing, attention
        self.span, *sides = config.patch or ((1, 2, 2) if outputs is None else (1, 1, 1))
        width, self.patch = config.width, (sides[0], sides[1])
        area = self.span * self.patch[0] * self.patch[1]
        self.enter = nn.Linear(area * (channels + 1), width)
        self.conditioning = conditioning(width=width, heads=config.heads, text_width=text_width)
        summed = 0 if self.conditioning.reads_text else text_width
        self.signal = FrameSignal(width=width, action_dim=action_dim, text_width=summed)
        self.position = position(width=width, heads=config.heads)
        self.pose_encoding = pose_encoding(width=width, heads=config.heads, depth=config.depth)
        self.blocks = nn.ModuleList(_Block(config, attention, self.conditioning) for _ in range(config.depth))
        self.last = self.conditioning.modulator()
        self.head = nn.Linear(width, area * (channels if outputs is None else outputs))
        # Xavier in the projections as in DiT; the head starts at zero, and so does each residual branch's gate.
        nn.init.xavier_uniform_(self.enter.weight)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    @property
    def grain(self) -> tuple[int, int, int]:
        """Latent frames, rows and columns of one token."""
        return (self.span, *self.patch)

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
        """
        groups = tubelets(window, self.span, each=not isinstance(z, torch.Tensor)) if self.span > 1 else None
        if groups is None:
            return self._predict(z, window, condition, memory)
        made = self._predict(groups.fold(z), groups.window(window), groups.condition(condition), memory)
        return groups.unfold(made, [clip.shape[1] for clip in z])

    def _predict(
        self, z: Sequence[Tensor] | Tensor, window: Window, condition: Condition, memory: Memory | None
    ) -> Sequence[Tensor] | Tensor:
        """As `forward`, of groups of frames where a patch spans several."""
        tokens = self.packing.pack(kept_columns(self._patches(z, window), window), window)
        x, signal, _ = self._run(tokens, window, condition, memory)
        h, _ = self.last(x, signal, tokens)
        patches = put_back(self.packing.unpack(replace(tokens, x=self.head(h))), window)
        clips = [
            from_patches(p, self.patch, *clip.shape[-2:]) * rearrange(valid[: p.shape[0]].to(p.dtype), "f -> f 1 1")
            for p, clip, valid in zip(patches, z, window.valid, strict=True)
        ]
        return torch.stack(clips) if isinstance(z, torch.Tensor) else clips

    def remember(
        self, z_observed: Tensor, window: Window, condition: Condition, memory: Memory | None = None
    ) -> Memory:
        """Keys and values of observed frames [B, C, Fo, H, W], Fo ≥ 1; window and condition are those frames' own.

        With `memory`, of that and of these frames, which see it: frames that raster decoding has made join so.
        """
        if self.span > 1:
            groups = tubelets(window, self.span, each=False)
            z_observed, window, condition = groups.fold(z_observed), groups.window(window), groups.condition(condition)
        tokens = self.packing.pack(self._patches(z_observed, window), window)
        *_, layers = self._run(tokens, window, condition, memory)
        own = Memory(tokens, window, condition, layers)
        return own if memory is None else join_memories(memory, own)

    def begin_frame(
        self, window: Window, condition: Condition, memory: Memory | None, size: tuple[int, int]
    ) -> RasterFrame:
        """See contracts.RasterBackbone; a patch is one token here."""
        signal = self.signal(window, condition, self.pose_encoding)
        layout = self.attention.layout_next(window, memory, size)  # type: ignore[attr-defined]
        biases = pose_bias(self.pose_encoding, condition, memory)
        return RasterFrame(window, condition, size, memory, signal, layout, biases, [{} for _ in self.blocks])

    def next_token(self, z_bc: Tensor, frame: RasterFrame) -> Tensor:
        """See contracts.RasterBackbone."""
        tokens = frame.tokens(torch.cat([z_bc, torch.zeros_like(z_bc[:, :1])], dim=1))  # the flag: not observed
        x = self._entered(tokens, frame.signal)
        sight = self._sight(tokens, frame.layout, frame.signal, frame.condition)
        for number, block in enumerate(self.blocks):
            x = block.next_token(x, sight, frame, number)
        frame.place += 1
        h, _ = self.last(x, frame.signal, tokens)
        return self.head(h)[:, 0]

    def regions(self) -> list[nn.Module]:
        """What torch.compile takes by itself: the blocks, which are all alike."""
        return list(self.blocks)

    def _patches(self, z: Sequence[Tensor] | Tensor, window: Window) -> list[Tensor]:
        """Per-clip [F, H, W, D]; the observed flag is one more channel before patches are cut. Groups have theirs."""
        if self.span > 1:
            return [to_patches(clip, self.patch) for clip in z]
        mark = window.observed.to(z[0].dtype)
        if isinstance(z, Sequence):
            flags = [
                rearrange(m[: clip.shape[1]], "f -> 1 f 1 1").expand(-1, -1, *clip.shape[-2:])
                for clip, m in zip(z, mark, strict=True)
            ]
            return [to_patches(torch.cat([clip, flag]), self.patch) for clip, flag in zip(z, flags, strict=True)]
        flag = rearrange(mark, "b f -> b 1 f 1 1").expand(-1, -1, -1, *z.shape[-2:])
        return list(to_patches(torch.cat([z, flag], dim=1), self.patch))

    def _run(
        self, tokens: Tokens, window: Window, condition: Condition, memory: Memory | None
    ) -> tuple[Tensor, Tensor, tuple[KeysValues, ...]]:
        """All blocks. Returns activations, per-frame signal, and per block what the crossing sublayers remember."""
        signal = self.signal(window, condition, self.pose_encoding)
        x = self._entered(tokens, signal)
        layout = self.attention.layout(tokens, window, memory)
        sight = self._sight(tokens, layout, signal, condition)
        biases, layers = pose_bias(self.pose_encoding, condition, memory), []
        for i, block in enumerate(self.blocks):
            past = memory.layers[i] if memory else {}
            x, kept = block(x, sight, past, None if biases is None else biases[i])
            layers.append(kept)
        return x, signal, tuple(layers)

    def _sight(self, tokens: Tokens, layout: Any, signal: Tensor, condition: Condition) -> Sight:
        """What all blocks read of one call, worked out once."""
        rotary = self.position.rotary(tokens.place, tokens.sides)
        return Sight(self.attention, tokens, layout, signal, rotary, self.conditioning.told(condition, tokens))

    def _entered(self, tokens: Tokens, signal: Tensor) -> Tensor:
        """Patches to activations [R, L, D] before the first block."""
        x = self.enter(tokens.x)
        place = self.position.embed(tokens.place, tokens.sides)
        x = x if place is None else x + place.to(x.dtype)
        return self.conditioning.enter(x, per_token(signal, tokens))
