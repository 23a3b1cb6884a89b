"""Stage 1: two optimisers that resume exactly, single frames, odd sizes, collapsed codebooks, and what is written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from test_frame_cache import ToyData
from torch import nn

from components.contracts import Autoencoded, Quantised
from components.tokenizer.vae import VAE
from components.video_tokenizer import VideoTokenizer
from zoo.errors import BadValue, UnmetNeed
from zoo.stages.cache import FrameCache
from zoo.stages.code_use import CodeUse
from zoo.stages.data import TokenizerBatches
from zoo.stages.tokenizer import TokenizerStage
from zoo.store import Store

ROOT = Path(__file__).resolve().parent.parent
TRAINER = {"accelerator": "cpu", "devices": 1, "log_every": 1, "checkpoint_every": 1000}
CRITIC = {"adversarial": 0.5, "adversarial_start": 0.5, "critic_width": 4, "critic_depth": 2}


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> FrameCache:
    return FrameCache(ToyData(), "train", tmp_path_factory.mktemp("cache"), workers=1).fill()  # type: ignore[arg-type]


def _vae(**options: Any) -> VAE:
    torch.manual_seed(0)
    small = {"width": 8, "multipliers": (1,), "spatial_factor": 4, "temporal_factor": 2, "perceptual_size": 32}
    return VAE(VAE.Config.model_validate({**small, **options}))


class Codebook(nn.Module):
    """The nearest of 60 fixed scalars; in training mode it counts how often it was asked, as an EMA codebook would."""

    channels, codes, factors = 1, 60, (60,)

    def __init__(self, span: float) -> None:
        super().__init__()
        self.register_buffer("book", torch.linspace(-span, span, 60))
        self.register_buffer("asked", torch.zeros(()))

    def forward(self, raw: torch.Tensor) -> Quantised:
        if self.training:
            self.asked += 1
        indices = (raw[:, 0, ..., None] - self.book).abs().argmin(-1)
        return Quantised(raw + (self.lookup(indices) - raw).detach(), indices)

    def lookup(self, indices: torch.Tensor) -> torch.Tensor:
        return self.book[indices][:, None]

    def unrounded(self, raw: torch.Tensor) -> torch.Tensor:
        return raw

    def nearest(self, z: torch.Tensor) -> torch.Tensor:
        return self(z).indices


class Discrete(VideoTokenizer):
    """Mean grey of 4×4 pixels, quantised; one weight is trained."""

    def __init__(self, span: float = 1.0, first_is_image: bool = True) -> None:
        super().__init__(channels=1, spatial_factor=4, temporal_factor=1, quantizer=Codebook(span))
        self.first_is_image = first_is_image
        if not first_is_image:
            self.temporal_factor = 2
        self.gain = nn.Parameter(torch.tensor(0.9))
        self.drop = nn.Dropout(0.5)

    def analyse(self, video: torch.Tensor, state: Any = None) -> torch.Tensor:
        every = video[:, :, :: self.temporal_factor].mean(1, keepdim=True)
        return self.gain * nn.functional.avg_pool3d(every, (1, 4, 4))

    def synthesise(self, raw: torch.Tensor, state: Any = None) -> torch.Tensor:
        torch.rand(1)  # a decoder that draws must not move the training's draws
        big = nn.functional.interpolate(raw.expand(-1, 3, -1, -1, -1), scale_factor=(self.temporal_factor, 4, 4))
        return self.drop(big)

    def autoencode(self, video: torch.Tensor, step: int) -> Autoencoded:
        chosen = self.quantizer(self.analyse(video))
        made = self.synthesise(chosen.z)
        return Autoencoded(made, video, {"reconstruction": (made - video).square().mean()}, {}, chosen.indices)


def _settings(**changes: Any) -> dict[str, Any]:
    base = {"steps": 6, "batch": 4, "lr": 0.01, "seed": 1, "warmup": 2, "weight_decay": 0.1, "ema": 0.9}
    return {**base, "grad_clip": 1.0, "images": 0.0, "discriminator_lr": None, **changes}


def _batches(cache: FrameCache, **changes: Any) -> TokenizerBatches:
    return TokenizerBatches(cache, **{"frames": 3, "batch": 4, "steps": 6, "seed": 3, **changes})


def _fit(stage: Any, batches: Any, folder: Any, settings: dict[str, Any], **trainer: Any) -> dict[str, Any]:
    from zoo.stages.fit import fit

    return fit(stage, batches, folder, {**TRAINER, **trainer}, SimpleNamespace(**settings))


def _folder(root: Path, name: str = "one") -> Any:
    return Store(root / name).stage_dir("tokenizer", {"a": 1})


def _weights(folder: Any) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(str(folder.path / "weights.safetensors"))


def _assert_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys() and one
    for name in one:
        assert torch.equal(one[name], other[name]), name


class Stop(Exception):
    pass


def _cut_short(stage: Any, batches: Any, folder: Any, settings: dict[str, Any], cut: int) -> None:
    """Die when step `cut` begins, or, for the last one, when all steps are made and nothing is written yet."""
    real = stage.training_step

    def step(*args: Any) -> Any:
        if stage.global_step == cut:
            raise Stop
        return real(*args)

    def finish(_: Any) -> None:
        raise Stop

    stage.training_step, stage.finish = step, finish
    with pytest.raises(Stop):
        _fit(stage, batches, folder, settings, checkpoint_every=1)


# ------------------------------------------------------------------------------------------------- two optimisers


@pytest.fixture(scope="module")
def whole(frames: FrameCache, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One unbroken training with everything on: facts, folder, and the stage as it ended."""
    stage = _gan_stage()
    folder = _folder(tmp_path_factory.mktemp("whole"))
    facts = _fit(stage, _gan_batches(frames), folder, _settings(images=0.3))
    return SimpleNamespace(stage=stage, folder=folder, facts=facts)


