"""The suite that judges tokenizers alone: what is trained for it, what its records say, what its metrics see."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml

from benchmarks import record as records
from benchmarks import suite as suites
from benchmarks.contracts import Scored, Setting
from benchmarks.pooled_identity import named
from benchmarks.spoiled import SPOILED
from components.contracts import Clip
from tests.rate_records import tokenizer
from tests.synthetic_records import video
from tests.tiny import TINY
from zoo import recipe_names, registry, run
from zoo.__main__ import main as command
from zoo.entry import guarded
from zoo.errors import BadValue, UnknownName, UnmetNeed
from zoo.pipeline import Pipeline
from zoo.recipe import resolve
from zoo.reconstruction import Reconstruction

ARGUMENTS = [
    *(given for given in TINY if not given.startswith("suite.")),
    "suite={name: reconstruct, episodes: 5, frames: 9, metrics: [psnr, temporal_detail]}",
]


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """The run folder of one tiny tokenizer, judged in two worlds."""
    root = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_RUNS", str(root))
        assert run.main([*ARGUMENTS, "suite.world=maze,moving_shapes"]) == 0
    return root


def rows(root, kind="model"):
    found = [(path, records.read(path)) for path in sorted((root / "records" / "reconstruct").glob("*.json"))]
    return {record.suite.options["world"]: (path, record) for path, record in found if record.kind == kind}


# ----------------------------------------------------------------------------------------------------------- protocol


def test_only_suites_that_judge_no_generator_say_what_they_judge():
    judged = {"reconstruct": "tokenizer", "packing": "packing"}
    assert all(suites.load(name).reference().options["judges"] == what for name, what in judged.items())
    others = [name for name in suites.names() if name not in judged]
    assert others and all("judges" not in suites.load(name).reference().options for name in others)
    with pytest.raises(UnknownName, match="no option 'judges'"):
        suites.load({"name": "quickstart", "judges": "tokenizer"})


def test_worlds_are_protocols_and_one_of_them_is_the_recipes_own_data():
    protocols = {w: suites.load({"name": "reconstruct", "world": w}) for w in suites.load("reconstruct").worlds}
    assert set(protocols) == {"maze", "vizdoom", "moving_shapes", "clips"}
    assert all(s.protocol == f"reconstruct@1/{w}" and not s.modified for w, s in protocols.items())
    assert protocols["clips"].dataset is None and protocols["maze"].dataset.name == "maze"


def test_training_episodes_are_never_judged():
    with pytest.raises(BadValue, match="never judged on the episodes it was trained on"):
        suites.load({"name": "reconstruct", "world": "clips", "split": "train"})
    worlds = [world for world in suites.load("reconstruct").worlds.values() if world is not None]
    seeds = {0}
    for name in recipe_names.recipe_names():
        said = yaml.safe_load(recipe_names.find(name).read_text(encoding="utf-8")).get("dataset", {})
        seeds.add(said.get("seed", 0) if isinstance(said, dict) else 0)
    assert len(worlds) == 3 and all(world.options["train"] == world.options["validation"] == 0 for world in worlds)
    assert not seeds & {world.options["seed"] for world in worlds}


# --------------------------------------------------------------------------------------------------------- the record


def test_only_the_tokenizer_is_trained_and_once_for_both_worlds(judged):
    stages = [json.loads(path.read_text())["stage"] for path in judged.glob("*/config.json")]
    assert stages.count("tokenizer") == 1 and "generator" not in stages and "sample" not in stages
    assert stages.count("reconstruction") == stages.count("controls") == 2
    assert not list(judged.glob("tokenizer-*/latents*"))


def test_the_record_says_what_was_kept_and_what_it_costs(judged):
    for world, (path, row) in rows(judged).items():
        assert row.suite.options["judges"] == "tokenizer" and row.group and row.label == "tokenizer=vae"
        assert set(row.stages) == {"tokenizer", "reconstruction"} and set(row.seeds) == {"tokenizer", "suite"}
        assert row.components == {"tokenizer": "vae", "dataset": "maze"} and "kingma2014vae" in row.citations
        assert row.cost.parameters["tokenizer"] > 0 and row.cost.flops["tokenizer"] > 0
        wanted = {"psnr", "temporal_detail", "bits_per_pixel", "latent_values", "latent_tokens"}
        assert wanted | {"encode_fps", "decode_fps"} == set(row.metrics)
        assert all(f"protocol=reconstruct@1/{world}" in metric.key for metric in row.metrics.values())
        assert row.metrics["latent_values"].value == 8 * row.metrics["latent_tokens"].value
        curve = row.curves["rate_distortion"]
        assert (
            len(curve.t) == 8
            and curve.t[0] * 8 == pytest.approx(curve.t[7])
            and set(curve.videos) == set(row.per_video["psnr"])
        )
        assert row.metrics["bits_per_pixel"].value >= curve.t[0]
        assert not row.metrics["psnr"].parts.keys() & {"unseen", "loop", "spin"}, "a tokenizer knows no poses"
        assert sum(name.startswith("video/") for name in row.artifacts) == 3
        assert records.read(path) == row
    assert set(rows(judged)) == set(rows(judged, "control")) == {"maze", "moving_shapes"}


def test_a_case_of_a_sweep_is_called_by_its_tokenizer():
    (recipe,) = resolve(ARGUMENTS, sweep=True)
    swept = recipe.model_copy(update={"point": {"case": "small", "train.tokenizer.seed": 1, "suite.world": "maze"}})
    judge = Reconstruction(Pipeline(swept, None), suites.load("reconstruct"))
    assert judge.label == "tokenizer=vae, train.tokenizer.seed=1"
    assert named(tokenizer("vae", 1, 20.0).model_copy(update={"recipe": swept.to_dict()})) == "small"
    seeds = swept.model_copy(update={"point": {"train.tokenizer.seed": 1}})
    assert named(tokenizer("vae", 1, 20.0).model_copy(update={"recipe": seeds.to_dict()})) == "tokenizer=vae"


def test_the_same_command_again_makes_nothing(judged, monkeypatch, capsys):
    monkeypatch.setenv("ZOO_RUNS", str(judged))
    before = sorted(judged.rglob("*.json"))
    assert run.main([*ARGUMENTS, "suite.world=maze,moving_shapes"]) == 0
    assert sorted(judged.rglob("*.json")) == before


def test_another_tokenizer_shares_the_floors_and_a_discrete_one_says_what_quantising_costs(judged, monkeypatch):
    monkeypatch.setenv("ZOO_RUNS", str(judged))
    floors = len(list(judged.glob("controls-*")))
    small = "tokenizer={name: vqvae, width: 16, depth: 1, heads: 1, quantizer: {name: vq, codes: 8, channels: 4}}"
    without = [given for given in ARGUMENTS if not given.startswith("tokenizer.")]
    assert run.main([*without, small, "suite.world=maze"]) == 0
    assert len(list(judged.glob("controls-*"))) == floors
    found = [records.read(path) for path in (judged / "records" / "reconstruct").glob("*.json")]
    (row,) = (record for record in found if record.components.get("tokenizer") == "vqvae")
    assert row.components["quantizer"] == "vq" and len(row.curves["rate_distortion"].t) == 1
    # 9 frames of 32×32 are padded to 12, which are 3 latent frames of 8×8 tokens of 3 bits
    assert row.metrics["bits_per_pixel"].value == pytest.approx(3 * 3 * 64 / (9 * 32 * 32))
    assert 1 / 8 <= row.metrics["codebook_use"].value <= 1 and 1 <= row.metrics["perplexity"].value <= 8
    assert len(row.per_video["quantisation_loss"]) == 5 and row.metrics["quantisation_loss"].interval is not None


def test_parts_that_only_generating_needs_do_not_matter(tmp_path, monkeypatch):
    """Poses, windows and rollouts that no generator could be trained with are not asked for."""
    monkeypatch.setenv("ZOO_RUNS", str(tmp_path))
    odd = ["dataset=moving_shapes", "rollout=pose_nearest", "sample.window=99"]
    (recipe,) = resolve([*ARGUMENTS[:1], *odd, "suite=reconstruct"], sweep=True)
    assert run._checked(recipe)[1].judges == "tokenizer"
    with pytest.raises(UnmetNeed):
        run._checked(resolve([*ARGUMENTS[:1], *odd], sweep=True)[0])


def test_lengths_that_do_not_fit_are_refused_before_training_where_padding_is_off(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_RUNS", str(tmp_path))
    arguments = [*ARGUMENTS, "tokenizer.temporal_factor=4", "suite.frames=8", "sample.pad=false"]
    with pytest.raises(BadValue, match="does not take 8 frames of 32×32, but would take 9 of 32×32: set"):
        run.main(arguments)
    assert not list(tmp_path.glob("tokenizer-*/weights*"))


def test_real_clips_of_a_folder_are_judged_on_files_that_were_not_trained_on(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_RUNS", str(tmp_path / "runs"))
    for number in range(6):
        video(tmp_path / "films" / f"{number}.mp4", 20 * number, frames=9)
    arguments = [
        "recipe=reconstruct_clips", f"dataset.root={tmp_path / 'films'}", "dataset.frames=9", "dataset.size=16",
        f"dataset.cache={tmp_path / 'cache'}", "reader=pyav",
        "tokenizer={name: vae, width: 8, multipliers: [1, 1]}", "train.tokenizer.steps=2", "train.tokenizer.batch=2",
        "suite.metrics=[psnr]", "suite.controls=[reconstruction]",
    ]  # fmt: skip
    assert run.main(arguments) == 0
    row = rows(tmp_path / "runs")["clips"][1]
    control = rows(tmp_path / "runs", "control")["clips"][1]
    assert row.dataset.name == "video_folder" and row.reader.startswith("pyav")
    assert control.metrics["psnr"].value == pytest.approx(row.metrics["psnr"].value), "the same, there and back"
    trained = list((tmp_path / "runs" / "data").rglob("index.json"))
    said = "".join(path.read_text() for path in trained)
    assert trained and not any(episode in said for episode in row.per_video["psnr"])


# ----------------------------------------------------------------------------------------------------------- commands


def test_commands_take_such_rows_or_say_why_not(judged, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("ZOO_RUNS", str(judged))
    path = str(rows(judged)["maze"][0])
    assert guarded(command, ["audit", path]) == 2 and "judges no generated videos" in capsys.readouterr().err
    assert guarded(command, ["sample", path]) == 2 and "has no generator" in capsys.readouterr().err
    folder = str(judged / "records")
    for style in ("table", "markdown", "csv"):
        assert command(["leaderboard", f"results={folder}", f"format={style}"]) == 0
    assert "bits_per_pixel" in capsys.readouterr().out
    page = tmp_path / "board.html"
    assert command(["leaderboard", f"results={folder}", "format=html", f"out={page}"]) == 0
    assert "PSNR against bits per pixel" in page.read_text() and "reconstruct v1 · maze<" in page.read_text()
    assert command(["publish", f"results={folder}", f"out={tmp_path / 'copy'}"]) == 0
    assert len(list((tmp_path / "copy").rglob("*.json"))) == len(list((judged / "records").rglob("*.json")))


def test_plan_counts_the_tokenizer_alone(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("ZOO_RUNS", str(tmp_path))
    for style in ("table", "markdown", "json"):
        assert command(["plan", *ARGUMENTS, f"format={style}"]) == 0
    said = json.loads(capsys.readouterr().out.partition("[\n {")[2].join(["[\n {", ""]))
    assert said[0]["tokenizer"]["parameters"] > 0 and "generator" not in said[0] and "rollout" not in said[0]


def test_reproducing_gives_the_same_figures(judged, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("ZOO_RUNS", str(judged))
    assert command(["reproduce", str(rows(judged)["maze"][0]), f"into={tmp_path}"]) == 0
    said = capsys.readouterr().out
    assert "psnr" in said and "equal" in said and "outside" not in said


# ---------------------------------------------------------------------------------------------- what the metrics see


def moving(frames: int = 12, side: int = 32) -> np.ndarray:
    """A bright square that goes over a textured ground, round and round."""
    rng = np.random.default_rng(0)
    film = np.repeat(rng.integers(40, 120, (1, side, side, 3), np.uint8), frames, axis=0)
    for t in range(frames):
        film[t, 8:16, (t * 2 + np.arange(8)) % side] = (250, 220, 90)
    return film


def detail(fake: np.ndarray, real: np.ndarray, context: int = 0) -> float:
    metric = registry.build("metric", "temporal_detail", {}, setting=Setting("p", "d"))
    metric.update(Scored(fake, real, context, episode="a"))
    (score,) = metric.compute()
    return score.metric.value


def test_temporal_detail_by_hand():
    """One pixel of four changes by 51 of 255 and the video says 0: MSE is 0.2² / 4, which is 20 dB."""
    real = np.zeros((3, 2, 2, 3), np.uint8)
    real[1:, 0, 0] = 51
    expected = (-10 * np.log10(0.04 / 4) - 10 * np.log10(2 / 12 / 255**2)) / 2  # nothing changes in the last frame
    assert detail(np.zeros_like(real), real) == pytest.approx(expected)
    assert detail(real, real) == pytest.approx(55.91, abs=0.01)
    assert detail(np.zeros_like(real), real, context=1) == pytest.approx(expected)
    assert detail(np.zeros_like(real), real, context=2) == pytest.approx(55.91, abs=0.01)


def test_temporal_detail_sees_motion_alone():
    real = moving()
    rng = np.random.default_rng(1)
    shifted = (real.astype(int) + 5).clip(0, 255).astype(np.uint8)
    noisy = (real + rng.normal(0, 6, real.shape)).clip(0, 255).astype(np.uint8)
    late = np.concatenate([real[:1], real[:-1]])
    still = np.repeat(real[:1], len(real), axis=0)
    assert detail(shifted, real) > 50, "an error that stays is none"
    assert detail(noisy, real) > detail(late, real) + 3 and detail(noisy, real) > detail(still, real) + 3


@pytest.mark.parametrize("kind", sorted(SPOILED))
def test_no_headline_rewards_a_spoiled_reconstruction(kind):
    from benchmarks import harness

    real = moving(33)
    good = (real + np.random.default_rng(1).normal(0, 5, real.shape)).clip(0, 255).astype(np.uint8)
    suite = suites.load("reconstruct").model_copy(update={"resamples": 10})
    wanted = tuple(entry for entry in suite.metrics if entry.name in ("perceptual", "temporal_detail"))
    suite = suite.model_copy(update={"metrics": wanted})
    clip = Clip(real, np.arange(33.0), 8.0, episode="a")
    scores = [harness.evaluate([film], [clip], suite, dataset="d").metrics for film in (good, SPOILED[kind](good, 0))]
    assert set(suite.headlines) == set(scores[0])
    assert scores[0]["pd_lite0"].value < scores[1]["pd_lite0"].value
    assert scores[0]["temporal_detail"].value > scores[1]["temporal_detail"].value


# -------------------------------------------------------------------------------------------------------------- floors


def make(name: str, film: np.ndarray, **options) -> np.ndarray:
    return registry.build("control", name, options).make(Clip(film, np.arange(float(len(film))), 8.0), 0, None)


def test_the_mean_frame_stands_still():
    film = moving()
    made = make("mean_frame", film)
    assert (made == made[0]).all() and np.abs(made[0] - film.mean(0)).max() <= 0.5


def test_downscaled_keeps_what_is_smooth_and_loses_what_is_fine():
    flat = np.full((2, 7, 9, 3), 77, np.uint8)
    np.testing.assert_array_equal(make("downscaled", flat), flat)
    ramp = np.broadcast_to(np.arange(32, dtype=np.uint8)[None, None, :, None] * 4, (1, 32, 32, 3)).copy()
    inside = slice(2, -2)
    np.testing.assert_array_equal(make("downscaled", ramp)[:, :, inside], ramp[:, :, inside])
    checks = np.indices((1, 32, 32)).sum(0)[..., None].repeat(3, -1) % 2 * np.uint8(200)
    assert np.ptp(make("downscaled", checks.astype(np.uint8))) == 0
