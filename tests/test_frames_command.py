"""`zoo frames`: the plan on the screen, as JSON and as a picture."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from zoo.commands.frames import main, squeezed
from zoo.errors import BadValue, UnknownName, UserError

SMALL = ["frames=40", "observed=8", "window=8", "step=4"]


def shown(capsys, *arguments):
    assert main(list(arguments)) == 0
    return capsys.readouterr().out


def test_the_published_example(capsys):
    request = ["frames=500", "observed=36", "window=20", "step=10", "format=json"]
    steps = json.loads(shown(capsys, "rollout=hierarchical", "rollout.levels=2", *request))
    assert len(steps) == 47 and steps[0]["latent"] == [36, 87, 139, 190, 242, 293, 345, 396, 448, 499]
    assert steps[1]["observed"] == [32, 33, 34, 35, 36, 87, 139, 190, 242, 293]


@pytest.mark.parametrize("columns", [40, 100])
def test_the_table_shows_a_line_a_step_and_fits_the_terminal(capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = shown(capsys, "rollout=autoregressive", *SMALL).splitlines()
    rows = lines[3:-1]
    assert len(rows) == 8 and all(len(line) <= columns for line in lines[2:])
    assert lines[-1] == "8 steps make 32 frames."
    if columns == 100:
        assert rows[0] == "0  ····○○○○▮▮▮▮" + " " * 28 + "  4>4"
        assert rows[-1] == "7  " + "·" * 32 + "○○○○▮▮▮▮  4>4"


def test_an_ascii_terminal_gets_ascii():
    command = [sys.executable, "-m", "zoo", "frames", "rollout=autoregressive", *SMALL]
    done = subprocess.run(command, capture_output=True, env={"PYTHONIOENCODING": "ascii"}, check=True)
    assert b"0  ....oooo####" in done.stdout


def test_nothing_to_make_is_said(capsys):
    assert "Nothing to make" in shown(capsys, "rollout=autoregressive", "frames=9", "observed=9")


def test_a_column_shows_the_most_telling_frame():
    assert squeezed(bytearray([1, 1, 1, 2, 2, 3, 0, 0]), 4) == [1, 2, 3, 0]
    assert squeezed(bytearray([1, 2]), 80) == [1, 2]


def test_the_picture_has_a_row_a_step_in_the_colours_of_the_legend(capsys, tmp_path):
    from PIL import Image

    out = tmp_path / "plan.png"
    assert shown(capsys, "rollout=autoregressive", *SMALL, f"out={out}").strip() == str(out)
    picture = Image.open(out).convert("RGB")
    wide, tall, left, top = 25, 12, 8, 44
    first = [picture.getpixel((left + wide * frame + 12, top + 6)) for frame in range(40)]
    given, seen, made, missing = (214, 219, 226), (232, 150, 30), (30, 120, 80), (255, 255, 255)
    assert first == [given] * 4 + [seen] * 4 + [made] * 4 + [missing] * 28
    assert picture.getpixel((left + wide * 39 + 12, top + 7 * tall + 6)) == made
    assert [path.name for path in tmp_path.iterdir()] == ["plan.png"]


def test_a_long_plan_fits_a_picture(capsys, tmp_path):
    from PIL import Image

    shown(capsys, "rollout=autoregressive", "frames=5000", "observed=1", "window=9", "step=4", f"out={tmp_path}/a.png")
    assert Image.open(tmp_path / "a.png").size[1] < 5100


def test_demo_tour_comes_back_after_a_lap(capsys):
    steps = json.loads(shown(capsys, "rollout=pose_nearest", "frames=90", "observed=40", "lap=30", "format=json"))
    assert steps[0]["latent"][0] == 40 and 10 in steps[0]["observed"] and 19 in steps[0]["observed"]


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ("rolout=autoregressive", UnknownName, "Did you mean 'rollout'"),
        ("rollout=autoregresive", UnknownName, "Did you mean 'autoregressive'"),
        ("rollout=hierarchical rollout.level=2", UnknownName, "Did you mean 'levels'"),
        ("rollout=hierarchical frame=2", UnknownName, "Did you mean 'frames'"),
        ("rollout=hierarchical rollout.levels=9", BadValue, "levels"),
        ("frames=9", BadValue, "rollout=NAME"),
        ("rollout=autoregressive frames=many", BadValue, "frames"),
        ("rollout=autoregressive frames=0", BadValue, "frames"),
        ("rollout=autoregressive step=30", BadValue, "step=30 does not fit"),
        ("rollout=autoregressive format=jpg", BadValue, "format"),
        ("rollout=autoregressive format=json out=x.png", BadValue, "format=png"),
        ("rollout=autoregressive lap=9", BadValue, "poses"),
        ("rollout=autoregressive hierarchical", BadValue, "key=value"),
        ("rollout=autoregressive out=/nowhere/x.png", UserError, "writable"),
        ("rollout=autoregressive frames=20000 step=1 format=png", BadValue, "format=json"),
    ],
)
def test_mistakes_name_the_cure(arguments, error, words):
    with pytest.raises(error, match=words):
        main(arguments.split())


def test_the_command_imports_no_torch():
    code = "import sys; from zoo.commands.frames import main; main(sys.argv[1:]); sys.exit('torch' in sys.modules)"
    for rollout in ("hierarchical", "pose_nearest"):
        command = [sys.executable, "-c", code, f"rollout={rollout}", *SMALL]
        assert subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode == 0
