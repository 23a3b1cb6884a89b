"""Where runs live: one folder per stage, named by the hash of everything that influences it. No torch.

A folder holds ``config.json`` (the key that named it), ``status.json`` (state, step, facts), logs, checkpoints and
weights. Files are written beside their target and renamed, so a reader never sees half of one; a lock that the kernel
drops with its owner keeps two processes out of one folder.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import socket
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from zoo.errors import UserError
from zoo.progress import say

State = Literal["new", "running", "done", "failed", "preempted", "interrupted"]
DIGEST_KEY = "source"
"""The entry of a stage's key that holds the digest of the source which computes it."""
_HELD: set[Path] = set()
"""Folders that this process has locked."""
LOOK_AGAIN = 0.5
"""Seconds between two looks at a folder that another process is writing."""
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR}
_FULL = {errno.ENOSPC, errno.EDQUOT}


class StorageError(UserError, OSError):
    """A folder that cannot be written: no permission, read-only, or full."""


# ------------------------------------------------------------------------------------------------ atomic files


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn 'no permission' and 'no space' into one StorageError with the cure; other errors pass."""
    try:
        yield
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        if error.errno in _REFUSED:
            raise StorageError(
                f"cannot write to {path}: {os.strerror(error.errno or 0)}; make it writable, or choose another folder "
                "by the environment variable ZOO_RUNS."
            ) from error
        if error.errno in _FULL:
            raise StorageError(
                f"no space left while writing {path}: free some and run the same command again, which goes on from "
                "the last checkpoint."
            ) from error
        raise


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`; when the block ends well it is synced and renamed over `path`, else removed."""
    temporary = path.parent / f".{path.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}.tmp"
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            sync_file(temporary)
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def sync_file(path: Path) -> None:
    """Ask the system to put a file's bytes on the disk."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """The same for a folder's entries, where the system can; a rename is safe without it on most file systems."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically, keys in the given order, NaN refused."""
    text = json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_json(path: Path) -> Any:
    """The JSON in a file, or None where there is no file or it is broken."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError, UnicodeDecodeError):
        return None


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text. Raises TypeError for what JSON lacks."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True)


def short_hash(value: Any) -> str:
    """12 hex digits of the sha256 of `canonical(value)`."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:12]


def process_rank() -> int:
    """Rank of this process among those of one training run, 0 when alone; from the launcher's environment."""
    for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"):
        if os.environ.get(name, "").isdigit():
            return int(os.environ[name])
    return 0


# -------------------------------------------------------------------------------------------------- the store


class Store:
    """All runs under one root: `root`, else the environment variable ZOO_RUNS, else ``./runs``."""

    def __init__(self, root: Path | str | None = None) -> None:
        self.root = Path(root or os.environ.get("ZOO_RUNS") or "runs")

    def stage_dir(self, stage: str, key: Mapping[str, Any]) -> StageDir:
        """The folder of `stage` with everything that influences it in `key`; nothing is created yet."""
        return StageDir(self.root / f"{stage}-{short_hash(key)}", stage, dict(key))

    def stages(self, stage: str | None = None) -> list[StageDir]:
        """The folders that exist, of one stage or of all, newest first; a folder without a readable key is left out."""
        found = []
        for config in self.root.glob(f"{stage or '*'}-*/config.json"):
            value = read_json(config)
            if isinstance(value, dict) and {"stage", "key"} <= value.keys():
                found.append(StageDir(config.parent, value["stage"], value["key"]))
        return sorted(found, key=lambda folder: folder.path.stat().st_mtime, reverse=True)

    def find_stale(self, stage: str, key: Mapping[str, Any]) -> StageDir | None:
        """A finished folder made by other source code but for an otherwise equal key, the newest; None without one."""
        wanted = {name: value for name, value in key.items() if name != DIGEST_KEY}
        for folder in self.stages(stage):
            made = {name: value for name, value in folder.key.items() if name != DIGEST_KEY}
            if folder.done and folder.key != dict(key) and canonical(made) == canonical(wanted):
                return folder
        return None


class StageDir:
    """One stage's folder. Reading needs no lock; writing is done inside ``with stage_dir.lock():``."""

    def __init__(self, path: Path, stage: str, key: dict[str, Any]) -> None:
        self.path = path
        self.stage = stage
        self.key = key

    def __repr__(self) -> str:
        return f"StageDir({str(self.path)!r})"

    @property
    def name(self) -> str:
        """``<stage>-<hash>``: what names this result everywhere."""
        return self.path.name

    @property
    def state(self) -> State:
        """What ``status.json`` says; "new" where there is none."""
        return self.facts().get("state", "new")

    @property
    def done(self) -> bool:
        """True when the stage has finished and its result is written."""
        return self.state == "done"

    def facts(self) -> dict[str, Any]:
        """All of ``status.json``: state, time and whatever was told to `mark`; empty where there is none."""
        value = read_json(self.path / "status.json")
        return value if isinstance(value, dict) else {}

    def mark(self, state: State, **facts: Any) -> None:
        """Set the state and merge `facts` into what is known. Ranks other than 0 say nothing."""
        if process_rank() == 0:
            self.create()
            known = {name: value for name, value in self.facts().items() if name != "error"}  # an error is of one state
            write_json(self.path / "status.json", {**known, **facts, "state": state, "at": time.time()})

    def create(self) -> None:
        """Make the folder and its ``config.json``; raises StorageError where that is refused."""
        with writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        if not (self.path / "config.json").exists():
            write_json(self.path / "config.json", {"stage": self.stage, "key": self.key})

    @contextlib.contextmanager
    def lock(self) -> Iterator[StageDir]:
        """Keep other processes out while the block runs; wait for the one that is in, after naming it.

        So sweeps that run side by side share what they have in common. Who waited finds the stage done, as a rule: look
        again inside the block. The lock is the kernel's, so it is gone with its owner, however that ended. Ranks other
        than 0 of a run pass, and so does a process that holds it already.
        """
        if process_rank() != 0 or self.path.resolve() in _HELD:
            yield self
            return
        self.create()
        with _locked(self.path / "lock", self.path):
            for leftover in self.path.rglob(".*.tmp"):
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink(missing_ok=True)
            yield self


@contextlib.contextmanager
def _locked(path: Path, folder: Path) -> Iterator[None]:
    """Hold the lock file `path`, which says who holds it. It stays behind, empty, when released."""
    with writing(path):
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not _seize(handle):
            owner = os.pread(handle, 200, 0).decode(errors="replace").strip() or "another process"
            say(f"waiting for {owner}, which is writing {folder}")
            while not _seize(handle):
                time.sleep(LOOK_AGAIN)
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
        _HELD.add(folder.resolve())
        try:
            yield
        finally:
            _HELD.discard(folder.resolve())
            os.ftruncate(handle, 0)
    finally:
        os.close(handle)


def _seize(handle: int) -> bool:
    """Take the kernel's lock on an open file without waiting; False when another process has it."""
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        os.lseek(handle, 1 << 20, os.SEEK_SET)  # a byte past the text, which stays readable to others
        lock = lambda: msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]  # noqa: E731
    else:
        lock = lambda: fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # noqa: E731
    try:
        lock()
    except OSError as error:
        if error.errno in {errno.EACCES, errno.EAGAIN, errno.EDEADLK}:
            return False
        raise
    return True
