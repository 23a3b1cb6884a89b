"""zoo publish: all figures, the first seed's videos, and nothing twice."""

from __future__ import annotations

from datetime import timedelta

import pytest

from benchmarks import record as records
from tests.synthetic_records import START, long500, long500_control, video
from zoo.commands.publish import main
from zoo.errors import BadValue, UserError


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source")
    rows = [long500("hierarchical", seed, 0.5) for seed in (0, 1)]
    rows.append(rows[0].model_copy(update={"created": START + timedelta(days=1)}))  # the same row, made again
    rows.append(long500_control("copy_last", "floor", 0.9, 0))
    for number, row in enumerate(rows):
        path = video(folder / "media" / f"{number}.mp4", 60 + number)
        (folder / "media" / f"{number}.png").write_bytes(b"strip")
        named = {f"video/e{number}": f"media/{path.name}", f"strip/e{number}": f"media/{number}.png"}
        records.write(row.model_copy(update={"artifacts": named}), folder)
    return folder


def test_the_newest_of_every_row_goes_with_the_first_seeds_videos(source, tmp_path):
    assert main([f"results={source}", f"out={tmp_path}"]) == 0
    found, broken = records.read_all(tmp_path)
    assert not broken
    said = sorted((r.kind, r.seeds.get("generator", -1), r.created > START + timedelta(hours=1)) for r in found)
    assert said == [("control", -1, False), ("model", 0, True), ("model", 1, False)]
    kept = {path.name: path.read_bytes() for path in source.glob("*.json")}
    assert all(path.read_bytes() == kept[path.name] for path in tmp_path.glob("*.json"))
    assert [path.name for path in (tmp_path / "media").iterdir()] == ["2.mp4"]
    main([f"results={source}", f"out={tmp_path}", "controls=true"])
    assert {path.name for path in (tmp_path / "media").iterdir()} == {"2.mp4", "3.mp4"}


def test_bad_requests_are_refused(source, tmp_path):
    with pytest.raises(BadValue, match="needs results=DIR"):
        main([f"results={source}"])
    with pytest.raises(BadValue, match="crf=70"):
        main([f"results={source}", f"out={tmp_path}", "crf=70"])
    with pytest.raises(UserError, match="no records"):
        main([f"results={tmp_path}", f"out={tmp_path / 'x'}"])
