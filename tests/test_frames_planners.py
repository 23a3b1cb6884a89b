"""`zoo frames` for planners that look at what frames show, that roll over noise levels, or that refuse."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from zoo import registry
from zoo.commands.frames import demo_features, demo_tour, main
from zoo.errors import BadValue

SMALL = ["frames=40", "observed=32", "window=16", "step=8"]


def shown(capsys, *arguments):
    assert main(list(arguments)) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("rollout", registry.names("rollout"))
def test_every_rollout_can_be_shown_three_ways(capsys, monkeypatch, tmp_path, rollout):
    monkeypatch.setenv("COLUMNS", "100")
    steps = json.loads(shown(capsys, f"rollout={rollout}", *SMALL, "format=json"))
    needs = registry.card("rollout", rollout).needs
    plan = registry.build("rollout", rollout).plan(
        frames=40,
        observed=32,
        window=16,
        step=8,
        poses=demo_tour(40, 100) if "poses" in needs else None,
        features=demo_features(40, 100) if "features" in needs else None,
    )
    assert [(s["observed"], s["latent"]) for s in steps] == [(list(s.observed), list(s.latent)) for s in plan]
    table = shown(capsys, f"rollout={rollout}", *SMALL)
    assert table.splitlines()[-1].endswith("make 8 frames.")
    assert ("stands in for what frames show" in table) == ("features" in needs)
    assert ("stands in for the camera poses" in table) == ("poses" in needs)
    shown(capsys, f"rollout={rollout}", *SMALL, f"out={tmp_path}/plan.png")
    assert Image.open(tmp_path / "plan.png").size[0] > 500


def test_rolling_shows_how_noisy_frames_are(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    rolling = ["rollout=rolling", "frames=16", "observed=4", "window=16", "step=8"]
    rows = shown(capsys, *rolling).splitlines()[3:-1]
    assert [row.split() for row in rows[:6]] == [
        ["0", "○○○○░░", "4>2", "0.75"],
        ["1", "○○○○▒▒░░", "4>4", "0.5-0.75"],
        ["2", "○○○○▓▓▒▒░░", "4>6", "0.25-0.75"],
        ["3", "○○○○▮▮▓▓▒▒░░", "4>8", "0-0.75"],
        ["4", "○○○○○○▮▮▓▓▒▒░░", "6>8", "0-0.75"],
        ["5", "○○○○○○○○▮▮▓▓▒▒░░", "8>8", "0-0.75"],
    ]
    steps = json.loads(shown(capsys, *rolling, "format=json"))
    assert steps[1] == {"observed": [0, 1, 2, 3], "latent": [4, 5, 6, 7], "levels": [0.5, 0.5, 0.75, 0.75]}


def test_rolling_has_its_shades_in_the_picture(capsys, tmp_path):
    rolling = ["rollout=rolling", "frames=16", "observed=4", "window=16", "step=8"]
    shown(capsys, *rolling, f"out={tmp_path}/plan.png")
    picture = Image.open(tmp_path / "plan.png").convert("RGB")
    wide, tall, left, top = 62, 12, 8, 44
    fourth = [picture.getpixel((left + wide * frame + 30, top + 3 * tall + 6)) for frame in range(16)]
    greens = [pixel[0] for pixel in fourth[4:12]]
    assert greens == sorted(greens) and len(set(greens)) == 4, "four levels, the farther the paler"
    assert len(set(fourth[:4])) == 1 and fourth[12:] == [(255, 255, 255)] * 4


def test_a_features_planner_goes_round_the_stand_in_lap(capsys):
    steps = json.loads(
        shown(capsys, "rollout=feature_nearest", "frames=90", "observed=40", "lap=30", "window=16", "format=json")
    )
    assert steps[0]["latent"][0] == 40 and {10, 19} <= set(steps[0]["observed"])


def test_a_lap_is_refused_where_nothing_is_looked_at():
    with pytest.raises(BadValue, match="or at what frames show"):
        main(["rollout=rolling", "lap=9"])
    with pytest.raises(BadValue, match="464 are missing"):
        main(["rollout=full"])
