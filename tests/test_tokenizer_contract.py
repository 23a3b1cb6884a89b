"""The contract of every tokenizer in the registry, walked: one test a promise of components/tokenizer_contracts.py."""

from __future__ import annotations

import copy
import math
from functools import cache
from typing import Any

import pytest
import torch
from tokenizer_cases import CASES, DEFAULTS, Case, build, settled, video
from torch import Tensor

from components.contracts import AdversarialTokenizer, DiscreteTokenizer, Latent, Quantizer, Tokenizer
from components.critic_options import CriticOptions
from zoo import compose, registry
from zoo.errors import BadValue
from zoo.recipe import Part

BY_ID = {case.id: case for case in CASES}
every = pytest.mark.parametrize("case", CASES, ids=list(BY_ID))
TRAINED = [case for case in CASES if registry.load("tokenizer", case.name).trainable]
trained = pytest.mark.parametrize("case", TRAINED, ids=[case.id for case in TRAINED])


@cache
def _made(name: str) -> Any:
    return settled(BY_ID[name])


def made(case: Case) -> Any:
    """In eval mode, built once; a test that changes it takes a copy."""
    return _made(case.id)


def close(a: Tensor, b: Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(a, b, rtol=0, atol=tolerance)


def same_latents(a: Latent, b: Latent) -> None:
    close(a.z, b.z)
    if a.indices is not None and b.indices is not None and a.unquantised is not None and b.unquantised is not None:
        assert torch.equal(a.indices, b.indices)
        close(a.unquantised, b.unquantised)


def content(latent: Latent) -> Tensor:
    """What a change of the video moves even where the codes stay."""
    return latent.z if latent.unquantised is None else latent.unquantised


# ---------------------------------------------------------------------------------------------- what is walked


def test_every_tokenizer_and_every_quantizer_of_the_registry_is_walked() -> None:
    assert len(BY_ID) == len(CASES) >= 20
    ours = set(registry.names("tokenizer")) - set(registry.plugin_names("tokenizer"))
    assert {case.name for case in CASES} == ours
    used = {None if part is None else part.name for part in map(quantizer_of, CASES)}
    assert used == {None, *registry.names("quantizer")}
    assert set(DEFAULTS) == {case.name for case in TRAINED}


def quantizer_of(case: Case) -> Any:
    options = {**case.options, "model": "some/where"} if case.family else dict(case.options)
    return compose.quantizer_part(Part(name=case.name, options=options))


@every
def test_says_what_it_is(case: Case) -> None:
    tokenizer = made(case)
    assert isinstance(tokenizer, Tokenizer) and isinstance(tokenizer, torch.nn.Module)
    assert tokenizer.kind == ("continuous" if quantizer_of(case) is None else "discrete")
    assert tokenizer.kind in registry.card("tokenizer", case.name).gives
    if tokenizer.kind == "discrete":
        assert isinstance(tokenizer, DiscreteTokenizer) and isinstance(tokenizer.quantizer, Quantizer)
        assert tokenizer.codes == math.prod(tokenizer.factors) > 1
    else:
        assert tokenizer.codes == 0 and tokenizer.factors == ()
    assert tokenizer.trainable == any(p.requires_grad for p in tokenizer.parameters())
    assert tokenizer.trainable or not tokenizer.needs_discriminator
    assert tokenizer.training_latents >= 1


@every
def test_a_critic_is_described_wherever_one_is_asked_for(case: Case) -> None:
    tokenizer = made(case)
    if not hasattr(tokenizer, "critic"):
        assert not tokenizer.needs_discriminator
        return
    assert isinstance(tokenizer, AdversarialTokenizer) and isinstance(tokenizer.critic, CriticOptions)
    assert tokenizer.needs_discriminator == (tokenizer.critic.adversarial > 0)
    assert any(tokenizer.last_layer is p for p in tokenizer.parameters())
    x = torch.nn.functional.interpolate(video(tokenizer, 3), size=(video(tokenizer, 3).shape[2], 32, 32))
    discriminator = tokenizer.discriminator()
    assert discriminator is not tokenizer.discriminator()
    logits = discriminator(x)
    assert logits.numel() > 0 and torch.isfinite(logits).all()


# ------------------------------------------------------------------------------------------- lengths and shapes


@every
@torch.no_grad()
def test_round_trip_keeps_the_promised_shapes(case: Case) -> None:
    tokenizer = made(case)
    for latents, clips in ((1, 2), (2, 1), (5, 1)):
        x = video(tokenizer, latents, clips=clips)
        latent = tokenizer.encode(x)
        side = x.shape[-1] // tokenizer.spatial_factor
        assert latent.z.shape == (clips, tokenizer.channels, latents, side, side)
        assert latent.z.dtype == torch.float32 and torch.isfinite(latent.z).all()
        assert (latent.spatial_factor, latent.temporal_factor) == (tokenizer.spatial_factor, tokenizer.temporal_factor)
        back = tokenizer.decode(latent)
        assert back.shape == x.shape and back.dtype == torch.float32
        same_latents(tokenizer.encode(x), latent)


@every
@torch.no_grad()
def test_frames_need_not_be_square(case: Case) -> None:
    tokenizer = made(case)
    x = video(tokenizer, 2)
    wide = torch.cat([x, x.flip(-1)], dim=-1)
    latent = tokenizer.encode(wide)
    assert latent.z.shape[3] * 2 == latent.z.shape[4]
    assert tokenizer.decode(latent).shape == wide.shape


@every
def test_frame_counts_agree_with_one_another(case: Case) -> None:
    tokenizer, k = made(case), made(case).temporal_factor
    first = tokenizer.video_frames(1)
    assert first in (1, k) and tokenizer.latent_frames(0) == tokenizer.video_frames(0) == 0
    for latents in range(1, 40):
        frames = tokenizer.video_frames(latents)
        assert frames == first + k * (latents - 1)
        assert tokenizer.latent_frames(frames) == latents and tokenizer.latent_frames(frames - 1) == latents - 1
        assert tokenizer.latent_frames(frames + k - 1) == latents
        assert tokenizer.last_frame(latents - 1) == frames - 1


@every
def test_wrong_lengths_and_sizes_are_refused_with_a_cure(case: Case) -> None:
    tokenizer = made(case)
    x = video(tokenizer, 2)
    wrong = [torch.cat([x, x[:, :, :1]], dim=2)] if tokenizer.temporal_factor > 1 else []
    for longer in [*wrong, x[:, :, :0]]:
        with pytest.raises(BadValue, match=rf"the {case.name} takes .*frames, not {longer.shape[2]}: crop or pad"):
            tokenizer.encode(longer)
    for longer in wrong:
        with pytest.raises(BadValue, match="crop or pad"):
            list(tokenizer.encode_stream([longer]))
    if tokenizer.spatial_factor > 1:
        for odd in (x[..., :-1], x[:, :, :, 1:]):
            with pytest.raises(BadValue, match=r"do not divide by .*: choose another dataset\.size") as caught:
                tokenizer.encode(odd)
            assert f"{odd.shape[3]}×{odd.shape[4]}" in str(caught.value) and "\n" not in str(caught.value)
            with pytest.raises(BadValue):
                tokenizer.training_losses(odd, 0)


@every
@torch.no_grad()
def test_an_image_is_the_first_latent_frame(case: Case) -> None:
    tokenizer = made(case)
    if tokenizer.video_frames(1) != 1:
        pytest.skip("its first latent frame covers more than one frame")
    x = video(tokenizer, 3)
    image = tokenizer.encode(x[:, :, :1])
    assert image.z.shape[2] == 1 and tokenizer.decode(image).shape[2] == 1
    if tokenizer.causal:
        whole = tokenizer.encode(x)
        close(content(image), content(whole)[:, :, :1])
        if not case.decoder_looks_ahead:
            close(tokenizer.decode(image), tokenizer.decode(whole)[:, :, :1])


# ----------------------------------------------------------------------------------------------------- causality


@every
@torch.no_grad()
def test_later_frames_change_no_earlier_latent_or_picture_where_it_is_declared_causal(case: Case) -> None:
    tokenizer = made(case)
    x = video(tokenizer, 5)
    before = tokenizer.encode(x)
    pictures = tokenizer.decode(before)
    moved = 0.0
    for latent in range(4):
        changed = x.clone()
        changed[:, :, tokenizer.last_frame(latent) + 1 :] = video(tokenizer, 5, seed=2)[
            :, :, tokenizer.last_frame(latent) + 1 :
        ]
        after = tokenizer.encode(changed)
        gap = (content(after) - content(before)).abs().amax((0, 1, 3, 4))
        assert gap[latent + 1] > 1e-3, "a latent must see the frames that it covers"
        moved = max(moved, float(gap[: latent + 1].max()))
        if tokenizer.causal:
            close(content(after)[:, :, : latent + 1], content(before)[:, :, : latent + 1])
            if not case.decoder_looks_ahead:
                seen = tokenizer.last_frame(latent) + 1
                close(tokenizer.decode(after)[:, :, :seen], pictures[:, :, :seen])
    assert tokenizer.causal == (moved < 1e-5), "declared wrongly"


@every
@torch.no_grad()
def test_a_decoder_looks_ahead_only_where_it_is_said_to(case: Case) -> None:
    tokenizer = made(case)
    latent = tokenizer.encode(video(tokenizer, 5))
    before, moved = tokenizer.decode(latent), 0.0
    for last in range(4):
        z = latent.z.clone()
        z[:, :, last + 1 :] += 1
        after = tokenizer.decode(Latent(z, tokenizer.spatial_factor, tokenizer.temporal_factor))
        gap = (after - before).abs().amax((0, 1, 3, 4))
        seen = tokenizer.last_frame(last) + 1
        assert gap[seen:].max() > 1e-4
        moved = max(moved, float(gap[:seen].max()))
    if tokenizer.causal:
        assert case.decoder_looks_ahead == (moved > 1e-5)


# ----------------------------------------------------------------------------------------------------- streaming

SPLITS = ([1] * 5, [2, 3], [3, 1, 1], [5])


@every
@pytest.mark.parametrize("sizes", SPLITS, ids=str)
@torch.no_grad()
def test_a_stream_of_pieces_equals_the_whole(case: Case, sizes: list[int]) -> None:
    tokenizer = made(case)
    x = video(tokenizer, 5, clips=2)
    ends = [tokenizer.video_frames(sum(sizes[: i + 1])) for i in range(len(sizes))]
    pieces = [x[:, :, begin:end] for begin, end in zip([0, *ends], ends, strict=False)]
    whole = tokenizer.encode(x)
    parts = list(tokenizer.encode_stream(iter(pieces)))
    close(torch.cat([part.z for part in parts], 2), whole.z)
    close(torch.cat([content(part) for part in parts], 2), content(whole))
    if whole.indices is not None:
        assert torch.equal(torch.cat([part.indices for part in parts], 1), whole.indices)
    if tokenizer.causal:
        assert [part.z.shape[2] for part in parts] == sizes
    shown = list(tokenizer.decode_stream(iter(whole.z.split(sizes, dim=2))))
    close(torch.cat(shown, 2), tokenizer.decode(whole))
    assert not list(tokenizer.encode_stream([])) and not list(tokenizer.decode_stream([]))


@every
@torch.no_grad()
def test_two_streams_do_not_know_of_each_other(case: Case) -> None:
    tokenizer = made(case)
    x, y = video(tokenizer, 2), video(tokenizer, 2, seed=5)
    first = tokenizer.video_frames(1)
    a = tokenizer.encode_stream(iter([x[:, :, :first], x[:, :, first:]]))
    b = tokenizer.encode_stream(iter([y[:, :, :first], y[:, :, first:]]))
    parts = [part for pair in zip(a, b, strict=True) for part in pair]
    close(torch.cat([part.z for part in parts[::2]], 2), tokenizer.encode(x).z)
    close(torch.cat([part.z for part in parts[1::2]], 2), tokenizer.encode(y).z)


# ------------------------------------------------------------------------------------------------------- training


@trained
def test_gradients_reach_every_parameter_and_only_through_the_loss(case: Case) -> None:
    tokenizer = build(case).train()
    for step in range(3):  # what is dropped at one step is trained at another
        losses = tokenizer.training_losses(video(tokenizer, 4, clips=2, seed=step), step)
        losses["loss"].backward()
        assert [name for name, term in losses.items() if term.requires_grad] == ["loss"]
        assert all(torch.isfinite(term) and term.ndim == 0 for term in losses.values())
    idle = [name for name, p in tokenizer.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not idle
    if hasattr(tokenizer, "critic"):
        assert tokenizer.last_layer.grad is not None


@every
def test_the_loss_is_the_sum_of_the_terms_of_its_training_pass(case: Case) -> None:
    tokenizer = copy.deepcopy(made(case)).train()
    x = video(tokenizer, 4)
    torch.manual_seed(0)
    losses = copy.deepcopy(tokenizer).training_losses(x, 3)
    torch.manual_seed(0)
    passed = copy.deepcopy(tokenizer).autoencode(x, 3)
    assert "reconstruction" in passed.terms and not set(passed.terms) & set(passed.figures)
    assert set(losses) == {"loss", "psnr", *passed.terms, *passed.figures}
    close(losses["loss"], torch.stack([term.float() for term in passed.terms.values()]).sum())
    assert passed.video.shape == passed.target.shape and passed.video.shape[2] <= x.shape[2]
    assert not any(figure.requires_grad for figure in passed.figures.values())
    assert (passed.indices is not None) == (tokenizer.kind == "discrete")


@every
def test_a_repeated_step_repeats_its_noise(case: Case) -> None:
    tokenizer = copy.deepcopy(made(case)).train()
    x = video(tokenizer, 4, clips=2)

    def run(step: int) -> Any:
        torch.manual_seed(1)  # a resumed run has the global state back too: restarts of codes draw from it
        return copy.deepcopy(tokenizer).autoencode(x, step)

    once, again = run(5), run(5)
    assert torch.equal(once.video, again.video) and torch.equal(once.target, again.target)
    assert all(torch.equal(term, again.terms[name]) for name, term in once.terms.items())
    if case.name == "vae" or (case.name == "teco" and tokenizer.kind == "continuous"):
        assert not torch.equal(run(6).video, once.video)


@trained
def test_bfloat16_autocast_trains_encodes_and_decodes(case: Case) -> None:
    tokenizer = build(case).train()
    x = video(tokenizer, 4, clips=2)
    with torch.autocast("cpu", torch.bfloat16):
        losses = tokenizer.training_losses(x, 0)
    losses["loss"].backward()
    assert losses["loss"].dtype == torch.float32 and torch.isfinite(losses["loss"])
    gradients = [p.grad for p in tokenizer.parameters() if p.grad is not None]
    assert gradients and all(torch.isfinite(gradient).all() for gradient in gradients)
    tokenizer.eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        latent = tokenizer.encode(x)
        back = tokenizer.decode(latent)
    assert latent.z.dtype == back.dtype == torch.float32 and torch.isfinite(back).all()


# ---------------------------------------------------------------------------------------------------------- state


@every
def test_state_dict_round_trip(case: Case) -> None:
    tokenizer, other = copy.deepcopy(made(case)), build(case, seed=7).eval()
    tokenizer.fit_statistics([video(tokenizer, 3, clips=2, seed=3)])
    x = video(tokenizer, 3)
    other.load_state_dict(tokenizer.state_dict())
    same_latents(other.encode(x), tokenizer.encode(x))
    close(other.decode(tokenizer.encode(x)), tokenizer.decode(tokenizer.encode(x)))
    assert {"statistics.mean", "statistics.std"} <= set(tokenizer.state_dict())
    assert not any("statistics" in name for name, _ in tokenizer.named_parameters())


@every
def test_eval_mode_changes_no_state(case: Case) -> None:
    tokenizer = copy.deepcopy(made(case)).eval()
    before = {name: value.clone() for name, value in tokenizer.state_dict().items()}
    x = video(tokenizer, 3)
    with torch.no_grad():
        latent = tokenizer.encode(x)
        tokenizer.decode(latent)
        tokenizer.autoencode(x, 0)
        list(tokenizer.encode_stream([x]))
        list(tokenizer.decode_stream([latent.z]))
        if tokenizer.kind == "discrete":
            tokenizer.quantise(latent.z)
    assert all(torch.equal(value, before[name]) for name, value in tokenizer.state_dict().items())


@trained
@torch.no_grad()
def test_latents_are_normalised_after_fitting(case: Case) -> None:
    tokenizer = copy.deepcopy(made(case))
    videos = [video(tokenizer, 4, clips=clips, seed=clips) for clips in (1, 2, 3)]
    tokenizer.fit_statistics(iter(videos))
    z = torch.cat([tokenizer.encode(x).z for x in videos]).movedim(1, 0).flatten(1)
    close(z.mean(1), torch.zeros(tokenizer.channels), 1e-4)
    spread = z.std(1, correction=0)
    assert ((spread - 1).abs() < 1e-3).logical_or(spread < 1e-4).all() and (spread > 0.5).any()
    assert tokenizer.statistics.count == z.shape[1]


# ------------------------------------------------------------------------------------------------------- discrete


DISCRETE = [case for case in CASES if quantizer_of(case) is not None]
discrete = pytest.mark.parametrize("case", DISCRETE, ids=[case.id for case in DISCRETE])


@discrete
@torch.no_grad()
def test_indices_codes_and_what_was_quantised_belong_together(case: Case) -> None:
    tokenizer = made(case)
    latent = tokenizer.encode(video(tokenizer, 5, clips=2))
    assert latent.indices is not None and latent.unquantised is not None
    assert latent.indices.dtype == torch.long and latent.indices.shape == (2, *latent.z.shape[2:])
    assert latent.indices.min() >= 0 and latent.indices.max() < tokenizer.codes
    assert latent.indices.unique().numel() > 1 and latent.unquantised.shape == latent.z.shape
    close(tokenizer.lookup(latent.indices), latent.z, 1e-6)
    again = tokenizer.quantise(latent.unquantised)
    if "projection" in case.options["quantizer"]:  # outside a projection distances are others: most codes are the same
        assert (again.indices == latent.indices).float().mean() > 0.6
    else:
        close(again.z, latent.z)
        assert torch.equal(again.indices, latent.indices)
    codes = tokenizer.quantise(latent.z)
    close(codes.z, latent.z)
    assert torch.equal(codes.indices, latent.indices), "a code is its own nearest code"


@discrete
@torch.no_grad()
def test_every_index_has_a_code_that_is_its_own(case: Case) -> None:
    tokenizer = made(case)
    indices = torch.arange(tokenizer.codes).view(1, 1, 1, -1)
    codes = tokenizer.lookup(indices)
    assert codes.shape == (1, tokenizer.channels, 1, 1, tokenizer.codes)
    assert torch.equal(tokenizer.quantise(codes).indices, indices)


@discrete
@torch.no_grad()
def test_the_unquantised_latent_decodes_too(case: Case) -> None:
    tokenizer = made(case)
    x = video(tokenizer, 3)
    latent = tokenizer.encode(x)
    raw = Latent(content(latent), latent.spatial_factor, latent.temporal_factor)
    gap = (tokenizer.decode(raw) - tokenizer.decode(latent)).abs().mean()
    assert tokenizer.decode(raw).shape == x.shape and 0 < gap < 10


@discrete
def test_gradients_pass_straight_through_the_codes(case: Case) -> None:
    tokenizer = copy.deepcopy(made(case)).train()
    x = video(tokenizer, 3).requires_grad_()
    tokenizer.autoencode(x, 0).video.sum().backward()
    assert x.grad is not None and x.grad.abs().sum() > 0


# ------------------------------------------------------------------------------------------------------- learning


def moving_shapes(frames: int) -> Tensor:
    """Four clips [4, 3, T, 32, 32] of the data set moving_shapes."""
    dataset = registry.build("dataset", "moving_shapes", {"sizes": [(32, 32)]}, reader=None)
    clips = [torch.from_numpy(dataset.clip("train", index).frames[:frames]) for index in range(4)]
    return torch.stack(clips).permute(0, 4, 1, 2, 3).float() / 127.5 - 1


@pytest.mark.slow
@pytest.mark.parametrize("name", DEFAULTS)
def test_four_clips_are_learned_by_heart_at_the_default_options(name: str) -> None:
    torch.manual_seed(0)
    tokenizer = compose.build_tokenizer(Part(name=name, options={}))
    weights = sum(p.numel() for p in tokenizer.parameters())
    assert 0.5e6 < weights < 1.5e6, f"the CPU-size default has {weights} parameters"
    x = moving_shapes(tokenizer.video_frames(max(2, min(tokenizer.training_latents, 3))))
    optimiser = torch.optim.AdamW(tokenizer.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=300, pct_start=0.1)
    for step in range(300):
        optimiser.zero_grad()
        tokenizer.training_losses(x, step)["loss"].backward()
        torch.nn.utils.clip_grad_norm_(tokenizer.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    tokenizer.eval()
    with torch.no_grad():
        error = (tokenizer.decode(tokenizer.encode(x)).clamp(-1, 1) - x).square().mean()
    psnr = float(10 * torch.log10(4 / error))
    print(f"{name}: {psnr:.1f} dB, {weights} parameters")
    assert psnr >= 24
