"""tokenizer=diffusers on tiny random models: what diffusers itself gives, how its pipelines scale, honest claims."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from tiny_autoencoders import FAMILIES, saved, tiny

import components.tokenizer
from components import diffusers_folder
from components.contracts import Latent
from components.tokenizer.diffusers import Diffusers
from zoo import compose, registry, stage_key
from zoo.errors import BadValue, UnmetNeed
from zoo.recipe import Part
from zoo.stages.encode import weights_hash
from zoo.stages.weights import BadCheckpoint, read_weights, write_weights

SIZES = {
    # channels, spatial factor, temporal factor, causal
    "kl": (4, 2, 1, True),
    "tiny": (4, 2, 1, True),
    "vq": (3, 2, 1, True),
    "dc": (4, 2, 1, True),
    "svd": (4, 2, 1, True),
    "cogvideox": (4, 8, 4, False),
    "wan": (4, 8, 4, True),
    "wan22": (4, 16, 4, True),
    "qwen": (4, 8, 4, True),
    "ltx": (8, 4, 2, True),
    "ltx_denoising": (8, 4, 2, True),
    "mochi": (4, 8, 6, True),
    "hunyuan": (4, 8, 4, False),
    "hunyuan15": (4, 16, 4, True),
}
every_family = pytest.mark.parametrize("family", list(FAMILIES))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("autoencoders")
    return {family: saved(family, root / family) for family in FAMILIES}


def build(folder: Path, **options: Any) -> Diffusers:
    return Diffusers(Diffusers.Config(model=str(folder), **options))


def video(tokenizer: Any, latents: int, *, clips: int = 1, seed: int = 1) -> torch.Tensor:
    side = 2 * max(tokenizer.spatial_factor, 8)
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(clips, 3, tokenizer.video_frames(latents), side, side, generator=generator) * 2 - 1


def latents_of(family: str, model: Any, x: torch.Tensor) -> torch.Tensor:
    """What a pipeline of that family feeds its denoiser, written out for each."""
    spread = lambda values: torch.as_tensor(values).view(1, -1, 1, 1, 1)  # noqa: E731
    if family in ("kl", "tiny", "vq", "dc", "svd"):
        frames = x.transpose(1, 2).flatten(0, 1)
        made = model.encode(frames)
        raw = made.latent_dist.mode() if family in ("kl", "svd") else made.latents if family != "dc" else made.latent
        raw = raw.unflatten(0, (len(x), -1)).transpose(1, 2)
        scale = {"kl": 0.3611, "tiny": 1.0, "vq": 0.5, "dc": 0.41407, "svd": 0.18215}[family]
        return (raw - 0.1159) * scale if family == "kl" else raw * scale
    raw = model.encode(x).latent_dist.mode()
    if family.startswith("ltx"):
        return (raw - spread(model.latents_mean)) * 1.0 / spread(model.latents_std)
    if family in ("wan", "wan22", "qwen", "mochi"):
        return (raw - spread([0.1, -0.2, 0.3, 0.0])) / spread([1.5, 0.5, 2.0, 1.0])
    return raw * {"cogvideox": 0.7, "hunyuan": 0.476986, "hunyuan15": 1.03682}[family]


def decoded_by(family: str, model: Any, raw: torch.Tensor) -> torch.Tensor:
    if raw.shape[2] and family in ("kl", "tiny", "vq", "dc", "svd"):
        frames = raw.transpose(1, 2).flatten(0, 1)
        made = model.decode(frames, num_frames=raw.shape[2]) if family == "svd" else model.decode(frames)
        return made.sample.unflatten(0, (len(raw), -1)).transpose(1, 2)
    if family == "ltx_denoising":
        return model.decode(raw, torch.zeros(len(raw))).sample
    return model.decode(raw).sample


# ------------------------------------------------------------------------------------- as diffusers itself does


def test_every_family_has_its_sizes_here() -> None:
    assert set(SIZES) == set(FAMILIES) and {f for f, (*_, causal) in SIZES.items() if not causal}


@every_family
@torch.no_grad()
def test_latents_are_what_the_pipeline_feeds_its_denoiser_and_decode_as_it_decodes(
    family: str, folders: dict[str, Path]
) -> None:
    tokenizer, model = build(folders[family]), tiny(family)
    sizes = (tokenizer.channels, tokenizer.spatial_factor, tokenizer.temporal_factor, tokenizer.causal)
    assert sizes == SIZES[family]
    x = video(tokenizer, 3)
    latent = tokenizer.encode(x)
    torch.testing.assert_close(latent.z, latents_of(family, model, x), rtol=1e-5, atol=1e-5)
    made = tokenizer.decode(latent)
    assert made.shape == x.shape and made.dtype == torch.float32
    raw = tokenizer.statistics.denormalise(latent.z)
    torch.testing.assert_close(made, decoded_by(family, model, raw), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", [f for f in FAMILIES if f != "mochi"])
@torch.no_grad()
def test_any_number_of_latent_frames_comes_back_as_the_video_it_stands_for(
    family: str, folders: dict[str, Path]
) -> None:
    tokenizer = build(folders[family])
    for latents in (1, 2, 4):
        x = video(tokenizer, latents)
        z = tokenizer.encode(x)
        assert z.z.shape[2] == latents and tokenizer.decode(z).shape == x.shape


@every_family
@torch.no_grad()
def test_a_latent_sees_later_frames_exactly_where_the_encoder_is_not_declared_causal(
    family: str, folders: dict[str, Path]
) -> None:
    tokenizer = build(folders[family])
    x = video(tokenizer, 3)
    changed = x.clone()
    changed[:, :, tokenizer.last_frame(1) + 1 :] *= -0.3
    gap = (tokenizer.encode(changed).z - tokenizer.encode(x).z).abs().amax((0, 1, 3, 4))
    assert gap[2] > 1e-4
    assert bool(gap[:2].max() < 1e-6) == tokenizer.causal


@pytest.mark.parametrize("family", ["kl", "svd", "cogvideox", "wan", "ltx"])
@torch.no_grad()
def test_streams_equal_the_whole(family: str, folders: dict[str, Path]) -> None:
    tokenizer = build(folders[family])
    x = video(tokenizer, 5)
    whole = tokenizer.encode(x).z
    for sizes in ([1, 1, 3], [2, 3], [5]):
        ends = [tokenizer.video_frames(sum(sizes[: i + 1])) for i in range(len(sizes))]
        pieces = [x[:, :, begin:end] for begin, end in zip([0, *ends], ends, strict=False)]
        parts = [latent.z for latent in tokenizer.encode_stream(iter(pieces))]
        assert [part.shape[2] for part in parts] == sizes
        torch.testing.assert_close(torch.cat(parts, 2), whole, rtol=0, atol=1e-5)
        shown = list(tokenizer.decode_stream(iter(whole.split(sizes, 2))))
        assert [part.shape[2] for part in shown] == [piece.shape[2] for piece in pieces]
        at_once = tokenizer.decode(Latent(whole, 1, 1))
        torch.testing.assert_close(torch.cat(shown, 2), at_once, rtol=0, atol=1e-5)
    assert not list(tokenizer.encode_stream([])) and not list(tokenizer.decode_stream([]))


# --------------------------------------------------------------------------------------------------- statistics


def test_statistics_are_the_pipeline_s_or_fitted(folders: dict[str, Path]) -> None:
    tokenizer = build(folders["kl"])
    x = video(tokenizer, 4)
    before = tokenizer.encode(x).z
    tokenizer.fit_statistics([x])
    assert torch.equal(tokenizer.encode(x).z, before)
    fitted = build(folders["kl"], statistics="fitted")
    torch.testing.assert_close(fitted.encode(x).z, before / 0.3611 + 0.1159, rtol=1e-4, atol=1e-5)
    fitted.fit_statistics([x])
    per_channel = fitted.encode(x).z.transpose(0, 1).flatten(1)
    torch.testing.assert_close(per_channel.mean(1), torch.zeros(4), rtol=0, atol=1e-4)
    torch.testing.assert_close(per_channel.std(1, correction=0), torch.ones(4), rtol=0, atol=1e-4)


def edited(folder: Path, to: Path, **config: Any) -> Path:
    shutil.copytree(folder, to)
    said = json.loads((to / "config.json").read_text())
    said = {key: value for key, value in (said | config).items() if value is not None}
    (to / "config.json").write_text(json.dumps(said))
    return to


def test_statistics_that_are_not_per_channel_are_refused_unless_fitted(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    odd = edited(folders["wan"], tmp_path / "odd", latents_mean=[0.0] * 12, latents_std=[1.0] * 12)
    with pytest.raises(BadValue, match=r"12 latent statistics for 4 channels: set tokenizer\.statistics=fitted"):
        build(odd)
    assert build(odd, statistics="fitted").channels == 4


# ------------------------------------------------------------------------------------------------ state and name


def test_frozen_and_small_on_disk_yet_named_by_the_model_s_content(folders: dict[str, Path], tmp_path: Path) -> None:
    tokenizer = build(folders["kl"])
    assert not tokenizer.trainable and not tokenizer.needs_discriminator
    assert list(tokenizer.parameters()) and not any(p.requires_grad for p in tokenizer.parameters())
    assert not tokenizer.train().model.training
    assert set(tokenizer.state_dict()) == {"statistics.mean", "statistics.std", "statistics.count", "fingerprint"}
    again, moved = build(folders["kl"]), build(shutil.copytree(folders["kl"], tmp_path / "elsewhere"))
    other = build(saved("kl", tmp_path / "other", seed=1))
    assert weights_hash(tokenizer) == weights_hash(again) == weights_hash(moved) != weights_hash(other)
    path = tmp_path / "weights.safetensors"
    write_weights(path, {"tokenizer": tokenizer})
    assert path.stat().st_size < 2000
    x, kept = video(tokenizer, 2), [p.clone() for p in moved.parameters()]
    read_weights(path, {"tokenizer": moved})
    assert all(torch.equal(a, b) for a, b in zip(kept, moved.parameters(), strict=True))
    assert torch.equal(moved.encode(x).z, tokenizer.encode(x).z)
    with pytest.raises(BadValue, match=r"is another autoencoder .* set tokenizer\.model"):
        read_weights(path, {"tokenizer": other})
    with pytest.raises(BadCheckpoint):
        read_weights(path, {"tokenizer": build(folders["wan"], statistics="fitted").model})


def test_a_stage_is_named_by_the_model_and_not_by_its_place(folders: dict[str, Path], tmp_path: Path) -> None:
    def name(folder: Path, **options: Any) -> dict[str, Any]:
        return stage_key.full("tokenizer", Part(name="diffusers", options={"model": str(folder), **options}))

    here = name(folders["kl"])
    shutil.copytree(folders["kl"], tmp_path / "pipe" / "vae")
    assert name(tmp_path / "pipe", subfolder="vae") == here and str(folders["kl"]) not in str(here)
    assert name(saved("kl", tmp_path / "kl", seed=1)) != here != name(folders["kl"], statistics="fitted")
    assert name(edited(folders["kl"], tmp_path / "scaled", scaling_factor=0.5)) != here
    assert stage_key.full("tokenizer", Part(name="pixels", options={})) == {"name": "pixels", "spatial_factor": 1}


def test_training_passes_measure_and_change_nothing(folders: dict[str, Path]) -> None:
    tokenizer = build(folders["kl"])
    losses = tokenizer.training_losses(video(tokenizer, 2), 0)
    losses["loss"].backward()
    assert losses["loss"] > 0 and [name for name, term in losses.items() if term.requires_grad] == ["loss"]


def test_gradients_pass_through_to_latents_and_pixels(folders: dict[str, Path]) -> None:
    tokenizer = build(folders["kl"])
    x = video(tokenizer, 1).requires_grad_()
    tokenizer.decode(tokenizer.encode(x)).sum().backward()
    assert x.grad is not None and x.grad.abs().sum() > 0


@pytest.mark.parametrize("family", ["kl", "wan"])
def test_costs_are_counted_without_reading_weights(family: str, folders: dict[str, Path], monkeypatch: Any) -> None:
    loads: list[Any] = []
    cls = type(tiny(family))
    monkeypatch.setattr(cls, "from_pretrained", lambda *a, **k: loads.append(a))
    with torch.device("meta"):
        tokenizer = compose.build_tokenizer(Part(name="diffusers", options={"model": str(folders[family])}))
        x = torch.zeros(1, 3, tokenizer.video_frames(tokenizer.training_latents), 32, 32)
        assert tokenizer.decode(tokenizer.encode(x)).shape == x.shape
    assert not loads and sum(p.numel() for p in tokenizer.parameters()) == sum(
        p.numel() for p in tiny(family).parameters()
    )


def test_options_reach_the_model(folders: dict[str, Path]) -> None:
    tokenizer = build(folders["kl"], dtype="bfloat16", slicing=True, tiling=True)
    assert tokenizer.model.dtype == torch.bfloat16 and tokenizer.model.use_slicing and tokenizer.model.use_tiling
    x = video(tokenizer, 2, clips=2)
    z = tokenizer.encode(x)
    assert z.z.dtype == torch.float32 and tokenizer.decode(z).dtype == torch.float32
    torch.testing.assert_close(z.z, build(folders["kl"]).encode(x).z, rtol=0, atol=0.05)


# ------------------------------------------------------------------------------------------------------ refusals


def test_sizes_that_do_not_fit_are_refused(folders: dict[str, Path]) -> None:
    tokenizer = build(folders["wan"])
    with pytest.raises(BadValue, match="the diffusers takes 1 \\+ 4·n frames, not 4"):
        tokenizer.encode(torch.zeros(1, 3, 4, 16, 16))
    with pytest.raises(BadValue, match="12×16 frames do not divide"):
        tokenizer.encode(torch.zeros(1, 3, 5, 12, 16))
    with pytest.raises(BadValue, match="4·n frames, not 3"):
        list(tokenizer.encode_stream([torch.zeros(1, 3, 5, 16, 16), torch.zeros(1, 3, 3, 16, 16)]))


def test_what_is_no_autoencoder_is_refused_in_one_sentence(folders: dict[str, Path], tmp_path: Path) -> None:
    def refused(match: str, folder: Path, **options: Any) -> None:
        with pytest.raises(BadValue, match=match) as caught:
            build(folder, **options)
        assert str(caught.value).startswith("tokenizer.") and "\n" not in str(caught.value)

    (tmp_path / "empty").mkdir()
    refused("holds no config.json of a diffusers autoencoder: give the folder", tmp_path / "empty")
    shutil.copytree(folders["kl"], tmp_path / "pipe" / "vae")
    refused(r"set tokenizer\.subfolder=vae", tmp_path / "pipe")
    refused("holds no config.json", tmp_path / "pipe", subfolder="unet")
    refused("of variant 'fp16'", folders["kl"], variant="fp16")
    bare = shutil.copytree(folders["kl"], tmp_path / "bare")
    (bare / "diffusion_pytorch_model.safetensors").rename(bare / "diffusion_pytorch_model.bin")
    refused("holds no diffusion_pytorch_model.safetensors.*not read", bare)
    refused("UNet2DModel, which is no autoencoder", edited(folders["kl"], tmp_path / "unet", _class_name="UNet2DModel"))
    refused("a os, which is no autoencoder", edited(folders["kl"], tmp_path / "os", _class_name="os"))
    refused("names no class", edited(folders["kl"], tmp_path / "nameless", _class_name=None))
    assert build(tmp_path / "nameless", class_name="AutoencoderKL").channels == 4
    refused("cannot be loaded as AutoencoderKL", edited(folders["kl"], tmp_path / "wide", latent_channels=8))
    (bare / "config.json").write_text("{")
    (bare / "diffusion_pytorch_model.bin").rename(bare / "diffusion_pytorch_model.safetensors")
    refused("config.json cannot be read", bare)
    cut = shutil.copytree(folders["kl"], tmp_path / "cut")
    weights = cut / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    refused("cannot be loaded as AutoencoderKL", cut)
    with pytest.raises(ValidationError):
        Diffusers.Config()  # type: ignore[call-arg]


def test_a_hub_name_that_cannot_be_reached_is_refused(monkeypatch: Any, folders: dict[str, Path]) -> None:
    with pytest.raises(BadValue, match="there is no folder nobody/nothing, and the hub gives no autoencoder") as caught:
        build(Path("nobody/nothing"))
    assert "\n" not in str(caught.value)
    asked: list[Any] = []

    def snapshot(name: str, **options: Any) -> str:
        asked.append((name, options))
        if options["local_files_only"]:
            raise FileNotFoundError(name)
        return str(folders["kl"])

    monkeypatch.setattr(diffusers_folder, "snapshot_download", snapshot)
    assert build(Path("some/model"), revision="abc").channels == 4
    name, options = asked[1]
    assert [o["local_files_only"] for _, o in asked[:2]] == [True, False]
    assert name == "some/model" and options["revision"] == "abc" and "config.json" in options["allow_patterns"]
    assert not any("bin" in pattern for pattern in options["allow_patterns"])


def test_without_the_package_the_cure_is_named(monkeypatch: Any) -> None:
    for package, name in ((components.tokenizer, "diffusers"), (components, "diffusers_folder")):
        monkeypatch.delitem(sys.modules, f"{package.__name__}.{name}")
        monkeypatch.delattr(package, name)
    monkeypatch.setitem(sys.modules, "diffusers", None)
    registry.load.cache_clear()
    with pytest.raises(UnmetNeed, match=r"pip install 'spacetime-zoo\[diffusers\]'"):
        registry.load("tokenizer", "diffusers")
    registry.load.cache_clear()
