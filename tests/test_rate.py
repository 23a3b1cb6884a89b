"""Bits a pixel by hand, the loss of a quantiser, and the padding that any clip may need."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks import rate
from benchmarks.contracts import Setting
from components.contracts import Clip, Latent, Layout
from components.video_tokenizer import VideoTokenizer
from tests.rate_records import measured
from zoo import fitting
from zoo.compose import Sizes
from zoo.errors import BadValue
from zoo.model import Scene, ZooModel
from zoo.recipe import resolve
from zoo.reconstruction import Passes, at_precision, measure

SETTING = Setting("reconstruct@1/maze", "maze:abc", resamples=100)


class Bright(VideoTokenizer):
    """Continuous: a latent is the mean of 2×2 grey pixels; decoding says black or white. 1 + 2·n frames."""

    def __init__(self, quantizer=None) -> None:
        super().__init__(channels=1, spatial_factor=2, temporal_factor=2, quantizer=quantizer)

    def analyse(self, video_bcthw, state=None):
        return nn.functional.avg_pool3d(video_bcthw.mean(1, keepdim=True)[:, :, ::2], (1, 2, 2))

    def synthesise(self, raw_bcfhw, state=None):
        video = raw_bcfhw.sign().repeat_interleave(2, 3).repeat_interleave(2, 4).expand(-1, 3, -1, -1, -1)
        return video.repeat_interleave(2, dim=2)[:, :, 1:]


class Nearly(nn.Module):
    """Sixteen codes, of which 3 and 12 are used; the darker one is grey, so that quantising costs something."""

    channels, codes, factors = 1, 16, (16,)

    def forward(self, raw_bcfhw):
        from components.contracts import Quantised

        white = raw_bcfhw > 0
        return Quantised(torch.where(white, 1.0, -0.5), torch.where(white, 12, 3)[:, 0])

    def lookup(self, indices_bfhw):
        return torch.where(indices_bfhw == 12, 1.0, -0.5)[:, None]

    def unrounded(self, raw_bcfhw):
        return raw_bcfhw

    def nearest(self, z_bcfhw):
        return self(z_bcfhw).indices


class Grey(Bright):
    """As Bright, but decoding says the latent's own grey."""

    def synthesise(self, raw_bcfhw, state=None):
        video = raw_bcfhw.repeat_interleave(2, 3).repeat_interleave(2, 4).expand(-1, 3, -1, -1, -1)
        return video.repeat_interleave(2, dim=2)[:, :, 1:]


