"""Quantisers: equal to vector-quantize-pytorch, exact lookups, entropies bit by bit, live codebooks, flat memory."""

from __future__ import annotations

import math
import pkgutil
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from einops import rearrange
from pydantic import ValidationError
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from vector_quantize_pytorch import FSQ as PeerFSQ
from vector_quantize_pytorch import LFQ as PeerLFQ
from vector_quantize_pytorch import VectorQuantize

import components.quantizer
from components import code_entropy
from components.contracts import Quantizer
from components.quantisation import factors_of, usage
from components.quantizer.fsq import FSQ
from components.quantizer.lfq import LFQ
from components.quantizer.vq import VQ
from components.video_tokenizer import VideoTokenizer
from zoo import registry

CLASSES: dict[str, Any] = {"vq": VQ, "lfq": LFQ, "fsq": FSQ}
EVERY: list[tuple[str, dict[str, Any]]] = [
    ("vq", {"codes": 16}),
    ("vq", {"codes": 16, "l2": True}),
    ("vq", {"codes": 16, "projection": 4, "l2": True}),
    ("vq", {"codes": 16, "ema": False}),
    ("vq", {"codes": 16, "ema": False, "l2": True, "projection": 4}),
    ("lfq", {"bits": 6}),
    ("lfq", {"bits": 6, "entropy": "full"}),
    ("fsq", {}),
    ("fsq", {"levels": (4, 3, 6)}),
]
everywhere = pytest.mark.parametrize(("name", "options"), EVERY, ids=str)


def build(name: str, options: dict[str, Any]) -> Any:
    torch.manual_seed(0)
    return CLASSES[name](CLASSES[name].Config(**options))


