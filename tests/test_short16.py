"""Suite short16: its tasks and worlds, and when its metrics are believed."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pytest
import torch
import yaml
from scipy.ndimage import gaussian_filter

from benchmarks import harness, joins
from benchmarks import record as records
from benchmarks import suite as suites
from benchmarks.contracts import Results, Scored, Setting
from benchmarks.train_attributes import NEW_SEED, SEED, accuracy
from components.contracts import Clip
from components.shape_words import ATTRIBUTES, attributes_of
from zoo import recipe_names, registry, run
from zoo.errors import BadValue, UnknownName, UserError

TASKS = {
    "text_to_video": (0, 0), "image_to_video": (1, 0), "extend": (4, 0), "infill": (4, 4), "stitch": (2, 2),
    "loop": (4, 0),
}  # fmt: skip


# ---------------------------------------------------------------------------------------------- tasks and worlds


def test_every_task_is_a_protocol_of_its_own_and_says_what_is_given():
    assert set(suites.load("short16").tasks) == set(TASKS)
    for task, given in TASKS.items():
        suite = suites.load({"name": "short16", "task": task})
        assert suite.protocol == f"short16@1/shapes/{task}" and not suite.modified
        assert (suite.context, suite.closing) == given and suite.frames == 16
        assert suite.reference().options["task"] == task
        assert suite.reference().options.get("closing", 0) == given[1]
        registry.card("task", task)
    other = suites.load({"name": "short16", "task": "infill", "world": "unseen"})
    assert other.protocol == "short16@1/unseen/infill" and not other.modified


def test_what_a_task_sets_may_be_overridden_and_the_same_value_is_no_override():
    fewer = suites.load({"name": "short16", "task": "infill", "closing": 2})
    assert fewer.modified and fewer.overrides == {"closing": 2} and fewer.context == 4
    assert fewer.protocol.startswith("short16@1/shapes/infill+")
    assert suites.load({"name": "short16", "task": "infill", "closing": 4}).protocol == "short16@1/shapes/infill"
    with pytest.raises(UnknownName, match="no task 'inpaint'"):
        suites.load({"name": "short16", "task": "inpaint"})
    with pytest.raises(BadValue, match=r"context=4 and suite.closing=12 leave nothing to make"):
        suites.load({"name": "short16", "task": "infill", "closing": 12})
    with pytest.raises(UnknownName, match="no option 'tasks'"):
        suites.load({"name": "short16", "tasks": {}})


def test_other_suites_may_ask_for_a_task_and_then_say_so():
    plain = suites.load("clips")
    asked = suites.load({"name": "clips", "task": "infill", "closing": 4})
    assert plain.task is None and "task" not in plain.reference().options and "closing" not in plain.reference().options
    assert asked.modified and asked.reference().options["task"] == "infill"
    with pytest.raises(UnknownName, match="no task is named"):
        suites.load({"name": "clips", "task": "nothing"})
    with pytest.raises(BadValue, match="looks at all frames up to the end"):
        suites.load({"name": "quickstart", "closing": 4})


def test_worlds_hold_sizes_that_go_through_a_factor_of_eight_and_episodes_enough():
    seeds = set()
    for world in suites.load("short16").worlds.values():
        assert world is not None and world.options["test"] >= 64 and world.options["train"] == 0
        assert all(side % 8 == 0 for size in world.options["sizes"] for side in size)
        seeds.add(world.options["seed"])
    shapes, unseen = (suites.load({"name": "short16", "world": name}).dataset for name in ("shapes", "unseen"))
    assert shapes is not None and unseen is not None
    assert not {tuple(size) for size in shapes.options["sizes"]} & {tuple(size) for size in unseen.options["sizes"]}
    taken = {0}
    for name in recipe_names.recipe_names():
        said = yaml.safe_load(recipe_names.find(name).read_text(encoding="utf-8")).get("dataset", {})
        taken.add(said.get("seed", 0) if isinstance(said, dict) else 0)
    taken |= {w.options["seed"] for w in suites.load("reconstruct").worlds.values() if w is not None}
    assert len(seeds) == 2 and not seeds & taken
    judge = {SEED + 1000 * n for n in range(1000)} | {NEW_SEED + 1000 * n for n in range(1000)}
    assert not judge & (seeds | taken), "the judge was shown a contestant's or a suite's clips"


# ------------------------------------------------------------------------------------------------ the classifier


def test_the_classifier_reads_new_clips_of_all_combinations_and_sizes():
    feature = registry.build("feature", "attributes", {})
    found = accuracy(feature.network, 7)
    assert all(found[name] >= 0.97 for name in ("colour", "shape", "background")) and found["motion"] >= 0.95, found
    spoiled = accuracy(feature.network, 7, fault=True)
    assert spoiled["colour"] >= 0.95 and spoiled["motion"] >= 0.8, spoiled
    assert sum(parameter.numel() for parameter in feature.network.parameters()) <= 150_000


def test_the_classifier_takes_any_size_and_length_and_says_whose_weights_it_has(tmp_path, monkeypatch):
    feature = registry.build("feature", "attributes", {})
    for shape in ((2, 16, 16, 3), (40, 64, 24, 3), (1, 100, 60, 3)):
        said = feature.read(np.full(shape, 100, np.uint8))
        assert {name: word in ATTRIBUTES[name] for name, word in said.items()} == dict.fromkeys(ATTRIBUTES, True)
    assert feature.embed(np.zeros((2, 8, 32, 32, 3), np.uint8)).shape == (2, 192)
    assert len(feature.facts()["weights"]) == 12
    monkeypatch.setattr("benchmarks.feature.attributes.WEIGHTS", tmp_path / "none.safetensors")
    with pytest.raises(UserError, match="train it again"):
        _ = registry.build("feature", "attributes", {}).network


# ------------------------------------------------------------------------------------------------------- validity


@cache
def clips() -> tuple[Clip, ...]:
    suite = suites.load("short16")
    assert suite.dataset is not None
    world = registry.build("dataset", suite.dataset.name, suite.dataset.options)
    return tuple(world.clip("test", index) for index in range(24))


@cache
def judged(task: str, kind: str) -> Results:
    """Clips whose made frames were changed, by the suite's own metrics, small."""
    suite = suites.load({"name": "short16", "task": task}).model_copy(update={"resamples": 50, "controls": ()})
    kept = tuple(e for e in suite.metrics if e.name not in ("frechet", "perceptual"))
    suite = suite.model_copy(update={"metrics": kept})
    made = []
    for place, clip in enumerate(clips()):
        video = CHANGES[kind](clip.frames.copy(), place, suite)
        end = len(video) - suite.closing
        video[: suite.context], video[end:] = clip.frames[: suite.context], clip.frames[end:]
        made.append(video.astype(np.uint8))
    return harness.evaluate(made, clips(), suite, dataset="validity:0")