def _gan_stage(**options: Any) -> TokenizerStage:
    terms = {**CRITIC, "perceptual": 0.1, "regulariser": "lecam", "regulariser_weight": 0.1}
    return TokenizerStage(_vae(**{**terms, **options}), _settings(images=0.3))


def _gan_batches(frames: FrameCache) -> TokenizerBatches:
    return _batches(frames, images=0.3, multiple=4)


@pytest.mark.parametrize("cut", [0, 2, 3, 5, 6])
def test_resume_with_a_discriminator_is_bitwise_exact(frames: FrameCache, whole: Any, tmp_path: Path, cut: int) -> None:
    folder = _folder(tmp_path)
    _cut_short(_gan_stage(), _gan_batches(frames), folder, _settings(images=0.3), cut)
    stage = _gan_stage()
    with torch.no_grad():
        for p in stage.parameters():
            p += 0.1  # all of it must come from the checkpoint
    if cut == 0:
        stage = _gan_stage()
    facts = _fit(stage, _gan_batches(frames), folder, _settings(images=0.3))
    assert facts["resumed_from"] == (cut or None) and facts["steps"] == 6
    _assert_equal(_weights(whole.folder), _weights(folder))
    _assert_equal(whole.stage.state_dict(), stage.state_dict())


def test_only_the_tokenizers_steps_count_and_the_discriminator_is_no_weight(frames: FrameCache, whole: Any) -> None:
    assert whole.facts["steps"] == 6
    assert whole.facts["discriminator_parameters"] == sum(p.numel() for p in whole.stage.discriminator.parameters())
    assert whole.facts["parameters"] == sum(p.numel() for p in whole.stage.tokenizer.parameters())
    assert all(name.startswith("tokenizer.") for name in _weights(whole.folder))
    assert not any("perceptual" in name for name in whole.stage.state_dict())
    losses = whole.facts["losses"]
    assert {"reconstruction", "kl_term", "perceptual", "adversarial", "adaptive_weight", "discriminator", "lecam"} <= (
        losses.keys()
    )
    own = losses["reconstruction"] + losses["kl_term"] + losses["perceptual"] + losses["adversarial"]
    assert losses["loss"] == pytest.approx(own, rel=1e-4)


def test_the_discriminator_starts_late_and_then_both_move(frames: FrameCache, tmp_path: Path) -> None:
    stage = TokenizerStage(_vae(**CRITIC), _settings(ema=0.0))
    seen: list[tuple[int, bool, torch.Tensor]] = []
    real = stage._adversarial_step

    def step(video: torch.Tensor, number: int) -> Any:
        before = stage.discriminator.layers[0].conv.weight.detach().clone()
        losses = real(video, number)
        moved = not torch.equal(before, stage.discriminator.layers[0].conv.weight)
        assert moved == ("adversarial" in losses) == ("discriminator" in losses)
        seen.append((number, moved, losses["loss"]))
        return losses

    stage._adversarial_step = step
    _fit(stage, _batches(frames), _folder(tmp_path), _settings(ema=0.0))
    assert [(number, moved) for number, moved, _ in seen] == [(n, n >= 3) for n in range(6)]


