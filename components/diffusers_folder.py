"""An autoencoder in the diffusers format, on disk: its folder, its class, its weights, the hash of its content.

Nothing here runs code that comes with a model: only classes of the installed diffusers, weights as safetensors alone.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import diffusers
import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError

from zoo.errors import BadValue

STEM = "diffusion_pytorch_model"
"""What diffusers calls weights."""


def find(model: str, *, revision: str | None, subfolder: str | None, variant: str | None) -> Path:
    """The folder of config.json and weights: `model` itself, or the hub's snapshot of it (downloaded once).

    Raises BadValue where there is none, or where it holds no autoencoder in safetensors.
    """
    place = Path(model).expanduser()
    if place.exists():
        folder = place / (subfolder or "")
        missing = _missing(folder, variant)
        if missing:
            raise BadValue(f"tokenizer.model: {folder} {missing}")
        return folder
    reason = ""
    for local in (True, False):
        try:
            patterns = [f"{subfolder}/{p}" if subfolder else p for p in ("config.json", *_patterns(variant))]
            found = snapshot_download(model, revision=revision, allow_patterns=patterns, local_files_only=local)
        except (OSError, ValueError, HfHubHTTPError) as error:
            reason = f"({type(error).__name__})"
            continue
        folder = Path(found) / (subfolder or "")
        if not _missing(folder, variant):
            return folder
        reason = f"({_missing(folder, variant)})"
    raise BadValue(
        f"tokenizer.model: there is no folder {model}, and the hub gives no autoencoder of that name {reason}: "
        "check the name and the connection, or give the folder of a downloaded one."
    )


def weight_files(folder: Path, variant: str | None) -> list[Path]:
    """The safetensors files of one variant, and the index of sharded ones, sorted."""
    return sorted({path for pattern in _patterns(variant) for path in folder.glob(pattern)})


def _patterns(variant: str | None) -> tuple[str, ...]:
    tail = "-*-of-?????"
    if variant is None:
        return (f"{STEM}.safetensors", f"{STEM}{tail}.safetensors", f"{STEM}.safetensors.index.json")
    return (
        f"{STEM}.{variant}.safetensors",
        f"{STEM}{tail}.{variant}.safetensors",
        f"{STEM}.{variant}{tail}.safetensors",
        f"{STEM}.safetensors.index.{variant}.json",
    )


def _missing(folder: Path, variant: str | None) -> str:
    """What keeps a folder from being an autoencoder, with the cure; empty where nothing does."""
    if not (folder / "config.json").is_file():
        inner = sorted(
            p.parent.name for p in folder.glob("*/config.json") if "vae" in p.parent.name or "vq" in p.parent.name
        )
        cure = f"set tokenizer.subfolder={inner[0]}" if inner else "give the folder that save_pretrained wrote"
        return f"holds no config.json of a diffusers autoencoder: {cure}."
    if not weight_files(folder, variant):
        kind = f" of variant '{variant}'" if variant else ""
        return (
            f"holds no {STEM}.safetensors{kind}: save it with save_pretrained, or choose tokenizer.variant "
            "(pickled .bin weights are not read)."
        )
    return ""


def read_config(folder: Path) -> dict[str, Any]:
    """config.json. Raises BadValue where it is no mapping."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadValue(f"tokenizer.model: {folder}/config.json cannot be read: download the model again.") from error
    if not isinstance(config, dict):
        raise BadValue(f"tokenizer.model: {folder}/config.json is no mapping: download the model again.")
    return config


def content_hash(folder: Path, variant: str | None) -> str:
    """64 hex digits over config and weights, the same wherever the folder lies and whatever diffusers wrote it."""
    total = hashlib.sha256()
    said = {
        key: value for key, value in read_config(folder).items() if key not in ("_name_or_path", "_diffusers_version")
    }
    total.update(json.dumps(said, sort_keys=True).encode())
    for path in weight_files(folder, variant):
        real = path.resolve()
        stat = real.stat()
        total.update(_file_hash(real, stat.st_size, stat.st_mtime_ns).encode())
    return total.hexdigest()


@lru_cache(maxsize=64)
def _file_hash(path: Path, size: int, modified: int) -> str:
    """Read once a process, unless the file changes."""
    total = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            total.update(block)
    return total.hexdigest()


def load(folder: Path, class_name: str | None, variant: str | None, dtype: torch.dtype) -> Any:
    """The autoencoder with its weights; without them where the default device is ``meta``, to count what it costs.

    Raises BadValue where the class is none of diffusers' autoencoders or the weights are not its own.
    """
    cls = _class(folder, class_name)
    if torch.empty(0).is_meta:
        return torch.nn.Module.to(skeleton(folder, class_name), dtype)  # diffusers' own warns where nothing is lost
    try:
        return cls.from_pretrained(
            str(folder),
            variant=variant,
            torch_dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            low_cpu_mem_usage=importlib.util.find_spec("accelerate") is not None,
        )
    except (OSError, ValueError, RuntimeError, TypeError, KeyError) as error:
        raise BadValue(f"tokenizer.model: {folder} cannot be loaded as {cls.__name__}: {_line(error)}") from error


def skeleton(folder: Path, class_name: str | None) -> Any:
    """The autoencoder without weights, on the device ``meta``. Raises BadValue as `load` does."""
    cls = _class(folder, class_name)
    try:
        with torch.device("meta"):
            return cls.from_config(read_config(folder)).eval()
    except (ValueError, RuntimeError, TypeError, KeyError, AttributeError) as error:
        raise BadValue(f"tokenizer.model: {folder}/config.json does not fit {cls.__name__}: {_line(error)}") from error


def _class(folder: Path, class_name: str | None) -> Any:
    name = class_name or read_config(folder).get("_class_name")
    if not isinstance(name, str):
        raise BadValue(f"tokenizer.model: {folder}/config.json names no class: set tokenizer.class_name=AutoencoderKL.")
    cls = getattr(diffusers, name, None)
    fits = isinstance(cls, type) and issubclass(cls, diffusers.ModelMixin)
    if not fits or not (hasattr(cls, "encode") and hasattr(cls, "decode")):
        raise BadValue(
            f"tokenizer.model: {folder} holds a {name}, which is no autoencoder of diffusers {diffusers.__version__}: "
            "give an autoencoder's folder (often the subfolder vae), set tokenizer.class_name, or upgrade diffusers."
        )
    return cls


def _line(error: BaseException) -> str:
    """The first line of an error, as the end of a sentence."""
    text = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return f"{text[:160].rstrip('.')}."
