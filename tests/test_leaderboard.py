"""The leaderboard on made-up records: what may be ranked together, who is tied, and what hostile strings can do."""

from __future__ import annotations

import csv
import io
import re
import subprocess
import sys
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import synthetic_records as made
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import leaderboard_text
from benchmarks.leaderboard import boards, collect, decimals
from benchmarks.leaderboard_curves import runs, ticks
from benchmarks.leaderboard_media import Media, galleries
from benchmarks.leaderboard_page import render
from benchmarks.record import DatasetReference, Metric, SuiteReference, write
from zoo.commands.leaderboard import main
from zoo.errors import BadValue, UnknownName, UserError

HOSTILE = [
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "=cmd|' /C calc'!A0", "@SUM(1+1)", "+1", "-2+3",
    "../../etc/passwd", "a|b", "[x](javascript:alert(1))", "{{ 7*7 }}", "\x1b[31mred\x1b[0m", "</script><b>", "]]>",
    "[bold]markup[/bold]", "two\nlines",
]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for record in made.everyone():
        write(record, tmp_path)
    return tmp_path


def board_of(records, tmp_path):
    for record in records:
        write(record, tmp_path)
    found = boards(collect([tmp_path]).entries)
    assert len(found) == 1
    return found[0]


def ranks(board, metric, part=""):
    return {
        row.label: cell.rank
        for row in board.rows
        for column, cell in row.cells.items()
        if (column.metric, column.part) == (metric, part)
    }


class Page(HTMLParser):
    """What a browser makes of the page: elements, their attributes, and the text outside scripts and styles."""

    def __init__(self, text: str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.raw = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.raw = tag if tag in ("script", "style") else ""

    def handle_endtag(self, tag):
        self.raw = ""

    def handle_data(self, data):
        if not self.raw:
            self.text.append(data)

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.elements)


# ------------------------------------------------------------------------------------------------ ranking


def test_ceilings_above_models_from_best_to_worst_above_floors(folder):
    (board,) = boards(collect([folder]).entries)
    assert [row.label for row in board.rows] == [
        "reconstruction", "rollout=pose_nearest", "rollout=hierarchical", "rollout=long_range",
        "rollout=autoregressive", "mean_context", "copy_last",
    ]  # fmt: skip


def test_best_is_sought_among_models_only_and_in_the_right_direction(folder):
    (board,) = boards(collect([folder]).entries)
    for metric in ("psnr", "place", "fd_lite0_motion"):
        found = ranks(board, metric)
        assert {label for label, rank in found.items() if rank} == {"rollout=pose_nearest"}, metric
        assert found["rollout=pose_nearest"] == "best"
    assert ranks(board, "psnr", "revisit_context")["rollout=pose_nearest"] == "best"


def test_nothing_is_best_without_another_to_compare_with(tmp_path):
    board = board_of([made.make("alone", 20.0), made.control("copy_last", "floor", 10.0)], tmp_path)
    assert set(ranks(board, "psnr").values()) == {""}


def test_figures_without_a_direction_are_not_ranked(tmp_path):
    ratio = {name: {"ratio": Metric(value=v, n=8, higher_is_better=None, key="k")} for name, v in (("a", 1), ("b", 2))}
    board = board_of([made.make(name, 20.0, metrics=metric) for name, metric in ratio.items()], tmp_path)
    assert set(ranks(board, "ratio").values()) == {""}


def test_different_keys_stand_in_different_columns_and_are_never_ranked_together(tmp_path):
    few, many = (dict(made.make("x", v).metrics) for v in (20.0, 30.0))
    few["psnr"], many["psnr"] = made.psnr(20.0, key="videos=8"), made.psnr(30.0, key="videos=64")
    board = board_of([made.make("few", 20.0, metrics=few), made.make("many", 30.0, metrics=many)], tmp_path)
    columns = [column for column in board.columns if column.metric == "psnr"]
    assert {column.key for column in columns} == {"videos=8", "videos=64"}
    assert [column.variant for column in columns] == [1, 2]
    assert all(sum(column in row.cells for row in board.rows) == 1 for column in columns)
    assert set(ranks(board, "psnr").values()) == {""}


