"""Trained weights on disk: one safetensors file a stage. No Lightning, so that sampling starts without it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from zoo.errors import UserError
from zoo.store import StageDir, atomic_file, writing

WEIGHTS = "weights.safetensors"


class BadCheckpoint(UserError):
    """A checkpoint or weight file that is broken, missing, or belongs to another recipe."""


def load_weights(folder: StageDir, part: Any) -> None:
    """Load a finished stage: `part` is the tokenizer, or the generator with its `network` and `text_encoder`.

    Raises BadCheckpoint, before anything is changed, where the weights are missing, broken or of another recipe.
    """
    read_weights(folder.path / WEIGHTS, parts(part))


def parts(part: Any) -> dict[str, nn.Module]:
    """The trained modules of a tokenizer or a generator, under the names they have in the file."""
    if isinstance(part, nn.Module):
        return {"tokenizer": part}
    text_encoder: Any = part.text_encoder
    modules: dict[str, nn.Module] = {"network": part.network}
    if text_encoder is not None and text_encoder.width > 0 and text_encoder.trainable:
        modules["text_encoder"] = text_encoder
    return modules


def write_weights(
    path: Path,
    modules: Mapping[str, nn.Module],
    metadata: Mapping[str, str] | None = None,
    *,
    gathered: Mapping[str, Tensor] | None = None,
) -> None:
    """Write the state dicts of named modules to one safetensors file, atomically.

    `gathered` are their tensors under the same names ("network.…"), where the modules themselves hold shards only.
    """
    from safetensors.torch import save_file

    state = gathered or {f"{name}.{key}": value for name, m in modules.items() for key, value in m.state_dict().items()}
    tensors = {key: value.detach().to("cpu", copy=True).contiguous() for key, value in state.items()}
    with writing(path), atomic_file(path) as temporary:
        save_file(tensors, str(temporary), metadata=dict(metadata or {}))


def read_weights(path: Path, modules: Mapping[str, nn.Module]) -> dict[str, str]:
    """Load what `write_weights` wrote into modules of the same names; returns the file's metadata.

    Raises BadCheckpoint, before any module is changed, where the file is broken or its tensors are of other names or
    shapes.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = dict(file.metadata() or {})
            tensors: dict[str, Tensor] = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise BadCheckpoint(f"there are no weights at {path}: train that run first.") from error
    except SafetensorError as error:
        raise BadCheckpoint(f"{path} is damaged ({first_line(error)}): delete its folder and train again.") from error
    wanted = {f"{name}.{key}": value for name, module in modules.items() for key, value in module.state_dict().items()}
    _compare(path, wanted, tensors)
    for name, module in modules.items():
        module.load_state_dict({key: tensors[f"{name}.{key}"] for key in module.state_dict()})
    return metadata


def _compare(path: Path, wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    odd = sorted(wanted.keys() ^ found.keys())
    odd += [key for key in wanted.keys() & found.keys() if wanted[key].shape != found[key].shape]
    if odd:
        raise BadCheckpoint(
            f"{path} belongs to another recipe: {len(odd)} of its tensors do not fit this model ('{odd[0]}' first); "
            "use the recipe it was trained with."
        )


def first_line(error: BaseException) -> str:
    """Of an error's message, or its type where it has none."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
