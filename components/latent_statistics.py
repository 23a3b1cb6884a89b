"""Per-channel mean and deviation of raw latents, kept in a tokenizer's state dict: generators see unit variance."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from einops import rearrange, reduce
from torch import Tensor, nn

from zoo.errors import BadValue


class LatentStatistics(nn.Module):
    """z_normal = (z_raw - mean) / std, per channel (the scaling of Rombach et al. 2022, with a mean and per channel).

    Before `fit` the mean is 0, the deviation 1 and `count` 0, so raw latents pass through unchanged.
    """

    mean: Tensor
    """float [C]."""
    std: Tensor
    """float [C], above 0."""
    count: Tensor
    """long []: latent positions measured; 0 until fitted."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("std", torch.ones(channels))
        self.register_buffer("count", torch.zeros((), dtype=torch.long))

    def normalise(self, raw_bcfhw: Tensor) -> Tensor:
        """Raw latents [B, C, F, H, W] to zero mean and unit variance."""
        return (raw_bcfhw - self._spread(self.mean)) / self._spread(self.std)

    def denormalise(self, z_bcfhw: Tensor) -> Tensor:
        """The inverse of `normalise`."""
        return z_bcfhw * self._spread(self.std) + self._spread(self.mean)

    @torch.no_grad()
    def fit(self, raws: Iterable[Tensor]) -> None:
        """Measure over raw latents [B, C, F, H, W], one batch in memory at a time; replaces what was fitted before.

        Raises BadValue when there is nothing to measure or a latent is not finite. A constant channel keeps std 1.
        """
        count = 0
        mean = torch.zeros_like(self.mean, dtype=torch.float64)
        scatter = torch.zeros_like(mean)  # sum of squared distances from the mean
        for raw_bcfhw in raws:
            raw = raw_bcfhw.to(mean)
            here = raw.numel() // raw.shape[1]
            if here == 0:
                continue
            batch_mean = reduce(raw, "b c f h w -> c", "mean")
            batch_scatter = reduce((raw - rearrange(batch_mean, "c -> 1 c 1 1 1")) ** 2, "b c f h w -> c", "sum")
            # Chan, Golub and LeVeque's pairwise update: exact and free of cancellation, whatever the batches.
            gap = batch_mean - mean
            total = count + here
            mean = mean + gap * (here / total)
            scatter = scatter + batch_scatter + gap**2 * (count * here / total)
            count = total
        if count == 0:
            raise BadValue("latent statistics need at least one video; give fit_statistics a non-empty training split.")
        std = (scatter / count).sqrt()
        if not bool(torch.isfinite(mean).all() and torch.isfinite(std).all()):
            raise BadValue("the tokenizer's latents are not finite; train it again with a lower train.tokenizer.lr.")
        self.mean.copy_(mean)
        self.std.copy_(torch.where(std > 1e-6, std, torch.ones_like(std)))
        self.count.fill_(count)

    @staticmethod
    def _spread(values_c: Tensor) -> Tensor:
        return rearrange(values_c, "c -> 1 c 1 1 1")
