"""TECO: causal both ways, a state that matters, exact streams with a short history, DropLoss, both variants."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from components.contracts import AdversarialTokenizer, Latent, Quantised, Tokenizer
from components.quantizer.vq import VQ
from components.temporal_transformer import TemporalShape, TemporalState, WindowedAttention
from components.tokenizer.teco import TECO
from zoo.errors import BadValue

SMALL: dict[str, Any] = {
    "width": 8,
    "multipliers": (1, 2),
    "patch": 2,
    "state_width": 16,
    "state_heads": 2,
    "state_channels": 4,
    "history": 3,
}
VARIANTS = ("none", "vq")


class Nearest(nn.Module):
    """The plainest quantiser there is: the nearest of 32 codes, straight through, the same before and after a step."""

    channels, codes, factors = 5, 32, (32,)

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(self.codes, self.channels))

    def forward(self, raw_bcfhw: Tensor) -> Quantised:
        raw = raw_bcfhw.movedim(1, -1)
        indices = torch.cdist(raw.detach().reshape(-1, self.channels), self.table).argmin(dim=1).view(raw.shape[:-1])
        code = self.lookup(indices)
        far = (code - raw_bcfhw.detach()).square().mean() + 0.25 * (code.detach() - raw_bcfhw).square().mean()
        return Quantised(raw_bcfhw + (code - raw_bcfhw).detach(), indices, {"commitment": far})

    def lookup(self, indices_bfhw: Tensor) -> Tensor:
        return self.table[indices_bfhw].movedim(-1, 1)

    def unrounded(self, raw_bcfhw: Tensor) -> Tensor:
        return raw_bcfhw

    def nearest(self, z_bcfhw: Tensor) -> Tensor:
        return self(z_bcfhw).indices


def build(variant: str = "none", **options: Any) -> TECO:
    """Random weights and non-trivial statistics, so that nothing hides behind zeros and ones."""
    torch.manual_seed(0)
    config = TECO.Config(quantizer=variant, **{**SMALL, **options})
    tokenizer = TECO(config, quantizer=None if variant == "none" else Nearest())
    with torch.no_grad():
        tokenizer.first.copy_(torch.tensor([0.3, -0.2, 0.1]))
    tokenizer.statistics.mean.copy_(torch.linspace(-0.5, 0.5, tokenizer.channels))
    tokenizer.statistics.std.copy_(torch.linspace(0.5, 2.0, tokenizer.channels))
    return tokenizer


def video(frames: int, *, clips: int = 2, side: int = 16, seed: int = 1) -> Tensor:
    return torch.rand(clips, 3, frames, side, side, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def latents(frames: int, tokenizer: TECO, side: int = 4) -> Tensor:
    return torch.randn(2, tokenizer.channels, frames, side, side, generator=torch.Generator().manual_seed(2))


both = pytest.mark.parametrize("variant", VARIANTS)


@both
def test_shapes_kind_and_frame_counts(variant: str) -> None:
    for factor in (2, 4, 8, 16):
        tokenizer = build(variant, spatial_factor=factor)
        assert isinstance(tokenizer, Tokenizer) and isinstance(tokenizer, AdversarialTokenizer)
        for frames in (1, 3):
            x = video(frames, side=32)
            latent = tokenizer.encode(x)
            assert latent.z.shape == (2, tokenizer.channels, frames, 32 // factor, 32 // factor)
            assert tokenizer.decode(latent).shape == x.shape
        assert tokenizer.latent_frames(7) == tokenizer.video_frames(7) == 7 and tokenizer.last_frame(3) == 3
    assert tokenizer.kind == ("continuous" if variant == "none" else "discrete") and tokenizer.causal
    assert tokenizer.codes == (0 if variant == "none" else 32)


def test_codes_look_up_to_what_was_encoded() -> None:
    tokenizer = build("vq")
    latent = tokenizer.encode(video(3))
    assert latent.indices is not None and latent.indices.shape == (2, 3, 4, 4)
    torch.testing.assert_close(tokenizer.lookup(latent.indices), latent.z)
    assert latent.unquantised is not None and not torch.allclose(latent.unquantised, latent.z)


PAPER: dict[str, Any] = {"l2": True, "projection": 32, "ema": False}


@pytest.mark.parametrize("options", [{}, PAPER], ids=["plain", "paper"])
def test_the_zoos_own_vq_fits(options: dict[str, Any]) -> None:
    quantizer = VQ(VQ.Config(codes=16, channels=6, **options))
    tokenizer = TECO(TECO.Config(quantizer={"name": "vq", **options}, **SMALL), quantizer=quantizer)
    losses = tokenizer.training_losses(video(4), 0)
    losses["loss"].backward()
    assert losses["commitment"] > 0
    assert all(p.grad is not None and p.grad.any() for p in tokenizer.parameters())
    tokenizer.eval()
    latent = tokenizer.encode(video(4))
    assert latent.z.shape == (2, 6, 4, 4, 4) and latent.indices is not None
    torch.testing.assert_close(tokenizer.lookup(latent.indices), latent.z)
    assert tokenizer.decode(latent).shape == (2, 3, 4, 16, 16)


def test_default_size_and_history() -> None:
    tokenizer = TECO(TECO.Config())
    assert 0.7e6 < sum(p.numel() for p in tokenizer.parameters()) < 1.2e6
    assert tokenizer.training_latents == 8 and not tokenizer.needs_discriminator
    assert tokenizer.encode(video(1, clips=1, side=32)).z.shape == (1, 4, 1, 8, 8)


def test_the_papers_size_is_a_matter_of_options() -> None:
    with torch.device("meta"):
        tokenizer = TECO(
            TECO.Config(
                spatial_factor=8,
                width=256,
                multipliers=(1, 2),
                depth=4,
                state_stride=8,
                state_width=1024,
                state_layers=8,
                state_heads=16,
                state_channels=64,
                history=300,
                drop=0.9,
            ),
            quantizer=VQ(VQ.Config(codes=1024, channels=64, **PAPER)),
        )
        z = torch.zeros(1, 64, 2, 8, 8)
        assert tokenizer.temporal(z).shape == (1, 64, 2, 8, 8)
    assert 1.0e8 < sum(p.numel() for p in tokenizer.parameters()) < 1.8e8


@both
def test_a_latent_is_of_its_frame_and_the_one_before(variant: str) -> None:
    tokenizer, x = build(variant), video(5)
    before = tokenizer.encode(x)
    for frame in range(5):
        changed = x.clone()
        changed[:, :, frame] += 1
        after = tokenizer.encode(changed)
        pair = (after.unquantised, before.unquantised) if variant == "vq" else (after.z, before.z)
        moved = (pair[0] - pair[1]).abs().amax(dim=(0, 1, 3, 4)) > 1e-4  # type: ignore[operator]
        assert moved.tolist() == [f in (frame, frame + 1) for f in range(5)]


@pytest.mark.parametrize("layers", [1, 2])
def test_a_frame_is_of_its_own_latent_and_a_bounded_past(layers: int) -> None:
    tokenizer = build(state_layers=layers)
    reach = 1 + layers * (SMALL["history"] - 1)
    z = latents(9, tokenizer)
    before = tokenizer.decode(Latent(z, 4, 1))
    for frame in range(9):
        changed = z.clone()
        changed[:, :, frame] += 1
        moved = (tokenizer.decode(Latent(changed, 4, 1)) - before).abs().amax(dim=(0, 1, 3, 4))
        assert (moved > 1e-6).tolist() == [frame <= f <= frame + reach for f in range(9)]
        assert (moved[:frame] == 0).all() or moved[:frame].max() < 1e-6


def test_the_first_frame_is_not_mistaken_for_a_still() -> None:
    tokenizer = build()
    still = video(1).repeat(1, 1, 3, 1, 1)
    z = tokenizer.encode(still).z
    assert not torch.allclose(z[:, :, 0], z[:, :, 1], atol=1e-3)
    torch.testing.assert_close(z[:, :, 1], z[:, :, 2])


@both
@pytest.mark.parametrize("pieces", [(1,) * 11, (4, 7), (2, 1, 5, 3), (11,)])
def test_streams_equal_the_whole(variant: str, pieces: tuple[int, ...]) -> None:
    tokenizer, x = build(variant), video(11)
    whole = tokenizer.encode(x)
    parts = list(tokenizer.encode_stream(x.split(pieces, dim=2)))
    torch.testing.assert_close(torch.cat([part.z for part in parts], dim=2), whole.z, rtol=0, atol=1e-5)
    made = torch.cat(list(tokenizer.decode_stream(whole.z.split(pieces, dim=2))), dim=2)
    torch.testing.assert_close(made, tokenizer.decode(whole), rtol=0, atol=1e-5)


@pytest.mark.parametrize("history", [1, 2, 5, 40])
def test_streams_are_exact_for_every_history(history: int) -> None:
    tokenizer = build(history=history)
    z = latents(13, tokenizer)
    made = torch.cat(list(tokenizer.decode_stream(z.split((3, 1, 7, 2), dim=2))), dim=2)
    torch.testing.assert_close(made, tokenizer.decode(Latent(z, 4, 1)), rtol=0, atol=1e-5)


def test_a_stream_remembers_a_bounded_past() -> None:
    tokenizer, sizes = build(), []
    state: dict[Any, Any] = {}
    for chunk in latents(40, tokenizer).split(4, dim=2):
        tokenizer.synthesise(chunk, state)
        kept = [part for value in state.values() for part in (value if isinstance(value, tuple) else (value,))]
        sizes.append(sum(part.untyped_storage().nbytes() for part in kept))
    assert len(set(sizes)) == 1
    keys, _ = state[next(m for m in tokenizer.modules() if isinstance(m, WindowedAttention))]
    assert keys.shape[2] == SMALL["history"] - 1
    encoding: dict[Any, Any] = {}
    tokenizer.analyse(video(6), encoding)
    assert [value.shape for value in encoding.values()] == [(2, 3, 1, 16, 16)]


def test_windowed_attention_is_masked_attention() -> None:
    torch.manual_seed(0)
    attention, x = WindowedAttention(8, 2, history=3), torch.randn(1, 7, 2, 8)
    q, k, v = attention.qkv(x).view(1, 14, 3, 2, 4).permute(2, 0, 3, 1, 4)
    frame = torch.arange(7).repeat_interleave(2)
    age = frame[:, None] - frame[None, :]
    logits = q @ k.mT / 2 + attention.age_bias[:, age.clamp(0, 2)]
    weights = logits.masked_fill((age < 0) | (age > 2), float("-inf")).softmax(dim=-1)
    wanted = attention.out((weights @ v).permute(0, 2, 1, 3).reshape(1, 7, 2, 8))
    torch.testing.assert_close(attention(x), wanted)


def test_the_state_fits_any_size_of_frame() -> None:
    torch.manual_seed(0)
    state = TemporalState(TemporalShape(stride=4, width=16, layers=1, heads=2, history=2), 3, 5)
    z = torch.randn(2, 3, 4, 5, 9)
    assert state(z).shape == (2, 5, 4, 5, 9)
    changed = z.clone()
    changed[:, :, 1, 4, 8] += 1
    assert ((state(changed) - state(z))[:, :, 2].abs().amax(dim=(0, 1)) > 1e-6).all()


@both
def test_drop_loss_decodes_some_frames_and_its_choice_is_keyed(variant: str) -> None:
    tokenizer, x = build(variant, drop=0.75), video(8)
    decoded: list[int] = []

    def count(_: Any, inputs: Any, output: Any) -> None:
        clips, _, frames, *_ = inputs[0].shape
        decoded.append(clips * frames)

    hook = tokenizer.decoder.register_forward_hook(count)
    first, again, other = (tokenizer.autoencode(x, step) for step in (3, 3, 4))
    hook.remove()
    assert decoded == [2 * 2] * 3
    assert first.video.shape == first.target.shape == (2, 3, 2, 16, 16)
    torch.testing.assert_close(first.video, again.video, rtol=0, atol=0)
    torch.testing.assert_close(first.target, again.target, rtol=0, atol=0)
    assert not torch.equal(first.target, other.target)
    for clip in range(2):  # every target is a frame of its own clip, in order
        found = [
            [bool((x[clip, :, f] == first.target[clip, :, n]).all()) for f in range(8)].index(True) for n in (0, 1)
        ]
        assert found[0] < found[1]
    assert build(drop=0.99).autoencode(x, 0).video.shape[2] == 1
    assert build(drop=0.0).autoencode(x, 0).video.shape[2] == 8


def test_a_decoded_frame_in_training_is_the_frame_of_the_whole() -> None:
    tokenizer, x = build("vq", drop=0.5), video(8)
    made = tokenizer.autoencode(x, 5)
    raw = tokenizer.quantizer(tokenizer.analyse(x)).z
    whole = tokenizer.synthesise(raw)
    frames = tokenizer.decoded_frames(2, 8, torch.Generator().manual_seed(5))
    for clip in range(2):
        torch.testing.assert_close(made.video[clip], whole[clip, :, frames[clip]], rtol=0, atol=1e-5)
        torch.testing.assert_close(made.target[clip], x[clip, :, frames[clip]], rtol=0, atol=0)


def test_drop_loss_prefers_no_frame() -> None:
    tokenizer, counts = build(drop=0.75), torch.zeros(8)
    for step in range(500):
        chosen = tokenizer.decoded_frames(4, 8, torch.Generator().manual_seed(step))
        assert all(len(set(row)) == 2 for row in chosen.tolist())
        counts += torch.bincount(chosen.flatten(), minlength=8)
    expected, deviation = 500, (4 * 500 * 0.25 * 0.75) ** 0.5
    assert ((counts - expected).abs() < 4 * deviation).all()


@both
@pytest.mark.parametrize("drop", [0.0, 0.5])
def test_gradients_reach_every_parameter(variant: str, drop: float) -> None:
    tokenizer = build(variant, drop=drop)
    losses = tokenizer.training_losses(video(8), 0)
    losses["loss"].backward()
    assert {"loss", "reconstruction", "psnr"} <= set(losses)
    silent = [name for name, p in tokenizer.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []
    assert tokenizer.last_layer.grad is not None


@both
def test_state_dict_round_trip(variant: str) -> None:
    tokenizer, x = build(variant), video(4)
    tokenizer.fit_statistics([x])
    torch.manual_seed(9)
    other = TECO(tokenizer.config, quantizer=None if variant == "none" else Nearest())
    other.load_state_dict(tokenizer.state_dict())
    torch.testing.assert_close(other.encode(x).z, tokenizer.encode(x).z, rtol=0, atol=0)
    torch.testing.assert_close(other.decode(other.encode(x)), tokenizer.decode(tokenizer.encode(x)), rtol=0, atol=0)


def test_a_discriminator_judges_the_decoded_frames() -> None:
    tokenizer = build(adversarial=0.1, critic_width=4, critic_depth=1)
    assert tokenizer.needs_discriminator and not build().needs_discriminator
    made = tokenizer.autoencode(video(4), 0)
    tokenizer.discriminator()(made.video).mean().backward()
    assert tokenizer.last_layer.grad is not None and tokenizer.last_layer.grad.any()


def test_bfloat16_autocast_trains_and_streams() -> None:
    tokenizer = build()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = tokenizer.training_losses(video(4), 0)["loss"]
        z = tokenizer.encode(video(4)).z
        made = list(tokenizer.decode_stream(z.split((1, 3), dim=2)))
    loss.backward()
    assert torch.isfinite(loss) and loss.dtype == torch.float32
    assert [part.shape[2] for part in made] == [1, 3] and made[0].dtype == torch.float32


def test_bad_options_and_sizes_are_refused() -> None:
    for options in ({"patch": 4, "spatial_factor": 2}, {"state_width": 18}, {"state_heads": 3}, {"drop": 1.0}):
        with pytest.raises(ValidationError):
            TECO.Config(**{**SMALL, **options})
    with pytest.raises(BadValue, match="teco"):
        build().encode(video(2, side=18))


@pytest.mark.slow
@both
def test_four_clips_are_overfitted(variant: str) -> None:
    torch.manual_seed(0)
    tokenizer = TECO(TECO.Config(quantizer=variant), quantizer=VQ(VQ.Config()) if variant == "vq" else None)
    x = moving_squares()
    optimiser = torch.optim.AdamW(tokenizer.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=300, pct_start=0.1)
    began = time.perf_counter()
    for step in range(300):
        optimiser.zero_grad()
        tokenizer.training_losses(x, step)["loss"].backward()
        nn.utils.clip_grad_norm_(tokenizer.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    seconds = time.perf_counter() - began
    tokenizer.eval()
    with torch.no_grad():
        error = (tokenizer.decode(tokenizer.encode(x)) - x).square().mean()
    psnr = float(10 * torch.log10(4 / error))
    print(f"{variant}: {psnr:.1f} dB in {seconds:.0f} s")
    assert psnr >= 24


def moving_squares() -> Tensor:
    """Four clips of 8 frames: a square crosses a shaded ground."""
    ramp = torch.linspace(-0.8, 0.8, 32)
    x = torch.stack([ramp[:, None].expand(32, 32), ramp[None, :].expand(32, 32), ramp.flip(0).expand(32, 32)])
    clips = x.repeat(4, 8, 1, 1, 1).permute(0, 2, 1, 3, 4).clone()
    for clip in range(4):
        for frame in range(8):
            top, left = 4 + 5 * clip, 2 + (2 + clip) * frame % 24
            clips[clip, :, frame, top : top + 7, left : left + 7] = torch.tensor([0.9, -0.9, 0.5 - 0.4 * clip])[
                :, None, None
            ]
    return clips
