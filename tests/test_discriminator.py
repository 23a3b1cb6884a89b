"""Discriminators, adversarial losses and the perceptual distance, each against its equation."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from components import adversarial
from components.critic_options import CriticOptions
from components.discriminator import blur_pool, discriminator
from components.perceptual import PerceptualDistance, drawn_frames, gathered
from zoo.errors import UnmetNeed

OPTIONS = CriticOptions(critic_width=4, critic_depth=3)
KINDS = [(False, False), (True, False), (False, True), (True, True)]


@pytest.fixture(scope="module")
def distance() -> PerceptualDistance:
    return PerceptualDistance("lite0", 32)


# ------------------------------------------------------------------------------------------------- discriminators


@pytest.mark.parametrize(("space_time", "blur"), KINDS)
def test_any_length_and_side_is_judged_clip_by_clip(space_time: bool, blur: bool) -> None:
    torch.manual_seed(0)
    for depth in (1, 3, 6):
        judge = discriminator(CriticOptions(critic_width=4, critic_depth=depth), space_time=space_time, blur=blur)
        for shape in ((2, 3, 1, 8, 8), (2, 3, 2, 9, 14), (2, 3, 5, 16, 8)):
            video = torch.randn(shape)
            logits = judge(video)
            assert logits.shape[0] == 2 and torch.isfinite(logits).all()
            if not space_time:
                assert logits.shape[1] == shape[2]
            torch.testing.assert_close(judge(video[1:]), logits[1:], atol=1e-5, rtol=1e-4)
    logits.sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in judge.parameters())


@pytest.mark.parametrize(("space_time", "blur"), KINDS)
def test_frames_are_on_their_own_unless_judged_in_time(space_time: bool, blur: bool) -> None:
    judge = discriminator(OPTIONS, space_time=space_time, blur=blur)
    video = torch.randn(1, 3, 4, 16, 16)
    other = video.clone()
    other[:, :, 3] += 1
    same = torch.allclose(judge(video)[:, 0], judge(other)[:, 0], atol=1e-6)
    assert same != space_time


@pytest.mark.parametrize("size", [8, 9])
def test_blur_pool_is_the_convolution_and_keeps_a_constant(size: int) -> None:
    x = torch.randn(2, 3, size, 6)
    kernel = torch.tensor([1.0, 3, 3, 1]) / 8
    weight = torch.outer(kernel, kernel)[None, None].repeat(3, 1, 1, 1)
    padded = F.pad(x, (1, 1, 1, 1 + size % 2), mode="replicate")
    torch.testing.assert_close(blur_pool(x, (-1, -2)), F.conv2d(padded, weight, stride=2, groups=3))
    constant = torch.full((1, 1, size, 5), 3.0)
    assert torch.allclose(blur_pool(constant, (-1, -2)), torch.tensor(3.0))
    assert torch.equal(blur_pool(x[:, :, :1], (-2,)), x[:, :, :1])


def test_blurred_logits_move_less_with_a_shift() -> None:
    """What the blur is for (Zhang 2019): half-size maps of a shifted picture resemble the shifted maps."""
    torch.manual_seed(0)
    x = torch.randn(1, 1, 64, 64)

    def gap(down: Any) -> float:
        return float((down(x) - down(x.roll(1, -1))).square().mean() / down(x).square().mean())

    assert gap(lambda y: blur_pool(y, (-1, -2))) < 0.7 * gap(lambda y: y[..., ::2, ::2])


# ---------------------------------------------------------------------------------------------------------- losses


def test_hinge_terms() -> None:
    real, fake = torch.tensor([2.0, 0.0]), torch.tensor([-3.0, 1.0])
    assert float(adversarial.discriminator_hinge(real, fake)) == pytest.approx(0.5 * (0.5 + 1.0))
    assert float(adversarial.generator_hinge(fake)) == pytest.approx(1.0)


def test_adaptive_weight_equalises_gradients_at_the_last_layer() -> None:
    layer = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    own, other = (layer * torch.tensor([3.0, 4.0])).sum(), 0.1 * layer[0]
    weight = adversarial.adaptive_weight(own, other, layer)
    assert float(weight) == pytest.approx(5 / (0.1 + 1e-4)) and not weight.requires_grad
    assert float(adversarial.adaptive_weight(1e9 * own, other, layer)) == 1e4
    (own + weight * other).backward()  # both graphs are still there


def test_a_pulled_term_has_the_value_and_gradient_of_the_term_itself() -> None:
    torch.manual_seed(0)
    layer, judge = torch.nn.Linear(3, 4), torch.nn.Linear(4, 1)
    x = torch.randn(5, 3)

    def gradients(term: torch.Tensor) -> list[torch.Tensor]:
        return list(torch.autograd.grad(term, list(layer.parameters()), retain_graph=True))

    made = layer(x)
    direct = judge(made).tanh().mean()
    judged = made.detach().requires_grad_()
    pulled = adversarial.pulled(judge(judged).tanh().mean(), judged, made)
    torch.testing.assert_close(pulled, direct)
    for one, other in zip(gradients(pulled), gradients(direct), strict=True):
        torch.testing.assert_close(one, other)
    pulled.backward()
    assert judge.weight.grad is None


@pytest.mark.parametrize(("space_time", "blur"), KINDS)
def test_r1_is_half_the_squared_slope_and_trains_the_discriminator(space_time: bool, blur: bool) -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 3)
    weight = torch.nn.Parameter(torch.tensor([1.0, 2.0, 2.0]))
    video = x.requires_grad_()
    assert float(adversarial.r1((video * weight).sum(1), video).detach()) == pytest.approx(4.5)
    judge = discriminator(OPTIONS, space_time=space_time, blur=blur)
    video = torch.randn(2, 3, 2, 16, 16, requires_grad=True)
    penalty = adversarial.r1(judge(video), video)
    penalty.backward()
    slopes = [p.grad for name, p in judge.named_parameters() if name.endswith("weight") and p.ndim > 1]
    assert penalty > 0 and all(s is not None and s.abs().sum() > 0 for s in slopes)


def test_lecam_follows_the_moving_means() -> None:
    lecam = adversarial.LeCam(decay=0.9)
    lecam(torch.tensor([1.0]), torch.tensor([-1.0]))
    value = lecam(torch.tensor([2.0, 4.0]), torch.tensor([0.0]))
    real, fake = 0.9 * 1 + 0.1 * 3, 0.9 * -1
    assert (float(lecam.real), float(lecam.fake)) == pytest.approx((real, fake))
    assert float(value) == pytest.approx(((2 - fake) ** 2 + (4 - fake) ** 2) / 2 + (0 - real) ** 2)
    assert set(lecam.state_dict()) == {"real", "fake", "seen"}
    before = lecam.real.clone()
    lecam.eval()(torch.tensor([9.0]), torch.tensor([9.0]))
    assert torch.equal(lecam.real, before)


# ----------------------------------------------------------------------------------------------------- perceptual


@pytest.mark.parametrize("size", [(32, 32), (24, 40), (48, 64)])
def test_the_loss_is_the_metric(distance: PerceptualDistance, size: tuple[int, int]) -> None:
    from zoo import registry

    rng = np.random.default_rng(0)
    left, right = rng.integers(0, 256, (2, 3, *size, 3), dtype=np.uint8)
    metric = registry.build("feature", "lite0", {"size": 32}).distance(left, right)
    made, target = (torch.from_numpy(v).permute(3, 0, 1, 2)[None].float() / 127.5 - 1 for v in (left, right))
    loss = distance(made, target)
    assert float(loss) == pytest.approx(float(metric.mean()), rel=1e-5) and metric.mean() > 0.1
    assert float(distance(made, made)) == 0


def test_gradients_reach_what_was_made_and_nothing_else(distance: PerceptualDistance) -> None:
    made, target = (torch.randn(1, 3, 2, 32, 32, requires_grad=True) for _ in range(2))
    distance.train()
    distance(made, target).backward()
    assert made.grad is not None and made.grad.abs().sum() > 0 and target.grad is None
    assert not any(part.training for part in distance.modules()) and all(p.grad is None for p in distance.parameters())


def test_a_step_lowers_the_distance(distance: PerceptualDistance) -> None:
    torch.manual_seed(0)
    target = torch.rand(1, 3, 1, 32, 32) * 2 - 1
    made = (target + 0.3 * torch.randn_like(target)).requires_grad_()
    before = distance(made, target)
    before.backward()
    assert made.grad is not None
    after = distance(made - 0.5 * made.grad / made.grad.norm(), target)
    assert float(after.detach()) < float(before.detach())


def test_drawn_frames_depend_on_the_key_alone_and_never_repeat() -> None:
    at = drawn_frames(6, 9, 4, (1, 2, 3))
    assert at.shape == (6, 4) and torch.equal(at, drawn_frames(6, 9, 4, (1, 2, 3)))
    assert (at.diff(dim=1) > 0).all() and int(at.min()) >= 0 and int(at.max()) < 9
    assert not torch.equal(at, drawn_frames(6, 9, 4, (1, 2, 4))) and len({tuple(row) for row in at.tolist()}) > 1
    assert torch.equal(drawn_frames(2, 3, 8, (0,)), torch.arange(3).repeat(2, 1))
    video = torch.arange(9.0)[None, None, :, None, None].expand(6, 3, 9, 2, 2)
    assert torch.equal(gathered(video, at)[:, 0, :, 0, 0], at.float())


def test_lpips_without_weights_is_refused_and_with_them_is_zero_at_equality(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    import torchvision
    from torchvision.models.vgg import cfgs, make_layers

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(UnmetNeed, match=r"vgg16-.*pth.*nothing is downloaded"):
        PerceptualDistance("lpips")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "vgg16-397923af.pth").touch()
    network = SimpleNamespace(features=make_layers(cfgs["D"]))
    monkeypatch.setattr(torchvision.models, "vgg16", lambda weights: network)
    lpips = PerceptualDistance("lpips", 32)
    made, target = torch.randn(1, 3, 1, 32, 32, requires_grad=True), torch.randn(1, 3, 1, 32, 32)
    loss = lpips(made, target)
    loss.backward()
    assert loss > 0 and made.grad is not None and float(lpips(target, target)) == 0
