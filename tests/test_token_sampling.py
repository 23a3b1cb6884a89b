"""Tokens through stage 2 and the rollout engine: caches, batches, resuming, learning, and what is generated."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from token_models import (
    ATTENTIONS,
    CHANGES,
    FACTORS,
    FRAMES,
    OBJECTIVES,
    ROLLOUTS,
    SIZE,
    engine,
    network,
    recipe,
    request,
)

from components.contracts import Window
from components.quantizer.lfq import LFQ
from components.video_tokenizer import VideoTokenizer
from zoo import compose
from zoo.canvas import Canvas
from zoo.latent_form import LatentForm
from zoo.stages.data import GeneratorBatch
from zoo.stages.generator import GeneratorStage

both = pytest.mark.parametrize("objective", OBJECTIVES)
FEW = "{name: maskgit, iterations: 3}"
QUICK = {"maskgit": FEW, "autoregressive_tokens": "autoregressive_tokens"}


def same(a: list[torch.Tensor], b: list[torch.Tensor]) -> None:
    for first, second in zip(a, b, strict=True):
        assert torch.equal(first, second)


# -------------------------------------------------------------------------------------------------- the engine


@both
@pytest.mark.parametrize("rollout", ROLLOUTS)
def test_memory_changes_no_token(objective: str, rollout: str) -> None:
    """Logits agree to 1e-5, so that no draw of these seeds falls elsewhere; given frames stay, all others are made."""
    options, asked = (f"rollout={rollout}",), [request(0), request(1)]
    kept = engine(QUICK[objective], *options, **CHANGES.get(rollout, {})).generate(asked)
    same(kept, engine(QUICK[objective], *options, cache=False, **CHANGES.get(rollout, {})).generate(asked))
    for video, one in zip(kept, asked, strict=True):
        assert torch.equal(video[:, :3], one.context)
        assert video.min() == 0 and video[0].max() == FACTORS[0] - 1 and video[1].max() == FACTORS[1] - 1
        assert torch.equal(video, video.round())


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_memory_changes_no_token_under_any_attention(attention: str) -> None:
    options = (f"attention={attention}", "rollout=hierarchical")
    asked = [request(0), request(1)]
    a, b = (engine("autoregressive_tokens", *options, cache=cache).generate(asked) for cache in (True, False))
    same(a, b)


@both
def test_the_batch_size_and_the_company_change_nothing(objective: str) -> None:
    asked = [request(0), request(1), replace(request(2), frames=8), request(3, given=5)]
    together = engine(QUICK[objective], batch=8).generate(asked)
    same(together, [engine(QUICK[objective], batch=1).generate([one])[0] for one in asked])


@both
def test_draws_depend_on_seed_and_episode(objective: str) -> None:
    first, again = (engine(QUICK[objective], seed=1).generate([request(0)])[0] for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, engine(QUICK[objective], seed=2).generate([request(0)])[0])
    assert not torch.equal(first, engine(QUICK[objective], seed=1).generate([replace(request(0), episode="x")])[0])


@both
@pytest.mark.parametrize("steps", [0, 1])
def test_a_killed_rollout_goes_on_where_it_was(objective: str, steps: int, tmp_path) -> None:
    asked = [request(0), request(1, given=4)]
    sampler = engine(QUICK[objective], "rollout=hierarchical")
    whole, seen = sampler.generate(asked), []

    def die(made: int) -> None:
        seen.append(made)
        if len(seen) > steps:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sampler.paint(asked, die, tmp_path)
    canvases, _ = sampler.paint(asked, folder=tmp_path)
    same([canvas.read(range(FRAMES)) for canvas in canvases], whole)


@both
@pytest.mark.parametrize(
    "guidance",
    [
        "guidance={name: history, scales: [SCALE]}",
        "guidance={name: classifier_free, drop: camera, scale: SCALE}",
    ],
)
def test_guidance_combines_logits(objective: str, guidance: str) -> None:
    plain = engine(QUICK[objective]).generate([request(0)])
    same(plain, engine(QUICK[objective], guidance.replace("SCALE", "1.0")).generate([request(0)]))
    strong = engine(QUICK[objective], guidance.replace("SCALE", "6.0"))
    assert not torch.equal(strong.generate([request(0)])[0], plain[0])
    same(strong.generate([request(0)]), replace(strong, cache=False).generate([request(0)]))


def test_planners_look_at_codes_and_not_at_digits() -> None:
    canvas = Canvas(request(0).context, 3, show=lambda z_cfhw: torch.cat([10.0 - z_cfhw[:1]] * 5))
    assert canvas.looks([0, 2]).shape == (2, 5 * 16)
    plain = Canvas(request(0).context[:1], 3)
    assert abs(canvas.looks([1])[0, :16] + plain.looks([1])[0] - 10).max() < 1e-6


# ----------------------------------------------------------------------------------------------------- learning


def blinking(clips: int, frames: int) -> torch.Tensor:
    """Digits [B, 2, F, H, W]: one is the clip's own pattern, the other follows the action, each place its way."""
    place, clip = torch.arange(prod(SIZE)).view(1, 1, *SIZE), torch.arange(1, clips + 1).view(-1, 1, 1, 1)
    time = torch.arange(frames).view(1, -1, 1, 1)
    pattern, blink = place * clip % FACTORS[0], (place + 2 * (time % 2)) % FACTORS[1]
    return torch.stack([pattern.expand(-1, frames, -1, -1), blink.expand(clips, -1, -1, -1)], dim=1).float()