@pytest.mark.parametrize(
    "change",
    [
        {"suite": SuiteReference(name="quickstart", version=2)},
        {"suite": SuiteReference(name="other", version=1)},
        {"suite": SuiteReference(name="quickstart", version=1, modified=True, options={"episodes": 2})},
        {"dataset": DatasetReference(name="maze", fingerprint="0" * 12)},
    ],
    ids=["version", "suite", "modified", "content"],
)
def test_other_protocols_get_a_board_of_their_own(tmp_path, change):
    for record in (made.make("a", 20.0), made.make("b", 21.0, **change)):
        write(record, tmp_path)
    assert [len(board.rows) for board in boards(collect([tmp_path]).entries)] == [1, 1]


def test_overlapping_intervals_tie(tmp_path):
    records = [made.make(name, value, per_video={}) for name, value in (("a", 20.0), ("b", 20.4), ("c", 18.0))]
    found = ranks(board_of(records, tmp_path), "psnr")
    assert found == {"rollout=a": "tie", "rollout=b": "tie", "rollout=c": ""}


def test_pairs_decide_where_rows_share_their_episodes(tmp_path):
    """Intervals overlap widely, but one row is better on every single video by about the same: no tie."""
    spread = np.linspace(-4, 4, 8)
    records = []
    for name, shift in (("a", 0.0), ("b", 0.5)):
        values = {f"e{i}": 20 + shift + d + 0.01 * (i % 3) * shift for i, d in enumerate(spread)}
        metrics = {"psnr": made.psnr(20 + shift, half=2.0)}
        records.append(made.make(name, 20 + shift, metrics=metrics, per_video={"psnr": values}))
    assert ranks(board_of(records, tmp_path / "pairs"), "psnr") == {"rollout=a": "", "rollout=b": "best"}
    apart = [records[0], records[1].model_copy(update={"group": "another"})]
    assert ranks(board_of(apart, tmp_path / "apart"), "psnr") == {"rollout=a": "tie", "rollout=b": "tie"}


def test_a_value_that_was_not_measured_is_a_dash_and_never_best(tmp_path):
    nothing = {"psnr": Metric(value=None, n=0, higher_is_better=True, key="k")}
    records = [made.make("a", 1.0, metrics=nothing), made.make("b", 1.0, metrics=nothing)]
    board = board_of(records, tmp_path)
    assert {cell.value for row in board.rows for cell in row.cells.values()} == {"–"}
    assert set(ranks(board, "psnr").values()) == {""}
    assert "–" in leaderboard_text.markdown([board], {})


def test_repeated_runs_are_one_row_and_the_newest_speaks(tmp_path):
    first = made.make("a", 20.0)
    again = made.make("a", 21.0, created=first.created + timedelta(days=1))
    floors = [
        made.control("copy_last", "floor", 14.0).model_copy(update={"created": r.created}) for r in (first, again)
    ]
    board = board_of([again, first, *floors], tmp_path)
    assert [(row.label, row.older) for row in board.rows] == [("rollout=a", 1), ("copy_last", 1)]
    assert board.rows[0].record.metrics["psnr"].value == 21.0


def test_different_recipes_with_one_label_can_be_told_apart(tmp_path):
    records = [made.make("a", v, recipe_hash=h) for v, h in ((20.0, "abcdef012345"), (25.0, "123456789abc"))]
    labels = [row.label for row in board_of(records, tmp_path).rows]
    assert labels == ["rollout=a (123456)", "rollout=a (abcdef)"]


# ------------------------------------------------------------------------------------------------ hostile input


def hostile_records(tmp_path):
    for i, text in enumerate(HOSTILE):
        metrics = {text: made.psnr(20.0 + i, key=text), "psnr": made.psnr(10.0 + i)}
        record = made.make(
            f"h{i}", 20.0 + i, name=text, label=text, metrics=metrics, recipe={text: text}, recipe_hash=text,
            group=text, components={text: text}, citations=[text], reader=text, artifacts={text: text},
            curves={text: made.make("x", 1.0).curves["psnr"]},
            suite=SuiteReference(name="quickstart", version=1, options={}),
        )  # fmt: skip
        write(record, tmp_path)
    return collect([tmp_path])


