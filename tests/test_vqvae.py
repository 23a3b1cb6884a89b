"""vqvae: clips that know nothing of each other, streams cut anywhere, axial attention, codes that can be learned."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from components.axial_attention import AxialAttention, Places
from components.clip_stream import in_clips
from components.contracts import DiscreteTokenizer, Latent
from components.dataset.moving_shapes import MovingShapes
from components.quantizer.fsq import FSQ
from components.quantizer.vq import VQ
from components.tokenizer.vqvae import VQVAE
from zoo.errors import BadValue

SMALL: dict[str, Any] = {"width": 16, "depth": 1, "clip": 8}


def build(**options: Any) -> VQVAE:
    """Random weights and non-trivial statistics, so that nothing hides behind zeros and ones; in eval mode."""
    torch.manual_seed(0)
    made = VQVAE(VQVAE.Config(**{**SMALL, **options}), quantizer=VQ(VQ.Config(codes=32, channels=4)))
    nn.init.normal_(made.encoder.layers[-1].weight)  # latents as far apart as codes are, so that many are used
    made.statistics.mean.copy_(torch.linspace(-0.5, 0.5, made.channels))
    made.statistics.std.copy_(torch.linspace(0.5, 2.0, made.channels))
    return made.eval()


def video(frames: int, *, clips: int = 2, size: tuple[int, int] = (16, 16)) -> Tensor:
    return torch.rand(clips, 3, frames, *size, generator=torch.Generator().manual_seed(1)) * 2 - 1


# --------------------------------------------------------------------------------------------------------- contract


@pytest.mark.parametrize("patch", [None, 1])
@pytest.mark.parametrize("temporal", [1, 2, 4])
@pytest.mark.parametrize("spatial", [2, 4, 8, 16])
def test_round_trip_keeps_the_promised_shapes(spatial: int, temporal: int, patch: int | None) -> None:
    tokenizer = build(spatial_factor=spatial, temporal_factor=temporal, patch=patch)
    assert isinstance(tokenizer, DiscreteTokenizer)
    assert (tokenizer.kind, tokenizer.causal, tokenizer.codes, tokenizer.factors) == ("discrete", False, 32, (32,))
    assert not tokenizer.needs_discriminator
    for latents in (1, 11):  # 11 latents are more than one clip
        x = video(tokenizer.video_frames(latents), clips=1, size=(16, 32))
        with torch.no_grad():
            latent = tokenizer.encode(x)
            assert tokenizer.decode(latent).shape == x.shape
        assert latent.z.shape == (1, 4, latents, 16 // spatial, 32 // spatial)
        assert latent.indices is not None and latent.indices.shape == (1, *latent.z.shape[2:])
        assert (latent.spatial_factor, latent.temporal_factor) == (spatial, temporal)


@pytest.mark.parametrize("temporal", [1, 2, 4])
def test_every_latent_covers_k_frames_the_first_too(temporal: int) -> None:
    tokenizer = build(temporal_factor=temporal)
    assert [tokenizer.video_frames(n) for n in (0, 1, 5)] == [0, temporal, 5 * temporal]
    assert tokenizer.latent_frames(5 * temporal + temporal - 1) == 5 and tokenizer.last_frame(0) == temporal - 1
    assert tokenizer.training_latents * temporal == tokenizer.config.clip


def test_other_sizes_are_refused_in_one_sentence() -> None:
    tokenizer = build()
    with pytest.raises(BadValue, match="4·n frames, not 9"):
        tokenizer.encode(video(9))
    with pytest.raises(BadValue, match="4·n frames, not 2"):
        list(tokenizer.encode_stream([video(9), video(9)]))  # eight, eight and a rest of two
    with pytest.raises(BadValue, match="spatial factor 4"):
        tokenizer.encode(video(8, size=(16, 18)))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"clip": 6}, "clip 6 is no multiple of temporal_factor 4"),
        ({"width": 48, "heads": 5}, "width 48 is no multiple of the 5 heads"),
        ({"quantizer": "none"}, "the tokenizer vae has none"),
        ({"quantizer": {"name": "none"}}, "the tokenizer vae has none"),
        ({"width": 40}, "multiple of 16"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        VQVAE.Config(**options)


def test_codes_are_those_of_their_indices_and_there_are_many() -> None:
    tokenizer = build()
    with torch.no_grad():
        latent = tokenizer.encode(video(24))
        assert latent.indices is not None and latent.unquantised is not None
        assert int(latent.indices.min()) >= 0 and int(latent.indices.max()) < tokenizer.codes
        assert len(latent.indices.unique()) > 8
        torch.testing.assert_close(tokenizer.lookup(latent.indices), latent.z, rtol=0, atol=1e-6)
        assert torch.equal(tokenizer.quantise(latent.unquantised).indices, latent.indices)
        assert not torch.allclose(latent.unquantised, latent.z, atol=0.1)


def test_state_dict_gives_the_same_tokenizer_again() -> None:
    tokenizer, other = build(), build()
    nn.init.normal_(next(other.parameters()))
    other.load_state_dict(tokenizer.state_dict())
    with torch.no_grad():
        made, again = (one.decode(one.encode(video(8))) for one in (tokenizer, other))
    assert torch.equal(made, again)


# ------------------------------------------------------------------------------------------------- clips and streams


def test_a_latent_depends_on_all_of_its_clip_and_on_nothing_else() -> None:
    tokenizer, x = build(), video(20)  # clips of 8, 8 and 4 frames: latents 0-1, 2-3 and 4
    changed = x.clone()
    changed[:, :, 15] += 1  # the last frame of the second clip
    with torch.no_grad():
        before, after = (tokenizer.encode(each).unquantised for each in (x, changed))
        assert before is not None and after is not None
        assert torch.equal(after[:, :, :2], before[:, :, :2]) and torch.equal(after[:, :, 4:], before[:, :, 4:])
        moved = (after - before).abs().amax(dim=(0, 1, 3, 4))
        assert moved[2] > 1e-3 and moved[3] > 1e-3, "not causal: earlier latents of the clip see it as well"
        z = tokenizer.encode(x).z
        other = z.clone()
        other[:, :, 2] += 1
        made, again = (tokenizer.decode(Latent(each, 4, 4)) for each in (z, other))
    assert torch.equal(again[:, :, :8], made[:, :, :8]) and torch.equal(again[:, :, 16:], made[:, :, 16:])
    assert bool(((again - made)[:, :, 8:16].abs().amax(dim=(0, 1, 3, 4)) > 1e-4).all())


def test_a_context_is_encoded_as_if_nothing_followed() -> None:
    tokenizer, x = build(), video(24)
    with torch.no_grad():
        assert torch.equal(tokenizer.encode(x[:, :, :16]).z, tokenizer.encode(x).z[:, :, :4])


@pytest.mark.parametrize("pieces", [[8, 8, 8, 4], [4] * 7, [20, 8], [12, 12, 4], [28]])
def test_streams_cut_anywhere_equal_the_whole(pieces: list[int]) -> None:
    tokenizer, x = build(), video(28)
    with torch.no_grad():
        whole = tokenizer.encode(x)
        made = tokenizer.decode(whole)
    streamed = list(tokenizer.encode_stream(iter(x.split(pieces, dim=2))))
    for name in ("z", "indices", "unquantised"):
        axis = 1 if name == "indices" else 2
        joined = torch.cat([getattr(latent, name) for latent in streamed], dim=axis)
        torch.testing.assert_close(joined, getattr(whole, name), rtol=0, atol=1e-5)
    parts = list(tokenizer.decode_stream(iter(whole.z.split([piece // 4 for piece in pieces], dim=2))))
    torch.testing.assert_close(torch.cat(parts, dim=2), made, rtol=0, atol=1e-5)
    assert max(part.shape[2] for part in parts) <= tokenizer.config.clip and not parts[0].requires_grad


def test_a_stream_gives_a_clip_as_soon_as_it_is_complete() -> None:
    taken: list[int] = []

    def pieces() -> Any:
        for start in range(0, 24, 4):
            taken.append(start)
            yield torch.arange(start, start + 4.0).view(1, 1, 4, 1, 1)

    seen = []
    for clip in in_clips(pieces(), 10):
        seen.append((clip.flatten().tolist(), len(taken)))
    assert seen == [([*range(10)], 3), ([*range(10, 20)], 5), ([*range(20, 24)], 6)]
    assert list(in_clips([], 10)) == []


# ------------------------------------------------------------------------------------------------------- the network


def test_axial_attention_looks_along_axes_only_and_along_each() -> None:
    torch.manual_seed(0)
    attention, x = AxialAttention(16, heads=2), torch.randn(1, 16, 3, 4, 5)
    changed = x.clone()
    changed[:, :, 1, 2, 3] += 1
    with torch.no_grad():
        moved = (attention(changed) - attention(x)).abs().amax(dim=(0, 1)) > 1e-6
    expected = torch.zeros(3, 4, 5, dtype=torch.bool)
    expected[:, 2, 3], expected[1, :, 3], expected[1, 2, :] = True, True, True
    assert torch.equal(moved, expected)


def test_axial_attention_is_the_sum_of_attention_along_each_axis() -> None:
    torch.manual_seed(0)
    attention, x = AxialAttention(8, heads=2), torch.randn(2, 8, 3, 4, 5)
    expected = torch.zeros(2, 3, 4, 5, 8)
    for axis, layer in ((1, attention.time), (2, attention.height), (3, attention.width)):
        lines = x.permute(0, 2, 3, 4, 1).movedim(axis, -2)  # [..., L, C]
        q, k, v = (part.unflatten(-1, (2, 4)).transpose(-2, -3) for part in layer.inner(lines).chunk(3, dim=-1))
        seen = (q @ k.transpose(-1, -2) / 2).softmax(-1) @ v
        expected += layer.outer(seen.transpose(-2, -3).flatten(-2)).movedim(-2, axis)
    torch.testing.assert_close(attention(x), expected.permute(0, 4, 1, 2, 3), rtol=0, atol=1e-5)


def test_no_two_places_are_told_the_same_and_a_smaller_picture_is_told_a_part_of_it() -> None:
    places = Places(16)
    told = places(torch.zeros(1, 16, 4, 8, 8))[0]
    flat = told.flatten(1).T
    assert len(torch.unique(flat.round(decimals=5), dim=0)) == 4 * 8 * 8
    assert torch.equal(places(torch.zeros(1, 16, 2, 3, 5))[0], told[:, :2, :3, :5])


def test_the_papers_size_is_a_matter_of_options() -> None:
    with torch.device("meta"):
        config = VQVAE.Config(width=240, depth=4, heads=2, patch=1)
        tokenizer = VQVAE(config, quantizer=VQ(VQ.Config(codes=2048, channels=256)))
    assert tokenizer.codes * tokenizer.channels == 2048 * 256
    kernels = [layer.kernel_size for layer in tokenizer.encoder.layers if isinstance(layer, nn.Conv3d)]
    assert kernels == [(4, 4, 4), (4, 4, 4), (3, 3, 3), (1, 1, 1)]
    assert sum(parameter.numel() for parameter in tokenizer.parameters()) > 20e6


def test_default_size_is_about_a_million_parameters() -> None:
    tokenizer = VQVAE(VQVAE.Config(), quantizer=VQ(VQ.Config()))
    count = sum(value.numel() for value in tokenizer.parameters()) + tokenizer.codes * tokenizer.channels
    assert 0.7e6 < count < 1.2e6


# --------------------------------------------------------------------------------------------------------- training


@pytest.mark.parametrize(
    "quantizer", [VQ(VQ.Config(codes=32, channels=4, ema=False)), FSQ(FSQ.Config())], ids=["vq", "fsq"]
)
def test_gradients_reach_every_parameter(quantizer: nn.Module) -> None:
    torch.manual_seed(0)
    tokenizer = VQVAE(VQVAE.Config(**SMALL), quantizer=quantizer)
    losses = tokenizer.training_losses(video(12), 0)
    losses["loss"].backward()
    for name, parameter in tokenizer.named_parameters():
        assert parameter.grad is not None and bool((parameter.grad != 0).any()), name
    assert {"reconstruction", "psnr"} <= set(losses)


def test_the_encoder_learns_through_the_codes_as_if_they_were_not_there() -> None:
    tokenizer, x = build().train(), video(8)
    chosen = tokenizer.quantizer(tokenizer.analyse(x))
    probe = torch.zeros_like(chosen.z, requires_grad=True)
    error = (tokenizer.synthesise(chosen.z + probe) - x).square().mean() / (4 * 0.06)
    weight = tokenizer.encoder.layers[0].weight
    through, direct = torch.autograd.grad(error, [weight, probe])
    (expected,) = torch.autograd.grad(tokenizer.analyse(x), weight, grad_outputs=direct)
    torch.testing.assert_close(through, expected, rtol=1e-4, atol=1e-6)
    assert through.abs().max() > 0


def test_the_error_is_weighed_as_in_the_paper() -> None:
    tokenizer, x = build().train(), video(8)
    made = tokenizer.autoencode(x, 0)
    inside = ((made.video + 1) / 2 - (x + 1) / 2).square().mean()  # pixels in an interval of length 1, as the paper's
    torch.testing.assert_close(made.terms["reconstruction"], inside / 0.06)
    assert set(made.terms) == {"reconstruction", "commitment"} and made.indices is not None
    assert made.target is x and made.video.dtype == torch.float32


def test_bfloat16_autocast_keeps_latents_and_video_in_float32() -> None:
    tokenizer, x = build(), video(8)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        latent = tokenizer.encode(x)
        assert latent.z.dtype == torch.float32 and tokenizer.decode(latent).dtype == torch.float32


@pytest.mark.slow
def test_four_clips_can_be_learned_by_heart() -> None:
    torch.manual_seed(0)
    tokenizer = VQVAE(VQVAE.Config(), quantizer=VQ(VQ.Config()))
    shapes = MovingShapes(MovingShapes.Config(sizes=[(32, 32)]))
    frames = np.stack([shapes.clip("train", index).frames for index in range(4)])
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
