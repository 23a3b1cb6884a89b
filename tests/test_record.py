"""One row, one file: written whole, never changed, and a broken neighbour hides nobody."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from benchmarks import record as records
from benchmarks.record import Curve, DatasetReference, Metric, Part, Record, SuiteReference
from zoo.errors import UserError


def example(**changes) -> Record:
    """A small but complete row."""
    parts = {"revisit_context": Part(value=26.5, n=3, interval=(25.0, 28.0)), "unseen": Part(value=None, n=0)}
    facts = {
        "name": "quickstart",
        "label": "rollout=pose_nearest",
        "group": "abc",
        "suite": SuiteReference(name="quickstart", version=1, options={"episodes": 8}),
        "recipe": {"rollout": {"name": "pose_nearest"}},
        "metrics": {
            "psnr": Metric(
                value=26.0, n=8, interval=(25.0, 27.0), higher_is_better=True, key="psnr|v1", unit="dB", parts=parts
            )
        },
        "curves": {"psnr": Curve(t=[0, 1], mean=[30.0, None], lo=[29.0, None], hi=[31.0, None])},
        "per_video": {"psnr": {"maze-1": 26.0}},
        "dataset": DatasetReference(name="maze", fingerprint="f00", report={"skipped": {}}),
    }
    return Record(**{**facts, **changes})


def test_what_is_written_is_read_back(tmp_path):
    record = example(environment=records.environment())
    path = records.write(record, tmp_path / "deep" / "folder")
    assert records.read(path) == record
    assert json.loads(path.read_text())["metrics"]["psnr"]["interval"] == [25.0, 27.0]
    assert [p.name for p in path.parent.iterdir()] == [path.name], "no temporary file stays behind"


def test_writing_twice_changes_nothing_and_another_row_gets_another_file(tmp_path):
    record = example()
    path = records.write(record, tmp_path)
    stamp = path.stat().st_mtime_ns
    assert records.write(record, tmp_path) == path and path.stat().st_mtime_ns == stamp
    assert records.write(example(label="other"), tmp_path) != path


def test_a_broken_file_is_named_and_the_others_are_read(tmp_path):
    records.write(example(), tmp_path)
    (tmp_path / "torn.json").write_text('{"schema_version": 1, "na')
    (tmp_path / "other_schema.json").write_text(example().model_dump_json().replace('_version":1,', '_version":9,', 1))
    (tmp_path / "stranger.json").write_text('{"a": 1}')
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    found, quarantined = records.read_all(tmp_path)
    assert len(found) == 1
    assert set(quarantined) == {"torn.json", "other_schema.json", "stranger.json", "binary.json"}
    assert all("\n" not in reason and reason for reason in quarantined.values())


def test_a_missing_folder_holds_no_records_and_an_unwritable_one_is_refused(tmp_path):
    assert records.read_all(tmp_path / "none") == ([], {})
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(UserError, match="writable folder"):
        records.write(example(), file)


def test_a_full_disk_leaves_nothing_half_written(tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(records.os, "fsync", full)
    with pytest.raises(UserError, match="No space left"):
        records.write(example(), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_not_a_number_never_enters_a_record(value):
    with pytest.raises(ValidationError):
        Part(value=value, n=1)
    with pytest.raises(ValidationError):
        Curve(t=[0.0], mean=[value])


@given(st.text(max_size=120))
def test_any_name_makes_a_safe_file_name(name):
    made = records.file_name(example(name=name))
    assert "/" not in made and "\\" not in made and not made.startswith(".") and made.isascii() and len(made) < 120


def test_environment_knows_commit_and_changes_and_works_without_git(tmp_path):
    assert records.environment(tmp_path).git_commit is None
    repository = tmp_path / "repository"
    repository.mkdir()

    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        subprocess.run(["git", "-C", str(repository), *identity, *arguments], check=True, capture_output=True)

    git("init")
    (repository / "a.txt").write_text("1")
    git("add", "a.txt")
    git("commit", "-m", "one")
    clean = records._git_state(repository)
    (repository / "a.txt").write_text("2")
    dirty = records._git_state(repository)
    (repository / "new.py").write_text("3")
    assert len(clean[0]) == 40 and clean[1] is None
    assert dirty[0] == clean[0] and len({clean[1], dirty[1], records._git_state(repository)[1]}) == 3


def test_reading_records_imports_no_torch():
    code = "import benchmarks.record as r, sys; r.environment(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_digest_ignores_the_order_of_keys():
    assert records.digest({"a": 1, "b": [2]}) == records.digest({"b": [2], "a": 1}) != records.digest({"a": 2})