def test_no_string_of_a_record_becomes_markup(tmp_path):
    collection = hostile_records(tmp_path)
    found = boards(collection.entries)
    text = render(found, collection, dict.fromkeys(HOSTILE, "<script>x</script>"))
    page = Page(text)
    executable = [attrs for tag, attrs in page.elements if tag == "script" and attrs.get("type") != "application/json"]
    assert len(executable) == 1
    assert page.count("img") == 0
    assert not any(name.startswith("on") for _, attrs in page.elements for name in attrs)
    shown = "".join(page.text)
    assert "<script>alert(1)</script>" in shown, "the string itself is shown, as text"
    assert "{{ 7*7 }}" in shown
    assert "\x1b" not in text


def test_csv_cells_never_start_a_formula(tmp_path):
    collection = hostile_records(tmp_path)
    rows = list(csv.reader(io.StringIO(leaderboard_text.as_csv(boards(collection.entries)))))
    header, *lines = rows
    assert len(lines) > len(HOSTILE)
    assert all(len(line) == len(header) for line in lines)
    for line in lines:
        for name, cell in zip(header, line, strict=True):
            if name in ("value", "low", "high", "n", "version"):
                float(cell or 0)
            else:
                assert not cell.startswith(("=", "+", "-", "@", "\t", "\r")), (name, cell)


def test_markdown_rows_keep_their_columns_and_hold_no_markup(tmp_path):
    collection = hostile_records(tmp_path)
    text = leaderboard_text.markdown(boards(collection.entries), {"<b>": "a|b"})
    bars = [len(re.findall(r"(?<!\\)\|", line)) for line in text.splitlines() if line.startswith("|")]
    first = [count for count, line in zip(bars, [x for x in text.splitlines() if x.startswith("|")], strict=True)]
    assert first
    assert "<script" not in text
    assert not re.search(r"(?<!\\)\]\(javascript", text)
    tables = text.split("\n\n")
    for table in (t for t in tables if t.startswith("|")):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


def test_a_terminal_gets_no_control_characters(tmp_path, capsys):
    collection = hostile_records(tmp_path)
    from rich.console import Console

    out = io.StringIO()
    console = Console(file=out, width=160, force_terminal=False)
    for table in leaderboard_text.tables(boards(collection.entries), collection.broken, 160):
        console.print(table)
    assert "\x1b" not in out.getvalue()
    assert "[bold]markup[/bold]" in out.getvalue()


def test_artifacts_are_read_from_below_the_records_folder_only(tmp_path):
    records = tmp_path / "records"
    secret = made.strip(tmp_path / "secret.png", 3)
    (records / "media").mkdir(parents=True)
    (records / "link.png").symlink_to(secret)
    (records / "notes.txt").write_text("private")
    paths = ["../secret.png", str(secret), "link.png", "notes.txt", "missing.png", "a\0b.png", "media"]
    write(made.make("a", 1.0, artifacts={f"strip/{i}": path for i, path in enumerate(paths)}), records)
    collection = collect([records])
    text = render(boards(collection.entries), collection)
    assert Page(text).count("img") == 0
    assert text.count("<li>") == len(paths), "each is named under Left out"


@pytest.mark.parametrize("content", ["", "{}", "[1]", "not json", '{"schema_version": 99}', "\xff\xfe", "null"])
def test_a_broken_record_is_named_and_not_fatal(folder, content, capsys):
    (folder / "broken.json").write_bytes(content.encode("latin-1"))
    for style in leaderboard_formats():
        assert main([f"results={folder}", f"format={style}", *out_of(folder, style)]) == 0
        said = capsys.readouterr()
        assert "broken.json" in said.out + said.err, style
    assert "broken.json" in (folder / "page.html").read_text()


def leaderboard_formats():
    return ("table", "markdown", "csv", "html")


def out_of(folder, style):
    return [f"out={folder / 'page.html'}"] if style == "html" else []


