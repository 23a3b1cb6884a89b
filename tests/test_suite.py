"""Suites load, refuse what is wrong in one sentence, and an overridden one is another protocol."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import yaml

from benchmarks import protocols
from benchmarks import record as records
from benchmarks import suite as suites
from benchmarks.enough import check_enough
from benchmarks.frame_types import frame_types
from benchmarks.harness import episodes
from components.doom_map import carve, map_text
from components.tour import KINDS, draw_tour
from zoo import citations, recipe_names, registry
from zoo.errors import BadValue, UnknownName


@pytest.mark.parametrize("name", suites.names())
def test_every_suite_loads_and_its_parts_and_options_exist(name):
    suite = suites.load(name)
    chosen = "".join(
        f"/{said}" for said in (suite.world, suite.tasks and suite.task, suite.contexts and f"c{suite.context}") if said
    )
    assert suite.protocol == f"{name}@{suite.version}{chosen}" and not suite.modified and suite.description
    for axis, entries in (("metric", suite.metrics), ("control", suite.controls)):
        for entry in entries:
            registry.config(axis, entry.name, entry.options)
            if entry.name == "frechet":
                registry.config("feature", entry.options["feature"], entry.options["feature_options"])
    if suite.dataset is not None:
        registry.config("dataset", suite.dataset.name, suite.dataset.options)
        assert suite.dataset.options["test"] >= suite.episodes and suite.dataset.options["frames"] >= suite.frames


def test_the_suites_of_the_first_day_are_here():
    assert {"quickstart", "clips", "shapes_text", "long500"} <= set(suites.names())
    quickstart = suites.load("quickstart")
    assert (quickstart.frames, quickstart.context) == (500, 250)
    controls = {control.name for control in quickstart.controls}
    assert controls == {"mean_context", "copy_last", "copy_nearest_pose", "reconstruction"}


def test_an_override_makes_another_protocol_and_the_same_value_does_not():
    plain = suites.load("quickstart")
    fewer = suites.load({"name": "quickstart", "episodes": 2})
    assert fewer.modified and fewer.episodes == 2 and fewer.protocol != plain.protocol
    assert fewer.protocol != suites.load({"name": "quickstart", "episodes": 3}).protocol
    assert suites.load({"name": "quickstart", "episodes": plain.episodes}) == plain
    assert fewer.reference().modified and fewer.reference().options["episodes"] == 2


def test_short_names_are_metrics_with_options():
    assert suites.entry("pd_lite0").name == "perceptual"
    motion = suites.entry({"name": "fd_lite0_motion", "hop": 16})
    assert motion.name == "frechet" and motion.options["hop"] == 16
    assert motion.options["feature_options"] == {"statistic": "motion"}
    larger = suites.entry({"name": "fd_lite0_appearance", "feature_options": {"size": 96}})
    assert larger.options["feature_options"] == {"statistic": "appearance", "size": 96}
    assert suites.entry("fvd").options == {"feature": "i3d"}
    nested = suites.entry({"name": "perceptual", "options": {"every": 2}})
    assert nested == suites.entry({"name": "perceptual", "every": 2})


@pytest.mark.parametrize(
    ("wanted", "error", "said"),
    [
        ("quickstrat", UnknownName, "Did you mean 'quickstart'"),
        ({"name": "quickstart", "episode": 2}, UnknownName, "Did you mean 'episodes'"),
        ({"name": "quickstart", "metrics": ["psnrr"]}, UnknownName, "Did you mean 'psnr'"),
        ({"name": "quickstart", "metrics": [{"name": "perceptual", "evry": 2}]}, UnknownName, "Did you mean 'every'"),
        ({"name": "quickstart", "controls": ["copy_first"]}, UnknownName, "no control is named"),
        ({"name": "quickstart", "episodes": "many"}, BadValue, "suite.episodes"),
        ({"name": "quickstart", "episodes": 0}, BadValue, "suite.episodes"),
        ({"name": "quickstart", "context": 500}, BadValue, "lower the context"),
        ({"name": "quickstart", "metrics": []}, BadValue, "suite.metrics"),
        ({"name": "quickstart", "metrics": [3]}, BadValue, "name"),
        ({"name": "quickstart", "version": 7}, UnknownName, "version"),
    ],
)
def test_wrong_suites_are_refused_in_one_sentence(wanted, error, said):
    with pytest.raises(error, match=said) as caught:
        suites.load(wanted)
    assert "\n" not in str(caught.value)


def test_loading_a_suite_imports_no_torch():
    code = (
        "import sys; from benchmarks.suite import load; load({'name': 'quickstart', 'episodes': 2}); "
        "assert 'torch' not in sys.modules and 'torchmetrics' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# ---------------------------------------------------------------------------------------------- worlds and contexts


def test_a_suite_without_worlds_says_what_it_said_before_there_were_worlds():
    committed = Path(suites.__file__).parent / "results" / "quickstart"
    plain = suites.load("quickstart")
    found, _ = records.read_all(committed)
    assert found and plain.protocol == "quickstart@1"
    assert all(record.suite == plain.reference() for record in found)
    with pytest.raises(UnknownName, match="no option 'world'"):
        suites.load({"name": "quickstart", "world": "maze500"})


def test_declared_choices_are_protocols_of_their_own_and_no_modifications():
    texts = set()
    for world in ("maze500", "vizdoom500"):
        for context in (250, 36):
            suite = suites.load({"name": "long500", "world": world, "context": context})
            assert not suite.modified and suite.context == context
            assert suite.dataset == suite.worlds[world]
            assert suite.reference().options["world"] == world
            texts.add(suite.protocol)
    assert texts == {f"long500@1/{w}/c{c}" for w in ("maze500", "vizdoom500") for c in (250, 36)}
    assert suites.load("long500").protocol == "long500@1/maze500/c250"


def test_what_is_not_declared_is_a_modification_or_an_unknown_name():
    other = suites.load({"name": "long500", "context": 100})
    assert other.modified and other.protocol.startswith("long500@1/maze500/c100+")
    fewer = suites.load({"name": "long500", "world": "vizdoom500", "context": 36, "episodes": 4})
    assert fewer.modified and fewer.protocol.startswith("long500@1/vizdoom500/c36+")
    assert fewer.overrides == {"episodes": 4}
    own = suites.load({"name": "long500", "dataset": {"name": "maze", "test": 32}})
    assert own.modified and own.dataset.options == {"test": 32} and "maze500" not in own.protocol
    for wrong, error, said in (
        ({"world": "nowhere"}, UnknownName, "no world 'nowhere'. Known: maze500, vizdoom500"),
        ({"world": ["maze500"]}, UnknownName, "no world"),
        ({"world": "maze500", "dataset": "maze"}, BadValue, "keep one"),
        ({"worlds": {}}, UnknownName, "no option 'worlds'"),
        ({"headlines": []}, UnknownName, "no option 'headlines'"),
    ):
        with pytest.raises(error, match=said):
            suites.load({"name": "long500", **wrong})


# ---------------------------------------------------------------------------------------------- what long500 holds


@cache
def maze_tours() -> list[tuple]:
    """(kind, lap, wobble, poses) of each test episode; nothing is rendered."""
    suite = suites.load("long500")
    maze = registry.build("dataset", "maze", suite.dataset.options)
    return [maze._tour("test", index) for index in range(suite.episodes)]


@cache
def doom_tours() -> list[tuple]:
    """The same of ViZDoom, by the draws that filming makes; needs no engine."""
    suite = suites.load({"name": "long500", "world": "vizdoom500"})
    options = suite.dataset.options
    assert options["wobble"] == 0.0 and list(options["tours"]) == list(KINDS)
    found = []
    for index in range(suite.episodes):
        rng = np.random.default_rng((options["seed"], 3 * index + 2))
        free = carve(3, 0.3, rng)
        map_text(free, rng)
        kind = KINDS[int(rng.choice(len(KINDS), p=np.full(len(KINDS), 1 / len(KINDS))))]
        rng.random()
        lap = int(rng.integers(options["lap"][0], options["lap"][1] + 1))
        poses = draw_tour(kind, free, frames=500, lap=lap, wobble=False, height=0.0, rng=rng)
        found.append((kind, lap, False, poses))
    return found


@pytest.mark.parametrize("tours", [maze_tours, doom_tours])
def test_eight_tours_of_each_kind_and_no_lap_that_divides_a_context(tours):
    found = tours()
    assert Counter(kind for kind, *_ in found) == dict.fromkeys(KINDS, 8)
    assert not any(wobble for _, _, wobble, _ in found), "wobbled loops wobble; the other tours are exact"
    laps = [lap for _, lap, _, _ in found]
    assert len(set(laps)) > 20 and all(context % lap for lap in laps for context in suites.load("long500").contexts)


@pytest.mark.parametrize("tours", [maze_tours, doom_tours])
def test_over_both_contexts_half_of_the_frames_are_revisits(tours):
    shares = []
    for context in suites.load("long500").contexts:
        kinds = np.concatenate([frame_types(poses, context)[context:] for *_, poses in tours()])
        shares.append((kinds != 0).mean())
        wobbled = [frame_types(poses, context) == 1 for kind, *_, poses in tours() if kind == "wobbled_loop"]
        assert min(hits.sum() for hits in wobbled) >= 40, "every wobbled loop can be scored on revisits"
        assert 0.3 < shares[-1] < 0.65
    assert np.mean(shares) == pytest.approx(0.5, abs=0.03)


def test_the_replayed_draws_are_the_filmed_ones():
    pytest.importorskip("vizdoom")
    suite = suites.load({"name": "long500", "world": "vizdoom500"})
    options = {**suite.dataset.options, "frames": 500, "size": 8}
    filmed = registry.build("dataset", "vizdoom", options).clip("test", 1)
    kind, lap, _, poses = doom_tours()[1]
    assert filmed.tour == kind and f"/lap={lap}/" in filmed.source
    np.testing.assert_allclose(filmed.poses[:, :2], poses[:, :2], atol=0.01)


@pytest.mark.parametrize("world", ["maze500", "vizdoom500"])
def test_test_worlds_are_nobodys_training_worlds(world):
    """A maze is drawn from (seed, number): other seeds are other mazes, and the splits share no number."""
    dataset = suites.load({"name": "long500", "world": world}).dataset
    assert dataset.options["train"] == dataset.options["validation"] == 0
    seeds = {suites.load(name).dataset.options["seed"] for name in suites.names() if name == "quickstart"}
    for name in recipe_names.recipe_names():
        said = yaml.safe_load(recipe_names.find(name).read_text(encoding="utf-8")).get("dataset", {})
        seeds.add(said.get("seed", 0) if isinstance(said, dict) else 0)
    assert 0 in seeds and dataset.options["seed"] not in seeds


def test_test_mazes_differ_from_training_mazes_in_content():
    maze = registry.build("dataset", "maze", suites.load("long500").dataset.options)
    trained = registry.build("dataset", "maze", {"train": 200, "validation": 4})
    numbers = [("train", index) for index in range(60)] + [("validation", index) for index in range(4)]
    seen = {trained._build(trained.world_seed(*at)).posts.tobytes() for at in numbers}
    tested = {maze._build(maze.world_seed("test", index)).posts.tobytes() for index in range(32)}
    assert len(seen) == 64 and len(tested) == 32 and not seen & tested


# ---------------------------------------------------------------------------------------------- enough videos


def test_too_few_videos_are_named_with_the_number_needed_before_work():
    suite = suites.load({"name": "quickstart", "episodes": 1, "frames": 276, "metrics": ["psnr", "fd_lite0_motion"]})
    clips = episodes(suite, registry.build("dataset", "maze", {**suite.dataset.options, "frames": 276, "test": 2}))
    with pytest.raises(BadValue, match="'fd_lite0_motion' needs 2 videos like these, and there are 1"):
        check_enough(suite, clips, dataset="d")
    check_enough(suite.model_copy(update={"metrics": suite.metrics[:1]}), clips, dataset="d")
    check_enough(suite, [*clips, *clips], dataset="d")


# -------------------------------------------------------------------------------------- protocols of other papers


@pytest.mark.parametrize("name", protocols.protocols())
def test_a_protocol_is_a_suite_with_the_constants_of_its_row(name):
    row, suite = protocols.protocols()[name], suites.load(name)
    assert suite.protocol == f"{name}@1" and suite.dataset is None and suite.split == "test"
    assert (suite.frames, suite.context, suite.episodes) == (row.frames, row.context, row.videos)
    assert 1 <= row.context < row.frames and row.step <= row.window and row.resolution in (64, 128, 256)
    for entry in suite.metrics:
        assert entry.options.get("frames", 0) <= row.frames - row.context, "its windows must fit"
    assert row.paper in citations.entries() and row.source and row.part in registry.names("dataset")
    assert set(row.metrics.split()) <= {"fvd", "psnr", "ssim", "lpips"}
    assert row.dataset in suite.description and str(row.resolution) in suite.description


def test_the_constants_that_the_papers_code_says():
    said = protocols.protocols()
    assert len(said) == 12 and not set(said) & {path.stem for path in suites.FOLDER.glob("*.yaml")}
    assert {said[name].frames for name in ("teco_dmlab", "teco_minecraft", "teco_habitat")} == {300}
    teco = said["teco_dmlab"], said["teco_minecraft"]
    assert [(row.resolution, row.context) for row in teco] == [(64, 36), (128, 36)]
    fdm = {name: row for name, row in said.items() if name.startswith("fdm_")}
    assert {name: row.frames for name, row in fdm.items()} == {"fdm_minerl": 500, "fdm_mazes": 300, "fdm_carla": 1000}
    assert all((row.context, row.window, row.step, row.videos) == (36, 20, 10, 100) for row in fdm.values())
    assert (said["dfot_kinetics"].context, said["dfot_kinetics"].frames) == (5, 16)
    assert (said["dfot_minecraft"].context, said["dfot_minecraft"].frames) == (25, 50)


def test_a_protocol_may_be_overridden_and_then_says_so():
    fewer = suites.load({"name": "teco_dmlab", "episodes": 4})
    assert fewer.modified and fewer.protocol.startswith("teco_dmlab@1+")
    with pytest.raises(UnknownName, match="Did you mean 'teco_dmlab'"):
        suites.load("teco_dmlb")
