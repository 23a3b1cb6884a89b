"""Run folders: named by their key, written atomically, one writer at a time, refused in one sentence."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from zoo import source_digest
from zoo.errors import UserError
from zoo.stage_key import STAGE_2_SOURCE
from zoo.store import StorageError, Store, atomic_file, canonical, short_hash, write_json, writing

ROOT = Path(__file__).resolve().parents[1]
KEY = {"steps": 10, "source": "aaaa", "parts": {"name": "vae", "width": 64}}


# ------------------------------------------------------------------------------------------------------- folders


def test_a_folder_is_named_by_its_key_whatever_the_order(tmp_path: Path) -> None:
    store = Store(tmp_path)
    one = store.stage_dir("tokenizer", KEY)
    assert one.path == store.stage_dir("tokenizer", dict(reversed(KEY.items()))).path
    assert one.path != store.stage_dir("tokenizer", {**KEY, "steps": 11}).path
    assert one.name == f"tokenizer-{short_hash(KEY)}" and len(short_hash(KEY)) == 12
    assert not one.path.exists(), "asking for a folder creates nothing"


def test_keys_are_json_and_nothing_else() -> None:
    assert canonical({"b": 1, "a": [True, None, 0.1]}) == '{"a":[true,null,0.1],"b":1}'
    for odd in (float("nan"), {1, 2}, Path("x")):
        with pytest.raises((TypeError, ValueError)):
            canonical({"a": odd})


def test_root_is_an_argument_then_the_environment_then_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ZOO_RUNS", raising=False)
    assert Store().root == Path("runs")
    monkeypatch.setenv("ZOO_RUNS", str(tmp_path))
    assert Store().root == tmp_path and Store("here").root == Path("here")


def test_status_merges_facts_and_survives_as_new_when_broken(tmp_path: Path) -> None:
    folder = Store(tmp_path).stage_dir("tokenizer", KEY)
    assert folder.state == "new" and folder.facts() == {} and not folder.done
    folder.mark("running", step=1)
    folder.mark("failed", error="no luck")
    assert folder.facts()["error"] == "no luck"
    folder.mark("done", seconds=2.5)
    assert folder.done and folder.facts()["step"] == 1 and folder.facts()["seconds"] == 2.5
    assert "error" not in folder.facts()
    (folder.path / "status.json").write_text('{"state": "do')
    assert folder.state == "new"


def test_other_ranks_mark_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    folder = Store(tmp_path).stage_dir("tokenizer", KEY)
    with folder.lock():
        folder.mark("running")
    assert not folder.path.exists()


def test_stages_lists_what_is_there_newest_first(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for at, steps in enumerate([3, 1, 2]):
        folder = store.stage_dir("tokenizer", {"steps": steps})
        folder.create()
        os.utime(folder.path, (at, at))
    (tmp_path / "generator-000000000000").mkdir()
    assert [folder.key["steps"] for folder in store.stages()] == [2, 1, 3]
    assert store.stages("generator") == []


def test_find_stale_wants_all_but_the_source_equal(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for change, state in (
        ({"source": "bbbb"}, "done"),
        ({"source": "cccc"}, "running"),
        ({"source": "dddd", "steps": 11}, "done"),
    ):
        store.stage_dir("tokenizer", {**KEY, **change}).mark(state)  # type: ignore[arg-type]
    found = store.find_stale("tokenizer", KEY)
    assert found is not None and found.key["source"] == "bbbb"
    assert store.find_stale("generator", KEY) is None
    assert store.find_stale("tokenizer", {**KEY, "steps": 12}) is None


# --------------------------------------------------------------------------------------------------------- files


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"a": float("nan")})
    with pytest.raises(ZeroDivisionError), atomic_file(path) as temporary:
        temporary.write_text(str(temporary.write_text("half") // 0))
    assert path.read_text() == '{\n "a": 1\n}\n'
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


def test_kill_during_a_write_leaves_the_old_file_whole_and_the_lock_sweeps_up(tmp_path: Path) -> None:
    folder = Store(tmp_path).stage_dir("tokenizer", KEY)
    folder.mark("running", step=1)
    before = (folder.path / "status.json").read_bytes()
    program = textwrap.dedent(
        f"""
        import os, signal
        from pathlib import Path
        from zoo.store import atomic_file
        with atomic_file(Path({str(folder.path / "status.json")!r})) as temporary:
            temporary.write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT).returncode == -signal.SIGKILL
    assert (folder.path / "status.json").read_bytes() == before
    assert len(list(folder.path.glob(".*.tmp"))) == 1
    with folder.lock():
        assert not list(folder.path.glob(".*.tmp"))


@pytest.mark.parametrize(
    ("number", "says"), [(errno.EACCES, "writable"), (errno.EROFS, "ZOO_RUNS"), (errno.ENOSPC, "no space left")]
)
def test_refusals_are_one_sentence_with_the_cure(number: int, says: str, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=says) as caught, writing(tmp_path):
        raise OSError(number, os.strerror(number))
    assert isinstance(caught.value, UserError) and "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)
    with pytest.raises(FileNotFoundError), writing(tmp_path):
        raise FileNotFoundError(errno.ENOENT, "other errors pass")


