"""Checkpoints: a crash at any point leaves a whole one, damage is seen, weights of another recipe are refused."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from zoo.checkpoint import AtomicCheckpointIO, good_checkpoint
from zoo.stages.weights import BadCheckpoint, read_weights, write_weights
from zoo.store import StorageError


def _save(folder: Path, step: int) -> None:
    AtomicCheckpointIO().save_checkpoint({"step": step, "w": torch.full((1000,), float(step))}, folder / "last.ckpt")


def _good_step(folder: Path) -> int | None:
    path = good_checkpoint(folder)
    if path is None:
        return None
    checkpoint = AtomicCheckpointIO().load_checkpoint(path)
    assert bool((checkpoint["w"] == checkpoint["step"]).all())
    return checkpoint["step"]


def test_the_newest_is_kept_with_one_before_it(tmp_path: Path) -> None:
    assert _good_step(tmp_path) is None
    for step in range(1, 4):
        _save(tmp_path, step)
        assert _good_step(tmp_path) == step
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoints.sha256", "last.ckpt", "previous.ckpt"]
    assert AtomicCheckpointIO().load_checkpoint(tmp_path / "previous.ckpt")["step"] == 2
    AtomicCheckpointIO().remove_checkpoint(tmp_path / "last.ckpt")
    assert list(tmp_path.iterdir()) == []


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize("damage", [_flip, _truncate, lambda path: path.write_bytes(b""), Path.unlink])
def test_a_damaged_one_falls_back_loudly_and_two_are_refused(
    tmp_path: Path, damage: object, capsys: pytest.CaptureFixture[str]
) -> None:
    _save(tmp_path, 1)
    _save(tmp_path, 2)
    damage(tmp_path / "last.ckpt")  # type: ignore[operator]
    assert _good_step(tmp_path) == 1
    assert ("WARNING" in capsys.readouterr().err) == (tmp_path / "last.ckpt").exists()
    _flip(tmp_path / "previous.ckpt")
    with pytest.raises(BadCheckpoint, match=r"damaged: delete .* to train this stage again"):
        good_checkpoint(tmp_path)


def _die_at(point: int, folder: Path) -> None:
    """Save step 3 and kill this process at the `point`-th of: half of the bytes written, every fsync, link, rename."""
    count = 0

    def dying(real: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            if count == point:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)

        return call

    real_save = torch.save

    def save_in_halves(value: Any, file: Any) -> None:
        file.write(b"PK half of it")
        file.flush()
        dying(lambda: None)()
        file.seek(0)
        real_save(value, file)

    os.replace, os.link, os.fsync = map(dying, (os.replace, os.link, os.fsync))
    torch.save = save_in_halves
    _save(folder, 3)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_kill_at_every_point_of_a_save_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    outcomes: list[int | None] = []
    for point in range(1, 40):
        folder = tmp_path / str(point)
        folder.mkdir()
        _save(folder, 1)
        _save(folder, 2)
        child = os.fork()
        if child == 0:
            with contextlib.suppress(BaseException):
                _die_at(point, folder)
                os._exit(0)
            os._exit(1)
        status = os.waitpid(child, 0)[1]
        outcomes.append(_good_step(folder))
        if not os.WIFSIGNALED(status):
            assert os.waitstatus_to_exitcode(status) == 0
            break
    assert len(outcomes) > 8 and outcomes == sorted(outcomes), outcomes  # type: ignore[type-var]
    assert set(outcomes) == {2, 3}, outcomes


def test_a_crash_between_write_and_rename_keeps_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _save(tmp_path, 1)
    real = os.replace

    def crash(source: Path, target: Path) -> None:
        if Path(target).name == "last.ckpt":
            raise KeyboardInterrupt
        real(source, target)

    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(KeyboardInterrupt):
        _save(tmp_path, 2)
    assert _good_step(tmp_path) == 1


def test_without_hard_links_the_previous_one_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    _save(tmp_path, 1)
    _save(tmp_path, 2)
    (tmp_path / "last.ckpt").unlink()
    assert _good_step(tmp_path) == 1


def test_a_full_disk_stops_with_one_sentence_and_keeps_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    _save(tmp_path, 1)

    def full(value: object, file: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(StorageError, match="no space left"):
        _save(tmp_path, 2)
    assert _good_step(tmp_path) == 1 and not list(tmp_path.glob(".*"))


def test_nothing_in_a_checkpoint_can_run_code(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path}/ran",)

    torch.save({"x": Evil()}, tmp_path / "last.ckpt")
    with pytest.raises(BadCheckpoint):
        AtomicCheckpointIO().load_checkpoint(tmp_path / "last.ckpt")
    assert not (tmp_path / "ran").exists()


# -------------------------------------------------------------------------------------------------------- weights


def test_weights_come_back_bitwise_and_shared_ones_too(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    module.append(module[0])  # one tensor under two names
    write_weights(tmp_path / "w.safetensors", {"network": module}, {"stage": "s"})
    other = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    other.append(other[0])
    assert read_weights(tmp_path / "w.safetensors", {"network": other}) == {"stage": "s"}
    for name, value in module.state_dict().items():
        assert torch.equal(value, other.state_dict()[name])


@pytest.mark.parametrize(
    "other", [{"network": nn.Linear(3, 5)}, {"network": nn.Linear(3, 4, bias=False)}, {"text": nn.Linear(3, 4)}]
)
def test_weights_of_another_recipe_are_refused_and_change_nothing(tmp_path: Path, other: dict[str, nn.Module]) -> None:
    write_weights(tmp_path / "w.safetensors", {"network": nn.Linear(3, 4)})
    before = {name: value.clone() for module in other.values() for name, value in module.state_dict().items()}
    with pytest.raises(BadCheckpoint, match="another recipe"):
        read_weights(tmp_path / "w.safetensors", other)
    for module in other.values():
        for name, value in module.state_dict().items():
            assert torch.equal(value, before[name])


def test_missing_and_damaged_weights_are_named(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    with pytest.raises(BadCheckpoint, match="no weights at"):
        read_weights(path, {"network": nn.Linear(3, 4)})
    write_weights(path, {"network": nn.Linear(3, 4)})
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(BadCheckpoint, match="damaged"):
        read_weights(path, {"network": nn.Linear(3, 4)})
