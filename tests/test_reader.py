"""Readers, each against files made here: whole, cut short, empty, sound only, tiny, turned, uneven in time."""

from __future__ import annotations

import pickle
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from components.contracts import Reader, ReadError
from components.video_file import write_mp4
from zoo import registry
from zoo.errors import UserError

LEVELS = np.linspace(20, 235, 40).round()
"""The grey of frame t tells which frame it is."""


@pytest.fixture(params=registry.names("reader"))
def reader(request: pytest.FixtureRequest) -> Reader:
    try:
        return registry.build("reader", request.param)
    except UserError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("videos")


def grey_frames(count: int = 40, height: int = 48, width: int = 80) -> np.ndarray:
    return np.broadcast_to(LEVELS[:count, None, None, None], (count, height, width, 3)).astype(np.uint8)


def which(frames: np.ndarray) -> list[int]:
    """The number of each frame, from its grey."""
    return [int(np.abs(LEVELS - level).argmin()) for level in frames.mean((1, 2, 3))]


@pytest.fixture(scope="module")
def plain(folder: Path) -> Path:
    return write_mp4(folder / "plain.mp4", grey_frames(), 20.0, crf=10)


@pytest.fixture(scope="module")
def noisy(folder: Path) -> np.ndarray:
    smooth = np.random.default_rng(0).integers(0, 255, (40, 12, 20, 3)).repeat(4, 1).repeat(4, 2)
    return smooth.astype(np.uint8)


def refused_by_decord(reader: Reader, error: ReadError) -> None:
    """decord may refuse some files, if it says who reads them; PyAV may not."""
    assert reader.version.startswith("decord") and "reader=pyav" in str(error), error


def test_names_are_complete() -> None:
    assert registry.names("reader") == ["decord", "pyav"]


def test_contract_and_version(reader: Reader) -> None:
    assert isinstance(reader, Reader) and any(digit.isdigit() for digit in reader.version)


@pytest.mark.parametrize(
    ("start", "count", "stride"), [(0, 40, 1), (3, 5, 4), (17, 100, 1), (39, 1, 1), (0, 7, 6), (30, 9, 3)]
)
def test_frames_and_times_are_the_asked_ones(reader: Reader, plain: Path, start: int, count: int, stride: int) -> None:
    frames, times = reader.read(plain, start=start, count=count, stride=stride)
    expected = list(range(start, 40, stride))[:count]
    assert frames.dtype == np.uint8 and frames.shape[1:] == (48, 80, 3) and times.dtype == np.float64
    assert which(frames) == expected
    np.testing.assert_allclose(times, np.array(expected) / 20, atol=1e-3)


def test_any_order_of_calls_gives_the_same_frames(reader: Reader, plain: Path) -> None:
    for start in (20, 5, 6, 9, 0, 30):
        assert which(reader.read(plain, start=start, count=3, stride=1)[0]) == [start, start + 1, start + 2]
    moved = pickle.loads(pickle.dumps(reader))
    assert which(moved.read(plain, start=4, count=2, stride=1)[0]) == [4, 5]


def test_probe(reader: Reader, plain: Path) -> None:
    info = reader.probe(plain)
    assert (info.frames, info.height, info.width, info.fps) == (40, 48, 80, 20.0)


def test_start_behind_the_end(reader: Reader, plain: Path) -> None:
    with pytest.raises(ReadError, match="ends after 40 frames"):
        reader.read(plain, start=40, count=1, stride=1)


def test_file_changed_under_the_reader(reader: Reader, folder: Path) -> None:
    path = write_mp4(folder / "changing.mp4", grey_frames(10), 20.0)
    reader.read(path, start=0, count=2, stride=1)
    write_mp4(path, grey_frames()[20:33], 20.0)
    assert which(reader.read(path, start=2, count=1, stride=1)[0]) == [22]


