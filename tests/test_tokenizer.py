"""Tokenizers: round trips, exact frame counts, causality both ways, streaming, and normalised latents."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

import components.tokenizer
from components.causal_conv import CausalConv3d
from components.contracts import Latent, Tokenizer
from components.latent_statistics import LatentStatistics
from components.tokenizer.pixels import Pixels
from components.tokenizer.vae import VAE
from zoo.errors import BadValue, UserError

SMALL: dict[str, Any] = {"width": 8, "multipliers": (1, 1), "patch": 2}
SPATIAL, TEMPORAL = (2, 4, 8, 16), (1, 2, 4)
EVERY = [("pixels", {"spatial_factor": f}) for f in (1, 2, 4, 8)] + [
    ("vae", {"spatial_factor": f, "temporal_factor": k, **SMALL}) for f in SPATIAL for k in TEMPORAL
]
EVERY += [("vae", {"width": 8, "patch": patch, "temporal_factor": 4}) for patch in (None, 1)]
CLASSES = {"pixels": Pixels, "vae": VAE}


def build(name: str, options: dict[str, Any]) -> Any:
    """A tokenizer with random weights and non-trivial statistics, so that nothing hides behind zeros and ones."""
    torch.manual_seed(0)
    cls = CLASSES[name]
    tokenizer = cls(cls.Config(**options))
    tokenizer.statistics.mean.copy_(torch.linspace(-0.5, 0.5, tokenizer.channels))
    tokenizer.statistics.std.copy_(torch.linspace(0.5, 2.0, tokenizer.channels))
    return tokenizer


def video(tokenizer: Any, latents: int, *, clips: int = 2, side: int = 16) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(clips, 3, tokenizer.video_frames(latents), side, side, generator=generator) * 2 - 1


everywhere = pytest.mark.parametrize(("name", "options"), EVERY, ids=lambda value: str(value))
causal_vaes = pytest.mark.parametrize("temporal", TEMPORAL)


def test_this_file_knows_the_tokenizers_it_was_written_for() -> None:
    found = {module.name for module in pkgutil.iter_modules(components.tokenizer.__path__)}
    assert set(CLASSES) <= found
    for name, cls in CLASSES.items():
        module = importlib.import_module(f"components.tokenizer.{name}")
        assert [value for value in vars(module).values() if getattr(value, "card", None)] == [cls]


@everywhere
def test_round_trip_keeps_the_promised_shapes(name: str, options: dict[str, Any]) -> None:
    tokenizer = build(name, options)
    assert isinstance(tokenizer, Tokenizer)
    for latents in (1, 3):
        x = video(tokenizer, latents, side=32)
        latent = tokenizer.encode(x)
        side = 32 // tokenizer.spatial_factor
        assert latent.z.shape == (2, tokenizer.channels, latents, side, side)
        assert (latent.spatial_factor, latent.temporal_factor) == (tokenizer.spatial_factor, tokenizer.temporal_factor)
        assert tokenizer.decode(latent).shape == x.shape


@pytest.mark.parametrize("factor", [1, 2, 4, 8])
def test_pixels_lose_nothing(factor: int) -> None:
    tokenizer = build("pixels", {"spatial_factor": factor})
    x = video(tokenizer, 5)
    torch.testing.assert_close(tokenizer.decode(tokenizer.encode(x)), x, rtol=0, atol=1e-6)
    raw = tokenizer.statistics.denormalise(tokenizer.encode(x).z)
    torch.testing.assert_close(raw[:, :, 2], torch.nn.functional.pixel_unshuffle(x[:, :, 2], factor), rtol=0, atol=1e-6)


def test_pixels_say_that_there_is_nothing_to_train() -> None:
    tokenizer = build("pixels", {})
    loss = tokenizer.training_losses(video(tokenizer, 2), 0)["loss"]
    loss.backward()
    assert loss == 0 and not tokenizer.trainable and not list(tokenizer.parameters())
    assert VAE.trainable


@given(k=st.sampled_from(TEMPORAL), latents=st.integers(0, 600), frames=st.integers(0, 2400))
@settings(deadline=None)
def test_frame_counts_agree_with_one_another(k: int, latents: int, frames: int) -> None:
    tokenizer = build_cached(k)
    assert tokenizer.latent_frames(tokenizer.video_frames(latents)) == latents
    whole = tokenizer.video_frames(tokenizer.latent_frames(frames))
    assert whole <= frames < whole + k or frames == whole == 0
    if latents:
        assert tokenizer.last_frame(latents - 1) == tokenizer.video_frames(latents) - 1
    assert tokenizer.last_frame(0) == 0 and tokenizer.latent_frames(1) == 1


_built: dict[int, Any] = {}


def build_cached(k: int) -> Any:
    if k not in _built:
        _built[k] = build("vae", {"temporal_factor": k, **SMALL})
    return _built[k]


@causal_vaes
def test_a_latent_sees_no_frame_after_its_last(temporal: int) -> None:
    tokenizer = build_cached(temporal)
    x = video(tokenizer, 5)
    with torch.no_grad():
        before = tokenizer.encode(x).z
        for latent in range(4):
            changed = x.clone()
            changed[:, :, tokenizer.last_frame(latent) + 1 :] += 1
            after = tokenizer.encode(changed).z
            torch.testing.assert_close(after[:, :, : latent + 1], before[:, :, : latent + 1], rtol=0, atol=1e-6)
            assert not torch.allclose(after[:, :, latent + 1], before[:, :, latent + 1], atol=1e-3)


@causal_vaes
def test_a_decoded_frame_sees_no_latent_after_its_own(temporal: int) -> None:
    tokenizer = build_cached(temporal)
    z = torch.randn(2, 4, 5, 4, 4, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        before = tokenizer.decode(Latent(z, 4, temporal))
        for latent in range(4):
            changed = z.clone()
            changed[:, :, latent + 1 :] += 1
            after = tokenizer.decode(Latent(changed, 4, temporal))
            end = tokenizer.last_frame(latent) + 1
            torch.testing.assert_close(after[:, :, :end], before[:, :, :end], rtol=0, atol=1e-6)
            assert not torch.allclose(after[:, :, end], before[:, :, end], atol=1e-3)


@pytest.mark.parametrize("temporal", [2, 4])
def test_time_does_matter_where_it_is_compressed(temporal: int) -> None:
    tokenizer = build_cached(temporal)
    x = video(tokenizer, 3)
    changed = x.clone()
    changed[:, :, 0] += 1
    with torch.no_grad():
        assert not torch.allclose(tokenizer.encode(changed).z[:, :, 1], tokenizer.encode(x).z[:, :, 1], atol=1e-3)


def test_without_time_compression_frames_are_alone() -> None:
    tokenizer = build_cached(1)
    x = video(tokenizer, 4)
    with torch.no_grad():
        whole = tokenizer.encode(x).z
        alone = torch.cat([tokenizer.encode(x[:, :, t : t + 1]).z for t in (3, 1)], dim=2)
    torch.testing.assert_close(whole[:, :, [3, 1]], alone, rtol=0, atol=1e-6)


@causal_vaes
def test_an_image_is_the_first_latent_frame(temporal: int) -> None:
    tokenizer = build_cached(temporal)
    x = video(tokenizer, 3)
    with torch.no_grad():
        z = tokenizer.encode(x).z
        image = tokenizer.encode(x[:, :, :1])
        torch.testing.assert_close(image.z, z[:, :, :1], rtol=0, atol=1e-6)
        first = tokenizer.decode(Latent(z, 4, temporal))[:, :, :1]
        torch.testing.assert_close(tokenizer.decode(image), first, rtol=0, atol=1e-5)


@everywhere
def test_streamed_decoding_equals_decoding_at_once(name: str, options: dict[str, Any]) -> None:
    tokenizer = build(name, options)
    side = 32 // tokenizer.spatial_factor
    z = torch.randn(1, tokenizer.channels, 7, side, side, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        whole = tokenizer.decode(Latent(z, tokenizer.spatial_factor, tokenizer.temporal_factor))
    for sizes in ([1] * 7, [3, 1, 2, 1], [7]):
        chunks = list(tokenizer.decode_stream(iter(z.split(sizes, dim=2))))
        assert [chunk.shape[2] for chunk in chunks] == lengths(tokenizer, sizes)
        torch.testing.assert_close(torch.cat(chunks, dim=2), whole, rtol=0, atol=1e-5)


def lengths(tokenizer: Any, sizes: list[int]) -> list[int]:
    """Video frames of each chunk: the whole video's count after it less the count before it."""
    ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
    return [
        tokenizer.video_frames(end) - tokenizer.video_frames(end - size) for end, size in zip(ends, sizes, strict=True)
    ]