def test_an_unwritable_root_is_refused(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        root = Path("/proc/zoo-runs")  # refuses even root, with EPERM or ENOENT
        pytest.skip("root may write everywhere") if not root.parent.exists() else None
        with pytest.raises((StorageError, FileNotFoundError)):
            Store(root).stage_dir("tokenizer", KEY).create()
        return
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(StorageError):
            Store(tmp_path / "runs").stage_dir("tokenizer", KEY).mark("running")
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_named() -> None:
    with pytest.raises(StorageError, match="no space"), writing(Path("/dev/full")), open("/dev/full", "w") as file:
        file.write("x" * 100_000)


# --------------------------------------------------------------------------------------------------------- locks

HOLD = """
import sys, time
from zoo.store import Store
with Store(sys.argv[1]).stage_dir("tokenizer", {key!r}).lock():
    print("in", flush=True)
    time.sleep(60)
"""


def test_the_second_writer_waits_for_the_first_even_where_that_one_dies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Store(tmp_path).stage_dir("tokenizer", KEY)
    program = HOLD.format(key=KEY)
    other = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, cwd=ROOT, text=True
    )
    try:
        assert other.stdout is not None and other.stdout.readline() == "in\n"
        entered = threading.Event()

        def follow() -> None:
            with folder.lock():
                entered.set()

        follower = threading.Thread(target=follow)
        follower.start()
        assert not entered.wait(1.2), "two writers of one folder"
        assert f"waiting for process {other.pid} on" in capsys.readouterr().err
        other.kill()
        other.wait()
        follower.join(timeout=30)
        assert entered.is_set()
        with folder.lock(), folder.lock():  # taken over from the dead; and again by who holds it
            folder.mark("running")
        with folder.lock():
            pass
    finally:
        other.kill()
        other.wait()
        other.stdout.close()  # type: ignore[union-attr]


# -------------------------------------------------------------------------------------------------- source digest


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of nothing but two modules that import each other's neighbour, in place of our packages."""
    monkeypatch.setattr(source_digest, "ROOT", tmp_path)
    (tmp_path / "components" / "axis").mkdir(parents=True)
    for init in ("components/__init__.py", "components/axis/__init__.py"):
        (tmp_path / init).write_text('"""Words."""\n')
    (tmp_path / "components" / "shared.py").write_text("FACTOR = 2\n")
    (tmp_path / "components" / "unused.py").write_text("FACTOR = 3\n")
    (tmp_path / "components" / "axis" / "part.py").write_text(SOURCE)
    return tmp_path / "components"


SOURCE = '''
"""A part."""
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from components.unused import FACTOR as Unused

@component(cite=None, note="a note")
class Part:
    """Words."""

    width: int = Field(3, ge=1, description="of the part")
    """More words."""

    def run(self):
        """Only words."""
        from components import shared  # a comment

        return 4 * shared.FACTOR
'''


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        ("# a comment", "# another", False),
        ('"""Words."""', '"""Other words."""', False),
        ('    """More words."""\n', "", False),
        ('note="a note"', 'note="another"', False),
        ("of the part", "of it", False),
        ("return 4 * shared.FACTOR", "return (4*shared.FACTOR)", False),
        ("return 4", "return 5", True),
        ("Field(3", "Field(4", True),
        ("ge=1", "ge=2", True),
    ],
)
def test_digest_sees_code_and_not_words(package: Path, old: str, new: str, changes: bool) -> None:
    before = source_digest.digest(["components.axis.part"])
    assert old in SOURCE
    (package / "axis" / "part.py").write_text(SOURCE.replace(old, new))
    assert (source_digest.digest(["components.axis.part"]) != before) == changes


def test_digest_follows_imports_of_ours_and_no_others(package: Path) -> None:
    assert source_digest.imported(["components.axis.part"]) == [
        "components",
        "components.axis.part",
        "components.shared",
    ]
    before = source_digest.digest(["components.axis.part"])
    (package / "unused.py").write_text("FACTOR = 4\n")
    assert source_digest.digest(["components.axis.part"]) == before
    (package / "shared.py").write_text("FACTOR = 9\n")
    assert source_digest.digest(["components.axis.part"]) != before
    with pytest.raises(LookupError, match=r"components\.none"):
        source_digest.digest(["components.none"])


def test_digest_of_a_third_party_module_is_of_its_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "zooplugin").mkdir()
    (tmp_path / "zooplugin" / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (tmp_path / "zooplugin" / "part.py").write_text("import zoo.missing\nX = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    before = source_digest.digest(["zooplugin.part"])
    assert source_digest.imported(["zooplugin.part"]) == ["zooplugin.part"]
    (tmp_path / "zooplugin" / "part.py").write_text("X = 2\n")
    assert source_digest.digest(["zooplugin.part"]) != before


def test_training_is_not_named_by_how_it_is_sampled_or_shown() -> None:
    covered = source_digest.imported(STAGE_2_SOURCE)
    assert {"zoo.stages.generator", "zoo.stages.optimiser", "zoo.compose", "components.carriers"} <= set(covered)
    assert not {name for name in covered if name.split(".")[-1] in {"sampling", "model", "progress", "store", "run"}}


def test_store_and_digest_start_without_torch() -> None:
    program = "import sys, zoo.store, zoo.source_digest, zoo.stages.cache; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT).returncode == 0