def value(results: Results, name: str, part: str = "") -> float:
    metric = results.metrics[name]
    found = metric.parts[part].value if part else metric.value
    assert found is not None, (name, part)
    return found


def another(film: np.ndarray, place: int, suite: suites.Suite) -> np.ndarray:
    control = registry.build("control", "another_video", {})
    return control.make(control.source(clips(), place), 0, None)


def fade(film: np.ndarray, place: int, suite: suites.Suite) -> np.ndarray:
    """From the last given frame to the first that is given after it."""
    first, last = film[max(suite.context - 1, 0)].astype(float), film[min(len(film) - suite.closing, len(film) - 1)]
    share = np.linspace(0, 1, len(film))[:, None, None, None]
    return first + share * (last - first)


def pendulum(film: np.ndarray, place: int, suite: suites.Suite) -> np.ndarray:
    """There and back: a loop without a seam."""
    return film[[*range(0, 16, 2), *range(15, 0, -2)]]


CHANGES = {
    "truth": lambda film, place, suite: film,
    "frozen": lambda film, place, suite: np.repeat(film[max(suite.context - 1, 0)][None], len(film), 0),
    "noise": lambda film, place, suite: np.random.default_rng(place).integers(0, 256, film.shape),
    "blurred": lambda film, place, suite: gaussian_filter(film.astype(float), (0, 1.2, 1.2, 0)),
    "backwards": lambda film, place, suite: film[::-1],
    "mirrored": lambda film, place, suite: film[:, :, ::-1],
    "tinted": lambda film, place, suite: film[..., ::-1],
    "another": another,
    "fade": fade,
    "pendulum": pendulum,
}


