"""Vector quantisation: the nearest of a learned set of vectors."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from pydantic import Field, model_validator
from torch import Tensor, nn

from components.across_processes import dealt, total
from components.contracts import Quantised
from components.quantisation import HEAD, factors_of, full_precision, straight_through, usage
from zoo.component import Config, component

SMOOTHING = 1e-5
"""Laplace's, of the counts: keeps a code that is never used finite."""
DISTANCES = 2**24
"""The most distances held at once."""


@component(
    cite="vandenoord2017vqvae,razavi2019vqvae2,dhariwal2020jukebox",
    note="learned codebook: EMA or gradient, dead codes restarted, l2-normalised and projected on demand",
)
class VQ(nn.Module):
    """VQ-VAE (van den Oord et al. 2017): q = e_i, i = argmin |z - e_i|²; e_i is the EMA of its latents' sum over count.

    L = β·|z - sg[e]|² (means over all numbers); without `ema`, L = |sg[z] - e|² + β·|z - sg[e]|² as in the paper and
    in VQ-GAN's; taming-transformers weighs the first by β and not the second unless told ``legacy=False``.

    The first training batch gives the codebook: random latents of it, no k-means, since at that time the encoder is
    random. After a batch, codes whose EMA count is below `restart` become random latents of it (Jukebox). We depart in
    that the threshold is at most a quarter of the mean count, without which a batch of fewer latents than codes
    restarts most of them on every step.
    """

    class Config(Config):
        """VideoGPT at paper size: ``codes: 2048, channels: 256``; TECO: ``codes: 1024, projection: 32, l2: true``."""

        codes: int = Field(512, ge=2, le=2**18)
        channels: int = Field(8, ge=1, le=4096, description="of the latents outside")
        projection: int | None = Field(None, ge=1, le=4096, description="channels in which codes are compared; or null")
        l2: bool = Field(False, description="unit vectors, so that the nearest is by angle")
        ema: bool = Field(True, description="false: the codebook is trained by gradient")
        decay: float = Field(0.99, ge=0.0, lt=1.0, description="of counts and sums, a step")
        commitment: float = Field(0.25, ge=0.0, le=100.0, description="β")
        restart: float = Field(1.0, ge=0.0, le=1e6, description="latents a step below which a code is dead; 0: never")

        @model_validator(mode="after")
        def _fits(self) -> VQ.Config:
            if self.codes > HEAD and self.codes & (self.codes - 1):
                raise ValueError(
                    f"more than {HEAD} codes must be a power of two, so that token generators can split it"
                )
            return self

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.channels, self.codes, self.factors = config.channels, config.codes, factors_of(config.codes)
        inner = config.projection or config.channels
        self.project_in = nn.Linear(config.channels, inner) if config.projection else nn.Identity()
        self.project_out = nn.Linear(inner, config.channels) if config.projection else nn.Identity()
        codebook_kd = self._on_sphere(torch.randn(config.codes, inner))
        if config.ema:
            self.register_buffer("codebook", codebook_kd)
            self.register_buffer("sums", codebook_kd.clone())
        else:
            self.codebook = nn.Parameter(codebook_kd)
        self.register_buffer("counts", torch.ones(config.codes))
        self.register_buffer("initialised", torch.tensor(False))

    def forward(self, raw_bcfhw: Tensor) -> Quantised:
        """Term `commitment`, and `codebook` without `ema`; figures of usage."""
        _, _, f, h, w = raw_bcfhw.shape
        with full_precision(raw_bcfhw):
            x_nd = self._inside(raw_bcfhw)
            if not self.training:
                out_nd, index_n = self._choose(x_nd)
                terms = {}
            else:
                fresh_kd = self._fresh(x_nd.detach())
                self._replace(~self.initialised.expand(self.codes), fresh_kd)
                chosen_nd, index_n = self._choose(x_nd)
                out_nd, terms = straight_through(x_nd, chosen_nd), self._terms(x_nd, chosen_nd)
                self._learn(x_nd.detach(), index_n)
                self._replace(self.counts < self._least(), fresh_kd)
            z = rearrange(self.project_out(out_nd), "(b f h w) c -> b c f h w", f=f, h=h, w=w)
        indices = rearrange(index_n, "(b f h w) -> b f h w", f=f, h=h, w=w)
        return Quantised(z, indices, terms, usage(index_n, self.codes))

    def lookup(self, indices_bfhw: Tensor) -> Tensor:
        """Codes, after the projection out."""
        with full_precision(indices_bfhw):
            return rearrange(self.project_out(self._codebook()[indices_bfhw]), "b f h w c -> b c f h w")

    def unrounded(self, raw_bcfhw: Tensor) -> Tensor:
        """Latents where the codes live: normalised and projected as they are, but not replaced by codes."""
        _, _, f, h, w = raw_bcfhw.shape
        with full_precision(raw_bcfhw):
            outside_nc = self.project_out(self._inside(raw_bcfhw))
        return rearrange(outside_nc, "(b f h w) c -> b c f h w", f=f, h=h, w=w)

    @torch.no_grad()
    def nearest(self, z_bcfhw: Tensor) -> Tensor:
        """Index of the nearest code to latents outside the projections."""
        _, _, f, h, w = z_bcfhw.shape
        with full_precision(z_bcfhw):
            outside_nc = rearrange(z_bcfhw.float(), "b c f h w -> (b f h w) c")
            index_n = _nearest(outside_nc, self.project_out(self._codebook()))
        return rearrange(index_n, "(b f h w) -> b f h w", f=f, h=h, w=w)

    def _inside(self, raw_bcfhw: Tensor) -> Tensor:
        """Raw latents to float32 rows [N, D] that are compared with the codebook."""
        return self._on_sphere(self.project_in(rearrange(raw_bcfhw.float(), "b c f h w -> (b f h w) c")))

    def _on_sphere(self, x_nd: Tensor) -> Tensor:
        return F.normalize(x_nd, dim=1, eps=1e-6) if self.config.l2 else x_nd

    def _codebook(self) -> Tensor:
        # Cloned, since restarts write to the parameter before the backward pass.
        return self.codebook if self.config.ema else self._on_sphere(self.codebook.clone())

    def _choose(self, x_nd: Tensor) -> tuple[Tensor, Tensor]:
        """The nearest code of every row, and its index [N]."""
        codebook_kd = self._codebook()
        index_n = _nearest(x_nd, codebook_kd)
        return codebook_kd[index_n], index_n

    def _terms(self, x_nd: Tensor, chosen_nd: Tensor) -> dict[str, Tensor]:
        commitment = self.config.commitment * F.mse_loss(x_nd, chosen_nd.detach())
        if self.config.ema:
            return {"commitment": commitment}
        return {"codebook": F.mse_loss(chosen_nd, x_nd.detach()), "commitment": commitment}

    def _least(self) -> Tensor:
        """The EMA count below which a code is dead."""
        return (self.counts.mean() / 4).clamp_max(self.config.restart)

    @torch.no_grad()
    def _fresh(self, x_nd: Tensor) -> Tensor:
        """A random latent of the batch for every code [K, D], different ones, from every process's share."""
        latents_nd = x_nd
        if len(x_nd) < self.codes:
            # Copies that differ a little can come to serve different latents.
            near_nd = x_nd.repeat(self.codes // len(x_nd), 1)
            near_nd += 0.01 * x_nd.std(correction=0) * torch.randn_like(near_nd)
            latents_nd = torch.cat([x_nd, self._on_sphere(near_nd)])
        pick_k = torch.randperm(len(latents_nd), device=x_nd.device)[: self.codes]
        return dealt(latents_nd[pick_k])

    @torch.no_grad()
    def _replace(self, which_k: Tensor, fresh_kd: Tensor) -> None:
        """Give the codes that are True a new vector, and the count of one latent, or what it takes to be alive."""
        count, which_k1 = self._least().clamp_min(1), which_k[:, None]
        self.codebook.copy_(torch.where(which_k1, fresh_kd, self.codebook))
        if self.config.ema:
            self.sums.copy_(torch.where(which_k1, count * fresh_kd, self.sums))
        self.counts.copy_(torch.where(which_k, count, self.counts))
        self.initialised.fill_(True)

    @torch.no_grad()
    def _learn(self, x_nd: Tensor, index_n: Tensor) -> None:
        """Counts of this batch, of all processes, into the EMA; with `ema` sums and codebook, too."""
        ones_n = torch.ones_like(x_nd[:, 0])
        counts_k = total(torch.zeros_like(self.counts).index_add_(0, index_n, ones_n))
        self.counts.lerp_(counts_k, 1 - self.config.decay)
        if not self.config.ema:
            return
        sums_kd = total(torch.zeros_like(self.sums).index_add_(0, index_n, x_nd))
        self.sums.lerp_(sums_kd, 1 - self.config.decay)
        whole = self.counts.sum()
        smooth_k = (self.counts + SMOOTHING) / (whole + self.codes * SMOOTHING) * whole
        self.codebook.copy_(self._on_sphere(self.sums / smooth_k[:, None]))


@torch.no_grad()
def _nearest(x_nd: Tensor, codebook_kd: Tensor) -> Tensor:
    """argmin over k of |x - e_k|²/2 - |x|²/2, in pieces, so that memory is bounded: long [N]."""
    half_k = codebook_kd.square().sum(1) / 2
    pieces = x_nd.split(max(1, DISTANCES // len(codebook_kd)))
    return torch.cat([torch.addmm(half_k, rows_nd, codebook_kd.T, alpha=-1).argmin(1) for rows_nd in pieces])
