"""``zoo score`` on real little videos: right figures, any two folders, one clear sentence for what cannot be scored."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import av
import numpy as np
import pytest

from benchmarks.frechet import frechet_distance
from zoo.__main__ import main

N, FRAMES = 3, 20


def film(path: Path, frames: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        stream.bit_rate = 4_000_000
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def pan(seed: int, speed: int, height: int = 48, width: int = 64, frames: int = FRAMES) -> np.ndarray:
    rng = np.random.default_rng(seed)
    wall = rng.integers(30, 220, (height // 8, width // 8, 3)).repeat(8, 0).repeat(8, 1)
    return np.stack([np.roll(wall, t * speed, 1) for t in range(frames)]).astype(np.uint8)


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("videos")
    for seed in range(N):
        film(root / "real" / f"v{seed}.mp4", pan(seed, 2))
        film(root / "fake" / f"v{seed}.mp4", pan(seed, 1))
        film(root / "large" / f"v{seed}.mp4", pan(seed, 2, 96, 160))
        shutil.copytree(root / "real", root / "same", dirs_exist_ok=True)
    return root


def scored(capsys, *arguments: str) -> dict:
    assert main(["score", *arguments, "format=json"]) == 0
    return json.loads(capsys.readouterr().out)["metrics"]


def refused(capsys, *arguments: str) -> str:
    assert main(["score", *arguments]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and "Traceback" not in said.err
    return said.err


def test_equal_folders_are_perfect_and_different_ones_are_not(folders, capsys):
    names = "metrics=fd_lite0_motion,psnr"
    same = scored(capsys, f"fake={folders}/same", f"real={folders}/real", names)
    assert same["psnr"]["value"] == 100 and same["fd_lite0_motion"]["value"] == pytest.approx(0, abs=1e-6)
    other = scored(capsys, f"fake={folders}/fake", f"real={folders}/real", names)
    assert other["psnr"]["value"] < 30 and other["fd_lite0_motion"]["value"] > 1
    assert other["psnr"]["n"] == N and len(other["psnr"]["interval"]) == 2
    assert same["psnr"]["key"] == other["psnr"]["key"], "the same protocol on the same truth"


def test_every_option_of_the_protocol_is_in_the_key(folders, capsys):
    place = (f"fake={folders}/fake", f"real={folders}/real", "metrics=psnr")
    keys = {scored(capsys, *place, *extra)["psnr"]["key"] for extra in
            ((), ("frames=10",), ("stride=2", "frames=8"), ("frames=8",), ("size=32",), ("context=4",))}  # fmt: skip
    assert len(keys) == 6


def test_sizes_may_differ_when_one_is_asked_for(folders, capsys):
    place = (f"fake={folders}/large", f"real={folders}/real", "metrics=psnr")
    assert "one shape" in refused(capsys, *place)
    assert "x32x32" in scored(capsys, *place, "size=32")["psnr"]["key"]


def test_strangers_are_paired_in_order_and_half_a_pairing_is_refused(folders, tmp_path, capsys):
    for seed in range(N):
        film(tmp_path / "named" / f"clip{seed}.mp4", pan(seed, 2))
    paired = scored(capsys, f"fake={tmp_path}/named", f"real={folders}/real", "metrics=psnr")
    assert paired["psnr"]["value"] > 30
    (tmp_path / "named" / "clip2.mp4").rename(tmp_path / "named" / "v1.mp4")
    assert "rename" in refused(capsys, f"fake={tmp_path}/named", f"real={folders}/real", "metrics=psnr")


def test_features_are_scored_without_videos(tmp_path, capsys):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 6)), rng.normal(size=(30, 6)) + 1
    np.savez(tmp_path / "x.npz", features=x)
    np.savez(tmp_path / "y.npz", features=y)
    figures = scored(capsys, f"fake={tmp_path}/x.npz", f"real={tmp_path}/y.npz", "metrics=frechet")
    assert figures["frechet"]["value"] == pytest.approx(frechet_distance(x, y))
    assert {"mmd", "infinity", "real_vs_real"} == set(figures["frechet"]["parts"])
    place = (f"fake={tmp_path}/x.npz", f"real={tmp_path}/y.npz")
    assert "frechet" in refused(capsys, *place, "metrics=psnr")
    np.savez(tmp_path / "y.npz", other=y)
    assert "array 'features'" in refused(capsys, *place)
    np.savez(tmp_path / "y.npz", features=y[:, :3])
    assert "one extractor" in refused(capsys, *place)
    np.savez(tmp_path / "y.npz", features=np.array([["a"], ["b"]]))
    assert "finite" in refused(capsys, *place)
    (tmp_path / "y.npz").write_text("torn")
    assert "cannot read" in refused(capsys, *place)


def test_the_table_names_every_metric(folders, capsys):
    assert main(["score", f"fake={folders}/fake", f"real={folders}/real", "metrics=psnr,ssim"]) == 0
    out = capsys.readouterr().out
    assert "psnr" in out and "ssim" in out and "higher" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("metrics=psnrr",), "Did you mean 'psnr'"),
        (("metric=psnr",), "Did you mean 'metrics'"),
        (("metrics=revisit",), "needs poses"),
        (("metrics=fvd",), "i3d=FILE"),
        (("metrics=fvd", "i3d=/nowhere.pt"), "no I3D file"),
        (("metrics=psnr", "frames=30"), "set frames=20 or less"),
        (("metrics=psnr", "stride=4"), "set frames=5 or less"),
        (("metrics=psnr", "frames=many"), "not an integer"),
        (("metrics=psnr", "frames=0"), "at least 1"),
        (("metrics=psnr", "context=16"), "leaves nothing"),
        (("metrics=fd_lite0_motion", "frames=2"), "at least 3"),
        (("metrics=psnr", "reader=decrod"), "Did you mean 'decord'"),
        (("metrics=psnr", "format=yaml"), "not known"),
        (("metrics=psnr,psnr",), "twice"),
    ],
)
def test_what_cannot_be_scored_is_said_in_one_sentence(folders, capsys, arguments, said):
    assert said in refused(capsys, f"fake={folders}/fake", f"real={folders}/real", *arguments)


def test_bad_folders_are_said_in_one_sentence(folders, tmp_path, capsys):
    real = f"real={folders}/real"
    assert "fake=… is missing" in refused(capsys, real)
    assert "is no folder" in refused(capsys, f"fake={tmp_path}/none", real, "metrics=psnr")
    assert "holds no videos" in refused(capsys, f"fake={tmp_path}", real, "metrics=psnr")
    film(tmp_path / "v0.mp4", pan(0, 1))
    assert "equal numbers" in refused(capsys, f"fake={tmp_path}", real, "metrics=psnr")
    for seed in (1, 2):
        (tmp_path / f"v{seed}.mp4").write_bytes(b"not a video")
    assert "v1.mp4" in refused(capsys, f"fake={tmp_path}", real, "metrics=psnr")