def latents(channels: int, *, clips: int = 2, scale: float = 1.0, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(clips, channels, 3, 4, 4, generator=generator)


def rows(x_bcfhw: Tensor) -> Tensor:
    return rearrange(x_bcfhw, "b c f h w -> b (f h w) c")


def grid(x_bn: Tensor) -> Tensor:
    return rearrange(x_bn, "b (f h w) ... -> b f h w ...", f=3, h=4)


# ------------------------------------------------------------------------------------------------ all of them


def test_every_quantiser_is_here() -> None:
    found = {module.name for module in pkgutil.iter_modules(components.quantizer.__path__)}
    assert set(registry.names("quantizer")) == found == set(CLASSES) == {name for name, _ in EVERY}
    for name, cls in CLASSES.items():
        assert registry.load("quantizer", name) is cls
        assert isinstance(registry.build("quantizer", name, {}), cls)


@everywhere
def test_the_contract(name: str, options: dict[str, Any]) -> None:
    quantizer = build(name, options)
    assert isinstance(quantizer, Quantizer) and math.prod(quantizer.factors) == quantizer.codes
    x = latents(quantizer.channels).requires_grad_()
    trained = quantizer(x)
    assert trained.z.shape == x.shape and trained.z.dtype == torch.float32
    assert trained.indices.shape == (2, 3, 4, 4) and trained.indices.dtype == torch.long
    assert all(term.ndim == 0 and term.requires_grad for term in trained.terms.values())
    assert set(trained.terms) == expected_terms(name, options)
    assert all(figure.ndim == 0 and not figure.requires_grad for figure in trained.figures.values())
    assert {"codebook_use", "perplexity"} <= set(trained.figures)
    (trained.z.square().sum() + sum(trained.terms.values())).backward()
    for parameter in [x, *quantizer.parameters()]:
        assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any()


def expected_terms(name: str, options: dict[str, Any]) -> set[str]:
    if name == "vq":
        return {"commitment"} if options.get("ema", True) else {"codebook", "commitment"}
    return {"entropy", "commitment"} if name == "lfq" else set()


@everywhere
def test_indices_name_the_codes(name: str, options: dict[str, Any]) -> None:
    quantizer = build(name, options)
    quantizer(latents(quantizer.channels))
    quantizer.eval()
    made = quantizer(latents(quantizer.channels, seed=2))
    torch.testing.assert_close(quantizer.lookup(made.indices), made.z, rtol=0, atol=1e-6)
    assert made.indices.min() >= 0 and made.indices.max() < quantizer.codes and made.indices.unique().numel() > 4
    every = torch.arange(quantizer.codes).reshape(1, 1, 1, -1)
    torch.testing.assert_close(quantizer.nearest(quantizer.lookup(every)), every, rtol=0, atol=0)
    assert rearrange(quantizer.lookup(every), "1 c 1 1 k -> k c").unique(dim=0).shape[0] == quantizer.codes


@everywhere
def test_unrounded_latents_live_where_the_codes_do(name: str, options: dict[str, Any]) -> None:
    quantizer = build(name, options)
    quantizer(latents(quantizer.channels))
    quantizer.eval()
    x = latents(quantizer.channels, seed=2)
    made, free = quantizer(x), quantizer.unrounded(x)
    if "projection" in options:  # outside the projection distances are others
        assert F.mse_loss(free, made.z) < 0.5 * F.mse_loss(free, made.z.roll(1, -1))
    else:
        assert torch.equal(quantizer.nearest(free), made.indices)


@everywhere
def test_outside_training_nothing_is_learned(name: str, options: dict[str, Any]) -> None:
    quantizer = build(name, options)
    quantizer(latents(quantizer.channels))
    quantizer.eval()
    before = {key: value.clone() for key, value in quantizer.state_dict().items()}
    made = quantizer(latents(quantizer.channels, scale=5.0))
    assert not made.terms
    for key, value in quantizer.state_dict().items():
        assert torch.equal(value, before[key])


@everywhere
def test_a_state_dict_holds_all_of_it(name: str, options: dict[str, Any]) -> None:
    first = build(name, options)
    for seed in range(3):
        first(latents(first.channels, seed=seed))
    torch.manual_seed(5)
    second = CLASSES[name](first.config)
    second.load_state_dict(first.state_dict())
    for quantizer in (first, second):
        torch.manual_seed(3)
        quantizer.seen = quantizer(latents(first.channels, seed=9))
    assert torch.equal(first.seen.z, second.seen.z) and torch.equal(first.seen.indices, second.seen.indices)
    assert all(torch.equal(value, second.state_dict()[key]) for key, value in first.state_dict().items())


@everywhere
def test_shapes_alone_suffice(name: str, options: dict[str, Any]) -> None:
    with torch.device("meta"):
        quantizer = build(name, options)
        x = torch.zeros(2, quantizer.channels, 3, 4, 4)
        for training in (True, False):
            made = quantizer.train(training)(x)
            assert made.z.shape == x.shape and made.z.is_meta
        assert quantizer.lookup(made.indices).shape == x.shape


@everywhere
def test_codes_are_compared_in_full_precision(name: str, options: dict[str, Any]) -> None:
    quantizer = build(name, options)
    quantizer(latents(quantizer.channels))
    quantizer.eval()
    x = latents(quantizer.channels, clips=8, seed=2)
    plain = quantizer(x)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = quantizer(x)
        assert torch.equal(mixed.indices, plain.indices) and torch.equal(mixed.z, plain.z)
        assert torch.equal(quantizer.lookup(plain.indices), quantizer.lookup(mixed.indices))
        assert all(term.dtype == torch.float32 for term in quantizer.train()(x).terms.values())


class Bare(VideoTokenizer):
    """A tokenizer whose latents are the pixels."""

    def analyse(self, video_bcthw: Tensor, state: Any = None) -> Tensor:
        return video_bcthw * 2


def test_a_tokenizer_quantises_sampled_latents_where_codes_live() -> None:
    """FSQ's bound, applied to codes again, would move them: 6/8 would become 4/8."""
    tokenizer = Bare(channels=3, spatial_factor=1, temporal_factor=1, quantizer=build("fsq", {"levels": (8, 7, 5)}))
    tokenizer.statistics.mean.fill_(0.3)
    tokenizer.statistics.std.fill_(0.7)
    latent = tokenizer.eval().encode(latents(3))
    for z in (latent.z, latent.unquantised, latent.z + 0.05):
        again = tokenizer.quantise(z)
        assert torch.equal(again.indices, latent.indices) and again.unquantised is z
        torch.testing.assert_close(again.z, latent.z, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("codes", "factors"),
    [
        (2**10, (2**10,)),
        (2**12, (2**12,)),
        (2**13, (2**7, 2**6)),
        (2**18, (512, 512)),
        (2**25, (2**9, 2**8, 2**8)),
        (5000, (5000,)),
    ],
)
def test_large_codebooks_are_split(codes: int, factors: tuple[int, ...]) -> None:
    assert factors_of(codes) == factors


def test_figures_of_usage() -> None:
    figures = usage(torch.tensor([[3, 3, 1, 1, 7, 7, 0, 0]]), 16)
    assert figures["codebook_use"] == 0.25 and figures["perplexity"] == pytest.approx(4)
    indices = torch.randint(0, 50, (1000,), generator=torch.Generator().manual_seed(0))
    shares = torch.bincount(indices) / 1000
    assert usage(indices, 50)["perplexity"] == pytest.approx(float((-shares * shares.log()).nansum().exp()), rel=1e-5)


# ----------------------------------------------------------------------------------- vector-quantize-pytorch: vq


def pair(*, learned: bool = False, l2: bool = False, codes: int = 16, **options: Any) -> tuple[VQ, VectorQuantize]:
    """Ours and theirs with the same codebook, counts and sums."""
    torch.manual_seed(0)
    ours = VQ(VQ.Config(codes=codes, restart=0, ema=not learned, l2=l2, **options))
    theirs = VectorQuantize(
        8,
        codes,
        decay=0.99,
        commitment_weight=0.25,
        use_cosine_sim=l2,
        rotation_trick=False,
        learnable_codebook=learned,
        ema_update=not learned,
    )
    ours.initialised.fill_(True)
    theirs._codebook.embed.data.copy_(ours.codebook.data)
    if not learned:
        ours.counts.copy_(torch.rand(codes) * 9)
        ours.sums.copy_(ours.codebook * ours.counts[:, None])
        theirs._codebook.embed_avg.copy_(ours.sums)
        theirs._codebook.cluster_size.copy_(ours.counts)
    return ours, theirs


@pytest.mark.parametrize("l2", [False, True])
def test_vq_with_ema_equals_the_peer(l2: bool) -> None:
    ours, theirs = pair(l2=l2)
    for step in range(4):
        x = latents(8, clips=4, seed=step).requires_grad_()
        made = ours(x)
        (grad,) = torch.autograd.grad(made.z.sin().sum() + made.terms["commitment"], x)
        z, indices, loss = theirs(rows(x))
        (grad_theirs,) = torch.autograd.grad(z.sin().sum() + loss.sum(), x)
        assert torch.equal(made.indices, grid(indices))
        torch.testing.assert_close(rows(made.z), z)
        torch.testing.assert_close(made.terms["commitment"], loss.squeeze())
        torch.testing.assert_close(grad, grad_theirs)
        torch.testing.assert_close(ours.codebook, theirs.codebook)
        torch.testing.assert_close(ours.counts, theirs._codebook.cluster_size[0])
    ours.eval(), theirs.eval()
    z, indices, _ = theirs(rows(latents(8)))
    assert torch.equal(ours(latents(8)).indices, grid(indices))
    torch.testing.assert_close(rows(ours(latents(8)).z), z)


def test_vq_by_gradient_equals_the_peer_with_beta_on_the_encoders_side() -> None:
    """The peer has one squared error for both sides; ours is the same with β on the encoder's gradient alone."""
    ours, theirs = pair(learned=True)
    x = latents(8).requires_grad_()
    made, (z, indices, loss) = ours(x), theirs(rows(x))
    assert torch.equal(made.indices, grid(indices))
    torch.testing.assert_close(rows(made.z), z)
    torch.testing.assert_close(0.25 * made.terms["codebook"], loss.squeeze())
    torch.testing.assert_close(made.terms["commitment"], loss.squeeze())
    sum(made.terms.values()).backward()
    by_peer = torch.autograd.grad(loss.sum(), [x, theirs._codebook.embed])
    torch.testing.assert_close(x.grad, by_peer[0])
    torch.testing.assert_close(0.25 * ours.codebook.grad, by_peer[1][0])


# -------------------------------------------------------------------------- vector-quantize-pytorch: lfq and fsq


@pytest.mark.parametrize("entropy", ["factorised", "full"])
@pytest.mark.parametrize("inv_temperature", [1.0, 100.0])
def test_lfq_equals_the_peer(entropy: str, inv_temperature: float) -> None:
    ours = LFQ(LFQ.Config(bits=8, entropy=entropy, inv_temperature=inv_temperature))
    theirs = PeerLFQ(codebook_size=2**8, entropy_loss_weight=0.1, commitment_loss_weight=0.25, diversity_gamma=2.5)
    # Bits independent over the batch make the factorised codebook term exact, too: every sign pattern of one magnitude.
    signs = code_bits(8)
    x = rearrange(signs * torch.linspace(0.001, 0.8, 8), "(f h w) c -> 1 c f h w", f=4, h=8).requires_grad_()
    made = ours(x)
    (z, indices, loss), parts = theirs(x, inv_temperature=inv_temperature, return_loss_breakdown=True)
    assert torch.equal(made.indices, indices.long())
    torch.testing.assert_close(made.z, z)
    torch.testing.assert_close(made.figures["sample_entropy"], parts.per_sample_entropy, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(made.figures["codebook_entropy"], parts.batch_entropy, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(made.terms["commitment"], 0.25 * parts.commitment)
    torch.testing.assert_close(sum(made.terms.values()), loss, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours.lookup(made.indices), theirs.indices_to_codes(indices))


def test_lfq_gradients_equal_the_peers() -> None:
    # At this temperature no probability falls below the 1e-5 at which the peer cuts its logarithm.
    ours = LFQ(LFQ.Config(bits=5, entropy="full", inv_temperature=1.0))
    theirs = PeerLFQ(codebook_size=2**5, entropy_loss_weight=0.1, commitment_loss_weight=0.25, diversity_gamma=2.5)
    x = latents(5, scale=0.2).requires_grad_()
    made, (z, _, loss) = ours(x), theirs(x, inv_temperature=1.0)
    (grad,) = torch.autograd.grad(made.z.sin().sum() + sum(made.terms.values()), x)
    (grad_theirs,) = torch.autograd.grad(z.sin().sum() + loss, x)
    torch.testing.assert_close(grad, grad_theirs, rtol=1e-4, atol=1e-5)


def test_zero_counts_as_minus_one() -> None:
    quantizer = LFQ(LFQ.Config(bits=3)).eval()
    made = quantizer(torch.tensor([0.0, -0.0, 1e-30]).reshape(1, 3, 1, 1, 1))
    assert made.z.flatten().tolist() == [-1, -1, 1] and made.indices.item() == 1
    assert PeerLFQ(codebook_size=8).eval()(torch.tensor([[[0.0, -0.0, 1e-30]]])).indices.item() == 1


@pytest.mark.parametrize("levels", [(8, 5, 5, 5), (8, 6, 5), (3, 4), (7, 5, 5, 5, 5)])
def test_fsq_equals_the_peer(levels: tuple[int, ...]) -> None:
    ours, theirs = FSQ(FSQ.Config(levels=levels)), PeerFSQ(list(levels))
    x = latents(len(levels), clips=8, scale=2.0).requires_grad_()
    made, (z, indices) = ours(x), theirs(x)
    assert torch.equal(made.indices, indices.long())
    torch.testing.assert_close(made.z, z, rtol=0, atol=1e-6)
    torch.testing.assert_close(*(torch.autograd.grad(q.sin().sum(), x)[0] for q in (made.z, z)))
    torch.testing.assert_close(ours.lookup(made.indices), theirs.indices_to_codes(indices))
    assert ours.codes == theirs.codebook_size and not made.terms
    assert all(made.z[:, channel].unique().numel() == level for channel, level in enumerate(levels))


# ------------------------------------------------------------------------------------------------------ entropies


def code_bits(bits: int) -> Tensor:
    """All sign patterns [2^bits, bits], the first channel most significant."""
    return torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * bits).reshape(-1, bits)


@pytest.mark.parametrize("inv_temperature", [0.3, 1.0, 100.0])
@pytest.mark.parametrize(("bits", "scale"), [(1, 1.0), (4, 0.01), (10, 0.1), (12, 1.0)])
def test_entropy_of_a_latent_is_the_sum_of_its_bits(bits: int, scale: float, inv_temperature: float) -> None:
    z = scale * torch.randn(40, bits, generator=torch.Generator().manual_seed(bits))
    z.requires_grad_()
    bitwise = code_entropy.sample_entropy(z, inv_temperature)
    full = code_entropy.full_sample_entropy(z, inv_temperature)
    torch.testing.assert_close(bitwise, full, rtol=2e-4, atol=2e-5)
    torch.testing.assert_close(
        torch.autograd.grad(bitwise, z)[0], torch.autograd.grad(full, z)[0], rtol=1e-3, atol=1e-4 * inv_temperature
    )


@pytest.mark.parametrize("inv_temperature", [0.3, 1.0, 100.0])
@pytest.mark.parametrize("bits", [1, 4, 10])
def test_entropy_of_the_codebook_is_bounded_by_the_sum_of_its_bits(bits: int, inv_temperature: float) -> None:
    generator = torch.Generator().manual_seed(bits)
    for spread in (0.0, 0.3, 1.0):  # from equal bits to independent ones
        shared, own = torch.randn(200, 1, generator=generator), torch.randn(200, bits, generator=generator)
        z = 0.1 * ((1 - spread) * shared + spread * own)
        bound = code_entropy.codebook_entropy(z, inv_temperature)
        full = code_entropy.full_codebook_entropy(z, inv_temperature)
        assert bound >= full - 1e-4
        if bits > 1 and spread == 0 and inv_temperature == 100:
            assert bound > full + 1  # correlated bits: the bound is loose
    z = code_bits(bits) * torch.linspace(0.01, 0.5, bits) + 0.1  # independent over the batch, and not uniform
    torch.testing.assert_close(
        code_entropy.codebook_entropy(z, inv_temperature),
        code_entropy.full_codebook_entropy(z, inv_temperature),
        rtol=1e-4,
        atol=1e-4,
    )


def test_full_entropies_stop_at_twelve_bits() -> None:
    LFQ.Config(bits=12, entropy="full")
    with pytest.raises(ValidationError, match="choose entropy: factorised"):
        LFQ.Config(bits=13, entropy="full")


class Largest(TorchDispatchMode):
    """Notes the most numbers in any one tensor that is made, in the backward pass too."""

    numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, (tuple, list)) else [made]:
            if isinstance(tensor, Tensor):
                self.numbers = max(self.numbers, tensor.numel())
        return made


def largest(bits: int, **options: Any) -> float:
    """Numbers in the largest tensor of a training step, a number of the input."""
    quantizer = LFQ(LFQ.Config(bits=bits, **options))
    x = latents(bits).requires_grad_()
    with Largest() as seen:
        made = quantizer(x)
        (made.z.sum() + sum(made.terms.values())).backward()
        quantizer.eval().lookup(made.indices)
    return seen.numbers / x.numel()


def test_memory_is_flat_in_the_number_of_codes() -> None:
    assert largest(18) == largest(10) <= 2
    assert largest(10, entropy="full") > 100  # the measure sees the codebook where there is one
    assert LFQ(LFQ.Config(bits=18)).factors == (512, 512)


# ------------------------------------------------------------------------------------------------ learned codebooks


def test_the_first_batch_gives_the_codebook() -> None:
    for options in ({}, {"ema": False}, {"l2": True}, {"restart": 0.0}):
        quantizer = build("vq", {"codes": 16, **options})
        x = latents(8, clips=1) * 0.01 + 7  # far from where the codebook began
        made = quantizer(x)
        rows_nd = F.normalize(rows(x)[0], dim=1) if options.get("l2") else rows(x)[0]
        distance = (quantizer.codebook.detach()[:, None] - rows_nd).norm(dim=-1)
        assert distance.min(1).values.max() < 0.02 and made.indices.unique().numel() == 16
        assert quantizer.initialised


def test_fewer_latents_than_codes_still_make_distinct_codes() -> None:
    quantizer = build("vq", {"codes": 64})
    quantizer(latents(8, clips=1)[:, :, :1])
    assert quantizer.codebook.unique(dim=0).shape[0] == 64


@pytest.mark.parametrize("ema", [True, False])
def test_dead_codes_are_restarted_from_the_batch(ema: bool) -> None:
    quantizer = build("vq", {"codes": 8, "ema": ema})
    quantizer(latents(8))
    with torch.no_grad():
        quantizer.codebook[:4] = 100.0
    if ema:
        quantizer.sums[:4] = 100.0 * quantizer.counts[:4, None]
    quantizer.counts[4:] = 50.0
    quantizer.counts[:4] = 1.05  # dead once it has not been used twice or so
    uses = []
    for seed in range(20):
        made = quantizer(latents(8, seed=seed))
        uses.append(float(made.figures["codebook_use"]))
    assert uses[0] == 0.5 and uses[-1] == 1.0
    assert quantizer.codebook.abs().max() < 10 and (quantizer.counts >= 0.5).all()


def test_codes_are_never_restarted_where_restart_is_zero() -> None:
    quantizer = build("vq", {"codes": 8, "restart": 0})
    quantizer(latents(8))
    quantizer.codebook[:4] = 100.0
    quantizer.sums[:4] = 100.0 * quantizer.counts[:4, None]
    for seed in range(20):
        made = quantizer(latents(8, seed=seed))
    assert made.figures["codebook_use"] == 0.5 and (quantizer.codebook[:4] > 90).all()


def test_a_small_batch_does_not_restart_all_codes() -> None:
    """48 latents a step and 64 codes: at VideoGPT's threshold of 1 latent a step most codes would be dead always."""
    quantizer = build("vq", {"codes": 64})
    points = torch.randn(64, 8, generator=torch.Generator().manual_seed(0)) * 5
    moved = []
    for step in range(60):
        generator = torch.Generator().manual_seed(step)
        x = points[torch.randint(64, (48,), generator=generator)] + 0.01 * torch.randn(48, 8, generator=generator)
        before = quantizer.codebook.clone()
        quantizer(rearrange(x, "(f h w) c -> 1 c f h w", f=3, h=4))
        moved.append(int(((quantizer.codebook - before).norm(dim=1) > 1).sum()))
    assert max(moved[1:]) <= 8


def test_the_codebook_comes_to_the_clusters() -> None:
    quantizer = build("vq", {"codes": 32, "decay": 0.8})
    points = torch.randn(8, 8, generator=torch.Generator().manual_seed(0)) * 3
    for step in range(80):
        generator = torch.Generator().manual_seed(step)
        x = points[torch.randint(8, (96,), generator=generator)] + 0.05 * torch.randn(96, 8, generator=generator)
        made = quantizer(rearrange(x, "(b f h w) c -> b c f h w", f=3, h=4, w=4))
    assert made.terms["commitment"] < 0.01
    assert torch.cdist(points, quantizer.codebook).min(1).values.max() < 0.1


def test_restarts_before_the_backward_pass_do_no_harm() -> None:
    """Two training passes, then both backward passes: the second has written to the codebook meanwhile."""
    for options in ({"ema": False, "l2": True}, {"l2": True, "projection": 4}, {"ema": False}):
        quantizer = build("vq", {"codes": 16, "restart": 5.0, **options})
        x = latents(8).requires_grad_()
        made = [quantizer(x * scale) for scale in (1, 2)]
        sum((one.z.sum() + sum(one.terms.values()) for one in made), torch.zeros(())).backward()
        assert x.grad is not None


def test_many_latents_are_compared_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    quantizer = build("vq", {"codes": 16}).eval()
    whole = quantizer(latents(8)).indices
    monkeypatch.setattr("components.quantizer.vq.DISTANCES", 7 * 16)
    assert torch.equal(quantizer(latents(8)).indices, whole)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValidationError, match="power of two"):
        VQ.Config(codes=5000)
    for levels in ((2, 5), (300, 3), (200,) * 5):
        with pytest.raises(ValidationError, match="levels"):
            FSQ.Config(levels=levels)