def test_truncated_file_gives_its_whole_beginning(reader: Reader, folder: Path, noisy: np.ndarray) -> None:
    whole = write_mp4(folder / "whole.mp4", noisy, 20.0)
    cut = folder / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    full, _ = reader.read(whole, start=0, count=99, stride=1)
    try:
        part, times = reader.read(cut, start=0, count=99, stride=1)
    except ReadError as error:
        refused_by_decord(reader, error)
        return
    assert 5 <= len(part) < 40 and len(times) == len(part)
    assert np.array_equal(part, full[: len(part)])


def test_damage_in_the_middle_ends_the_file(reader: Reader, folder: Path, noisy: np.ndarray) -> None:
    whole = write_mp4(folder / "sound.mp4", noisy, 20.0)
    said = bytearray(whole.read_bytes())
    said[len(said) // 2 : len(said) // 2 + 3000] = bytes(3000)
    hurt = folder / "hurt.mp4"
    hurt.write_bytes(said)
    full, _ = reader.read(whole, start=0, count=99, stride=1)
    part, _ = reader.read(hurt, start=0, count=99, stride=1)
    assert 5 <= len(part) < 40
    assert np.array_equal(part, full[: len(part)])


def test_frames_that_are_painted_over_end_the_file(folder: Path) -> None:
    """Decoders hide small damage without an error, and only mark the frame. Of pyav alone: decord does not tell."""
    base = np.random.default_rng(0).integers(0, 255, (12, 20, 3)).repeat(4, 0).repeat(4, 1).astype(np.uint8)
    said = write_mp4(folder / "linked.mp4", np.stack([np.roll(base, t, 1) for t in range(40)]), 20.0).read_bytes()
    reader, hurt, found = registry.build("reader", "pyav"), folder / "bitten.mp4", 0
    for at in range(len(said) * 3 // 10, len(said) * 9 // 10, len(said) // 50):
        hurt.write_bytes(said[:at] + bytes([said[at] ^ 0x55]) + said[at + 1 :])
        with av.open(str(hurt)) as container:
            container.streams.video[0].thread_type = "SLICE"
            try:
                marks = [frame.is_corrupt for frame in container.decode(video=0)]
            except av.FFmpegError:
                continue
        if any(marks[1:]) and not marks[0]:
            found += 1
            assert len(reader.read(hurt, start=0, count=99, stride=1)[0]) == marks.index(True)
    assert found


def sound_only(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        for k in range(20):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 44100, 1024 * k
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def test_what_holds_no_picture(reader: Reader, folder: Path) -> None:
    empty, text, sound = folder / "empty.mp4", folder / "text.mp4", folder / "sound.m4a"
    empty.write_bytes(b"")
    text.write_text("no video at all")
    sound_only(sound)
    for path in (empty, text, sound, folder / "absent.mp4", folder):
        for call in (lambda p=path: reader.probe(p), lambda p=path: reader.read(p, start=0, count=4, stride=1)):
            with pytest.raises(ReadError) as caught:
                call()
            assert str(caught.value) and "\n" not in str(caught.value) and str(folder) not in str(caught.value)


@pytest.mark.parametrize("width", [2, 4, 8, 16, 24, 48, 72])
def test_tiny_widths_are_right_or_refused(reader: Reader, folder: Path, width: int) -> None:
    path = write_mp4(folder / f"tiny{width}.mp4", grey_frames(6, 16, width), 20.0)
    try:
        frames, _ = reader.read(path, start=0, count=6, stride=1)
    except ReadError as error:
        refused_by_decord(reader, error)
        return
    assert frames.shape == (6, 16, width, 3) and which(frames) == list(range(6))


def test_rotation_is_applied(reader: Reader, folder: Path) -> None:
    picture = np.zeros((64, 80, 3), np.uint8)
    picture[:32, :40] = 255  # the top left quarter
    for degrees in (90, 180, -90):
        path = folder / f"turned{degrees}.mp4"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=20)
            if not hasattr(stream, "set_display_rotation"):
                pytest.skip("this PyAV cannot write a rotation")
            stream.width, stream.height, stream.pix_fmt = 80, 64, "yuv420p"
            stream.set_display_rotation(degrees)
            for _ in range(3):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode())
        frames, _ = reader.read(path, start=0, count=3, stride=1)
        expected = np.rot90(picture, degrees // 90)
        assert frames.shape[1:] == expected.shape
        assert np.abs(frames[0].astype(int) - expected).mean() < 10, degrees
        info = reader.probe(path)
        assert (info.height, info.width) == expected.shape[:2]


def test_uneven_times(reader: Reader, folder: Path) -> None:
    path, ticks = folder / "uneven.mp4", [0, 3, 4, 10, 20, 21, 35, 36]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=20)
        stream.width, stream.height, stream.pix_fmt = 80, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 20)
        for tick, picture in zip(ticks, grey_frames(8), strict=True):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts, frame.time_base = tick, Fraction(1, 20)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    frames, times = reader.read(path, start=1, count=4, stride=2)
    assert which(frames) == [1, 3, 5, 7]
    np.testing.assert_allclose(times, np.array([3, 10, 21, 36]) / 20, atol=2e-3)


