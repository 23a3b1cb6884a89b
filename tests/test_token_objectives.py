"""What token objectives learn from and how they decode: masks, schedules, streams, and who sees whom."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from token_models import ATTENTIONS, FACTORS, OBJECTIVES, SIZE, batch, network, tokens

from components.contracts import Condition, TokenObjective, Window
from components.frame_runs import join_conditions, join_windows
from components.objective.autoregressive_tokens import AutoregressiveTokens
from components.objective.maskgit import MaskGIT
from components.token_digits import join_digits, split_digits
from components.token_distribution import draw_digits, token_nats
from components.token_streams import as_content, as_queries, one_place_later, two_streams
from zoo import registry

AREA = math.prod(SIZE)


def maskgit(**options: Any) -> MaskGIT:
    return MaskGIT(MaskGIT.Config(**options))


def raster(**options: Any) -> AutoregressiveTokens:
    return AutoregressiveTokens(AutoregressiveTokens.Config(**options))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_token_objectives_keep_their_contract_and_diffusion_is_none(name: str) -> None:
    objective = registry.build("objective", name)
    assert isinstance(objective, TokenObjective) and "tokens" in registry.card("objective", name).gives
    assert objective.sampling_options <= set(registry.option_names("objective", name))
    for other in set(registry.names("objective")) - set(OBJECTIVES):
        assert not isinstance(registry.build("objective", other), TokenObjective)


# ------------------------------------------------------------------------------------------------ digits, draws


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=4))
def test_digits_are_the_index_and_the_last_is_the_fastest(factors: list[int]) -> None:
    codes = torch.arange(math.prod(factors)).view(1, 1, 1, -1)
    digits = split_digits(codes, factors)
    assert torch.equal(join_digits(digits, factors), codes)
    assert all(digits[:, g].max() == size - 1 for g, size in enumerate(factors))
    if factors[-1] > 1:
        assert digits[0, -1, 0, 0, 1] == 1 and digits[0, :-1, 0, 0, 1].eq(0).all()


def test_draws_follow_the_distribution_and_top_k_and_temperature() -> None:
    logits = torch.tensor([2.0, 0.0, 1.0, -1.0, 0.5, 3.0, 3.0]).view(1, 7, 1).expand(1, 7, 20000)
    uniform = torch.rand(1, 2, 20000, generator=torch.Generator().manual_seed(0))

    def shares(**options: Any) -> list[torch.Tensor]:
        digits, log_p = draw_digits(logits, (3, 4), uniform, **options)
        first = torch.log_softmax(logits[0, :3, 0], 0)[digits[0, 0].long()]
        second = torch.log_softmax(logits[0, 3:, 0], 0)[digits[0, 1].long()]
        if not options:
            torch.testing.assert_close(log_p[0], first + second)
        return [torch.bincount(digits[0, g].long(), minlength=n) / 20000 for g, n in enumerate((3, 4))]

    for share, part in zip(shares(), (logits[0, :3, 0], logits[0, 3:, 0]), strict=True):
        torch.testing.assert_close(share, part.softmax(0), atol=0.015, rtol=0)
    for share, part in zip(shares(temperature=0.5), (logits[0, :3, 0], logits[0, 3:, 0]), strict=True):
        torch.testing.assert_close(share, (2 * part).softmax(0), atol=0.015, rtol=0)
    two = shares(top_k=2)
    assert two[0][1] == 0 and two[1][:2].eq(0).all() and two[1][2] > 0.4
    assert shares(temperature=0.0)[0][0] == 1


def test_a_uniform_number_next_to_one_draws_nothing_forbidden() -> None:
    """Sums of rounded probabilities end below 1 here and there, and the last value of a digit is forbidden mostly."""
    logits = torch.randn(1, 50, 2000, generator=torch.Generator().manual_seed(0))
    digits, log_p = draw_digits(logits, (50,), torch.full((1, 1, 2000), 1 - 2**-24), top_k=5)
    assert torch.isfinite(log_p).all()
    assert (logits.gather(1, digits.long()) >= logits.topk(5, dim=1).values[:, -1:]).all()


def test_nats_of_a_token_are_those_of_its_digits_together() -> None:
    z, logits = tokens(2, 3), torch.randn(2, 7, 3, *SIZE)
    joint = (logits[:, :3, None] + logits[:, None, 3:]).flatten(1, 2)
    index = join_digits(z, FACTORS)
    torch.testing.assert_close(token_nats(logits, z, FACTORS), F.cross_entropy(joint, index, reduction="none"))


# ---------------------------------------------------------------------------------------------------- MaskGIT


class Fixed:
    """A network that always says the same and remembers what it was shown."""

    factors = FACTORS

    def __init__(self, logits: torch.Tensor) -> None:
        self.logits = logits

    def __call__(self, z: Any, window: Window, condition: Condition) -> Any:
        self.z, self.condition = z, condition
        return self.logits if isinstance(z, torch.Tensor) else list(self.logits)


@pytest.mark.parametrize("as_list", [False, True])
def test_hidden_tokens_are_asked_for_and_no_others(as_list: bool) -> None:
    z, window, condition = batch([[1, 0, 0, 1], [0, 0, 0, 0]])
    net = Fixed(torch.randn(2, 7, 4, *SIZE))
    level = torch.where(window.observed, 0.0, torch.tensor([[0.3], [0.9]]))
    draws = torch.Generator().manual_seed(0)
    given = list(z) if as_list else z
    errors = maskgit(label_smoothing=0).errors(net, given, window, replace(condition, level=level), draws)
    shown = torch.stack(list(net.z)) if as_list else net.z
    hidden = shown[:, 0] < 0
    assert torch.equal(hidden, shown[:, 1] < 0), "all digits of a token are hidden together"
    assert torch.equal(shown[:, 0][~hidden], z[:, 0][~hidden])
    assert not hidden[window.observed].any() and hidden.any((1, 2, 3)).all()
    assert torch.equal(net.condition.level, (~window.observed).float())
    nats = token_nats(net.logits, z, FACTORS)
    asked = ~window.observed
    for b in range(2):
        mean = errors[b][asked[b]].mean()
        torch.testing.assert_close(mean, nats[b][hidden[b]].mean())


def test_the_share_of_hidden_tokens_is_a_cosine_and_never_none() -> None:
    z = torch.zeros(400, 1, 4, 8, 8)
    asked = torch.ones(400, 4, dtype=torch.bool)
    for u in (0.0, 0.3, 0.7):
        hidden = MaskGIT._hidden(z, torch.full((400, 4), math.cos(math.pi / 2 * u)), asked, None)
        assert abs(hidden.float().mean() - math.cos(math.pi / 2 * u)) < 0.01
    one = MaskGIT._hidden(z, torch.full((400, 4), math.cos(math.pi / 2)), asked, None)
    assert one.sum((1, 2, 3)).eq(1).all()


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 3000), st.integers(1, 40))
def test_the_schedule_is_the_cosine_and_leaves_one_until_the_end(count: int, rounds: int) -> None:
    left = maskgit(iterations=rounds).schedule(count)
    assert len(left) == rounds and left[-1] == 0 and all(n >= 1 for n in left[:-1])
    if count > 10 * rounds:
        assert left[:-1] == [int(count * math.cos(math.pi / 2 * r / rounds)) for r in range(1, rounds)]
        assert left == sorted(left, reverse=True)


class Told:
    """A decoder whose logits are fixed; keeps every state of the tokens."""

    factors = FACTORS

    def __init__(self, logits: torch.Tensor) -> None:
        self.logits, self.states, self.draws = logits, [], []

    def predict(self, z: torch.Tensor) -> torch.Tensor:
        self.states.append(z)
        return self.logits

    def uniform(self, channels: int, draw: int) -> torch.Tensor:
        self.draws.append(draw)
        generator = torch.Generator().manual_seed(draw)
        return torch.rand(self.logits.shape[0], channels, *self.logits.shape[2:], generator=generator)


@pytest.mark.parametrize("heat", [0.0, 4.5])
def test_decoding_keeps_known_tokens_and_the_exact_counts(heat: float) -> None:
    objective, decoder = maskgit(choice_temperature=heat), Told(torch.randn(2, 7, 4, *SIZE))
    made = objective.decode(torch.full((2, 2, 4, *SIZE), -1.0), decoder)
    states = [*decoder.states, made]
    counts = [4 * AREA, *objective.schedule(4 * AREA)]
    assert len(decoder.states) == objective.calls(4, AREA) == 12 and decoder.draws == list(range(12))
    for before, after, unknown in zip(states, states[1:], counts[1:], strict=False):
        assert (after[:, 0] < 0).sum((1, 2, 3)).tolist() == [unknown, unknown]
        known = before >= 0
        assert torch.equal(after[known], before[known])
    assert made.ge(0).all() and made[:, 0].max() < 3 and made[:, 1].max() < 4


def test_without_heat_the_surest_are_kept() -> None:
    logits = torch.zeros(1, 7, 1, *SIZE)
    logits[:, 0] = logits[:, 3] = torch.arange(AREA).view(1, 1, *SIZE).float()  # later places are surer
    decoder = Told(logits)
    maskgit(choice_temperature=0, temperature=0, iterations=3).decode(torch.full((1, 2, 1, *SIZE), -1.0), decoder)
    first = decoder.states[1][0, 0].flatten() < 0
    kept = maskgit(iterations=3).schedule(AREA)[0]
    assert first.tolist() == [True] * kept + [False] * (AREA - kept)


# ------------------------------------------------------------------------------------------------ raster order


def changed(z: torch.Tensor, frame: int, place: int) -> torch.Tensor:
    other = z.clone()
    row, column = divmod(place, SIZE[1])
    other[:, 0, frame, row, column] = (other[:, 0, frame, row, column] + 1) % FACTORS[0]
    return other


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_a_token_reaches_all_after_it_and_none_before(attention: str) -> None:
    net = network("autoregressive_tokens", f"attention={attention}")
    z, window, condition = batch([[1, 0, 1, 0, 0]] * 2)

    def logits(z: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return net(*two_streams(z, window, condition))[:, :, 5:].flatten(3)

    out, history = logits(z), 1 if "history" in attention else 99
    for frame, place in ((1, 0), (1, 3), (1, AREA - 1), (3, 2), (4, AREA - 1)):
        moved = (logits(changed(z, frame, place)) - out).abs().amax((0, 1)) > 1e-6
        for f in (1, 3, 4):
            for i in range(AREA):
                after = (f == frame and i > place) or 0 < f - frame <= history
                assert moved[f, i] == after, (frame, place, f, i)
    for frame in (0, 2):  # observed frames are seen by all, whatever their time
        moved = (logits(changed(z, frame, 1)) - out).abs().amax((0, 1)) > 1e-6
        assert moved[[1, 3, 4]].all()


def test_content_does_not_see_queries_and_observed_frames_see_themselves_alone() -> None:
    net = network("autoregressive_tokens", "attention=full")
    z, window, condition = batch([[1, 0, 0]])
    given = two_streams(z, window, condition)
    other = given[0].clone()
    other[:, :, 3:] = (other[:, :, 3:] + 1) % 3
    with torch.no_grad():
        a, b = net(*given), net(other, *given[1:])
        torch.testing.assert_close(a[:, :, :3], b[:, :, :3])
        alone = net(z[:, :, :1], *(part for part in frames(window, condition, slice(0, 1))))
        torch.testing.assert_close(alone, a[:, :, :1], rtol=0, atol=1e-5)
    assert not a[:, :, 3].any(), "an observed frame asks for nothing: its slot is filler"


def frames(window: Window, condition: Condition, cut: slice) -> tuple[Window, Condition]:
    """Some frames of a window, and what is told of them."""
    assert condition.actions is not None and condition.poses is not None
    told = {"level": condition.level[:, cut], "actions": condition.actions[:, cut], "poses": condition.poses[:, cut]}
    picked = Window(window.times[:, cut], window.observed[:, cut], window.valid[:, cut])
    return picked, replace(condition, **told)


def at_level(condition: Condition, level: float) -> Condition:
    return replace(condition, level=torch.full_like(condition.level, level))


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("conditioning", registry.names("conditioning"))
def test_token_by_token_equals_the_whole_teacher_forced_pass(attention: str, conditioning: str) -> None:
    net = network("autoregressive_tokens", f"attention={attention}", f"conditioning={conditioning}")
    z, window, condition = batch([[1, 1, 0, 0, 0], [1, 1, 0, 0, 0]])
    with torch.no_grad():
        whole = net(*two_streams(z, window, condition))[:, :, 5:]
        memory = net.remember(z[:, :, :2], *frames(window, at_level(condition, 0.0), slice(0, 2)))
        for f in (2, 3, 4):
            own, told = frames(window, at_level(condition, 1.0), slice(f, f + 1))
            frame = net.begin_frame(as_queries(own), told, memory, SIZE)
            before = one_place_later(z[:, :, f : f + 1]).flatten(2).unbind(-1)
            said = torch.stack([net.next_token(token, frame) for token in before], dim=-1)
            torch.testing.assert_close(said, whole[:, :, f].flatten(2), rtol=1e-5, atol=1e-5)
            memory = net.remember(z[:, :, f : f + 1], as_content(own), at_level(told, 0.0), memory=memory)
        assert memory.window.times.shape[1] == 5 and memory.tokens.grids[0] == (5, *SIZE)


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_a_frame_in_the_past_of_an_observed_one_is_made_the_same_way(attention: str) -> None:
    """As hierarchical plans ask: the whole pass on memory of all observed frames equals the window without memory."""
    net = network("autoregressive_tokens", f"attention={attention}")
    z, window, condition = batch([[1, 0, 1]])
    parts = [frames(window, at_level(condition, 0.0), slice(f, f + 1)) for f in (0, 2)]
    seen = join_windows(parts[0][0], parts[1][0]), join_conditions(parts[0][1], parts[1][1])
    own, told = frames(window, at_level(condition, 1.0), slice(1, 2))
    with torch.no_grad():
        whole = net(*two_streams(z, window, condition))[:, :, 4:5]
        memory = net.remember(z[:, :, [0, 2]], *seen)
        cached = net(one_place_later(z[:, :, 1:2]), as_queries(own), told, memory=memory)
    torch.testing.assert_close(cached, whole, rtol=0, atol=1e-5)


def test_clips_of_mixed_sizes_cost_what_each_costs_alone() -> None:
    net = network()
    _, window, condition = batch([[1, 0, 0], [1, 0, 0], [0, 0, 0]])
    window = replace(window, valid=torch.tensor([[True] * 3, [True, True, False], [True] * 3]))
    clips = [torch.randint(3, (2, f, h, 2)).float() for f, h in ((3, 3), (2, 3), (3, 2))]
    with torch.no_grad():
        errors = raster().errors(net, clips, window, condition, None)
        for b, clip in enumerate(clips):
            row = slice(b, b + 1)
            own = Window(*(getattr(window, n)[row, : clip.shape[1]] for n in ("times", "observed", "valid")))
            told = {n: getattr(condition, n)[row, : clip.shape[1]] for n in ("level", "actions", "poses")}
            told |= {n: getattr(condition, n)[row] for n in ("origin", "camera")}
            alone = raster().errors(net, clip[None], own, Condition(**told), None)
            asked = own.valid & ~own.observed
            torch.testing.assert_close(errors[row, : clip.shape[1]][asked], alone[asked], rtol=1e-5, atol=1e-5)
    packed = two_streams(torch.stack([clips[0]] * 3), window, condition)
    with pytest.raises(ValueError, match="one size"):
        net([clip.repeat(1, 2, 1, 1) for clip in clips], *packed[1:])