def test_a_stream_keeps_two_frames_a_layer_however_long_the_video_and_the_chunks() -> None:
    decoder = build_cached(4).decoder

    def kept(chunks: int, latents: int) -> int:
        stream: dict[Any, torch.Tensor] = {}
        for _ in range(chunks):
            decoder(torch.zeros(1, 4, latents, 2, 2), stream)
        return sum(tensor.untyped_storage().nbytes() for tensor in stream.values())

    with torch.no_grad():
        assert kept(125, 2) == kept(2, 2) == kept(1, 9) > 0


def test_causal_convolution_is_the_ordinary_one_on_a_repeated_first_frame() -> None:
    torch.manual_seed(0)
    ours = CausalConv3d(3, 5, time_kernel=3)
    x = torch.randn(2, 3, 6, 8, 8)
    padded = torch.nn.functional.pad(x, (0, 0, 0, 0, 2, 0), mode="replicate")
    oracle = torch.nn.Conv3d(3, 5, 3, padding=(0, 1, 1))
    oracle.load_state_dict(ours.state_dict())
    torch.testing.assert_close(ours(x), oracle(padded), rtol=0, atol=1e-5)


@pytest.mark.parametrize("temporal", TEMPORAL)
@pytest.mark.parametrize("depth", [1, 2])
def test_gradients_reach_every_parameter(temporal: int, depth: int) -> None:
    tokenizer = build("vae", {"temporal_factor": temporal, "depth": depth, **SMALL})
    losses = tokenizer.training_losses(video(tokenizer, 3), 0)
    losses["loss"].backward()
    idle = [name for name, p in tokenizer.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not idle
    assert [name for name, term in losses.items() if term.requires_grad] == ["loss"]


def test_training_lowers_the_loss_and_a_repeated_step_repeats_its_noise() -> None:
    tokenizer = build("vae", {**SMALL, "width": 16})
    x = video(tokenizer, 2)
    x = torch.nn.functional.avg_pool3d(x, (1, 8, 8)).repeat_interleave(8, 3).repeat_interleave(8, 4)
    first = tokenizer.training_losses(x, 5)["loss"]
    torch.testing.assert_close(tokenizer.training_losses(x, 5)["loss"], first, rtol=0, atol=0)
    assert tokenizer.training_losses(x, 6)["loss"] != first
    optimiser = torch.optim.AdamW(tokenizer.parameters(), 3e-3)
    for step in range(40):
        optimiser.zero_grad()
        tokenizer.training_losses(x, step)["loss"].backward()
        optimiser.step()
    assert tokenizer.training_losses(x, 5)["loss"] < 0.5 * first


def test_kl_is_that_of_torch_distributions() -> None:
    tokenizer = build("vae", {**SMALL, "kl_weight": 1.0})
    x = video(tokenizer, 2)
    losses = tokenizer.training_losses(x, 0)
    mean, log_variance = tokenizer._posterior(x)
    ours = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    total = torch.distributions.kl_divergence(ours, torch.distributions.Normal(0.0, 1.0)).sum()
    torch.testing.assert_close(losses["kl"], total / (2 * 2 * 4 * 4), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(losses["loss"] - losses["reconstruction"], total / x.numel(), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(("name", "options"), [("pixels", {"spatial_factor": 2}), ("vae", SMALL)])
def test_latents_are_normalised_after_fitting_and_statistics_travel(name: str, options: dict[str, Any]) -> None:
    tokenizer = build(name, options)
    videos = [video(tokenizer, 3, clips=c) * scale + 0.2 for c, scale in ((1, 0.3), (2, 0.9), (3, 0.5))]
    tokenizer.fit_statistics(iter(videos))
    z = torch.cat([tokenizer.encode(x).z.detach() for x in videos])
    per_channel = z.movedim(1, 0).flatten(1)
    torch.testing.assert_close(per_channel.mean(1), torch.zeros(tokenizer.channels), rtol=0, atol=1e-4)
    torch.testing.assert_close(per_channel.std(1, correction=0), torch.ones(tokenizer.channels), rtol=0, atol=1e-4)
    again = CLASSES[name](tokenizer.config)
    again.load_state_dict(tokenizer.state_dict())
    torch.testing.assert_close(again.encode(videos[0]).z, tokenizer.encode(videos[0]).z)
    assert not any("statistics" in key for key, _ in tokenizer.named_parameters())


@given(sizes=st.lists(st.integers(1, 5), min_size=1, max_size=5), offset=st.floats(-100, 100))
@settings(deadline=None, max_examples=20)
def test_statistics_do_not_depend_on_the_batches(sizes: list[int], offset: float) -> None:
    raw = torch.randn(sum(sizes), 2, 2, 3, 3, generator=torch.Generator().manual_seed(4)).double() + offset
    statistics = LatentStatistics(2)
    statistics.fit(raw.split(sizes))
    flat = raw.movedim(1, 0).flatten(1)
    torch.testing.assert_close(statistics.mean.double(), flat.mean(1), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(statistics.std.double(), flat.std(1, correction=0), rtol=1e-5, atol=1e-5)
    assert statistics.count == flat.shape[1]


def test_statistics_of_nothing_and_of_a_constant() -> None:
    with pytest.raises(BadValue, match="at least one video"):
        LatentStatistics(2).fit([])
    with pytest.raises(BadValue, match="not finite"):
        LatentStatistics(1).fit([torch.full((1, 1, 1, 2, 2), float("nan"))])
    constant = LatentStatistics(1)
    constant.fit([torch.full((1, 1, 1, 2, 2), 3.0)])
    assert constant.mean == 3 and constant.std == 1


def test_videos_that_do_not_fit_are_refused_with_a_cure() -> None:
    tokenizer = build_cached(4)
    with pytest.raises(UserError, match="1 \\+ 4·n frames, not 4"):
        tokenizer.encode(torch.zeros(1, 3, 4, 16, 16))
    with pytest.raises(UserError, match="18×16 frames do not divide"):
        tokenizer.encode(torch.zeros(1, 3, 5, 18, 16))
    with pytest.raises(UserError, match=r"dataset\.size"):
        build("pixels", {"spatial_factor": 8}).encode(torch.zeros(1, 3, 1, 16, 20))
    for wrong in ({"spatial_factor": 3}, {"temporal_factor": 8}, {"patch": 4, "spatial_factor": 2}, {"widht": 8}):
        with pytest.raises(ValidationError):
            VAE.Config(**wrong)
