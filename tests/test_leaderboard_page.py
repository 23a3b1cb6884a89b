"""The page of pooled boards: what it shows of strategies with several seeds, and what hostile records can do to it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
import synthetic_records as made
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.leaderboard import boards, collect
from benchmarks.leaderboard_cost import _overlap, _text_box, scatters, short_labels
from benchmarks.leaderboard_curves import styles
from benchmarks.leaderboard_page import render
from benchmarks.leaderboard_wall import parse
from benchmarks.pooled import pool
from benchmarks.record import Cost, Curve, Metric, Record, SuiteReference, digest, write

SCRIPTS = [Path(__file__).parents[1] / "benchmarks" / name for name in ("leaderboard.js", "leaderboard_wall.js")]
FRAMES = {
    "fps": 20.0, "context": 3, "tour": "wobbled_loop", "source": "maze",
    "types": [["context", 3], ["unseen", 2], ["revisit_context", 2], ["revisit_generated", 1]],
}  # fmt: skip
EPISODES = ("e/0", "e/1")


def strategy(name: str, value: float, seed: int, /, **changes) -> Record:
    """One training seed of a strategy of long500, with values of its own for eight videos."""
    own = value + 0.05 * seed
    videos = {f"e/{i}": own + 0.1 * i for i in range(8)}
    metric = Metric(
        value=sum(videos.values()) / 8, n=8, interval=(own, own + 1), higher_is_better=True, key="psnr v1", unit="dB"
    )
    times = [0.0, 8.0, 16.0]
    curve = Curve(
        t=times, mean=[own, own - 1, own - 2], videos_t=times,
        videos={episode: [v, v - 1, v - 2] for episode, v in videos.items()}, unit="dB",
    )  # fmt: skip
    recipe = {"rollout": {"name": name}, "seed": seed, "train": {"generator": {"seed": seed}}}
    fields = {
        "name": "long_range", "recipe": recipe, "recipe_hash": digest(recipe), "stages": {"generator": f"g{seed}"},
        "suite": SuiteReference(
            name="long500", version=1, options={"world": "maze500", "context": 3, "headlines": ["psnr"]}
        ),
        "seeds": {"generator": seed}, "metrics": {"psnr": metric, "flicker": made.psnr(1.0, key="flicker v1")},
        "curves": {"psnr": curve}, "per_video": {"psnr": videos}, "group": f"g{seed}",
        "cost": Cost(network_calls_per_frame=len(name) / 10, seconds_per_frame=value / 100),
        "created": made.START + timedelta(minutes=seed),
    }  # fmt: skip
    return made.make(name, value, **(fields | changes))


def filmed(record: Record, folder: Path, shade: int) -> Record:
    """The record with two episodes' films, their truth and the types of their frames beside it."""
    artifacts = {}
    for number, episode in enumerate(EPISODES):
        made.video(folder / f"media/truth {number}.mp4", 60, frames=8)
        made.video(folder / f"media/{shade}-{number}.mp4", 20 * shade, frames=8)
        (folder / f"media/{shade}-{number}.jsonl").write_text(json.dumps(FRAMES) + "\n")
        artifacts |= {
            f"truth/{episode}": f"media/truth {number}.mp4", f"video/{episode}": f"media/{shade}-{number}.mp4",
            f"frames/{episode}": f"media/{shade}-{number}.jsonl",
        }  # fmt: skip
    return record.model_copy(update={"artifacts": artifacts})