# ------------------------------------------------------------------------------------------------ the page


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("records")
    for shade, record in enumerate(made.everyone()):
        artifacts = {}
        for episode in ("loop_0", "loop_1"):
            made.video(folder / f"media/truth_{record.name}_{episode}.mp4", 60, frames=8)
            made.video(folder / f"media/{record.name}_{episode}.mp4", 20 * shade + 10, frames=8)
            made.strip(folder / f"media/{record.name}.png", shade)
            artifacts[f"truth/{episode}"] = f"media/truth_{record.name}_{episode}.mp4"
            artifacts[f"video/{episode}"] = f"media/{record.name}_{episode}.mp4"
        artifacts["strip/loop_0"] = f"media/{record.name}.png"
        write(record.model_copy(update={"artifacts": artifacts}), folder)
    collection = collect([folder])
    return render(boards(collection.entries), collection, {"harvey2022fdm": "@inproceedings{harvey2022fdm, …}"})


def test_the_page_stands_alone(page):
    for _, attrs in Page(page).elements:
        for name in ("src", "href", "poster", "srcset", "action", "data"):
            value = attrs.get(name) or ""
            assert value.startswith(("data:", "#")) or not value, value[:80]
    assert "http://" not in page
    assert "https://" not in page
    assert "@import" not in page


def test_the_page_runs_its_own_script_only(page):
    import base64
    import hashlib

    policy = next(a["content"] for t, a in Page(page).elements if a.get("http-equiv") == "Content-Security-Policy")
    script = re.search(r"<script>(.*?)</script>", page, re.S)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy


def test_the_page_shows_every_row_with_curves_videos_and_provenance(page):
    found = Page(page)
    videos = [attrs for tag, attrs in found.elements if tag == "video"]
    assert len(videos) == 2 * (7 + 1), "seven rows and one truth, twice: the truth is not repeated for every row"
    assert all({"controls", "loop", "muted"} <= attrs.keys() for attrs in videos)
    assert found.count("img") == 7
    assert found.count("dialog") == 7
    charts = [a["aria-label"] for t, a in found.elements if t == "svg" and a.get("role") == "img"]
    assert charts == ["psnr [dB] over time", "place over time"]
    lines = [a["d"] for t, a in found.elements if t == "path" and (a.get("class") or "").startswith("line")]
    assert len(lines) == 14
    assert all(line.startswith("M") and "nan" not in line for line in lines)
    shown = "".join(found.text)
    for fact in ("c" * 40, "harvey2022fdm", "tokenizer-aa", "two cores", "psnr v1; videos=8", "lr: 0.002", "skipped"):
        assert fact in shown, fact
    roles = [a["class"] for t, a in found.elements if t == "tbody" and "class" in a]
    assert roles[:3] == ["ceiling", "model", "floor"]


def test_every_row_id_is_unique_and_every_button_finds_its_dialog(page):
    elements = Page(page).elements
    ids = [attrs["id"] for _, attrs in elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    opened = {attrs["data-open"] for _, attrs in elements if "data-open" in attrs}
    assert opened == {attrs["id"] for tag, attrs in elements if tag == "dialog"}


def test_the_same_records_give_the_same_page(folder):
    pages = [render(boards(c.entries), c) for c in (collect([folder]), collect([folder]))]
    assert pages[0] == pages[1]


def test_media_over_the_budget_are_named_instead_of_shown(tmp_path):
    made.strip(tmp_path / "a.png", 1)
    write(made.make("a", 1.0, artifacts={"strip/x": "a.png"}), tmp_path)
    (board,) = boards(collect([tmp_path]).entries)
    media = Media(budget=10)
    assert galleries(board, {id(row): "r" for row in board.rows}, media) == []
    assert "a.png" in media.omitted[0]
    assert "small" in media.omitted[0]


def test_the_page_of_no_records_says_so(tmp_path):
    assert "No records yet" in render([], collect([tmp_path]))


# ------------------------------------------------------------------------------------------------ small parts


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.integers(2, 9))
def test_ticks_cover_the_range_evenly(low, span, count):
    high = low + span
    found = ticks(low, high, count)
    assert found[0] <= low + 1e-6 * abs(low) and found[-1] >= high - 1e-6 * abs(high)
    assert 2 <= len(found) <= count + 3
    steps = np.diff(found)
    assert np.allclose(steps, steps[0], rtol=1e-3)


def test_ticks_of_a_flat_curve():
    for value in (0.0, 5.0, -3.0):
        found = ticks(value, value, 5)
        assert found[0] <= value <= found[-1]
        assert len(set(found)) == len(found) >= 2