def test_largest_of_two_streams(folder: Path) -> None:
    """Of pyav alone: decord cannot be told which stream to take."""
    reader = registry.build("reader", "pyav")
    path = folder / "two.mp4"
    with av.open(str(path), "w") as container:
        streams = []
        for height, width in ((32, 48), (64, 96)):
            stream = container.add_stream("libx264", rate=20)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            streams.append(stream)
        for t in range(6):
            for stream, (height, width) in zip(streams, ((32, 48), (64, 96)), strict=True):
                container.mux(
                    stream.encode(av.VideoFrame.from_ndarray(grey_frames(6, height, width)[t].copy(), format="rgb24"))
                )
        for stream in streams:
            container.mux(stream.encode())
    assert reader.read(path, start=0, count=6, stride=1)[0].shape == (6, 64, 96, 3)


def test_av1_is_read_by_pyav_and_named_by_decord(folder: Path) -> None:
    path = folder / "av1.mp4"
    encoder = next((name for name in ("libsvtav1", "libaom-av1") if name in av.codecs_available), None)
    if encoder is None:
        pytest.skip("this PyAV has no AV1 encoder")
    with av.open(str(path), "w") as container:
        stream = container.add_stream(encoder, rate=20)
        stream.width, stream.height, stream.pix_fmt = 80, 64, "yuv420p"
        for picture in grey_frames(6, 64, 80):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture.copy(), format="rgb24")))
        container.mux(stream.encode())
    assert which(registry.build("reader", "pyav").read(path, start=0, count=6, stride=1)[0]) == list(range(6))
    pytest.importorskip("decord")
    with pytest.raises(ReadError, match="reader=pyav"):
        registry.build("reader", "decord").probe(path)


def test_decord_absent_names_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "decord", None)
    with pytest.raises(UserError, match="reader=pyav"):
        registry.build("reader", "decord")


def test_readers_agree_on_ordinary_video(folder: Path, noisy: np.ndarray) -> None:
    pytest.importorskip("decord")
    path = write_mp4(folder / "agree.mp4", noisy, 23.976)
    a, b = (registry.build("reader", name).read(path, start=2, count=9, stride=3) for name in ("decord", "pyav"))
    assert np.abs(a[0].astype(int) - b[0]).mean() < 2
    np.testing.assert_allclose(a[1], b[1], atol=1e-3)


def test_real_odd_files_never_crash(reader: Reader) -> None:
    odd = Path("/work/shared/data/odd")
    if not odd.exists():
        pytest.skip("the shared clips are not here")
    for path in sorted(odd.glob("mp4parse__*")):
        try:
            frames, times = reader.read(path, start=0, count=4, stride=1)
        except ReadError:
            continue
        assert frames.ndim == 4 and frames.shape[-1] == 3 and len(times) == len(frames) > 0