class Page(HTMLParser):
    """Elements with their attributes, and the text inside elements of a class."""

    def __init__(self, text: str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data):
        self.text.append(data)

    def having(self, tag: str, word: str) -> list[dict[str, str]]:
        """Attributes of the elements of a tag and class."""
        return [attrs for name, attrs in self.elements if name == tag and word in attrs.get("class", "").split()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site") / "records"
    for shade, (name, value) in enumerate({"full": 20.0, "rolling": 25.0, "long_range": 20.2}.items()):
        for seed in range(3):
            record = strategy(name, value, seed)
            write(filmed(record, folder, shade) if seed == 0 else record, folder)
    floor = strategy(
        "copy_last", 5.0, 0, name="copy_last", label="copy_last", kind="control", role="floor", recipe={},
        recipe_hash="", stages={}, seeds={}, cost=Cost(),
    )  # fmt: skip
    write(filmed(floor, folder, 9), folder)
    return folder


def rendered(folder: Path, at: Path | None = None) -> str:
    collection = collect([folder])
    return render(boards(collection.entries), collection, pooled=pool(collection.entries), folder=at)


def policy(page: str) -> str:
    """What the page allows itself to load."""
    return next(a["content"] for _, a in Page(page).elements if a.get("http-equiv") == "Content-Security-Policy")


@pytest.fixture(scope="module")
def page(folder) -> str:
    return rendered(folder, folder.parent)


# ------------------------------------------------------------------------------------------------ pooled boards


def test_one_row_a_strategy_and_the_single_seeds_folded_away(page):
    found = Page(page)
    tables = re.findall(r'<table class="figures pooled">(.*?)</table>', page, re.S)
    assert len(re.findall('<th scope="row"', tables[0])) == 4, "three strategies and a floor"
    assert "8 videos × 3 seeds" in tables[0]
    (folded,) = [text for text in re.findall(r"<details.*?</details>", page, re.S) if "Every training seed" in text]
    assert len(re.findall('<th scope="row"', folded)) == 10
    assert "rollout=rolling, seed 2" in folded
    assert not found.having("div", "gallery"), "the wall shows the videos"


def test_what_may_be_said_comes_before_every_figure(page):
    assert 0 < page.index('class="findings"') < page.index('<table class="figures pooled">')
    findings = page[page.index('class="findings"') : page.index('<table class="figures pooled">')]
    assert "rolling" in findings


def test_curves_have_bands_and_dots_have_whiskers_and_both_can_be_switched(page):
    found = Page(page)
    switches = {attrs["data-toggle"] for tag, attrs in found.elements if "data-toggle" in attrs}
    for tag, word, count in (("path", "line", 4), ("path", "band", 4), ("figure", "tile", 8)):
        rows = [attrs["data-row"] for attrs in found.having(tag, word) if attrs["data-row"]]
        assert len(rows) == count, (tag, word)
        assert set(rows) <= switches
    assert len(found.having("circle", "dot")) == 3 * 2, "by calls and by seconds; controls cost nothing and are no dots"
    assert len(found.having("path", "whisk")) == 3 * 2


def test_every_id_is_unique_and_every_button_finds_its_dialog(page):
    elements = Page(page).elements
    ids = [attrs["id"] for _, attrs in elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    opened = {attrs["data-open"] for _, attrs in elements if "data-open" in attrs}
    assert opened == {attrs["id"] for tag, attrs in elements if tag == "dialog"}


def test_a_board_is_shown_once_and_boards_without_seeds_stay_as_they_were(folder, tmp_path):
    for name, value in made.STRATEGIES.items():
        write(made.make(name, value), tmp_path)
    collection = collect([folder, tmp_path])
    page = render(boards(collection.entries), collection, pooled=pool(collection.entries))
    titles = re.findall(r"<section class=\"board\" id=\"(.*?)\">\s*<h2>(.*?)</h2>", page)
    assert [title.split(" ")[0] for _, title in titles] == ["long500", "quickstart"]
    assert [identifier for identifier, _ in titles] == ["pool0", "board0"]
    alone = collect([tmp_path])
    assert render(boards(alone.entries), alone) == render(boards(alone.entries), alone, pooled=pool(alone.entries))


# ------------------------------------------------------------------------------------------------ the video wall


def test_the_wall_shows_the_truth_once_and_first_of_every_episode(page):
    walls = re.findall(r'<div class="tiles".*?</script>', page, re.S)
    assert len(walls) == len(EPISODES)
    for wall in walls:
        kinds = [attrs["class"].split()[1] for attrs in Page(wall).having("figure", "tile")]
        assert kinds == ["truth", "model", "model", "model", "control"]
    assert "wobbled loop · e/0" in page


def test_videos_below_the_page_are_linked_to_and_exist(folder, page):
    sources = [attrs["src"] for tag, attrs in Page(page).elements if tag == "video"]
    assert len(sources) == len(EPISODES) * 5
    for source in sources:
        assert source.startswith("./records/media/")
        assert (folder.parent / unquote(source)).is_file()
    assert "media-src data: 'self' file:" in policy(page)


@pytest.mark.parametrize("place", [None, "elsewhere"])
def test_a_page_that_lies_elsewhere_carries_its_videos(folder, place):
    page = rendered(folder, folder / place if place else None)
    sources = [attrs["src"] for tag, attrs in Page(page).elements if tag == "video"]
    assert len(sources) == len(EPISODES) * 5
    assert all(source.startswith("data:video/mp4;base64,") for source in sources)
    assert policy(page).endswith("media-src data:")


def test_marks_cover_the_film_in_order(page):
    track = re.search(r'<div class="track">\s*<svg viewBox="0 0 8 10".*?</svg>', page, re.S)
    assert track
    marks = [(a["class"], int(a["x"]), int(a["width"])) for tag, a in Page(track[0]).elements if tag == "rect"]
    assert marks == [
        ("t-context", 0, 3), ("t-unseen", 3, 2), ("t-revisit_context", 5, 2), ("t-revisit_generated", 7, 1),
    ]  # fmt: skip


def test_records_without_types_of_frames_have_a_wall_without_marks(folder, tmp_path):
    for entry in collect([folder]).entries:
        kept = {n: p for n, p in entry.record.artifacts.items() if not n.startswith("frames/")}
        write(entry.record.model_copy(update={"artifacts": kept}), tmp_path)
    shutil.copytree(folder / "media", tmp_path / "media")
    page = rendered(tmp_path)
    assert len(Page(page).having("figure", "tile")) == len(EPISODES) * 5
    assert not re.search('<rect class="t-(unseen|revisit)', page)
    assert '"count": 0' in page


BROKEN = [
    "", "[]", "{}", "null", "[" * 5000, '{"fps": 0, "types": [["unseen", 1]]}', '{"fps": 1e999, "types": []}',
    '{"fps": 20, "types": []}', '{"fps": 20, "types": [["<b>", 1]]}', '{"fps": 20, "types": [["unseen", -1]]}',
    '{"fps": 20, "types": [["unseen", 1e9]]}', '{"fps": 20, "types": [["unseen", true]]}', '{"fps": 20, "types": 3}',
    '{"fps": "20", "types": [["unseen", 1]]}', '{"fps": 20, "types": [["unseen", 99999], ["unseen", 99999]]}',
    '{"fps": NaN, "types": [["unseen", 1]]}', '{"fps": true, "types": [["unseen", 1]]}',
]  # fmt: skip


@pytest.mark.parametrize("text", BROKEN)
def test_broken_types_of_frames_are_refused(text):
    with pytest.raises((ValueError, RecursionError)):
        parse(text)


def test_broken_types_of_frames_are_named_and_the_wall_stays(tmp_path):
    record = filmed(strategy("full", 1.0, 0), tmp_path, 1)
    (tmp_path / "media/1-0.jsonl").write_text("[" * 100_000)
    (tmp_path / "media/1-1.jsonl").write_text(" " * 2**19)
    write(record, tmp_path)
    page = rendered(tmp_path)
    assert len(Page(page).having("figure", "tile")) == len(EPISODES) * 2
    assert page.count("no types of frames") == 1
    assert page.count("too long for what it should hold") == 1


def test_no_string_of_a_pooled_record_becomes_markup_or_an_address(tmp_path):
    texts = ["</script><script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "javascript:alert(1)", "\x1b[31m"]
    for number, text in enumerate(texts):
        for seed in range(2):
            record = filmed(strategy(f"h{number}", 20.0 + number, seed, label=f"rollout={text}"), tmp_path, number)
            if number == 2:
                record.artifacts["video/e/0"] = "javascript:alert(1).mp4"
                made.video(tmp_path / "javascript:alert(1).mp4", 1, frames=4)
            (tmp_path / f"media/{number}-0.jsonl").write_text(json.dumps({**FRAMES, "tour": text}))
            write(record, tmp_path)
    page = rendered(tmp_path, tmp_path)
    found = Page(page)
    scripts = [attrs for tag, attrs in found.elements if tag == "script" and attrs.get("type") != "application/json"]
    assert len(scripts) == 1
    assert not any(tag == "img" for tag, _ in found.elements)
    assert not any(name.startswith("on") for _, attrs in found.elements for name in attrs)
    assert "\x1b" not in page
    for tag, attrs in found.elements:
        if tag == "video":
            assert attrs["src"].startswith(("./", "data:video/mp4")), attrs["src"][:60]
    assert "alert(1)" in "".join(found.text)


def test_a_video_outside_the_records_folder_is_never_linked_to(folder, tmp_path):
    made.video(tmp_path / "secret.mp4", 1, frames=4)
    records = tmp_path / "records"
    record = strategy("full", 1.0, 0, artifacts={"video/x": "../secret.mp4"})
    write(record, records)
    page = rendered(records, tmp_path)
    assert not any(tag == "video" for tag, _ in Page(page).elements)
    assert "secret.mp4" in page


# ------------------------------------------------------------------------------------------------ cost against quality


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([0.5, 0.5, 1.0, 6.0]), st.floats(10, 30)), min_size=2, max_size=8, unique=True)
)
def test_names_of_dots_stay_inside_and_do_not_cover_each_other(points):
    (board,) = _board_of(points)
    ids = {id(row): f"r{place}" for place, row in enumerate(board.rows)}
    for scatter in scatters(board, ids, styles(board.rows)):
        boxes = [_text_box(dot.text_x, dot.text_y, dot.label) for dot in scatter.dots]
        assert len(boxes) == len(points)
        for index, box in enumerate(boxes):
            assert box[0] >= 0 and box[2] <= 600
            assert box[1] >= 0 and box[3] <= 320
            assert all(_overlap(box, other) == 0 for other in boxes[:index])
        for dot in scatter.dots:
            others = [other for other in scatter.dots if other is not dot]
            assert all(max(abs(dot.x - o.x), abs(dot.y - o.y)) >= 10 for o in others), "none hides another"
            assert 50 <= dot.x <= scatter.right + 11 * 8 and dot.low <= dot.y <= dot.high


def _board_of(points):
    from benchmarks.leaderboard import Entry

    records = [
        strategy(f"strategy_{place}", value, 0, cost=Cost(network_calls_per_frame=calls))
        for place, (calls, value) in enumerate(points)
    ]
    return pool([Entry(record, Path(f"{place}.json")) for place, record in enumerate(records)])


def test_labels_lose_what_all_of_them_begin_with():
    assert short_labels(["rollout=a", "rollout=b"]) == ["a", "b"]
    assert short_labels(["rollout=a", "noise=b"]) == ["rollout=a", "noise=b"]
    assert short_labels(["rollout=a"]) == ["rollout=a"]
    assert short_labels(["a", "a"]) == ["a", "a"]


# ------------------------------------------------------------------------------------------------ the scripts


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
def test_the_scripts_parse_and_read_the_embedded_data(page, tmp_path):
    data = re.findall(r'<script type="application/json">(.*?)</script>', page, re.S)
    assert len(data) == len(EPISODES) + 1
    (tmp_path / "data.json").write_text(json.dumps(data))
    for script in SCRIPTS:
        subprocess.run(["node", "--check", str(script)], check=True, timeout=60)
    code = (
        "for (const text of require(process.argv[1])) { const d = JSON.parse(text); if (!d.rows && !d.runs) throw 1; }"
    )
    subprocess.run(["node", "-e", code, str(tmp_path / "data.json")], check=True, timeout=60)


def test_the_scripts_never_build_markup_from_text():
    for script in SCRIPTS:
        text = script.read_text(encoding="utf-8")
        for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
            assert word not in text, (script.name, word)
