"""magvit2, and what it shares with the vae: causality, exact encoding in pieces, adaptive norms, codes inside."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor, nn

from components.causal_autoencoder import Decoder, Shape
from components.causal_conv import AdaptiveFrameNorm, CausalConv3d, FrameGroupNorm
from components.contracts import AdversarialTokenizer, DiscreteTokenizer, Latent
from components.quantizer.lfq import LFQ
from components.tokenizer.magvit2 import MAGVIT2
from components.tokenizer.vae import VAE
from zoo.errors import BadValue

SMALL: dict[str, Any] = {"width": 8, "patch": 2}
TEMPORAL = (1, 2, 4)
temporals = pytest.mark.parametrize("temporal", TEMPORAL)


def signs(bits: int = 6) -> LFQ:
    return LFQ(LFQ.Config(bits=bits))


def build(*, quantizer: nn.Module | None = None, **options: Any) -> MAGVIT2:
    """Random weights and non-trivial statistics, so that nothing hides behind zeros and ones."""
    torch.manual_seed(0)
    made = MAGVIT2(MAGVIT2.Config(**{**SMALL, **options}), quantizer=quantizer)
    made.statistics.mean.copy_(torch.linspace(-0.5, 0.5, made.channels))
    made.statistics.std.copy_(torch.linspace(0.5, 2.0, made.channels))
    return made


def discrete(temporal: int = 4, **options: Any) -> MAGVIT2:
    return build(quantizer=signs(), temporal_factor=temporal, **options)


def video(tokenizer: Any, latents: int, *, clips: int = 2, side: int = 16) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(clips, 3, tokenizer.video_frames(latents), side, side, generator=generator) * 2 - 1


# --------------------------------------------------------------------------------------------------------- contract


@temporals
@pytest.mark.parametrize("spatial", [2, 4, 8, 16])
def test_round_trip_keeps_the_promised_shapes(temporal: int, spatial: int) -> None:
    tokenizer = discrete(temporal, spatial_factor=spatial)
    assert isinstance(tokenizer, DiscreteTokenizer) and isinstance(tokenizer, AdversarialTokenizer)
    for latents in (1, 3):
        x = video(tokenizer, latents, side=16)
        latent = tokenizer.encode(x)
        grid = (latents, 16 // spatial, 16 // spatial)
        assert latent.z.shape == latent.unquantised.shape == (2, 6, *grid)
        assert latent.indices.shape == (2, *grid)
        assert tokenizer.decode(latent).shape == x.shape


def test_indices_name_the_codes_and_codes_decode_as_such() -> None:
    tokenizer = discrete().eval()
    latent = tokenizer.encode(video(tokenizer, 3))
    assert tokenizer.kind == "discrete" and tokenizer.codes == 64
    torch.testing.assert_close(tokenizer.lookup(latent.indices), latent.z, rtol=0, atol=1e-6)
    again = tokenizer.quantise(latent.unquantised)
    assert torch.equal(again.indices, latent.indices)
    assert not torch.allclose(latent.z, latent.unquantised, atol=1e-2)


def test_without_a_quantiser_it_is_continuous() -> None:
    tokenizer = build(quantizer=None, channels=5)
    latent = tokenizer.encode(video(tokenizer, 2))
    assert tokenizer.kind == "continuous" and latent.z.shape[1] == 5 and latent.indices is None
    made = tokenizer.autoencode(video(tokenizer, 2), 0)
    assert set(made.terms) == {"reconstruction"} and made.indices is None


def test_the_quantisers_terms_are_minimised_and_its_figures_logged() -> None:
    tokenizer = discrete()
    losses = tokenizer.training_losses(video(tokenizer, 3), 0)
    assert {"loss", "reconstruction", "entropy", "commitment", "codebook_entropy", "psnr"} <= set(losses)
    terms = losses["reconstruction"] + losses["entropy"] + losses["commitment"]
    torch.testing.assert_close(losses["loss"].detach(), terms)
    made, latent = tokenizer.autoencode(video(tokenizer, 3), 0), tokenizer.encode(video(tokenizer, 3))
    assert torch.equal(made.indices, latent.indices)
    torch.testing.assert_close(made.video, tokenizer.decode(latent), rtol=0, atol=1e-5)  # of the codes


def test_a_share_of_the_error_may_be_absolute() -> None:
    tokenizer = build(l1=0.25)
    made = tokenizer.autoencode(video(tokenizer, 2), 0)
    gap = made.video - made.target
    torch.testing.assert_close(made.terms["reconstruction"], 0.25 * gap.abs().mean() + 0.75 * gap.square().mean())


@temporals
@pytest.mark.parametrize("adaptive", [True, False])
def test_gradients_reach_every_parameter(temporal: int, adaptive: bool) -> None:
    tokenizer = discrete(temporal, adaptive_norm=adaptive, depth=2)
    tokenizer.training_losses(video(tokenizer, 3), 0)["loss"].backward()
    idle = [name for name, p in tokenizer.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not idle
    assert any("modulation" in name for name, _ in tokenizer.named_parameters()) == adaptive
    assert any(p is tokenizer.last_layer for p in tokenizer.parameters())


def test_its_state_travels() -> None:
    tokenizer, other = discrete(), discrete()
    for parameter in other.parameters():
        nn.init.zeros_(parameter)
    other.load_state_dict(tokenizer.state_dict())
    x = video(tokenizer, 3)
    torch.testing.assert_close(other.decode(other.encode(x)), tokenizer.decode(tokenizer.encode(x)), rtol=0, atol=0)


def test_wrong_options_and_lengths_are_refused_with_a_cure() -> None:
    wrongs = ({"spatial_factor": 3}, {"temporal_factor": 8}, {"patch": 4, "spatial_factor": 2}, {"multipliers": (0,)})
    for wrong in wrongs:
        with pytest.raises(ValidationError):
            MAGVIT2.Config(**wrong)
    with pytest.raises(BadValue, match=r"1 \+ 4·n frames, not 4"):
        discrete().encode(torch.zeros(1, 3, 4, 16, 16))
    pieces = (torch.zeros(1, 3, 5, 16, 16), torch.zeros(1, 3, 5, 16, 16))
    with pytest.raises(BadValue, match=r"takes 4·n frames, not 5"):
        list(discrete().encode_stream(pieces))


def test_the_papers_size_is_a_matter_of_options() -> None:
    config = MAGVIT2.Config(spatial_factor=8, patch=1, width=128, multipliers=(1, 2, 2, 4), depth=4)
    shape = Shape.of(config)
    assert shape.widths == [128, 256, 256, 512] and shape.strides == [(1, 2), (2, 2), (2, 2)]
    with torch.device("meta"):
        paper = MAGVIT2(config, quantizer=signs(18))
    assert 2e8 < sum(p.numel() for p in paper.parameters()) < 4e8


def test_the_default_is_of_cpu_size() -> None:
    count = sum(p.numel() for p in MAGVIT2(MAGVIT2.Config(), quantizer=signs(10)).parameters())
    assert 7e5 < count < 1.2e6


# -------------------------------------------------------------------------------------------------------- causality


@temporals
def test_a_latent_sees_no_frame_after_its_last(temporal: int) -> None:
    tokenizer = discrete(temporal)
    x = video(tokenizer, 4)
    with torch.no_grad():
        before = tokenizer.encode(x).unquantised
        for latent in range(3):
            changed = x.clone()
            changed[:, :, tokenizer.last_frame(latent) + 1 :] += 1
            after = tokenizer.encode(changed).unquantised
            torch.testing.assert_close(after[:, :, : latent + 1], before[:, :, : latent + 1], rtol=0, atol=1e-6)
            assert not torch.allclose(after[:, :, latent + 1], before[:, :, latent + 1], atol=1e-3)


@temporals
def test_a_decoded_frame_sees_no_latent_after_its_own(temporal: int) -> None:
    tokenizer = discrete(temporal)
    z = torch.randn(2, 6, 4, 4, 4, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        before = tokenizer.decode(Latent(z, 4, temporal))
        for latent in range(3):
            changed = z.clone()
            changed[:, :, latent + 1 :] += 1
            after = tokenizer.decode(Latent(changed, 4, temporal))
            end = tokenizer.last_frame(latent) + 1
            torch.testing.assert_close(after[:, :, :end], before[:, :, :end], rtol=0, atol=1e-6)
            assert not torch.allclose(after[:, :, end], before[:, :, end], atol=1e-3)


@temporals
def test_an_image_is_the_first_latent_frame(temporal: int) -> None:
    tokenizer = discrete(temporal)
    x = video(tokenizer, 3)
    with torch.no_grad():
        whole, image = tokenizer.encode(x), tokenizer.encode(x[:, :, :1])
        torch.testing.assert_close(image.unquantised, whole.unquantised[:, :, :1], rtol=0, atol=1e-6)
        first = tokenizer.decode(whole)[:, :, :1]
        torch.testing.assert_close(tokenizer.decode(image), first, rtol=0, atol=1e-5)


def test_adaptive_norms_see_the_latent_that_a_frame_is_made_of_and_no_other() -> None:
    torch.manual_seed(0)
    norm = AdaptiveFrameNorm(8, 3, growth=4)
    x, style = torch.randn(1, 8, 9, 2, 2), torch.randn(1, 3, 3)  # nine frames of three latents: 1, 4, 4
    before = norm(x, style)
    for latent, frames in enumerate((range(1), range(1, 5), range(5, 9))):
        changed = style.clone()
        changed[:, latent] += 1
        moved = (norm(x, changed) - before).abs().amax(dim=(0, 1, 3, 4)) > 1e-4
        assert moved.nonzero().flatten().tolist() == list(frames)
    later = norm(x[:, :, 1:], style[:, 1:])  # a piece of a stream, after the image
    torch.testing.assert_close(later, before[:, :, 1:], rtol=0, atol=1e-6)
    with torch.no_grad():
        norm.modulation.weight.zero_()
        norm.modulation.bias.zero_()
    plain = FrameGroupNorm(8, 8, affine=False)
    torch.testing.assert_close(norm(x, style), plain(x))


def test_the_decoder_listens_to_its_styles() -> None:
    torch.manual_seed(0)
    shape = Shape(spatial_factor=4, temporal_factor=2, patch=2, width=8, multipliers=(1,), depth=1)
    decoder, z = Decoder(shape, 4, style=8), torch.randn(1, 4, 3, 4, 4)
    before = decoder(z)
    with torch.no_grad():
        decoder.styles.each_place.weight.mul_(-1)
    assert not torch.allclose(decoder(z), before, atol=1e-3)


# ---------------------------------------------------------------------------------------------------------- streams


@given(
    kernel=st.integers(1, 4),
    stride=st.sampled_from((1, 2, 4)),
    first=st.integers(0, 3),
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=5),
)
@settings(deadline=None, max_examples=60)
def test_a_streamed_convolution_is_the_whole_one(kernel: int, stride: int, first: int, sizes: list[int]) -> None:
    torch.manual_seed(0)
    conv = CausalConv3d(2, 3, time_kernel=kernel, time_stride=stride, stride=2)
    chunks = [1 + stride * first, *(stride * size for size in sizes)]
    x = torch.randn(1, 2, sum(chunks), 4, 4)
    stream: dict[Any, Tensor] = {}
    with torch.no_grad():
        whole = conv(x)
        made = [conv(chunk, stream) for chunk in x.split(chunks, dim=2)]
    assert [piece.shape[2] for piece in made] == [1 + first, *sizes]
    torch.testing.assert_close(torch.cat(made, dim=2), whole, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["vae", "magvit2"])
@temporals
@pytest.mark.parametrize("latents", [[1] * 6, [3, 1, 2], [2, 4], [6]], ids=str)
def test_encoding_in_pieces_is_encoding_at_once(name: str, temporal: int, latents: list[int]) -> None:
    torch.manual_seed(0)
    options = {**SMALL, "temporal_factor": temporal, "depth": 2}
    tokenizer = VAE(VAE.Config(**options)) if name == "vae" else discrete(temporal, depth=2)
    tokenizer.eval()
    x = video(tokenizer, sum(latents))
    ends = [sum(latents[: i + 1]) for i in range(len(latents))]
    frames = [
        tokenizer.video_frames(end) - tokenizer.video_frames(end - n) for end, n in zip(ends, latents, strict=True)
    ]
    with torch.no_grad():
        whole = tokenizer.encode(x)
    pieces = list(tokenizer.encode_stream(iter(x.split(frames, dim=2))))
    assert [piece.z.shape[2] for piece in pieces] == latents
    if name == "vae":
        torch.testing.assert_close(torch.cat([piece.z for piece in pieces], dim=2), whole.z, rtol=0, atol=1e-5)
        return
    unquantised = torch.cat([piece.unquantised for piece in pieces], dim=2)
    torch.testing.assert_close(unquantised, whole.unquantised, rtol=0, atol=1e-5)
    sure = tokenizer.statistics.denormalise(whole.unquantised).abs().amin(1) > 1e-5  # else rounding may choose
    assert sure.float().mean() > 0.9
    assert torch.equal(torch.cat([piece.indices for piece in pieces], dim=1)[sure], whole.indices[sure])


@temporals
@pytest.mark.parametrize("sizes", [[1] * 7, [3, 1, 2, 1], [7]], ids=str)
def test_decoding_in_pieces_is_decoding_at_once(temporal: int, sizes: list[int]) -> None:
    tokenizer = discrete(temporal, spatial_factor=8)
    z = torch.randn(1, 6, 7, 3, 2, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        whole = tokenizer.decode(Latent(z, 8, temporal))
    pieces = list(tokenizer.decode_stream(iter(z.split(sizes, dim=2))))
    torch.testing.assert_close(torch.cat(pieces, dim=2), whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("temporal", [2, 4])
def test_a_stream_keeps_as_much_however_long_the_video(temporal: int) -> None:
    encoder = discrete(temporal).encoder

    def kept(chunks: int, latents: int) -> int:
        stream: dict[Any, Tensor] = {}
        with torch.no_grad():
            encoder(torch.zeros(1, 3, 1, 8, 8), stream)
            for _ in range(chunks):
                encoder(torch.zeros(1, 3, temporal * latents, 8, 8), stream)
        return sum(tensor.untyped_storage().nbytes() for tensor in stream.values())

    assert kept(60, 1) == kept(2, 1) == kept(1, 9) > 0


def chunked_frames(frames: int, side: int, chunk: int) -> Iterator[Tensor]:
    """A video of 1 + 4·n frames in pieces, none of which is kept."""
    yield torch.rand(1, 3, 1 + chunk, side, side)
    for _ in range((frames - 1) // chunk - 1):
        yield torch.rand(1, 3, chunk, side, side)


def peak_after(frames: int, side: int = 128, chunk: int = 8) -> tuple[float, float]:
    """MiB at most held by this process: before the first frame, and after encoding `frames` in pieces."""
    torch.set_num_threads(1)
    tokenizer = MAGVIT2(MAGVIT2.Config(), quantizer=signs(10)).eval()

    def peak() -> float:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)

    before = peak()
    count = sum(latent.z.shape[2] for latent in tokenizer.encode_stream(chunked_frames(frames, side, chunk)))
    assert count == 1 + (frames - 1) // 4
    return before, peak()


@pytest.mark.slow
def test_a_long_clip_is_encoded_in_the_memory_of_a_short_one() -> None:
    def peak(frames: int) -> float:
        code = f"from test_magvit2 import peak_after; print(*peak_after({frames}))"
        # The child of a large process begins with its parent's peak; that of the shell between them does not.
        command = ["sh", "-c", '"$0" -c "$1" || exit 1', sys.executable, code]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parent)
        return float(done.stdout.split()[1])

    assert peak(2001) < peak(201) + 100  # keeping the frames alone would take 338 MiB


# --------------------------------------------------------------------------------------------------------- learning


def still_lifes(tokenizer: MAGVIT2, side: int = 32) -> Tensor:
    """Four clips of coloured squares that move over coloured ground."""
    draw = torch.Generator().manual_seed(0)
    frames = tokenizer.video_frames(3)
    clips = torch.rand(4, 3, 1, 1, 1, generator=draw).mul(2).sub(1).repeat(1, 1, frames, side, side)
    for clip in clips:
        for _ in range(2):
            colour = torch.rand(3, 1, 1, generator=draw) * 2 - 1
            y, x, dy, dx = torch.randint(0, 12, (4,), generator=draw).tolist()
            for t in range(frames):
                top, left = y + t * (dy % 3), x + t * (dx % 3)
                clip[:, t, top : top + 10, left : left + 10] = colour
    return clips


@pytest.mark.slow
def test_four_clips_are_learnt_by_heart() -> None:
    from zoo import compose
    from zoo.recipe import Part

    torch.manual_seed(0)
    tokenizer = compose.build_tokenizer(Part(name="magvit2", options={}))
    x = still_lifes(tokenizer)
    optimiser = torch.optim.AdamW(tokenizer.parameters(), 2e-3)
    for step in range(300):
        optimiser.zero_grad()
        tokenizer.training_losses(x, step)["loss"].backward()
        optimiser.step()
    tokenizer.eval()
    with torch.no_grad():
        error = (tokenizer.decode(tokenizer.encode(x)) - x).square().mean()
    assert 10 * torch.log10(4 / error) >= 24