def test_the_truth_follows_its_prompt_and_nothing_cheap_does():
    truth = judged("text_to_video", "truth")
    assert value(truth, "text_alignment") > 0.97 and value(truth, "prompt_followed") > 0.9
    assert value(truth, "text_alignment") == value(truth, "text_alignment", "truth")
    for kind in ("frozen", "noise", "another", "tinted", "backwards"):
        cheap = judged("text_to_video", kind)
        assert value(cheap, "text_alignment") < value(truth, "text_alignment") - 0.05, kind
        assert value(cheap, "prompt_followed") < value(truth, "prompt_followed") - 0.3, kind
        assert value(cheap, "text_alignment", "truth") == value(truth, "text_alignment")
    frozen, noise = judged("text_to_video", "frozen"), judged("text_to_video", "noise")
    assert value(frozen, "text_alignment", "motion") < 0.45, "what stands still is caught by its motion"
    assert value(frozen, "flicker") < 0.01
    assert value(noise, "text_alignment") < 0.5 and value(judged("text_to_video", "another"), "text_alignment") < 0.55
    guess = (1 / 6 + 1 / 4 + 1 / 8 + 1 / 4) / 4
    assert value(noise, "text_alignment", "chance") == pytest.approx(guess)


def test_each_attribute_is_seen_by_itself():
    truth = judged("text_to_video", "truth")
    moved = {kind: judged("text_to_video", kind) for kind in ("mirrored", "tinted", "backwards")}
    assert value(moved["mirrored"], "text_alignment", "motion") < value(truth, "text_alignment", "motion") - 0.1
    assert value(moved["backwards"], "text_alignment", "motion") < value(truth, "text_alignment", "motion") - 0.4
    for kind in ("mirrored", "backwards"):
        for name in ("colour", "shape", "background"):
            assert value(moved[kind], "text_alignment", name) > 0.95, (kind, name)
    assert value(moved["tinted"], "text_alignment", "colour") < 0.7
    assert value(moved["tinted"], "text_alignment", "shape") > 0.8
    assert value(judged("text_to_video", "blurred"), "text_alignment") > 0.9, "a reader that blur does not blind"


def test_a_prompt_that_says_less_is_asked_less():
    metric = registry.build("metric", "text_alignment", {}, setting=Setting("p", "d", feature=harness.build_feature))
    film = clips()[0].frames
    said = attributes_of(clips()[0].caption or "")
    assert said is not None
    metric.update(Scored(film, film, 0, caption=f"a {said['shape']} on a {said['background']} background", episode="a"))
    metric.update(Scored(film, film, 0, caption="a horse", episode="b"))
    share, every = metric.compute()
    assert share.metric.n == 1 and share.metric.parts["colour"].n == 0 and share.metric.parts["shape"].n == 1
    assert every.metric.parts["chance"].value == pytest.approx(1 / 16)


def test_a_loop_without_a_seam_beats_a_cut_and_neither_stillness_nor_noise_wins():
    scores = {kind: value(judged("loop", kind), "seam") for kind in ("truth", "frozen", "noise")}
    assert scores["frozen"] == 15 and value(judged("loop", "frozen"), "seam", "still") == 1
    free = {kind: seam(CHANGES[kind]) for kind in ("truth", "pendulum", "frozen", "noise", "blurred", "another")}
    assert free["pendulum"] < 2 < free["truth"], free
    assert all(free[kind] > 2 * free["pendulum"] for kind in ("truth", "frozen", "noise", "another"))
    assert scores["noise"] > 2 * free["pendulum"]
    assert free["blurred"] > 0.75 * free["truth"], "blur closes no seam"


def seam(change) -> float:
    """Of videos no frame of which was given."""
    metric = registry.build("metric", "seam", {}, setting=Setting("p", "d", resamples=10))
    suite = suites.load("short16")
    for place, clip in enumerate(clips()):
        film = np.asarray(change(clip.frames.copy(), place, suite)).astype(np.uint8)
        metric.update(Scored(film, clip.frames, 0, episode=clip.episode))
    return float(metric.compute()[0].metric.value)