def stage(objective: str, net: Any) -> GeneratorStage:
    settings = SimpleNamespace(text_dropout=0.0, camera_dropout=0.0, seed=0)
    objective, noise = (compose.build(axis, recipe(objective).part(axis)) for axis in ("objective", "noise"))
    return GeneratorStage(net, objective, noise, None, settings)


def signals(frames: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Actions [F, 2] and poses [F, 4] of that video: on and off, on a walk round a circle."""
    time = torch.arange(frames)
    turn = time / 4
    return torch.stack([time % 2, 1 - time % 2], 1).float(), torch.stack([turn.cos(), turn.sin(), 0 * turn, turn], 1)


def windows(z: torch.Tensor, start: int, length: int, given: int) -> GeneratorBatch:
    clips = z.shape[0]
    observed = (torch.arange(length) < given).expand(clips, -1)
    times = (torch.arange(length).float() - given).expand(clips, -1)
    actions, poses = (part[start : start + length].expand(clips, -1, -1) for part in signals(z.shape[2]))
    return GeneratorBatch(
        z=z[:, :, start : start + length],
        window=Window(times, observed, torch.ones_like(observed)),
        indices=times.long(),
        actions=actions,
        poses=poses,
        origin=signals(1)[1].expand(clips, -1),
        captions=None,
        episodes=("x",) * clips,
    )


@both
def test_a_tiny_deterministic_video_is_learned_and_made_again(objective: str) -> None:
    torch.manual_seed(0)
    greedy = {
        "maskgit": "{name: maskgit, iterations: 4, temperature: 0, choice_temperature: 0, label_smoothing: 0}",
        "autoregressive_tokens": "{name: autoregressive_tokens, temperature: 0}",
    }[objective]
    options = ("backbone={name: video_dit, width: 32, depth: 1, heads: 2}",)
    sizes = compose.Sizes(channels=2, action_dim=2, factors=FACTORS)
    net = compose.build_network(recipe(greedy, *options), sizes, 0)
    learner, z = stage(greedy, net), blinking(2, 12)
    optimiser = torch.optim.AdamW(net.parameters(), lr=5e-3)
    losses = []
    for step in range(120):
        loss = learner.loss(windows(z, step % 7, 6, 3), step)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    idle = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == ["backbone.signal.no_camera"], "every other weight takes part"
    assert losses[-1] < 0.1 * losses[0]
    asked = [replace(request(b), context=z[b, :, :3], actions=signals(10)[0], poses=signals(10)[1]) for b in range(2)]
    made = engine(greedy, *options, net=net.eval()).generate(asked)
    for b in range(2):
        assert (made[b] == z[b, :, :10]).float().mean() == 1.0


@both
def test_a_step_depends_on_seed_and_step_alone_and_a_list_is_a_batch(objective: str) -> None:
    net = network(objective)
    learner, z = stage(objective, net), blinking(2, 6)
    given = windows(z, 0, 6, 2)
    first, again, later = (learner.loss(given, step).item() for step in (3, 3, 4))
    assert first == again and (first != later) == (objective == "maskgit")
    mixed = replace(given, z=list(given.z))
    assert abs(learner.loss(mixed, 3).item() - first) < (1e-4 if objective != "maskgit" else 2.0)


@both
def test_autocast_gives_finite_gradients(objective: str) -> None:
    net = network(objective)
    with torch.autocast("cpu", torch.bfloat16):
        loss = stage(objective, net).loss(windows(blinking(2, 6), 0, 6, 2), 0)
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)


# --------------------------------------------------------------------------------------------- what is generated


class Signs(VideoTokenizer):
    """Four pixels to a bit: the smallest discrete tokenizer there is."""

    def __init__(self) -> None:
        super().__init__(channels=3, spatial_factor=2, temporal_factor=1, quantizer=LFQ(LFQ.Config(bits=3)))
        self.statistics.mean.copy_(torch.tensor([0.5, 0.0, -0.5]))
        self.statistics.std.copy_(torch.tensor([1.0, 2.0, 0.5]))

    def analyse(self, video_bcthw: torch.Tensor, state: Any = None) -> torch.Tensor:
        return torch.nn.functional.avg_pool3d(video_bcthw, (1, 2, 2))

    def synthesise(self, raw_bcfhw: torch.Tensor, state: Any = None) -> torch.Tensor:
        return raw_bcfhw.repeat_interleave(2, -1).repeat_interleave(2, -2)


def test_a_generator_sees_digits_codes_or_what_they_were_chosen_for() -> None:
    tokenizer = Signs().eval()
    latent = tokenizer.encode(torch.rand(2, 3, 4, 8, 6, generator=torch.Generator().manual_seed(0)) * 2 - 1)
    digits, codes, raw = (LatentForm(tokenizer, name) for name in ("digits", "quantised", "unquantised"))
    assert digits.channels == len(tokenizer.factors) and codes.channels == raw.channels == 3
    assert torch.equal(codes.of(latent), latent.z) and torch.equal(raw.of(latent), latent.unquantised)
    assert not torch.equal(raw.of(latent), latent.z)
    for form in (digits, codes, raw):  # whatever was generated, the decoder gets codes
        torch.testing.assert_close(form.codes(form.of(latent)), latent.z)
    torch.testing.assert_close(codes.codes(latent.z + 0.1), latent.z)