# ------------------------------------------------------------------------------------------------ several processes


def share(rank: int, count: int) -> Tensor:
    """What process `rank` of `count` is given: the batch is dealt out."""
    return latents(8, clips=4)[rank::count]


def _step(quantizer: nn.Module, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    made = quantizer(x)
    (grad,) = torch.autograd.grad(sum(made.terms.values()), x)
    return grad, quantizer.state_dict()


def _prepared(name: str) -> tuple[Any, ...]:
    quantizer = build(name, {"codes": 16, "restart": 2.0} if name == "vq" else {"bits": 8, "inv_temperature": 1.0})
    if name == "vq":
        quantizer.initialised.fill_(True)
        quantizer.counts[:4] = 0.1
    return quantizer


def _rank(rank: int, address: str, queue: Any) -> None:
    torch.distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    said = {}
    for name in ("vq", "lfq"):
        grad, state = _step(_prepared(name), share(rank, 2).requires_grad_())
        said[name] = (grad.numpy(), {key: value.numpy() for key, value in state.items()})
    queue.put((rank, said))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_learn_as_one(tmp_path: Path) -> None:
    """Counts and sums are those of the whole batch, and so is the gradient of the entropies; restarts agree."""
    context = torch.multiprocessing.get_context("spawn")
    queue = context.Queue()
    ranks = [context.Process(target=_rank, args=(rank, f"file://{tmp_path}/meet", queue)) for rank in range(2)]
    for process in ranks:
        process.start()
    said = dict(queue.get(timeout=120) for _ in ranks)
    for process in ranks:
        process.join(60)
    for name in ("vq", "lfq"):
        grad, _ = _step(_prepared(name), latents(8, clips=4).requires_grad_())
        for rank in range(2):
            # Each process's mean is over half the batch; averaging gradients over processes halves its share.
            torch.testing.assert_close(torch.from_numpy(said[rank][name][0]) / 2, grad[rank::2], rtol=1e-4, atol=1e-6)
    first, second = (said[rank]["vq"][1] for rank in range(2))
    assert all((first[key] == second[key]).all() for key in first)
    alone = {key: value.numpy() for key, value in state_of_vq().items()}
    assert first["counts"] == pytest.approx(alone["counts"], rel=1e-5)
    kept = first["counts"] != 1  # what a restarted code counts
    assert kept.any() and first["codebook"][kept] == pytest.approx(alone["codebook"][kept], rel=1e-4, abs=1e-5)
    whole = rows(latents(8, clips=4)).reshape(-1, 8)
    restarted = torch.from_numpy(first["codebook"][~kept])
    assert len(restarted) and torch.cdist(restarted, whole).min(1).values.max() < 0.01


def state_of_vq() -> dict[str, Tensor]:
    return _step(_prepared("vq"), latents(8, clips=4).requires_grad_())[1]
