"""Caches, batches, losses and the whole fit: exact resume at every kind of step, on a toy model and data set."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from test_frame_cache import ToyData
from torch import nn

from components.contracts import Latent
from zoo.errors import BadValue
from zoo.stages.cache import FrameCache, LatentCache, latent_actions
from zoo.stages.data import GeneratorBatches, TokenizerBatches, window_times
from zoo.store import Store

TRAINER = {"accelerator": "cpu", "devices": 1, "log_every": 1, "checkpoint_every": 1000}


class ToyTokenizer(nn.Module):
    """Averages 2×2 pixels, keeps frames 0, 2, 4, …; its one weight is trained to 1 and noise needs the global RNG."""

    kind, channels, spatial_factor, temporal_factor, causal = "continuous", 3, 2, 2, True
    needs_discriminator, trainable = False, True

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.full((3, 1), 0.5))
        self.register_buffer("shift", torch.zeros(()))

    def latent_frames(self, frames: int) -> int:
        return 1 + (frames - 1) // 2

    def video_frames(self, latents: int) -> int:
        return 1 + (latents - 1) * 2 if latents > 0 else 0

    def last_frame(self, latent: int) -> int:
        return latent * 2

    def encode(self, video_bcthw: torch.Tensor) -> Latent:
        assert (video_bcthw.shape[2] - 1) % 2 == 0
        z = nn.functional.avg_pool3d(video_bcthw[:, :, ::2], (1, 2, 2))
        return Latent(self.gain[:, :, None, None] * z + self.shift, 2, 2)

    def decode(self, latent: Latent) -> torch.Tensor:
        video = latent.z.repeat_interleave(2, 2)[:, :, 1:]
        return nn.functional.interpolate(video, scale_factor=(1, 2, 2))

    def training_losses(self, video: torch.Tensor, step: int) -> dict[str, torch.Tensor]:
        error = ((self.gain[:, :, None, None] - 1) * video + 0.01 * torch.randn_like(video)).square().mean()
        return {"loss": error, "error": error.detach()}

    def fit_statistics(self, videos: Any) -> None:
        self.shift.fill_(sum(float(video.mean()) for video in videos))


class ToyTask:
    def draw(self, *, frames: int, window: int, masks: Any, rng: Any, poses: Any = None) -> Any:
        indices = np.sort(rng.permutation(frames)[: min(window, frames)])
        observed = rng.random(len(indices)) < 0.4
        observed[rng.integers(len(observed))] = False
        return indices, observed

    def context(self, context: int) -> int:
        return context


class ToyNetwork(nn.Module):
    """A dropout, a linear map over channels, and the level; notes what it was given."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.mix = nn.Linear(3, 3)
        self.drop = nn.Dropout(0.2)
        self.seen: list[Any] = []

    def forward(self, z: Any, window: Any, condition: Any) -> Any:
        self.seen = [z, window, condition]
        if isinstance(z, torch.Tensor):
            return self.drop(self.mix(z.movedim(1, -1)).movedim(-1, 1)) + condition.level[:, None, :, None, None]
        return [self.forward_one(one, condition.level[b, : one.shape[1]]) for b, one in enumerate(z)]

    def forward_one(self, z: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
        return self.drop(self.mix(z.movedim(0, -1)).movedim(-1, 0)) + level[None, :, None, None]


class ToyObjective:
    """Flow matching: z_t = (1 - t) z + t noise, target noise - z; infinite weight at 0, where nothing may be asked."""

    def alpha_sigma(self, t: torch.Tensor) -> Any:
        return 1 - t, t

    def sample_t(self, shape: Any, generator: Any = None) -> torch.Tensor:
        return torch.rand(shape, generator=generator).clamp_min(0.05)

    def target(self, z: torch.Tensor, noise: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return noise - z

    def weight(self, t: torch.Tensor) -> torch.Tensor:
        return 1 / t


class ToyNoise:
    def levels(self, sample_t: Any, observed: torch.Tensor) -> torch.Tensor:
        return torch.where(observed, 0.0, sample_t(tuple(observed.shape)))


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> FrameCache:
    return FrameCache(ToyData(), "train", tmp_path_factory.mktemp("cache"), workers=1).fill()  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def latents(frames: FrameCache) -> LatentCache:
    return LatentCache(frames, ToyTokenizer(), frames.folder.parent).fill()  # type: ignore[arg-type]


# ---------------------------------------------------------------------------------------------------------- caches


def test_latents_are_those_of_the_video_and_signals_those_of_last_frames(latents: LatentCache) -> None:
    for index in range(len(latents)):
        clip, episode = latents.video.clip(index), latents.episode(index)
        video = torch.from_numpy(np.array(clip.frames)).permute(3, 0, 1, 2)[None] / 127.5 - 1
        torch.testing.assert_close(
            torch.from_numpy(np.array(episode.z)), ToyTokenizer().encode(video).z[0].movedim(1, 0).detach()
        )
        assert clip.poses is not None and clip.actions is not None and episode.actions is not None
        np.testing.assert_array_equal(episode.poses, clip.poses[::2])
        np.testing.assert_array_equal(episode.origin, clip.poses[0])
        np.testing.assert_array_equal(episode.actions[0], 0)
        for f in range(1, episode.frames):
            np.testing.assert_allclose(episode.actions[f], clip.actions[2 * f - 2 : 2 * f].sum(0), atol=1e-6)


def test_latent_actions_start_after_the_first_latents_last_frame() -> None:
    actions = np.arange(7, dtype=np.float32)[:, None]
    np.testing.assert_array_equal(latent_actions(actions, np.array([3, 7]))[:, 0], [0, 3 + 4 + 5 + 6])


# --------------------------------------------------------------------------------------------------------- batches


def test_window_times_count_from_the_first_latent_frame() -> None:
    times = window_times(np.array([2, 5, 9, 30]), np.array([True, True, False, True]))
    np.testing.assert_array_equal(times, [-7, -4, 0, 21])


def _tokenizer_batches(cache: FrameCache, **changes: Any) -> TokenizerBatches:
    return TokenizerBatches(cache, **{"frames": 3, "batch": 4, "steps": 6, "seed": 3, **changes})


def _generator_batches(latents: LatentCache, **changes: Any) -> GeneratorBatches:
    options = {"window": 4, "masks": {}, "batch": 4, "steps": 6, "seed": 3, **changes}
    return GeneratorBatches(latents, ToyTask(), **options)  # type: ignore[arg-type]


def test_tokenizer_batches_depend_on_seed_and_step_only(frames: FrameCache) -> None:
    batches = _tokenizer_batches(frames)
    first = [batches[step] for step in range(6)]
    again = [_tokenizer_batches(frames)[step] for step in reversed(range(6))][::-1]
    for one, other in zip(first, again, strict=True):
        assert torch.equal(one.video, other.video) and one.episodes == other.episodes
    assert not all(
        torch.equal(first[0].video, one.video) for one in first[1:] if one.video.shape == first[0].video.shape
    )
    assert first[0].video.min() >= -1 and first[0].video.max() <= 1
    sizes = {tuple(_tokenizer_batches(frames)[step].video.shape) for step in range(40)}
    assert sizes == {(4, 3, 3, 8, 8), (4, 3, 3, 8, 16)}


def test_ranks_share_the_global_batch(frames: FrameCache, latents: LatentCache) -> None:
    whole = _tokenizer_batches(frames)[2].video
    parts = [_tokenizer_batches(frames, rank=rank, world=2)[2].video for rank in range(2)]
    assert torch.equal(whole[0::2], parts[0]) and torch.equal(whole[1::2], parts[1])
    episodes = _generator_batches(latents)[2].episodes
    assert [_generator_batches(latents, rank=rank, world=2)[2].episodes for rank in range(2)] == [
        episodes[0::2],
        episodes[1::2],
    ]


def test_too_short_clips_are_left_out_or_refused(frames: FrameCache) -> None:
    assert _tokenizer_batches(frames, frames=9).excluded == 1
    with pytest.raises(BadValue, match=r"frames=10.*longest of 5 has 9"):
        _tokenizer_batches(frames, frames=10)


def test_generator_batches_of_mixed_sizes_pad_signals_and_keep_latents_apart(latents: LatentCache) -> None:
    mixed = next(b for s in range(50) if isinstance((b := _generator_batches(latents)[s]).z, list))
    assert mixed.poses is not None and mixed.captions is not None
    for b, z in enumerate(mixed.z):
        number = int(mixed.episodes[b][1:])
        index = [0, 1, 2, 3, 5].index(number)
        episode, length = latents.episode(index), z.shape[1]
        indices = mixed.indices[b, :length].numpy()
        np.testing.assert_array_equal(z.movedim(1, 0).numpy(), episode.z[indices])
        np.testing.assert_array_equal(mixed.poses[b, :length].numpy(), episode.poses[indices])  # type: ignore[index]
        assert mixed.window.valid[b].tolist() == [True] * length + [False] * (mixed.indices.shape[1] - length)
        assert mixed.captions[b] == f"clip {number}"
    assert _generator_batches(latents, actions=False)[0].actions is None


def test_loader_processes_give_the_same_batches(latents: LatentCache) -> None:
    from torch.utils.data import DataLoader

    batches = _generator_batches(latents)
    loader = DataLoader(batches, batch_size=None, sampler=[4, 5], num_workers=1)  # type: ignore[arg-type]
    for step, batch in zip([4, 5], loader, strict=True):
        for one, other in zip(batch.z, batches[step].z, strict=True):
            assert torch.equal(one, other)
        assert batch.episodes == batches[step].episodes


# ------------------------------------------------------------------------------------------------------ the losses


def _settings(**changes: Any) -> dict[str, Any]:
    base = {"steps": 6, "lr": 0.05, "seed": 1, "warmup": 2, "weight_decay": 0.1, "ema": 0.9, "grad_clip": 1.0}
    return {**base, **changes}


def _generator_stage(**changes: Any) -> Any:
    from zoo.stages.generator import GeneratorStage

    return GeneratorStage(ToyNetwork(), ToyObjective(), ToyNoise(), None, _settings(**changes))


def test_loss_is_the_mean_over_clips_of_their_mean_over_latent_frames(latents: LatentCache) -> None:
    stage = _generator_stage().eval()
    for step in range(12):
        batch = _generator_batches(latents)[step]
        loss = stage.loss(batch, step)
        z_t, window, condition = stage.network.seen
        by_clip = []
        zs = list(batch.z)
        noises = stage._noise(batch.z, step)
        for b, z in enumerate(zs):
            length, level = z.shape[1], condition.level[b]
            prediction = stage.network.forward_one(z_t[b], level[:length])
            frames_ = []
            for f in range(length):
                if window.observed[b, f]:
                    assert torch.equal(z_t[b][:, f], z[:, f]) and level[f] == 0
                    continue
                error = (prediction[:, f] - (noises[b] - z)[:, f]).square().mean() / level[f]
                frames_.append(error)
            by_clip.append(torch.stack(frames_).mean())
        torch.testing.assert_close(loss, torch.stack(by_clip).mean())
        loss.backward()
        assert all(torch.isfinite(p.grad).all() for p in stage.parameters())


def test_stacked_and_listed_latents_give_one_loss(latents: LatentCache) -> None:
    from dataclasses import replace

    stage = _generator_stage().eval()
    batch = next(b for s in range(50) if isinstance((b := _generator_batches(latents)[s]).z, torch.Tensor))
    stacked = stage._noise(batch.z, 0)
    stage._noise = lambda z, step: stacked
    torch.testing.assert_close(stage.loss(batch, 0), stage.loss(replace(batch, z=list(batch.z)), 0))


class ToyText(nn.Module):
    width, trainable = 5, False

    def __init__(self, trainable: bool = False) -> None:
        super().__init__()
        self.table, self.trainable, self.calls = nn.Embedding(50, 5), trainable, 0

    def encode(self, captions: Any) -> Any:
        self.calls += len(captions)
        longest = max(map(len, captions))
        ids = torch.tensor([[len(c)] * len(c) + [0] * (longest - len(c)) for c in captions])
        return self.table(ids), ids > 0


@pytest.mark.parametrize("trainable", [False, True])
def test_dropouts_hide_text_and_camera_of_some_clips(latents: LatentCache, trainable: bool) -> None:
    from zoo.stages.generator import GeneratorStage

    text = ToyText(trainable)
    settings = _settings(text_dropout=0.5, camera_dropout=0.25)
    stage = GeneratorStage(ToyNetwork(), ToyObjective(), ToyNoise(), text, settings)
    assert any("table" in name for name, _ in stage.named_parameters()) == trainable
    dropped = {"text": 0, "camera": 0}
    for step in range(100):
        batch = _generator_batches(latents)[step]
        stage.loss(batch, step)
        condition = stage.network.seen[2]
        direct, mask = text.encode(batch.captions)
        shown = condition.text_mask.any(1)
        torch.testing.assert_close(condition.text[mask], direct[mask])
        assert torch.equal(condition.text_mask[shown], mask[shown])
        dropped["text"] += int((~shown).sum())
        dropped["camera"] += int((~condition.camera).sum())
    assert 0.4 < dropped["text"] / 400 < 0.6 and 0.17 < dropped["camera"] / 400 < 0.33


# ------------------------------------------------------------------------------------------------------------- fit


def _fit(stage: Any, batches: Any, folder: Any, settings: dict[str, Any], **trainer: Any) -> dict[str, Any]:
    from zoo.stages.fit import fit

    return fit(stage, batches, folder, {**TRAINER, **trainer}, SimpleNamespace(**settings))


class Stop(Exception):
    pass


def _weights(folder: Any) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(str(folder.path / "weights.safetensors"))


def _assert_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys() and one
    for name in one:
        assert torch.equal(one[name], other[name]), name


@pytest.mark.parametrize("cut", [0, 1, 3, 6])
@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_generator_resume_is_bitwise_exact(latents: LatentCache, tmp_path: Path, cut: int, ema: float) -> None:
    settings = _settings(ema=ema, text_dropout=0.3)
    whole, broken = (Store(tmp_path / name).stage_dir("generator", {"a": 1}) for name in ("whole", "broken"))
    _fit(_generator_stage(**settings), _generator_batches(latents), whole, settings)
    _cut_short(_generator_stage(**settings), _generator_batches(latents), broken, settings, cut)
    assert broken.state == "failed"
    facts = _fit(_generator_stage(**settings), _generator_batches(latents), broken, settings)
    assert facts["resumed_from"] == (cut or None) and facts["steps"] == 6
    _assert_equal(_weights(whole), _weights(broken))


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


@pytest.mark.parametrize("cut", [2, 6])
def test_tokenizer_resume_is_bitwise_exact(frames: FrameCache, tmp_path: Path, cut: int) -> None:
    from zoo.stages.tokenizer import TokenizerStage

    settings = _settings()
    whole, broken = (Store(tmp_path / name).stage_dir("tokenizer", {"a": 1}) for name in ("whole", "broken"))
    _fit(TokenizerStage(ToyTokenizer(), settings), _tokenizer_batches(frames), whole, settings)
    _cut_short(TokenizerStage(ToyTokenizer(), settings), _tokenizer_batches(frames), broken, settings, cut)
    _fit(TokenizerStage(ToyTokenizer(), settings), _tokenizer_batches(frames), broken, settings)
    _assert_equal(_weights(whole), _weights(broken))
    assert _weights(whole)["tokenizer.shift"] != 0, "statistics are fitted before the weights are written"


def test_second_fit_trains_nothing_and_loads_the_weights(latents: LatentCache, tmp_path: Path) -> None:
    folder = Store(tmp_path).stage_dir("generator", {"a": 1})
    first = _fit(_generator_stage(), _generator_batches(latents), folder, _settings())
    assert {"steps", "seconds", "losses", "peak_memory_bytes", "parameters"} <= first.keys()
    assert np.isfinite(first["losses"]["loss"])
    stage = _generator_stage()
    stage.training_step = stage.finish = None  # calling either would raise
    assert _fit(stage, _generator_batches(latents), folder, _settings()) == folder.facts()
    _assert_equal(_weights(folder), {f"network.{k}": v for k, v in stage.network.state_dict().items()})
    assert sorted(path.name for path in folder.path.iterdir()) == [
        "config.json",
        "lock",
        "logs",
        "status.json",
        "weights.safetensors",
    ]
    assert (folder.path / "logs" / "from_0000000" / "metrics.csv").exists()


def test_averaged_weights_are_the_recursion(latents: LatentCache, tmp_path: Path) -> None:
    from lightning.pytorch.callbacks import Callback

    import zoo.stages.fit as fitting

    history: list[torch.Tensor] = []

    class Record(Callback):
        def on_train_batch_end(self, trainer: Any, module: Any, *args: Any) -> None:
            history.append(module.network.mix.weight.detach().clone())

    real = fitting._trainer
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "_trainer", lambda callbacks, *rest: real([*callbacks, Record()], *rest))
        folder = Store(tmp_path).stage_dir("generator", {"a": 1})
        _fit(_generator_stage(), _generator_batches(latents), folder, _settings(ema=0.3))
    mean = history[0]
    for n, weight in enumerate(history[1:], start=1):
        decay = min(0.3, (1 + n) / (10 + n))
        mean = decay * mean + (1 - decay) * weight
    torch.testing.assert_close(_weights(folder)["network.mix.weight"], mean)


def test_nan_stops_with_step_and_sources(latents: LatentCache, tmp_path: Path) -> None:
    from zoo.checkpoint import TrainingDiverged

    stage = _generator_stage()
    batches = _generator_batches(latents)
    bad = batches[3].episodes[0]
    loss = stage.loss
    stage.loss = lambda batch, step: loss(batch, step) * (float("nan") if step == 3 else 1)
    folder = Store(tmp_path).stage_dir("generator", {"a": 1})
    with pytest.raises(TrainingDiverged, match=rf"step 3 .*{bad}.*last good checkpoint is .*last.ckpt") as caught:
        _fit(stage, batches, folder, _settings(), checkpoint_every=2)
    assert caught.value.exit_code != 0
    assert folder.state == "failed" and not (folder.path / "weights.safetensors").exists()


def test_a_checkpoint_of_another_recipe_is_refused(latents: LatentCache, tmp_path: Path) -> None:
    from zoo.checkpoint import BadCheckpoint

    one, other = (Store(tmp_path).stage_dir("generator", {"a": value}) for value in (1, 2))
    _cut_short(_generator_stage(), _generator_batches(latents), one, _settings(), 2)
    other.create()
    for name in ("last.ckpt", "checkpoints.sha256"):
        (one.path / name).rename(other.path / name)
    with pytest.raises(BadCheckpoint, match="another recipe"):
        _fit(_generator_stage(), _generator_batches(latents), other, _settings())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code", "state"), [(signal.SIGTERM, 143, "preempted"), (signal.SIGINT, 130, "interrupted")]
)
def test_signals_save_and_the_next_run_goes_on(tmp_path: Path, number: int, code: int, state: str) -> None:
    script = textwrap.dedent(
        """
        import sys, time
        sys.path[:0] = [{root!r}, {root!r} + "/tests"]
        import test_stages as t
        from pathlib import Path
        from zoo.stages.cache import FrameCache
        from zoo.stages.tokenizer import TokenizerStage
        from zoo.store import Store

        class Slow(t.TokenizerBatches):
            def __getitem__(self, step):
                print(step, flush=True)
                time.sleep(float(sys.argv[2]))
                return super().__getitem__(step)

        if __name__ == "__main__":
            here = Path(sys.argv[1])
            frames = FrameCache(t.ToyData(), "train", here, workers=1).fill()
            settings = t._settings(steps=20)
            batches = Slow(frames, frames=3, batch=4, steps=20, seed=3)
            folder = Store(here).stage_dir("tokenizer", {{"a": 1}})
            t._fit(TokenizerStage(t.ToyTokenizer(), settings), batches, folder, settings)
        """
    ).format(root=str(Path(__file__).parents[1]))
    program = tmp_path / "program.py"
    program.write_text(script)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def start(folder: str, pause: float) -> subprocess.Popen[str]:
        command = [sys.executable, str(program), str(tmp_path / folder), str(pause)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)

    process = start("broken", 0.2)
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == "5":
            break
    process.send_signal(number)
    assert process.wait(60) == code
    folder = Store(tmp_path / "broken").stage_dir("tokenizer", {"a": 1})
    assert folder.state == state
    assert start("broken", 0).wait(60) == 0
    assert folder.done and 4 <= folder.facts()["resumed_from"] <= 7
    assert start("whole", 0).wait(60) == 0
    _assert_equal(_weights(folder), _weights(Store(tmp_path / "whole").stage_dir("tokenizer", {"a": 1})))