def test_seam_and_stitch_by_hand():
    """Grey frames 0, 10, 20, 30: steps of 10; back to 0 is a jump of 30, three steps; its turn is 40 on both sides."""
    film = np.repeat(np.arange(0, 40, 10, np.uint8)[:, None, None, None], 8, 1).repeat(8, 2).repeat(3, 3)
    setting = Setting("p", "d", resamples=10)
    metric = registry.build("metric", "seam", {}, setting=setting)
    metric.update(Scored(film, film, 0, episode="a"))
    (score,) = metric.compute()
    assert score.metric.value == 3 and score.metric.parts["velocity"].value == pytest.approx(3), "4 steps, at most 3"
    cut = film.copy()
    cut[2:] += 15
    metric = registry.build("metric", "stitch", {}, setting=setting)
    metric.update(Scored(cut, film, 2, episode="a"))
    (score,) = metric.compute()
    assert score.metric.value == 2.5 and score.metric.parts["truth"].value == 1 and "closing" not in score.metric.parts
    assert joins.relative(5.0, 0.0, 10.0, 16) == 15 and joins.relative(5.0, 50.0, 10.0, 16) == 0.5


@pytest.mark.parametrize("task", ["image_to_video", "extend", "infill", "stitch"])
def test_what_hangs_together_is_smooth_and_stillness_noise_and_cuts_are_not(task):
    truth = judged(task, "truth")
    assert value(truth, "stitch") == value(truth, "stitch", "truth") < 2.5
    for kind in ("frozen", "noise", "another", "backwards"):
        assert value(judged(task, kind), "stitch") > 1.5 * value(truth, "stitch"), kind
    assert value(judged(task, "frozen"), "stitch", "still") == 1
    assert value(truth, "psnr") == 100 and value(judged(task, "fade"), "psnr") < 60


def test_metrics_without_a_join_or_a_moving_truth_are_silent():
    film = clips()[0].frames
    still = np.repeat(film[:1], 16, 0)
    for name in ("seam", "stitch"):
        metric = registry.build("metric", name, {}, setting=Setting("p", "d", resamples=10))
        metric.update(Scored(still, still, 4, episode="a"))
        given = {"context": 4, "closing": 4} if name == "seam" else {"context": 0}
        metric.update(Scored(film, film, **given, episode="b"))
        assert metric.compute() == []


# ------------------------------------------------------------------------------------------------- given frames


def test_given_frames_are_worth_nothing_at_either_end():
    suite = suites.load({"name": "short16", "task": "infill", "resamples": 10})
    wanted = tuple(e for e in suite.metrics if e.name in ("psnr", "text_alignment", "frechet"))
    suite = suite.model_copy(update={"metrics": (*wanted, suites.entry("ssim"))})
    some = clips()[:8]
    noise = [np.random.default_rng(i).integers(0, 256, clip.frames.shape, np.uint8) for i, clip in enumerate(some)]
    found = []
    for keep in (True, False):
        made = [film.copy() for film in noise]
        for film, clip in zip(made, some, strict=True):
            if keep:
                film[:4], film[12:] = clip.frames[:4], clip.frames[12:]
        found.append(harness.evaluate(made, some, suite, dataset="d").metrics)
    assert {name: metric.value for name, metric in found[0].items()} == {n: m.value for n, m in found[1].items()}
    assert "frames_height_width=mixed" in found[0]["psnr"].key or "=8x" in found[0]["psnr"].key


def test_controls_keep_what_is_given_and_another_video_is_of_another_caption():
    suite = suites.load({"name": "short16", "task": "infill", "resamples": 10, "metrics": ["psnr"]})
    suite = suite.model_copy(update={"controls": tuple(map(suites.entry, ("another_video", "copy_last", "oracle")))})
    rows = {row.name: row for row in harness.control_rows(suite, clips(), dataset="d", keep=24)}
    for row in rows.values():
        for film, clip in zip(row.videos, clips(), strict=True):
            assert (film[:4] == clip.frames[:4]).all() and (film[12:] == clip.frames[12:]).all()
    assert rows["oracle"].results.metrics["psnr"].value == 100
    assert all(
        (film[8] != clip.frames[8]).any() for film, clip in zip(rows["another_video"].videos, clips(), strict=True)
    )
    with pytest.raises(BadValue, match="no other caption"):
        registry.build("control", "another_video", {}).source(clips()[:1], 0)


# ---------------------------------------------------------------------------------------------------- CLIP score