def test_one_step_is_the_written_out_sum(frames: FrameCache) -> None:
    """Gradients of the tokenizer are those of the plain sum, λ by hand; those of the discriminator of its hinge."""
    stage = TokenizerStage(_vae(**CRITIC, perceptual=0.3), _settings())
    video = _batches(frames)[0].video
    made = stage.tokenizer.autoencode(video, 4)
    judged = made.video.detach().requires_grad_()
    further, figures, critic_loss = stage._critique(made, judged, 4)
    parameters = [p for p in stage.tokenizer.parameters() if p.requires_grad]
    total = sum(made.terms.values()) + sum(further.values())
    mine = torch.autograd.grad(total, parameters, retain_graph=True)

    perceptual = stage._perceptual_term(made.video, made.target, 4)
    hinge = -stage.discriminator(made.video).mean()
    layer = stage.tokenizer.last_layer
    own = made.terms["reconstruction"] + perceptual
    top = torch.autograd.grad(own, layer, retain_graph=True)[0].norm()
    bottom = torch.autograd.grad(hinge, layer, retain_graph=True)[0].norm()
    weight = top / (bottom + 1e-4)
    torch.testing.assert_close(figures["adaptive_weight"], weight, rtol=1e-4, atol=1e-6)
    plain = sum(made.terms.values()) + perceptual + 0.5 * weight.detach() * hinge
    for one, other in zip(mine, torch.autograd.grad(plain, parameters), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)
    real, fake = stage.discriminator(made.target), stage.discriminator(made.video.detach())
    hand = 0.5 * ((1 - real).clamp_min(0).mean() + (1 + fake).clamp_min(0).mean())
    assert critic_loss is not None
    critics = list(stage.discriminator.parameters())
    for one, other in zip(torch.autograd.grad(critic_loss, critics), torch.autograd.grad(hand, critics), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("regulariser", ["none", "r1", "lecam"])
def test_every_regulariser_trains_in_bfloat16_too(frames: FrameCache, tmp_path: Path, regulariser: str) -> None:
    options = {**CRITIC, "adversarial_start": 0.0, "regulariser": regulariser, "temporal_factor": 1}
    settings = _settings(steps=2)
    facts = _fit(
        TokenizerStage(_vae(**options), settings),
        _batches(frames, frames=1, steps=2),
        _folder(tmp_path),
        settings,
        precision="bf16-mixed",
    )
    assert facts["steps"] == 2 and (regulariser == "none" or regulariser in facts["losses"])


def test_both_schedules_end_together_and_gradients_are_clipped(frames: FrameCache, tmp_path: Path) -> None:
    stage = TokenizerStage(_vae(**CRITIC), _settings(discriminator_lr=0.5))
    rates: list[tuple[float, float]] = []
    norms: list[float] = []
    real = stage._critique

    def critique(*args: Any) -> Any:
        own, critic = stage.optimizers()
        rates.append((own.param_groups[0]["lr"], critic.param_groups[0]["lr"]))
        return real(*args)

    def before_step(optimizer: Any) -> None:
        norms.extend(
            float(torch.nn.utils.get_total_norm([p.grad for p in module.parameters() if p.grad is not None]))
            for module in (stage.tokenizer, stage.discriminator)
        )

    stage._critique, stage.on_before_optimizer_step = critique, before_step
    settings = _settings(steps=6, warmup=0, grad_clip=1e-3, discriminator_lr=0.5)
    stage.settings = SimpleNamespace(**settings)
    _fit(stage, _batches(frames), _folder(tmp_path), settings)
    cosine = [0.5 * (1 + np.cos(np.pi * n / 6)) for n in range(6)]
    assert [own for own, _ in rates] == pytest.approx([0.01 * c for c in cosine])
    assert [critic for _, critic in rates[3:]] == pytest.approx([0.5 * c for c in cosine[3:]])
    assert len(norms) == 12 and max(norms) < 1.01e-3


def test_a_late_optimiser_warms_up_from_its_own_start() -> None:
    from zoo.stages.optimiser import adamw

    made = adamw([nn.Parameter(torch.ones(2, 2))], SimpleNamespace(lr=1.0, steps=100, warmup=4), start=50)
    factor = made["lr_scheduler"]["scheduler"].lr_lambdas[0]
    cosine = [0.5 * (1 + np.cos(np.pi * (50 + n - 4) / 96)) for n in range(50)]
    assert [factor(n) for n in range(3)] == pytest.approx([cosine[n] * (n + 1) / 5 for n in range(3)])
    assert factor(40) == pytest.approx(cosine[40])


@pytest.mark.parametrize("where", ["tokenizer", "discriminator", "gradient"])
def test_nan_stops_with_the_batch_named(frames: FrameCache, tmp_path: Path, where: str) -> None:
    from zoo.checkpoint import TrainingDiverged

    stage = TokenizerStage(_vae(**{**CRITIC, "adversarial_start": 0.0}), _settings())
    real = stage._critique

    def critique(made: Autoencoded, judged: torch.Tensor, step: int) -> Any:
        further, figures, loss = real(made, judged, step)
        assert loss is not None
        broken = float("nan") if step == 3 else 1.0
        if where == "tokenizer":
            further["adversarial"] = further["adversarial"] * broken
        elif where == "discriminator":
            loss = loss * broken
        elif step == 3:  # a finite loss with an infinite slope, in the discriminator alone
            weight = stage.discriminator.layers[0].conv.weight
            loss = loss + (weight - weight.detach()).abs().sum().sqrt()
        return further, figures, loss

    stage._critique = critique
    folder = _folder(tmp_path)
    with pytest.raises(TrainingDiverged, match=rf"step 3 .*{_batches(frames)[3].episodes[0]}.*last.ckpt"):
        _fit(stage, _batches(frames), folder, _settings(), checkpoint_every=2)
    assert folder.state == "failed"
    assert all(torch.isfinite(p).all() for p in stage.parameters()), "nothing broken reaches a weight"


def test_half_precision_and_sharding_are_refused() -> None:
    stage = TokenizerStage(_vae(**CRITIC), _settings())
    plugin = SimpleNamespace(scaler=object())
    stage._trainer = SimpleNamespace(precision_plugin=plugin, precision="16-mixed", strategy="auto")  # type: ignore
    with pytest.raises(UnmetNeed, match=r"16-mixed.*bf16-mixed"):
        stage.setup("fit")
    plugin.scaler = None
    stage._trainer.strategy = "fsdp"
    with pytest.raises(UnmetNeed, match="strategy=ddp"):
        stage.setup("fit")


# ---------------------------------------------------------------------------------------------- perceptual alone


def test_a_perceptual_term_alone_keeps_one_optimiser(frames: FrameCache, tmp_path: Path) -> None:
    stage = TokenizerStage(_vae(perceptual=0.5), _settings(steps=2))
    assert stage.automatic_optimization and stage.discriminator is None
    assert not any("_perceptual" in name for name, _ in stage.named_parameters())
    facts = _fit(stage, _batches(frames, steps=2), _folder(tmp_path), _settings(steps=2))
    losses = facts["losses"]
    assert losses["perceptual"] > 0 and "discriminator_parameters" not in facts
    own = losses["reconstruction"] + losses["kl_term"] + losses["perceptual"]
    assert losses["loss"] == pytest.approx(own, rel=1e-4)


# -------------------------------------------------------------------------------------------------------- batches


def test_a_share_of_the_batches_is_single_frames(frames: FrameCache) -> None:
    mixed, plain = _batches(frames, images=0.25, steps=400), _batches(frames, steps=400)
    kinds = [mixed.of_images(step) for step in range(400)]
    assert 0.18 < np.mean(kinds) < 0.32
    still, moving = kinds.index(True), kinds.index(False)
    assert mixed[still].video.shape[:3] == (4, 3, 1)
    assert torch.equal(mixed[moving].video, plain[moving].video)
    assert torch.equal(mixed[still].video, _batches(frames, images=0.25, steps=400)[still].video)
    every = _batches(frames, images=1.0)
    assert every[5].video.shape[2] == 1 and every[6].video.shape[2] == 3, "statistics are measured on video"
    starts = {tuple(mixed[step].video.flatten()[:8].tolist()) for step in range(400) if kinds[step]}
    assert len(starts) > 20  # any frame of a clip, not its first alone


def test_single_frames_are_refused_where_the_first_frame_is_no_image() -> None:
    TokenizerStage(Discrete(), _settings(images=0.5))
    with pytest.raises(BadValue, match=r"images=0.5.*covers 2.*images=0"):
        TokenizerStage(Discrete(first_is_image=False), _settings(images=0.5))


def test_odd_sides_are_cropped_about_the_middle_and_said_once(
    frames: FrameCache, capsys: pytest.CaptureFixture[str]
) -> None:
    class OddData(ToyData):
        shapes = ((9, 11, 9), (9, 8, 8), (9, 8, 14))

    def cached(folder: Path) -> FrameCache:
        return FrameCache(OddData(), "train", folder, workers=1).fill()  # type: ignore[arg-type]

    cache = cached(frames.folder.parent / "odd")
    batches = _batches(cache, multiple=4)
    capsys.readouterr()
    sizes = {tuple(_batches(cache, multiple=4)[step].video.shape[3:]) for step in range(30)}
    said = capsys.readouterr().err
    assert sizes == {(8, 8), (8, 12)} and "8×14, 11×9" in said and "multiples of 4" in said
    assert [len(group) for group in batches.groups] == [2, 1], "sizes that become equal share batches"
    np.testing.assert_array_equal(batches.piece(0, 2, 3), cache.frames(0)[2:5, 1:9, 0:8])
    _batches(frames, multiple=4)
    assert not capsys.readouterr().err
    with pytest.raises(BadValue, match="8×8 are smaller than the tokenizer's spatial factor 16"):
        _batches(frames, multiple=16)


# -------------------------------------------------------------------------------------------------- what it leaves


def test_reconstructions_are_written_and_change_nothing(
    frames: FrameCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import av

    settings = _settings(steps=10, ema=0.5)
    folder = _folder(tmp_path, "with")
    _fit(TokenizerStage(Discrete(), settings), _batches(frames, frames=1, steps=10), folder, settings)
    written = sorted((folder.path / "logs" / "reconstructions").iterdir())
    assert [path.name for path in written] == [f"step_{n:07d}.mp4" for n in (2, 4, 6, 8, 10)]
    with av.open(str(written[-1])) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(pictures) == 5 and pictures[0].shape == (4 * 128, 2 * 128, 3)
    truth = frames.frames(0)[0].mean(-1).repeat(16, 0).repeat(16, 1)
    left, right = pictures[0][:128, :128].mean(-1), pictures[0][:128, 128:].mean(-1)
    assert np.abs(left - truth).mean() < 12
    assert np.abs(right - truth).mean() > 20 and np.ptp(right[:60, :60]) < 25  # one grey for 4×4 pixels
    monkeypatch.setattr(TokenizerStage, "watchers", lambda *args: [])
    without = _folder(tmp_path, "without")
    _fit(TokenizerStage(Discrete(), settings), _batches(frames, frames=1, steps=10), without, settings)
    _assert_equal(_weights(folder), _weights(without))
    assert _weights(folder)["tokenizer.quantizer.asked"] == 10


def test_a_collapsed_codebook_is_warned_of(
    frames: FrameCache, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = _settings(steps=1)
    for span, collapsed in ((0.5, False), (500.0, True)):
        folder = _folder(tmp_path, str(span))
        capsys.readouterr()
        facts = _fit(TokenizerStage(Discrete(span), settings), _batches(frames, steps=1), folder, settings)
        said = capsys.readouterr().err
        assert ("codebook has collapsed" in said) == collapsed
        assert ("quantizer.restart" in said) == collapsed
        assert folder.facts()["codebook_use"] == facts["codebook_use"]
        assert (facts["codebook_use"] <= 2 / 60) == collapsed and 1 <= facts["perplexity"] <= 60


def test_code_use_counts_over_batches() -> None:
    use = CodeUse(2**40)
    use.add(torch.tensor([[1, 1], [2, 2**39]]))
    use.add(torch.tensor([1, 2]))
    assert (use.used, use.seen) == (3, 6) and use.share == 3 / 2**40 and use.reached == 3 / 6
    share = torch.tensor([3 / 6, 2 / 6, 1 / 6])
    assert use.perplexity == pytest.approx(float((-(share * share.log()).sum()).exp()))


# --------------------------------------------------------------------------------------------------------- ranks


@pytest.mark.slow
def test_two_ranks_train_with_a_discriminator(tmp_path: Path) -> None:
    """Each of two losses reaches one of two networks: DDP must take that, and the ranks must agree at the end."""
    script = f"""
import sys
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "tests")!r}]
from pathlib import Path
import test_tokenizer_stage as t
import torch

if __name__ == "__main__":
    here = Path({str(tmp_path)!r})
    cache = t.FrameCache(t.ToyData(), "train", here / "data", workers=1).fill()
    stage = t._gan_stage(regulariser=sys.argv[1])
    facts = t._fit(stage, t._gan_batches(cache), t._folder(here, sys.argv[1]), t._settings(images=0.3),
                   devices=2, strategy="ddp")
    assert facts["devices"] == 2 and facts["steps"] == 6, facts
    mine = torch.cat([p.detach().flatten() for p in stage.parameters()])
    other = mine.clone()
    torch.distributed.broadcast(other, 0)
    assert torch.equal(mine, other), "ranks differ"
"""
    program = tmp_path / "program.py"
    program.write_text(script)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for regulariser in ("lecam", "r1"):
        command = [sys.executable, str(program), regulariser]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
        assert done.returncode == 0, done.stderr[-3000:]
