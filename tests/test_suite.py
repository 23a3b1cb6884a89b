"""Suites load, refuse what is wrong in one sentence, and an overridden one is another protocol."""

from __future__ import annotations

import subprocess
import sys

import pytest

from benchmarks import suite as suites
from zoo import registry
from zoo.errors import BadValue, UnknownName


@pytest.mark.parametrize("name", suites.names())
def test_every_suite_loads_and_its_parts_and_options_exist(name):
    suite = suites.load(name)
    assert suite.protocol == f"{name}@{suite.version}" and not suite.modified and suite.description
    for axis, entries in (("metric", suite.metrics), ("control", suite.controls)):
        for entry in entries:
            registry.config(axis, entry.name, entry.options)
            if entry.name == "frechet":
                registry.config("feature", entry.options["feature"], entry.options["feature_options"])
    if suite.dataset is not None:
        registry.config("dataset", suite.dataset.name, suite.dataset.options)
        assert suite.dataset.options["test"] >= suite.episodes and suite.dataset.options["frames"] >= suite.frames


def test_the_suites_of_the_first_day_are_here():
    assert {"quickstart", "clips", "shapes_text", "vizdoom500"} <= set(suites.names())
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
