"""``zoo sample`` on real files: every task, every kind of file, given frames kept as they were, and bad input."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from components.frame_size import fit_to
from zoo import registry, sample_files, sample_words
from zoo.__main__ import main as command
from zoo.errors import BadValue
from zoo.pipeline import Pipeline
from zoo.recipe import resolve
from zoo.scene import Layout, Scene, places
from zoo.store import Store

TINY = [
    "recipe=shapes_text",
    "dataset.train=4",
    "dataset.validation=0",
    "dataset.test=2",
    "dataset.sizes=[[16, 16], [16, 24]]",
    "tokenizer.width=8",
    "backbone={width: 16, depth: 1, heads: 2}",
    "solver.steps=1",
    "train.tokenizer.steps=1",
    "train.generator.steps=1",
    "train.generator.batch=2",
    "train.tokenizer.batch=2",
    "sample.window=8",
    "sample.step=4",
    "train.generator.window=8",
]
LEARNED = "train.generator.masks={none: 1, first: 1, window: 1, backward: 1, ends: 1}"


def train(root: Path, *arguments: str) -> str:
    (recipe,) = resolve([*TINY, *arguments], sweep=False)
    pipeline = Pipeline(recipe, Store(root))
    pipeline.train()
    return str(pipeline.generator_dir.path)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("sampled")


@pytest.fixture(scope="module")
def run(root) -> str:
    return train(root, LEARNED)


@pytest.fixture(scope="module")
def prompted(root) -> str:
    """A run that learned to make videos of prompts alone."""
    return train(root, "train.generator.masks={}")


def film(frames: int, height: int, width: int, seed: int) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 255, (frames, height // 8, width // 8, 3))
    return coarse.repeat(8, 1).repeat(8, 2).astype(np.uint8)


def write(path: Path, frames: np.ndarray, codec: str, pixels: str) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], pixels
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format=pixels)))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    write(folder / "a.mp4", film(20, 32, 48, 0), "libx264", "yuv420p")
    write(folder / "b.webm", film(9, 48, 32, 1), "libvpx-vp9", "yuv420p")
    write(folder / "c.gif", film(9, 32, 32, 2), "gif", "rgb8")
    Image.fromarray(film(1, 40, 64, 3)[0]).save(folder / "cat.png")
    Image.fromarray(film(1, 64, 40, 4)[0]).save(folder / "dog.jpg")
    (folder / "not.mp4").write_bytes(b"no video" * 99)
    (folder / "not.png").write_bytes(b"no picture")
    return folder


@pytest.fixture
def at(files, tmp_path, monkeypatch) -> Path:
    """Commands run among the files; what they make goes to the folder that this gives."""
    monkeypatch.chdir(files)
    return tmp_path / "made"


def made(folder: Path, frames: int, size: tuple[int, int]) -> np.ndarray:
    """The one video in a folder; its contact sheet lies beside it."""
    (video,) = folder.glob("*.mp4")
    assert video.with_suffix(".png").stat().st_size
    found, _ = registry.build("reader", "pyav").read(video, start=0, count=999, stride=1)
    scale = max(1, 128 // min(size))
    assert found.shape == (frames, size[0] * scale, size[1] * scale, 3)
    return found[:, scale // 2 :: scale, scale // 2 :: scale]


TASKS = {
    "image_to_video": (["image=cat.png", "seconds=1", "size=24x16"], None, ["cat.png"]),
    "a picture after a clip": (["first=a.mp4", "last=c.gif", "task=stitch", "frames=24"], 24, ["a.mp4", "c.gif"]),
    "two clips": (["first=a.mp4", "last=b.webm", "context=3", "frames=12", "size=24x16"], 12, ["a.mp4", "b.webm"]),
    "forward": (["first=b.webm", "frames=13"], 13, ["b.webm"]),
    "backward": (["first=c.gif", "direction=backward", "frames=13", "context=4"], 13, ["c.gif"]),
    "infill": (["first=a.mp4", "task=infill", "frames=15", "context=4"], 15, ["a.mp4"]),
    "loop": (["first=a.mp4", "task=loop", "frames=12", "context=3"], 12, ["a.mp4"]),
    "loop of a picture": (["image=dog.jpg", "task=loop", "frames=7", "size=16x24"], 7, ["dog.jpg"]),
    "loop of a prompt": (["prompt=a red circle", "task=loop", "frames=13", "size=16x24"], 13, []),
    "prompt": (["prompt=a red circle", "size=40x24", "frames=9"], 9, []),
}


@pytest.mark.parametrize("case", TASKS)
def test_every_task_on_real_files(case, run, at, capsys):
    words, frames, _ = TASKS[case]
    assert command(["sample", run, *words, f"out={at}"]) == 0, capsys.readouterr().err
    assert len(list(at.glob("*.mp4"))) == len(list(at.glob("*.png"))) == 1
    said = capsys.readouterr().err
    assert ("seam" in said) == ("loop" in case)
    assert ("join" in said) == (case in ("two clips", "infill", "a picture after a clip"))
    if frames is not None:
        size = {"prompt": (24, 40), "two clips": (16, 24), "loop of a picture": (24, 16), "loop of a prompt": (24, 16)}
        if case in size:
            made(at, frames, size[case])


def opened(run: str, *overrides: str):
    from zoo.finished_run import load

    return load(run, overrides=overrides)


def test_given_frames_stand_where_they_belong_and_come_back_as_they_were(run):
    model = opened(run)
    first, last = film(3, 16, 24, 5), film(4, 16, 24, 6)
    for task, kept_first, kept_last in (
        ("stitch", 3, 4),
        ("infill", 3, 4),
        ("extend", 3, 0),
        ({"name": "extend", "direction": "backward"}, 0, 4),
        ("image_to_video", 1, 0),
        ("loop", 3, 0),
        ("text_to_video", 0, 0),
    ):
        (video,) = model.sample(Scene(14, first, last=last, task=task, size=(16, 24)))
        assert video.shape == (14, 16, 24, 3), task
        np.testing.assert_array_equal(video[:kept_first], first[:kept_first], err_msg=str(task))
        np.testing.assert_array_equal(video[14 - kept_last :], last[4 - kept_last :], err_msg=str(task))
        assert not (video[kept_first] == first[-1]).all() and not (video[13 - kept_last] == last[0]).all()


def test_what_is_made_depends_on_both_ends_and_a_loop_on_its_opening(run):
    model = opened(run)
    torch.manual_seed(0)
    for parameter in model.generator.network.parameters():  # zero-initialised gates would hide what is looked at
        parameter.copy_(0.3 * torch.randn_like(parameter))
    scene = Scene(9, film(3, 16, 24, 5), last=film(3, 16, 24, 6), task="stitch")
    one, other = model.sample([scene, replace(scene, last=film(3, 16, 24, 7))])
    assert (one[:3] == other[:3]).all() and (one[3:6] != other[3:6]).any(), "the far end is looked at from the start"
    (again,) = model.sample(replace(scene, context=film(3, 16, 24, 8)))
    assert (one[3:6] != again[3:6]).any()
    request = model.request(replace(scene, task="loop", last=None))
    assert request.frames == 12 and (request.closing == request.context).all()


def test_a_scene_of_a_clip_and_videos_in_files(run, tmp_path):
    model = opened(run)
    clip = model.dataset().clip("test", 0)
    scene = Scene.of(clip, 2, closing=3, task="stitch")
    assert scene.frames == len(clip.frames) and len(scene.last) == 3 and scene.prompt == clip.caption
    assert Scene.of(clip, 2).last is None and Scene.of(clip, 2).task is None
    (path,), _ = model.sample_to(tmp_path / "files", [scene])
    (whole,), cost = model.sample_with_cost([scene])
    np.testing.assert_array_equal(np.load(path), whole)
    assert cost.frames_made == len(clip.frames) - 5
    (path,), _ = model.sample_to(tmp_path / "loop", [Scene.of(clip, 0, task="loop")])
    assert len(np.load(path)) == len(clip.frames)


class Counts:
    """The frame counts of a tokenizer."""

    def __init__(self, factor: int, image: bool, own: bool) -> None:
        self.temporal_factor, self.image = factor, image
        self.training_latents = 1 if own else 3

    def latent_frames(self, frames: int) -> int:
        if self.image:
            return 1 + (frames - 1) // self.temporal_factor if frames else 0
        return frames // self.temporal_factor

    def video_frames(self, latents: int) -> int:
        if self.image:
            return 1 + self.temporal_factor * (latents - 1) if latents else 0
        return latents * self.temporal_factor


@pytest.mark.parametrize(
    ("tokenizer", "frames", "last", "expected"),
    [
        (Counts(1, True, True), 20, 4, (20, 4, 0, 0)),
        (Counts(1, True, False), 20, 4, (20, 3, 1, 0)),  # each frame is told from the one before
        (Counts(4, True, False), 17, 9, (5, 2, 1, 0)),
        (Counts(4, True, False), 17, 8, (5, 1, 1, 0)),
        (Counts(4, True, False), 19, 7, (6, 2, 1, 2)),  # padded to 21: frames 12 … 20, of which 13 … are the last two
        (Counts(4, False, False), 16, 8, (4, 1, 4, 0)),
    ],
)
def test_closing_frames_lie_on_the_grid_of_the_video(tokenizer, frames, last, expected):
    found = places(tokenizer, frames, Layout(last=last))
    assert (found.total, found.closing, found.lead, found.padding) == expected
    start = tokenizer.video_frames(found.total - found.closing) - found.lead
    assert start >= frames - last, "no frame is looked at that is not given"


def test_too_few_closing_frames_for_a_latent_name_the_cure():
    with pytest.raises(BadValue, match="give 9"):
        places(Counts(4, True, False), 17, Layout(last=4))


BAD = {
    "no such file": (["first=nowhere.mp4"], "no such file"),
    "not a video": (["first=not.mp4"], "cannot be read"),
    "not a picture": (["image=not.png"], "cannot be read"),
    "not key=value": (["loop"], "is not key=value"),
    "unknown key": (["tsak=loop"], "Did you mean 'task'"),
    "unknown task": (["task=looop"], "Did you mean 'loop'"),
    "unknown option": (["task=loop", "direction=backward"], "has no option 'direction'"),
    "wrong direction": (["first=a.mp4", "direction=up"], "direction"),
    "a size of one side": (["size=96"], "size=96x64"),
    "no size": (["size=0x9"], "size=96x64"),
    "no frames": (["frames=0"], "at least 1"),
    "no seconds": (["seconds=-1"], "above 0"),
    "two lengths": (["frames=8", "seconds=1"], "keep one"),
    "two beginnings": (["image=cat.png", "first=a.mp4"], "keep one"),
    "given twice": (["frames=8", "frames=9"], "given twice"),
    "one clip of two": (["task=stitch", "first=a.mp4"], "last=FILE"),
    "a file that is not looked at": (["task=text_to_video", "first=a.mp4"], "looks at no given frame"),
    "one file too many": (["task=extend", "first=a.mp4", "last=b.webm"], "one file alone"),
    "nothing to make": (["first=a.mp4", "frames=8"], "ask for more frames"),
    "no hole": (["first=a.mp4", "task=infill", "frames=9"], "ask for more"),
    "a size that is not padded": (["prompt=x", "size=33x17", "sample.pad=false"], "sample.pad=true"),
    "a part of the training": (["prompt=x", "objective=epsilon"], "only sampling keys"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence_and_exit_code_2(case, run, at, capsys):
    words, expected = BAD[case]
    assert command(["sample", run, *words, f"out={at}"]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("zoo: ") and expected in said
    assert not at.exists()


def test_a_task_that_the_masks_never_taught_is_refused(prompted, at, capsys):
    for words, mask in (
        (["task=stitch", "first=a.mp4", "last=c.gif"], "masks={ends: 1.0}"),
        (["image=cat.png"], "masks={first: 1.0}"),
        (["first=a.mp4", "direction=backward"], "masks={backward: 1.0}"),
        (["prompt=a red circle", "frames=9"], "none: 1.0, window: 1.0"),
    ):
        assert command(["sample", prompted, *words, f"out={at}"]) == 2
        assert mask in capsys.readouterr().err
    assert command(["sample", prompted, "prompt=a red circle", f"out={at}"]) == 0


def test_a_prompt_that_is_too_long_is_cut_and_that_is_said_once(prompted, at, capsys):
    assert command(["sample", prompted, f"prompt={'red ' * 90}", "videos=2", f"out={at}"]) == 0
    assert capsys.readouterr().err.count("of which 64 are read") == 1
    assert len(list(at.glob("*.mp4"))) == 2


def test_sizes_and_words():
    asked, rest = sample_words.read(["size=96x64", "prompt=a, 'b' = c", "rollout=full", "context=0"])
    assert asked.size == (64, 96) and asked.prompt == "a, 'b' = c" and rest == ["rollout=full"] and asked.context == 0
    assert sample_words.read(["size=96×64"])[0].size == (64, 96)
    assert sample_words.read(["seconds=4"])[0].total(12.5, 3) == 50


def test_the_end_of_a_file_and_an_upright_picture(run, files, tmp_path):
    readers = sample_files.Readers(opened(run))
    whole = sample_files.start(readers, files / "a.mp4", 99).frames
    assert len(whole) == 20 and sample_files.start(readers, files / "a.mp4", 99).fps == 10
    for piece in (1, 7, 64):
        sample_files.PIECE, kept = piece, sample_files.PIECE
        try:
            np.testing.assert_array_equal(sample_files.end(readers, files / "a.mp4", 5).frames, whole[-5:])
        finally:
            sample_files.PIECE = kept
    turned = Image.fromarray(film(1, 40, 64, 3)[0])
    exif = turned.getexif()
    exif[0x0112] = 6  # a camera held upright
    turned.save(tmp_path / "turned.png", exif=exif)
    assert sample_files.picture(readers, tmp_path / "turned.png").frames.shape == (1, 64, 40, 3)
    pieces, said = sample_files.fitted([sample_files.Piece(whole, 10.0, "a.mp4")], (16, 24))
    np.testing.assert_array_equal(pieces[0].frames, fit_to(whole, (16, 24)))
    assert said is not None and "a.mp4 (48x32)" in said and "24x16" in said


def test_a_tokenizer_that_joins_frames_in_time(root):
    """Closing latents are those of a still and the frames after it, without the still; any length comes out."""
    model = opened(train(root, LEARNED, "tokenizer.temporal_factor=4", "train.tokenizer.frames=2"))
    first, last = film(5, 16, 24, 5), film(9, 16, 24, 6)
    request = model.request(Scene(25, first, last=last, task="stitch"))
    assert (request.frames, request.context.shape[1], request.closing.shape[1]) == (7, 2, 2)
    torch.testing.assert_close(request.closing, model.encode(last)[:, 1:])
    for frames, task in ((25, "stitch"), (23, "infill"), (30, {"name": "extend", "direction": "backward"})):
        (video,) = model.sample(Scene(frames, first, last=last, task=task))
        assert len(video) == frames
        np.testing.assert_array_equal(video[-9:], last)
    for given in (first, None):
        (video,) = model.sample(Scene(26, given, task="loop", size=(16, 24)))
        assert video.shape == (26, 16, 24, 3)
