"""Cases of a recipe: settings that go together."""

from __future__ import annotations

import pytest

from zoo.errors import BadValue, UnknownName
from zoo.recipe import resolve

TEXT = """
cases:
  small: {dataset: {name: maze, size: 16}, suite: quickstart}
  shapes: {dataset: moving_shapes, seed: 7}
sweep: {rollout: [autoregressive, hierarchical]}
"""


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(TEXT)
    return f"recipe={path}"


def test_a_run_covers_every_case_and_sweeps_within_each(recipe):
    points = resolve([recipe], sweep=True)
    assert [(p.point["case"], p.part("dataset").name, p.part("rollout").name) for p in points] == [
        ("small", "maze", "autoregressive"),
        ("small", "maze", "hierarchical"),
        ("shapes", "moving_shapes", "autoregressive"),
        ("shapes", "moving_shapes", "hierarchical"),
    ]
    assert points[2].seed == 7 and points[0].part("dataset").options["size"] == 16


def test_one_case_is_chosen_and_its_keys_may_be_edited(recipe):
    (point,) = resolve([recipe, "case=small", "dataset.size=24", "rollout=autoregressive"], sweep=True)
    assert point.part("dataset").options["size"] == 24
    assert point.point == {"case": "small"}  # so that a record is called the same, made alone or with the other cases
    assert len(resolve([recipe, "case=small,shapes"], sweep=True)) == 4


def test_bad_cases_are_refused(recipe, tmp_path):
    with pytest.raises(UnknownName, match=r"no case is named 'smal'\. Did you mean 'small'"):
        resolve([recipe, "case=smal"], sweep=True)
    with pytest.raises(UnknownName, match="has no cases"):
        resolve(["recipe=quickstart", "case=small"], sweep=True)
    path = tmp_path / "wrong.yaml"
    path.write_text("cases: [1, 2]")
    with pytest.raises(BadValue, match="cases must map names"):
        resolve([f"recipe={path}"], sweep=True)
    path.write_text("cases: {a: {datasat: maze}}")
    with pytest.raises(UnknownName, match="datasat"):
        resolve([f"recipe={path}"], sweep=True)
