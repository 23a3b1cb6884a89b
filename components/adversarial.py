"""Losses between a tokenizer and its discriminator: hinge terms, their weight, and what keeps the latter tame."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import reduce
from torch import Tensor, nn

HIGHEST_WEIGHT = 1e4


def discriminator_hinge(real: Tensor, fake: Tensor) -> Tensor:
    """½ (E max(0, 1 - D(x)) + E max(0, 1 + D(x̂))) over all logits (Lim & Ye 2017; Esser et al. 2021)."""
    return 0.5 * (F.relu(1 - real.float()).mean() + F.relu(1 + fake.float()).mean())


def generator_hinge(fake: Tensor) -> Tensor:
    """-E D(x̂) over all logits."""
    return -fake.float().mean()


def adaptive_weight(own: Tensor, adversarial: Tensor, last_layer: Tensor) -> Tensor:
    """λ = ‖∇ own‖ / (‖∇ adversarial‖ + 1e-4) at the decoder's last layer, at most 1e4 (Esser et al. 2021), detached.

    `own` is reconstruction and perceptual distance. Both graphs are kept.
    """
    norms = [torch.autograd.grad(term, last_layer, retain_graph=True)[0].float().norm() for term in (own, adversarial)]
    return (norms[0] / (norms[1] + 1e-4)).clamp(0.0, HIGHEST_WEIGHT).detach()


def pulled(term: Tensor, judged: Tensor, made: Tensor) -> Tensor:
    """`term` of `judged`, a detached copy, as a term of `made`: term + ⟨∂term/∂judged, made - sg(made)⟩.

    Value and gradient are those of judging `made` itself, but the graph between ends here: weighing its gradient at a
    layer goes through the judge once, and the same judgement can train the judge. `term`'s graph is kept.
    """
    (pull,) = torch.autograd.grad(term, judged, retain_graph=True)
    linear = (pull.detach() * made).sum()
    return term.detach() + linear - linear.detach()


def r1(real: Tensor, video: Tensor) -> Tensor:
    """½ E ‖∇ₓ D(x)‖² on real clips (Mescheder et al. 2018), D(x) the mean of a clip's logits [B, …].

    `video` [B, …] is what the logits were computed from, and requires grad; a usual weight is 1 to 10.
    """
    per_clip = reduce(real.float(), "b ... -> b", "mean")
    (slope,) = torch.autograd.grad(per_clip.sum(), video, create_graph=True)
    return 0.5 * reduce(slope.float() ** 2, "b ... -> b", "sum").mean()


class LeCam(nn.Module):
    """E (D(x) - α_F)² + E (D(x̂) - α_R)², α the moving means of real and fake logits (Tseng et al. 2021).

    The means start at the first batch's, not at 0, so that short trainings are regularised from their start.
    """

    real: Tensor
    fake: Tensor
    seen: Tensor

    def __init__(self, decay: float = 0.99) -> None:
        super().__init__()
        self.decay = decay
        for name in ("real", "fake", "seen"):
            self.register_buffer(name, torch.zeros(()))

    def forward(self, real: Tensor, fake: Tensor) -> Tensor:
        """Logits to the penalty; in training mode moves the means first."""
        real, fake = real.float(), fake.float()
        if self.training:
            self._move(real, fake)
        return (real - self.fake).square().mean() + (fake - self.real).square().mean()

    @torch.no_grad()
    def _move(self, real: Tensor, fake: Tensor) -> None:
        means = torch.stack([real.mean(), fake.mean()])
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(means)
            means /= torch.distributed.get_world_size()
        kept = torch.where(self.seen > 0, self.decay, 0.0)
        self.real.copy_(torch.lerp(means[0], self.real, kept))
        self.fake.copy_(torch.lerp(means[1], self.fake, kept))
        self.seen.fill_(1.0)