def test_gaps_cut_a_curve_into_runs():
    assert runs([None, 1.0, 2.0, None, None, 3.0]) == [[1, 2], [5]]
    assert runs([]) == runs([None]) == []


@pytest.mark.parametrize(
    ("values", "digits"),
    [([26.8, 14.2], 1), ([0.0373], 4), ([123.0], 0), ([], 3), ([0.0], 3), ([1.0], 2), ([4.8e-7], 9), ([1e-12], 9)],
)
def test_three_figures_of_the_largest_value(values, digits):
    assert decimals(values) == digits


def test_a_wide_board_is_cut_into_tables_and_no_figure_is_lost(folder):
    from rich.console import Console

    (board,) = boards(collect([folder]).entries)
    out = io.StringIO()
    for table in leaderboard_text.tables([board], {}, 60):
        Console(file=out, width=60).print(table)
    assert out.getvalue().count("rollout=pose_nearest") > 1
    for figure in ("26.8", "[26.5, 27.1]", "0.0373", "1.00 M"):
        assert figure in out.getvalue()
    assert "…" not in out.getvalue()


# ------------------------------------------------------------------------------------------------ the command


def test_csv_holds_every_figure_at_full_precision(folder, capsys):
    assert main([f"results={folder}", "format=csv"]) == 0
    lines = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    (line,) = [
        x for x in lines if (x["row"], x["metric"], x["part"]) == ("rollout=pose_nearest", "fd_lite0_motion", "")
    ]
    assert float(line["value"]) == 1 / 26.8
    assert (line["rank"], line["n"], line["kind"], line["higher_is_better"]) == ("best", "8", "model", "false")
    assert len(lines) == 7 * (3 + 2), "three metrics, and two frame types of one of them"


def test_markdown_marks_the_best(folder, capsys):
    assert main([f"results={folder}", "format=markdown"]) == 0
    text = capsys.readouterr().out
    assert "| rollout=pose_nearest | **26.8** [26.5, 27.1] |" in text
    assert "| *mean_context (floor)* | 16.1 [15.8, 16.4] |" in text


def test_the_suite_option_chooses_a_board(folder, capsys):
    write(made.make("else", 20.0, suite=SuiteReference(name="long500", version=3)), folder)
    assert main([f"results={folder}", "format=markdown", "suite=long500"]) == 0
    text = capsys.readouterr().out
    assert "long500 v3" in text
    assert "quickstart v1" not in text


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (["format=htlm"], BadValue, "html"),
        (["reslts=x"], UnknownName, "results"),
        (["html"], BadValue, "key=value"),
        (["results=/no/such/folder"], UserError, "no folder"),
        (["suite=qickstart"], UserError, "quickstart"),
        (["committed=perhaps"], BadValue, "true or false"),
        (["format=table", "out=x"], BadValue, "format=markdown"),
        (["format=csv", "out=."], BadValue, "folder"),
    ],
)
def test_wrong_options_are_refused_with_the_cure(folder, monkeypatch, arguments, error, words):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("ZOO_RUNS", str(folder))
    (folder / "records").mkdir()
    write(made.make("a", 20.0), folder / "records")
    with pytest.raises(error, match=words):
        main(arguments)


def test_an_empty_folder_says_how_to_get_records(tmp_path):
    with pytest.raises(UserError, match="recipe=quickstart"):
        main([f"results={tmp_path}"])


def test_two_builds_at_once_leave_one_whole_page_and_nothing_else(folder):
    out = folder / "page" / "index.html"
    code = "import sys; from zoo.commands.leaderboard import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, f"results={folder}", "format=html", f"out={out}"]
    running = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for _ in range(3)]
    for process in running:
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said.decode()
    assert out.read_text(encoding="utf-8").endswith("</html>")
    assert [path.name for path in out.parent.iterdir()] == ["index.html"]


def test_torch_is_not_needed(folder):
    code = (
        "import sys; from zoo.commands.leaderboard import main; "
        f"code = main(['results={folder}', 'format=html', 'out={folder / 'x.html'}']); "
        "sys.exit(code or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60).returncode == 0
