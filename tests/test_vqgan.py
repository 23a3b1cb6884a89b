"""vqgan: frames on their own, or inflated and causal; attention in each picture; codes trained by gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import Tensor, nn

from components.contracts import AdversarialTokenizer, DiscreteTokenizer, Latent
from components.dataset.moving_shapes import MovingShapes
from components.frame_attention import FrameAttention
from components.quantizer.lfq import LFQ
from components.quantizer.vq import VQ
from components.tokenizer.vqgan import VQGAN
from zoo.errors import BadValue

SMALL: dict[str, Any] = {"width": 8, "multipliers": (1, 2)}
TEMPORAL = (1, 2, 4)
temporals = pytest.mark.parametrize("temporal", TEMPORAL)


def build(temporal: int = 1, **options: Any) -> VQGAN:
    """Random weights and non-trivial statistics, so that nothing hides behind zeros and ones; in eval mode."""
    torch.manual_seed(0)
    config = VQGAN.Config(**{**SMALL, "temporal_factor": temporal, **options})
    made = VQGAN(config, quantizer=VQ(VQ.Config(codes=32, channels=4, ema=False)))
    nn.init.normal_(made.encoder.conv_out.weight, std=0.2)  # latents as far apart as codes are, so that many are used
    made.statistics.mean.copy_(torch.linspace(-0.5, 0.5, made.channels))
    made.statistics.std.copy_(torch.linspace(0.5, 2.0, made.channels))
    return made.eval()


def video(tokenizer: VQGAN, latents: int, *, clips: int = 2, size: tuple[int, int] = (16, 16)) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(clips, 3, tokenizer.video_frames(latents), *size, generator=generator) * 2 - 1


# --------------------------------------------------------------------------------------------------------- contract


@temporals
@pytest.mark.parametrize("spatial", [2, 4, 8, 16])
@pytest.mark.parametrize("options", [{}, {"patch": 1, "attention": False}], ids=str)
def test_round_trip_keeps_the_promised_shapes(spatial: int, temporal: int, options: dict[str, Any]) -> None:
    tokenizer = build(temporal, spatial_factor=spatial, **options)
    assert isinstance(tokenizer, DiscreteTokenizer) and isinstance(tokenizer, AdversarialTokenizer)
    assert (tokenizer.kind, tokenizer.causal, tokenizer.codes, tokenizer.factors) == ("discrete", True, 32, (32,))
    for latents in (1, 3):
        x = video(tokenizer, latents, clips=1, size=(16, 32))
        with torch.no_grad():
            latent = tokenizer.encode(x)
            assert tokenizer.decode(latent).shape == x.shape
        assert latent.z.shape == (1, 4, latents, 16 // spatial, 32 // spatial)
        assert latent.indices is not None and latent.indices.shape == (1, *latent.z.shape[2:])


def test_other_sizes_are_refused_in_one_sentence() -> None:
    tokenizer = build(4)
    with pytest.raises(BadValue, match="1 \\+ 4·n frames, not 8"):
        tokenizer.encode(torch.zeros(1, 3, 8, 16, 16))
    with pytest.raises(BadValue, match="spatial factor 4"):
        tokenizer.encode(torch.zeros(1, 3, 9, 16, 18))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"patch": 4, "spatial_factor": 2}, "patch 4 exceeds spatial_factor 2"),
        ({"multipliers": (1, 0)}, "1 or more"),
        ({"quantizer": "none"}, "the tokenizer vae has none"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        VQGAN.Config(**options)


@temporals
def test_codes_are_those_of_their_indices_and_there_are_many(temporal: int) -> None:
    tokenizer = build(temporal)
    with torch.no_grad():
        latent = tokenizer.encode(video(tokenizer, 4))
        assert latent.indices is not None and latent.unquantised is not None
        assert int(latent.indices.min()) >= 0 and int(latent.indices.max()) < tokenizer.codes
        assert len(latent.indices.unique()) > 8
        torch.testing.assert_close(tokenizer.lookup(latent.indices), latent.z, rtol=0, atol=1e-6)
        assert torch.equal(tokenizer.quantise(latent.unquantised).indices, latent.indices)
        assert not torch.allclose(latent.unquantised, latent.z, atol=0.1)


def test_state_dict_gives_the_same_tokenizer_again() -> None:
    tokenizer, other = build(2), build(2)
    nn.init.normal_(next(other.parameters()))
    other.load_state_dict(tokenizer.state_dict())
    x = video(tokenizer, 2)
    with torch.no_grad():
        made, again = (one.decode(one.encode(x)) for one in (tokenizer, other))
    assert torch.equal(made, again)


# ------------------------------------------------------------------------------------------------------------- time


def test_frames_are_on_their_own_without_a_temporal_factor() -> None:
    tokenizer = build()
    x = video(tokenizer, 4)
    with torch.no_grad():
        whole, made = tokenizer.encode(x), tokenizer.decode(tokenizer.encode(x))
        for frame in range(4):
            alone = tokenizer.encode(x[:, :, frame : frame + 1])
            torch.testing.assert_close(alone.z, whole.z[:, :, frame : frame + 1], rtol=0, atol=1e-6)
            torch.testing.assert_close(tokenizer.decode(alone), made[:, :, frame : frame + 1], rtol=0, atol=1e-5)
        changed = x.clone()
        changed[:, :, 2] += 1
        after = tokenizer.encode(changed).unquantised
    assert after is not None and whole.unquantised is not None
    moved = (after - whole.unquantised).abs().amax(dim=(0, 1, 3, 4)) > 1e-5
    assert moved.tolist() == [False, False, True, False]


@pytest.mark.parametrize("temporal", [2, 4])
def test_nothing_is_seen_before_its_time(temporal: int) -> None:
    tokenizer = build(temporal)
    x = video(tokenizer, 4)
    with torch.no_grad():
        before = tokenizer.encode(x)
        made = tokenizer.decode(before)
        for latent in range(3):
            last = tokenizer.last_frame(latent)
            changed = x.clone()
            changed[:, :, last + 1 :] += 1
            after = tokenizer.encode(changed)
            assert after.unquantised is not None and before.unquantised is not None
            gap = (after.unquantised - before.unquantised).abs().amax(dim=(0, 1, 3, 4))
            assert gap[: latent + 1].max() < 1e-5 and gap[latent + 1] > 1e-3
            z = before.z.clone()
            z[:, :, latent + 1 :] += 1
            gap = (tokenizer.decode(Latent(z, 4, temporal)) - made).abs().amax(dim=(0, 1, 3, 4))
            assert gap[: last + 1].max() < 1e-5 and gap[last + 1] > 1e-4


@temporals
@pytest.mark.parametrize("pieces", [[1] * 6, [3, 3], [2, 1, 3]])
def test_streams_equal_the_whole(temporal: int, pieces: list[int]) -> None:
    tokenizer = build(temporal)
    x = video(tokenizer, 6)
    ends = np.cumsum(pieces)
    frames = np.diff([0, *(tokenizer.video_frames(int(end)) for end in ends)]).tolist()
    with torch.no_grad():
        whole = tokenizer.encode(x)
        made = tokenizer.decode(whole)
    streamed = list(tokenizer.encode_stream(x.split(frames, dim=2)))
    for name, axis in (("z", 2), ("unquantised", 2), ("indices", 1)):
        joined = torch.cat([getattr(latent, name) for latent in streamed], dim=axis)
        torch.testing.assert_close(joined, getattr(whole, name), rtol=0, atol=1e-5)
    parts = list(tokenizer.decode_stream(whole.z.split(pieces, dim=2)))
    assert [part.shape[2] for part in parts] == frames
    torch.testing.assert_close(torch.cat(parts, dim=2), made, rtol=0, atol=1e-5)


# ------------------------------------------------------------------------------------------------------- the network


def test_attention_meets_all_of_its_picture_and_no_other_picture() -> None:
    torch.manual_seed(0)
    attention, x = FrameAttention(8), torch.randn(2, 8, 3, 4, 5)
    changed = x.clone()
    changed[0, :4, 1, 0, 0] += 1  # part of the channels: the norm would take a shift of all of them away
    with torch.no_grad():
        moved = (attention(changed) - attention(x)).abs().amax(dim=1) > 1e-7
    assert bool(moved[0, 1].all()) and int(moved.sum()) == 4 * 5


def test_attention_is_that_of_the_paper() -> None:
    torch.manual_seed(0)
    attention, x = FrameAttention(8), torch.randn(2, 8, 1, 4, 5)
    tokens = F.group_norm(x[:, :, 0], 8, attention.norm.weight, attention.norm.bias).flatten(2).transpose(1, 2)
    q, k, v = attention.inner(tokens).chunk(3, dim=-1)
    seen = attention.outer((q @ k.transpose(1, 2) / 8**0.5).softmax(-1) @ v)
    expected = x + seen.transpose(1, 2).reshape(x.shape)
    torch.testing.assert_close(attention(x), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("attention", [True, False])
def test_attention_stands_next_to_the_codes_or_nowhere(attention: bool) -> None:
    tokenizer = build(attention=attention)
    expected = int(attention)
    for half, near in ((tokenizer.encoder, -2), (tokenizer.decoder, 1)):
        assert sum(isinstance(layer, FrameAttention) for layer in half.layers) == expected
        assert not attention or isinstance(half.layers[near], FrameAttention)


def test_the_papers_size_is_a_matter_of_options() -> None:
    options = {"spatial_factor": 16, "patch": 1, "width": 128, "multipliers": (1, 1, 2, 2, 4), "depth": 2}
    with torch.device("meta"):
        tokenizer = VQGAN(VQGAN.Config(**options), quantizer=VQ(VQ.Config(codes=1024, channels=256, ema=False)))
    assert tokenizer.encoder.conv_in.weight.shape == (128, 3, 1, 3, 3)
    assert tokenizer.encoder.conv_out.weight.shape[:2] == (256, 512)
    assert sum(parameter.numel() for parameter in tokenizer.parameters()) > 50e6


def test_default_size_is_about_a_million_parameters() -> None:
    tokenizer = VQGAN(VQGAN.Config(), quantizer=VQ(VQ.Config(ema=False)))
    assert 0.7e6 < sum(value.numel() for value in tokenizer.parameters()) < 1.2e6


# --------------------------------------------------------------------------------------------------------- training


@temporals
@pytest.mark.parametrize("kind", ["vq", "lfq"])
def test_gradients_reach_every_parameter(temporal: int, kind: str) -> None:
    torch.manual_seed(0)
    quantizer = VQ(VQ.Config(codes=32, channels=4, ema=False)) if kind == "vq" else LFQ(LFQ.Config())
    tokenizer = VQGAN(VQGAN.Config(**SMALL, temporal_factor=temporal), quantizer=quantizer)
    losses = tokenizer.training_losses(video(tokenizer, 3), 0)
    losses["loss"].backward()
    for name, parameter in tokenizer.named_parameters():
        assert parameter.grad is not None and bool((parameter.grad != 0).any()), name


def test_the_encoder_learns_through_the_codes_as_if_they_were_not_there() -> None:
    tokenizer = build().train()
    x = video(tokenizer, 2)
    chosen = tokenizer.quantizer(tokenizer.analyse(x))
    probe = torch.zeros_like(chosen.z, requires_grad=True)
    error = (tokenizer.synthesise(chosen.z + probe) - x).abs().mean()
    weight = tokenizer.encoder.conv_in.weight
    through, direct = torch.autograd.grad(error, [weight, probe])
    (expected,) = torch.autograd.grad(tokenizer.analyse(x), weight, grad_outputs=direct)
    torch.testing.assert_close(through, expected, rtol=1e-3, atol=1e-7)
    assert through.abs().max() > 0


def test_its_own_terms_are_those_of_the_paper() -> None:
    tokenizer = build().train()
    x = video(tokenizer, 2)
    made = tokenizer.autoencode(x, 0)
    assert set(made.terms) == {"reconstruction", "codebook", "commitment"} and made.indices is not None
    torch.testing.assert_close(made.terms["reconstruction"], (made.video - x).abs().mean())
    raw = tokenizer.analyse(x)
    # β stands on the term that pulls the encoder: the codebook's own term has no gradient to it.
    weight = tokenizer.encoder.conv_out.weight
    assert torch.autograd.grad(made.terms["codebook"], weight, allow_unused=True, retain_graph=True)[0] is None
    torch.testing.assert_close(made.terms["commitment"], 0.25 * made.terms["codebook"])
    assert bool(torch.autograd.grad(made.terms["commitment"], weight)[0].any()) and raw.dtype == torch.float32


def test_perceptual_and_adversarial_terms_are_asked_for_and_may_be_left_out() -> None:
    config = VQGAN.Config()
    assert (config.perceptual, config.adversarial, config.adaptive) == (1.0, 0.8, True)
    assert 0 < config.adversarial_start < 1
    assert not VQGAN.Config().quantizer["ema"]  # type: ignore[index, call-overload]
    assert not build(adversarial=0.0).needs_discriminator
    tokenizer = build()
    assert tokenizer.needs_discriminator and tokenizer.critic is tokenizer.config


@temporals
def test_the_discriminator_judges_its_videos_and_the_last_layer_makes_them(temporal: int) -> None:
    tokenizer = build(temporal, critic_width=4, critic_depth=2)
    x = video(tokenizer, 3, size=(32, 32))
    critic = tokenizer.discriminator()
    assert critic.space_time == (temporal > 1)
    made = tokenizer.autoencode(x, 0).video
    (grad,) = torch.autograd.grad(-critic(made).mean(), tokenizer.last_layer)
    assert grad.shape == tokenizer.last_layer.shape and bool(grad.any())
    assert tokenizer.last_layer.shape[0] == 3 * 4 * 4, "of the layer that gives pixels"


def test_bfloat16_autocast_keeps_latents_and_video_in_float32() -> None:
    tokenizer = build(2)
    x = video(tokenizer, 2)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        latent = tokenizer.encode(x)
        assert latent.z.dtype == torch.float32 and tokenizer.decode(latent).dtype == torch.float32


@pytest.mark.slow
@pytest.mark.parametrize("temporal", [1, 4])
def test_four_clips_can_be_learned_by_heart(temporal: int) -> None:
    torch.manual_seed(0)
    config = VQGAN.Config(temporal_factor=temporal, **({} if temporal == 1 else {"width": 48, "multipliers": (1, 1)}))
    tokenizer = VQGAN(config, quantizer=VQ(VQ.Config(ema=False)))
    shapes = MovingShapes(MovingShapes.Config(sizes=[(32, 32)]))
    frames = np.stack([shapes.clip("train", index).frames[:5] for index in range(4)])
    x = torch.from_numpy(frames).permute(0, 4, 1, 2, 3).float() / 127.5 - 1
    optimiser = torch.optim.AdamW(tokenizer.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=300, pct_start=0.1)
    for step in range(300):
        losses = tokenizer.training_losses(x, step)
        optimiser.zero_grad()
        losses["loss"].backward()
        optimiser.step()
        schedule.step()
    tokenizer.eval()
    with torch.no_grad():
        error = (tokenizer.decode(tokenizer.encode(x)).clamp(-1, 1) - x).square().mean()
    psnr = float(10 * torch.log10(4 / error))
    print(f"{psnr:.1f} dB")
    assert psnr >= 24