def clip(frames: int = 5, height: int = 4, width: int = 8, name: str = "a") -> Clip:
    """The left half black, the right half white; it stands still."""
    video = np.zeros((frames, height, width, 3), np.uint8)
    video[:, :, width // 2 :] = 255
    return Clip(video, np.arange(float(frames)), 8.0, episode=name)


# ------------------------------------------------------------------------------------------------------------ by hand


def test_bits_per_pixel_of_a_continuous_tokenizer_by_hand():
    """5 frames of 4×8 are 3 latents of 2×4 values; black and white survive one bit: 24 bits for 160 pixels."""
    found = measure(Bright(), [clip()], pad=False)
    assert (found.tokens, found.channels, found.pixels, found.codes) == (24, 1, 160, 0)
    assert found.psnr == {"a": 100.0} and rate.needed_bits(found) == 1
    metrics, curves, _ = rate.figures(found, SETTING)
    assert metrics["bits_per_pixel"].value == pytest.approx(24 / 160)
    assert metrics["latent_values"].value == metrics["latent_tokens"].value == pytest.approx(24 / 5)
    assert "codebook_use" not in metrics and "quantisation_loss" not in metrics
    assert curves[rate.CURVE].t == pytest.approx([bits * 24 / 160 for bits in range(1, 9)])


def test_bits_per_pixel_of_a_discrete_tokenizer_by_hand():
    """24 tokens of sixteen codes are 96 bits; half of them say grey where black was: -0.5 is 64 of 255 levels."""
    tokenizer = Grey(Nearly())
    found = measure(tokenizer, [clip()], pad=False)
    metrics, curves, per_video = rate.figures(found, SETTING)
    assert metrics["bits_per_pixel"].value == pytest.approx(96 / 160)
    assert metrics["codebook_use"].value == pytest.approx(2 / 16) and metrics["perplexity"].value == pytest.approx(2)
    psnr = -10 * math.log10((64 / 255) ** 2 / 2)
    assert found.psnr["a"] == pytest.approx(psnr, abs=0.01)
    assert per_video["quantisation_loss"]["a"] == pytest.approx(100 - psnr, abs=0.01)
    assert curves[rate.CURVE].t == [pytest.approx(0.6)] and curves[rate.CURVE].mean == [pytest.approx(psnr, abs=0.01)]
    assert all(metrics[name].higher_is_better is None for name in ("bits_per_pixel", "quantisation_loss", "encode_fps"))


def test_the_precision_is_the_coarsest_that_costs_a_tenth_of_a_decibel():
    rng = np.random.default_rng(0)
    ramp = clip(9, 16, 16)
    ramp.frames[:] = rng.integers(0, 256, (9, 8, 8, 1), np.uint8).repeat(2, 1).repeat(2, 2)
    found = measure(Grey(), [ramp], pad=False)
    bits = rate.needed_bits(found)
    whole = found.psnr["a"]
    assert 1 < bits < 16 and found.by_bits[bits]["a"] >= whole - rate.DROP > found.by_bits[bits - 1]["a"]
    curve = rate.figures(found, SETTING)[1][rate.CURVE]
    assert len(curve.t) == 8 and all(a < b + 1e-9 for a, b in zip(curve.mean, curve.mean[1:], strict=False))


def test_a_value_costs_its_bits_and_a_token_those_of_its_code_whatever_the_channels():
    """33 frames of 32×32 are 33 times 64 places: at 2 bits and 4 channels half a bit a pixel, as a code of 8 bits."""
    assert measured(30, 0, channels=4).rate(2) == pytest.approx(0.5)
    coded = measured(30, 0, channels=4, codes=256)
    assert rate.figures(coded, SETTING)[0]["bits_per_pixel"].value == pytest.approx(0.5)


def test_where_no_scale_serves_a_value_is_a_float():
    found = measured(30, 0)
    worse = {bits: {name: value - 1 for name, value in found.psnr.items()} for bits in range(1, 17)}
    assert rate.needed_bits(rate.Measured(**{**vars(found), "by_bits": worse})) == 32


def test_a_scale_spans_the_channel_over_all_clips():
    z = [torch.tensor([0.0, 1.0]).view(1, 1, 1, 1, 2), torch.tensor([4.0, 2.1]).view(1, 1, 1, 1, 2)]
    coarse = torch.cat(at_precision(z, 2), dim=4).flatten()
    assert coarse.tolist() == [0.5, 1.5, 3.5, 2.5]
    still = at_precision([torch.full((1, 2, 1, 1, 1), 7.0)], 1)[0]
    assert still.tolist() == torch.full((1, 2, 1, 1, 1), 7.0).tolist()


def test_perplexity_of_shares_by_hand():
    used, entropy = rate.codebook([np.array([5, 5]), np.array([[1, 9]])])
    assert used == 3 and math.exp(entropy) == pytest.approx(2 * math.sqrt(2))


# ------------------------------------------------------------------------------------------------------------ fitting


@pytest.mark.parametrize("shape", [(1, 4, 8), (4, 4, 8), (6, 5, 7), (2, 3, 3)])
def test_any_length_and_size_goes_and_comes_back_as_it_was(shape):
    own = clip(*shape)
    own.frames[:, :, -1] = 255
    made = Passes(Grey(), pad=True).there_and_back(own.frames)
    assert made.shape == own.frames.shape and made.dtype == np.uint8
    to = fitting.fit(Grey(), shape, pad=True)
    assert all(taken >= given for taken, given in zip(to.taken, to.own, strict=True))
    assert (to.taken[0] - 1) % 2 == to.taken[1] % 2 == to.taken[2] % 2 == 0


def test_what_does_not_fit_is_one_sentence_where_padding_is_off():
    assert not fitting.fit(Grey(), (5, 4, 8), pad=False).padded
    for shape in ((4, 4, 8), (5, 5, 8)):
        with pytest.raises(BadValue, match=r"would take 5 of \d×8: set sample.pad=true"):
            fitting.fit(Grey(), shape, pad=False)


def test_padding_repeats_the_last_frame_and_the_border():
    rng = np.random.default_rng(0)
    video = rng.integers(0, 256, (4, 3, 4, 3), np.uint8)
    (piece,) = fitting.pieces(Grey(), [video], fitting.fit(Grey(), (4, 3, 4), pad=True))
    back = fitting.to_uint8(piece[0])
    assert back.shape == (5, 4, 4, 3)
    np.testing.assert_array_equal(back[:4, :3], video)
    np.testing.assert_array_equal(back[4], back[3])
    np.testing.assert_array_equal(back[:, 3], back[:, 2])


def test_a_long_video_goes_in_pieces_that_make_the_whole(monkeypatch):
    monkeypatch.setattr(fitting, "PIECE", 4)
    seen = []

    class Watched(Bright):
        def analyse(self, video_bcthw, state=None):
            seen.append(video_bcthw.shape[2])
            if state is None:
                return super().analyse(video_bcthw)
            skip = 1 if state.setdefault("begun", False) else 0  # pieces after the first begin between two latents
            state["begun"] = True
            return nn.functional.avg_pool3d(video_bcthw.mean(1, keepdim=True)[:, :, skip::2], (1, 2, 2))

    rng = np.random.default_rng(0)
    video = rng.integers(0, 256, (31, 4, 4, 3), np.uint8)
    to = fitting.fit(Watched(), (31, 4, 4), pad=True)
    parts = torch.cat([part.z for part in fitting.encoded(Watched(), [video], to)], dim=2)
    assert seen == [7, 8, 8, 8]
    monkeypatch.setattr(fitting, "PIECE", 64)
    (whole,) = fitting.pieces(Bright(), [video], to)
    torch.testing.assert_close(parts, Bright().encode(whole).z)


def test_the_latent_frames_of_a_piece_fall_with_the_size_of_frames():
    assert fitting.piece_latents(Grey(), (32, 32)) == 64
    assert fitting.piece_latents(Grey(), (512, 512)) == 2
    assert fitting.piece_latents(Grey(), (4096, 4096)) == 1


def test_latents_keep_their_dtype_and_device_of_the_cpu():
    passes = Passes(Grey(Nearly()), pad=False)
    passes.there_and_back(clip().frames)
    assert isinstance(passes.latents[0], torch.Tensor) and passes.indices[0].shape == (1, 3, 2, 4)
    assert isinstance(Grey(Nearly()).encode(torch.zeros(1, 3, 1, 2, 2)), Latent)


def model(*arguments: str) -> ZooModel:
    """A model whose generator only says how much of the context is given."""
    (recipe,) = resolve(["recipe=quickstart", "rollout=full", "pose_encoding=none", *arguments], sweep=True)
    generator: Any = SimpleNamespace(task=SimpleNamespace(layout=Layout), sizes=Sizes(1, 0))
    return ZooModel(recipe, Grey(), generator, torch.device("cpu"), (4, 8))


def test_a_model_takes_odd_sizes_and_gives_them_back():
    own = clip(6, 5, 7).frames
    made = model().reconstruct(own)
    assert made.shape == own.shape and model().encode(own).shape == (1, 3, 3, 4), "six frames hold three whole latents"
    scene = Scene(frames=9, context=own[:3])
    request = model().request(scene)
    assert request.context.shape == (1, 2, 3, 4) and request.frames == 5
    pieces = list(model()._finished(scene, [torch.zeros(1, 5, 3, 4)]))
    whole = np.concatenate(pieces)
    assert whole.shape == (9, 5, 7, 3)
    np.testing.assert_array_equal(whole[:3], own[:3])
    assert model().request(Scene(frames=5, size=(5, 7))).context.shape == (1, 0, 3, 4)


def test_a_model_refuses_odd_sizes_where_padding_is_off():
    strict = model("sample.pad=false")
    for ask in (
        lambda: strict.reconstruct(clip(6, 4, 8).frames),
        lambda: strict.encode(clip(5, 5, 8).frames),
        lambda: strict.request(Scene(frames=5, size=(5, 8))),
    ):
        with pytest.raises(BadValue, match=r"sample\.pad=true"):
            ask()
