"""What people look at: mp4 and PNG files that open elsewhere, and are whole or absent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.video_file import contact_sheet, png_bytes, write_contact_sheet, write_mp4, write_png
from zoo import registry

FRAMES = np.random.default_rng(0).integers(0, 255, (6, 9, 14, 3)).repeat(4, 1).repeat(4, 2).astype(np.uint8)


def test_mp4_comes_back_about_equal(tmp_path: Path) -> None:
    path = write_mp4(tmp_path / "new" / "a.mp4", FRAMES, 12.5, crf=5, scale=2)
    reader = registry.build("reader", "pyav")
    assert reader.probe(path).fps == 12.5
    frames, times = reader.read(path, start=0, count=9, stride=1)
    assert frames.shape == (6, 72, 112, 3) and np.abs(frames[:, ::2, ::2].astype(int) - FRAMES).mean() < 12
    np.testing.assert_allclose(times, np.arange(6) / 12.5, atol=1e-3)
    assert [p.name for p in path.parent.iterdir()] == ["a.mp4"]
    assert path.read_bytes() == write_mp4(tmp_path / "b.mp4", FRAMES, 12.5, crf=5, scale=2).read_bytes()


def test_odd_sizes_are_padded(tmp_path: Path) -> None:
    path = write_mp4(tmp_path / "odd.mp4", FRAMES[:, :35, :55], 10)
    assert registry.build("reader", "pyav").read(path, start=0, count=9, stride=1)[0].shape == (6, 36, 56, 3)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_mp4(tmp_path / "a.mp4", FRAMES, 10)
    before = path.read_bytes()
    with pytest.raises(ValueError):
        write_mp4(path, FRAMES.astype(np.float32), 10)
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    for write in (lambda: write_mp4(path, FRAMES[::-1], 10), lambda: write_png(path, FRAMES[0])):
        with pytest.raises(OSError, match="No space"):
            write()
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def test_png_is_read_by_others(tmp_path: Path) -> None:
    path = write_png(tmp_path / "a.png", FRAMES[2])
    assert np.array_equal(np.asarray(Image.open(path)), FRAMES[2])
    assert path.read_bytes() == png_bytes(FRAMES[2])


def test_contact_sheet_lines_up(tmp_path: Path) -> None:
    sheet = contact_sheet([FRAMES, FRAMES[:, :20]], columns=3)
    assert sheet.shape == (36 + 2 + 20 + 2, 3 * (56 + 2), 3)
    for column, frame in enumerate((0, 2, 5)):
        assert np.array_equal(sheet[:36, column * 58 : column * 58 + 56], FRAMES[frame])
        assert np.array_equal(sheet[38:58, column * 58 : column * 58 + 56], FRAMES[frame, :20])
    assert np.asarray(Image.open(write_contact_sheet(tmp_path / "s.png", [FRAMES], scale=3))).shape[0] == 36 * 3 + 2