@pytest.fixture
def tower(tmp_path):
    """A tiny random CLIP: its architecture and its weights as files."""
    import open_clip

    sizes = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "head_width": 32, "patch_size": 16},
        "text_cfg": {"context_length": 20, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
    }
    torch.manual_seed(0)
    (tmp_path / "tiny.json").write_text(json.dumps(sizes))
    torch.save(open_clip.CLIP(**sizes).state_dict(), tmp_path / "tiny.pt")
    return {"pretrained": str(tmp_path / "tiny.pt"), "config_path": str(tmp_path / "tiny.json")}


def test_clip_score_is_the_scaled_cosine_of_frames_and_prompt(tower):
    import open_clip

    feature = registry.build("feature", "open_clip", tower)
    film = clips()[1].frames  # 32×48: the middle square is looked at
    text, frames = feature.text("a red circle"), feature.frames(film[::4])
    np.testing.assert_allclose(np.linalg.norm(frames, axis=1), 1, rtol=1e-5)
    x = torch.from_numpy(film[::4, :, 8:40]).permute(0, 3, 1, 2).float() / 255
    mean, deviation = (torch.tensor(part)[:, None, None] for part in
                       (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD))  # fmt: skip
    with torch.no_grad():
        plain = torch.nn.functional.normalize(feature.network.encode_image((x - mean) / deviation), dim=-1)
    np.testing.assert_allclose(frames, plain.numpy(), atol=1e-5)
    metric = registry.build("metric", "clip_score", tower, setting=Setting("p", "d", feature=harness.build_feature))
    metric.update(Scored(film, film, 0, caption="a red circle", episode="a"))
    metric.update(Scored(film, film, 0, episode="without a caption"))
    (score,) = metric.compute()
    assert score.metric.value == pytest.approx(2.5 * np.maximum(frames @ text, 0).mean(), rel=1e-5)
    assert score.metric.n == 1 and "open_clip:tiny" in score.metric.key
    assert feature.embed(film[None]).shape == (1, 16)


def test_clip_score_without_its_weights_is_refused(tower, tmp_path):
    with pytest.raises(BadValue, match="there are no CLIP weights"):
        registry.build("feature", "open_clip", {"pretrained": str(tmp_path / "none.pt")})
    with pytest.raises(UnknownName, match="ViT-B-32"):
        _ = registry.build("feature", "open_clip", {"pretrained": tower["pretrained"], "model": "ViT-B-33"}).network
    (tmp_path / "text.pt").write_text("no weights")
    with pytest.raises(UserError, match="does not hold the weights"):
        _ = registry.build("feature", "open_clip", {**tower, "pretrained": str(tmp_path / "text.pt")}).network


# ------------------------------------------------------------------------------------------------------ from a recipe


def test_one_generator_is_judged_by_several_tasks(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_RUNS", str(tmp_path))
    arguments = [
        "recipe=shapes_text", "dataset.train=6", "dataset.validation=0", "dataset.test=1", "train.tokenizer.steps=2",
        "train.tokenizer.batch=2", "train.generator.steps=2", "train.generator.batch=2", "tokenizer.width=8",
        "backbone={width: 16, depth: 1, heads: 2}", "solver.steps=2", "task=infill",
        "train.generator.masks={ends: 1.0, none: 1.0}",
        "suite={name: short16, episodes: 24, resamples: 10, controls: [another_video], metrics: [flicker, stitch]}",
        "suite.task=infill,loop",
    ]  # fmt: skip
    assert run.main(arguments) == 0
    found = [records.read(path) for path in sorted((tmp_path / "records" / "short16").glob("*.json"))]
    models = {record.suite.options["task"]: record for record in found if record.kind == "model"}
    assert set(models) == {"infill", "loop"} and len({row.stages["generator"] for row in models.values()}) == 1
    assert (
        len({row.stages["sample"] for row in models.values()}) == 2 and len({row.group for row in models.values()}) == 2
    )
    sample = tmp_path / models["infill"].stages["sample"]
    dataset = suites.load("short16").dataset
    assert dataset is not None
    truth = registry.build("dataset", "moving_shapes", dataset.options).clip("test", 0).frames
    video = np.load(sample / "0000.npy")
    assert (video[:4] == truth[:4]).all() and (video[12:] == truth[12:]).all() and (video[6] != truth[6]).any()
