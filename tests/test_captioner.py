"""Captions: the words read back, the two captioners, their stage, the manifest, and training on what was said."""

from __future__ import annotations

import csv
import json
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from components.caption_search import beam_search
from components.captioned_frames import evenly, fitted, resized
from components.captioner.coca import Coca
from components.captioner.oracle import Oracle
from components.contracts import Captioner, Clip, TrainableCaptioner
from components.dataset.moving_shapes import MovingShapes
from components.shape_words import ATTRIBUTES, attributes_of, said_attributes, written
from components.video_file import write_mp4
from components.video_manifest import read_manifest as read_folder_manifest
from components.word_vocabulary import END, START, UNKNOWN, WordVocabulary
from zoo import annotation, captioning
from zoo.annotation import Annotation, CaptionedLatents
from zoo.caption_accuracy import accuracy
from zoo.checkpoint import Interrupted
from zoo.entry import guarded
from zoo.errors import BadValue, UnknownName, UnmetNeed, UserError
from zoo.run import main as run

TINY = {"width": 16, "heads": 2, "frames": 4, "size": 16, "queries": 2, "words": 40, "length": 14, "time_depth": 1}


def shapes(count: int = 4, **options) -> list[Clip]:
    data = MovingShapes(MovingShapes.Config(sizes=[(16, 16), (16, 24)], frames=5, train=count, **options))
    return [data.clip("train", index) for index in range(count)]


def tiny(clips: list[Clip] | None = None, **options) -> Coca:
    torch.manual_seed(0)
    made = Coca(Coca.Config(**{**TINY, **options}))
    made.learn_words([clip.caption or "" for clip in clips or shapes()])
    return made


def batch(clips: list[Clip], count: int = 4) -> tuple[torch.Tensor, list[str]]:
    return torch.cat([resized(fitted(c.frames, count), 16, count) for c in clips]), [c.caption or "" for c in clips]


# -------------------------------------------------------------------------------------------------------- the words


def test_every_caption_is_read_back_in_any_order():
    for colour, shape, motion, ground in product(*ATTRIBUTES.values()):
        wanted = {"colour": colour, "shape": shape, "motion": motion, "background": ground}
        assert attributes_of(written(colour, shape, motion, ground)) == wanted
        assert attributes_of(f"On a {ground} background, a {colour} {shape} that {motion}.") == wanted


def test_what_is_not_said_or_said_twice_is_missing():
    assert attributes_of("a red circle moves left") is None
    assert said_attributes("a red circle moves left") == {"colour": "red", "shape": "circle", "motion": "moves left"}
    assert "colour" not in said_attributes("a red blue circle grows on a grey background")
    assert said_attributes("moving slowly to the right on a gray background") == {
        "motion": "moves right", "background": "grey",
    }  # fmt: skip
    assert said_attributes("it moves in a circle") == {"motion": "moves in a circle"}


def test_the_vocabulary_travels_with_the_weights():
    words = WordVocabulary(12)
    words.learn(["a red circle, a red square", "a blue circle"])
    other = WordVocabulary(12)
    other.load_state_dict(words.state_dict())
    rows = other.encode(["A red circle, seen"], length=8)
    assert rows[0, 0] == START and rows[0, -1] == END and UNKNOWN in rows[0]
    assert other.decode(rows) == ["a red circle,"]
    assert words.encode(["a b c d e"], length=2).shape == (1, 4)


# ------------------------------------------------------------------------------------------------------- the search


def test_beams_find_what_greed_misses():
    """Word 3 looks best at first (0.6) and leads nowhere (0.3 each); word 4 leads to a sure ending."""
    table = torch.full((6, 6), 1e-9)
    table[1, 3], table[1, 4] = 0.6, 0.4
    table[3, 5], table[3, 4], table[3, 3] = 0.34, 0.33, 0.33
    table[4, 2], table[5, 2] = 1.0, 1.0

    def score(said: torch.Tensor) -> torch.Tensor:
        return table[said[:, -1]].log()

    def found(beams: int) -> tuple[list[int], float]:
        device = torch.device("cpu")
        said, sure = beam_search(score, count=1, beams=beams, length=4, start=1, end=2, device=device)
        return said[0].tolist(), float(sure[0])

    greedy, beam = found(1), found(3)
    assert greedy[0][:3] == [3, 5, 2] and greedy[1] == pytest.approx((0.6 + 0.34 + 1.0) / 3)
    assert beam[0][:2] == [4, 2] and beam[1] == pytest.approx((0.4 + 1.0) / 2)


def test_frames_are_spread_over_the_clip():
    assert evenly(16, 4).tolist() == [0, 5, 10, 15]
    assert evenly(2, 4).tolist() == [0, 0, 1, 1]
    assert evenly(5, 1).tolist() == [0]
    assert resized(torch.zeros(1, 3, 9, 20, 31), 16, 4).shape == (1, 3, 4, 16, 16)


# ------------------------------------------------------------------------------------------------------ captioners


def test_both_keep_the_contract():
    assert isinstance(Oracle(Oracle.Config()), Captioner)
    assert isinstance(tiny(), TrainableCaptioner)


def test_the_oracle_says_the_truth_or_refuses():
    clips = shapes()
    assert [one.caption for one in Oracle(Oracle.Config()).describe(clips)] == [clip.caption for clip in clips]
    mute = Clip(clips[0].frames, clips[0].times, 8.0, episode="mute")
    with pytest.raises(UnmetNeed, match=r"nothing to say of 'mute'.*captioner=coca"):
        Oracle(Oracle.Config()).describe([mute])


def test_the_loss_is_the_papers_sum():
    clips = shapes()
    video, captions = batch(clips)
    losses = [
        float(tiny(clips, **one).eval().loss(video, captions).detach())
        for one in ({}, {"captioning": 0}, {"contrastive": 0})
    ]
    both, contrast, words = losses
    assert contrast > 0 and both == pytest.approx(contrast + words, rel=1e-5)
    model = tiny(clips).eval()
    rows = model.network.vocabulary.encode(captions, 14)
    nats = model.surprise(video, captions)
    assert nats.shape == (4,)
    weights = ((rows != 0).sum(1) - 1).float()
    assert float((nats * weights).sum() / weights.sum()) == pytest.approx(words / 2, rel=1e-5)


def test_a_clip_of_the_same_caption_is_no_negative():
    clips = shapes()
    video, captions = batch([clips[0], clips[0]])
    assert float(tiny(clips, captioning=0).loss(video, captions).detach()) == pytest.approx(0.0, abs=1e-6)


def test_a_word_sees_only_words_before_it():
    model = tiny().eval()
    rows = model.network.vocabulary.encode([written("red", "circle", "grows", "grey")], 14)
    other = rows.clone()
    other[0, 5:] = UNKNOWN
    seen = model.network.see(torch.zeros(1, 3, 4, 16, 16))
    a, b = (model.network.tell(model.network.read(one), seen) for one in (rows, other))
    torch.testing.assert_close(a[:, :5], b[:, :5])
    assert not torch.allclose(a[:, 5:], b[:, 5:])


def test_every_weight_is_trained():
    clips = shapes()
    model = tiny(clips)
    model.loss(*batch(clips)).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum()] == []


def test_what_all_clips_share_is_taken_out_of_the_caption_tokens():
    """Clips that hardly differ are told apart in training as well as those that differ; one alone does not fail."""
    model = tiny().train()
    video = 0.5 + 0.01 * torch.randn(4, 3, 4, 16, 16)
    tokens = model.network.see(video)
    assert tokens.shape == (4, 2 + 3, 16)
    assert tokens.detach().mean(dim=0).abs().max() < 1e-4 and tokens.detach().var(dim=0).mean() > 0.5
    assert torch.isfinite(model.network.see(video[:1])).all()
    assert tiny(glances=0).network.see(video).shape == (4, 2, 16)


def test_a_glance_finds_a_small_thing_wherever_it_is():
    """A thing gives the same token wherever it is, in a frame of any size: it does not drown in empty ground."""
    glance = tiny().network.eval().glance

    def token(size: int, y: int, x: int) -> torch.Tensor:
        shown = torch.zeros(1, 6, 1, size, size)
        shown[..., y : y + 4, x : x + 4] = 2.0
        return glance(shown)[0, 0]

    none, here = glance(torch.zeros(1, 6, 1, 32, 32))[0, 0], token(32, 8, 8)
    assert (here - none).abs().max() > 0.01
    torch.testing.assert_close(here, token(32, 20, 16), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(here, token(64, 36, 24), rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_it_learns_clips_by_heart_and_says_the_same_in_any_company():
    clips = shapes(3, seed=1)
    model = tiny(clips, width=32)
    video, captions = batch(clips)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(150):
        optimizer.zero_grad()
        model.loss(video, captions).backward()
        optimizer.step()
    said = model.describe(clips)
    assert [one.caption for one in said] == captions
    assert all(0.5 < one.confidence <= 1 for one in said)
    alone = [model.describe([clip])[0] for clip in clips]
    assert [one.caption for one in alone] == captions
    assert model.training
    found = accuracy(model, clips)
    assert found["all_right"] == found["motion"] == 1.0 and found["nats_per_word"] < 0.5


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"patch": 6}, "power of two"),
        ({"size": 20}, "multiple of patch"),
        ({"width": 18}, "multiple of 4"),
        ({"frames": 3}, "multiple of tubelet"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        Coca.Config(**{**TINY, **options})


# ------------------------------------------------------------------------------------------------------- open_clip

SIZES = {
    "embed_dim": 16,
    "vision_cfg": {
        "image_size": 32, "layers": 1, "width": 16, "head_width": 8, "patch_size": 16, "attentional_pool": True,
        "attn_pooler_heads": 2, "attn_pooler_queries": 4, "output_tokens": True,
    },
    "text_cfg": {
        "context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1, "embed_cls": True,
        "output_tokens": True,
    },
    "multimodal_cfg": {
        "context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1, "attn_pooler_heads": 2,
    },
    "custom_text": True,
}  # fmt: skip


@pytest.fixture(scope="module")
def open_clip_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("open_clip") / "tiny_coca.json"
    path.write_text(json.dumps(SIZES))
    return path


def test_open_clips_network_describes_clips_of_any_size(open_clip_file):
    pytest.importorskip("open_clip")
    torch.manual_seed(0)
    model = Coca(Coca.Config(config_path=str(open_clip_file), frames=2, length=6, beams=2))
    clips = shapes(3)
    said = model.describe(clips)
    assert not model.trainable and not any(p.requires_grad for p in model.parameters())
    assert len(said) == 3 and all(0 < one.confidence < 1 for one in said)
    assert [one.caption for one in model.describe(clips)] == [one.caption for one in said]


def test_random_weights_of_open_clips_network_follow_the_seed_alone(open_clip_file):
    pytest.importorskip("open_clip")
    made = []
    torch.use_deterministic_algorithms(True)  # memory that nobody wrote is then NaN
    try:
        for _ in range(2):
            torch.manual_seed(0)
            made.append(Coca(Coca.Config(config_path=str(open_clip_file), frames=1)).network.state_dict())
    finally:
        torch.use_deterministic_algorithms(False)
    for name, value in made[0].items():
        assert torch.equal(value, made[1][name]), name


def test_open_clips_decoder_steps_agree_with_its_own_forward(open_clip_file):
    """Its pass over a whole caption and ours word by word give one distribution."""
    open_clip = pytest.importorskip("open_clip")
    torch.manual_seed(0)
    model = Coca(Coca.Config(config_path=str(open_clip_file), frames=1)).network
    seen = model.seen(fitted(shapes(1)[0].frames, 1), 1)
    text = open_clip.SimpleTokenizer(context_length=12)(["a red circle"])
    with torch.no_grad():
        whole = model.model(seen[:, :, 0], text)["logits"]
        _, tokens = model.model._encode_image(seen[:, :, 0])
        _, hidden = model.model._encode_text(text[:, :3])
        mine = model.model.text_decoder(tokens, hidden[:, :3])
    torch.testing.assert_close(mine[:, 2], whole[:, 2], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"model": "coca_VIT-B-32", "pretrained": "x"}, UnknownName, "coca_ViT-B-32"),
        ({"model": "coca_ViT-B-32"}, BadValue, "random weights.*laion2b_s13b_b90k"),
        ({"config_path": "/nowhere.json"}, BadValue, "no open_clip CoCa"),
        ({"pretrained": "laion2b_s13b_b90k"}, BadValue, "captioner.model=coca_ViT-B-32"),
    ],
)
def test_what_open_clip_cannot_load_is_refused(options, kind, words):
    pytest.importorskip("open_clip")
    with pytest.raises(kind, match=words):
        Coca(Coca.Config(**options))


def test_absent_weights_are_refused_in_one_sentence(open_clip_file):
    pytest.importorskip("open_clip")
    with pytest.raises(BadValue, match="does not hold the weights of tiny_coca"):
        Coca(Coca.Config(config_path=str(open_clip_file), pretrained="/nowhere.pt"))


# -------------------------------------------------------------------------------------------- manifest and mixture


def test_the_manifest_is_read_back_and_read_by_video_folder(tmp_path):
    rows = [
        Annotation("a/b, c.mp4", 'a "red" circle', "test", "me", "CC0", "synthetic", "coca", "0f" * 8, 0.75),
        Annotation("d.mp4", "ein grüner Kreis", caption_source="truth"),
    ]
    path = annotation.write_manifest(tmp_path / "captions.csv", rows)
    assert annotation.read_manifest(path) == rows
    read = read_folder_manifest(path)
    assert [(row.name, row.caption, row.split, row.source) for row in read] == [
        ("a/b, c.mp4", 'a "red" circle', "test", "me"), ("d.mp4", "ein grüner Kreis", None, ""),
    ]  # fmt: skip
    path.write_text("path,words\nx,y\n")
    with pytest.raises(UserError, match="delete it and run again"):
        annotation.read_manifest(path)


class Latents:
    """A cache of episodes with true captions, but the last."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def episode(self, index: int):
        from zoo.stages.cache import LatentEpisode

        caption = None if index == self.count - 1 else f"true {index}"
        return LatentEpisode(np.zeros((1, 1, 1, 1)), None, None, None, caption, f"e{index}")

    def shape(self, index: int) -> tuple[int, ...]:
        return (1, 1, 1, 1)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_share_of_synthetic_captions_is_kept_and_the_same_on_every_call(share):
    count = 400
    mixed = CaptionedLatents(Latents(count), {f"e{index}": f"said {index}" for index in range(count)}, share, seed=3)
    said = [mixed.episode(index).caption or "" for index in range(count)]
    assert said == [mixed.episode(index).caption for index in range(count)]
    synthetic = sum(one.startswith("said") for one in said[:-1]) / (count - 1)
    assert synthetic == share if share in (0.0, 1.0) else abs(synthetic - share) < 0.08
    assert said[-1] == f"said {count - 1}", "a clip without a true caption takes the captioner's"
    assert len(mixed) == count and mixed.shape(0) == (1, 1, 1, 1)
    import pickle

    assert pickle.loads(pickle.dumps(mixed)).episode(5).caption == said[5]


def test_another_seed_mixes_others():
    a, b = ([annotation.draw(seed, f"e{index}") < 0.5 for index in range(64)] for seed in (0, 1))
    assert a != b


def test_accuracy_counts_attribute_by_attribute():
    truth = written("red", "circle", "grows", "grey")
    said = [truth, written("blue", "circle", "grows", "grey"), "nothing"]
    clips = [Clip(np.zeros((1, 2, 2, 3), np.uint8), np.zeros(1), 8.0, caption=truth) for _ in said]
    fake = SimpleNamespace(
        trainable=False, describe=lambda _: [SimpleNamespace(caption=one, confidence=0.5) for one in said]
    )
    assert accuracy(fake, clips) == {
        "clips": 3, "all_right": pytest.approx(1 / 3), "colour": pytest.approx(1 / 3), "shape": pytest.approx(2 / 3),
        "motion": pytest.approx(2 / 3), "background": pytest.approx(2 / 3), "confidence": 0.5,
    }  # fmt: skip
    free = [Clip(clip.frames, clip.times, 8.0, caption="a dog") for clip in clips]
    assert accuracy(fake, free)["all_right"] == 0
    assert accuracy(fake, []) == {}


# ------------------------------------------------------------------------------------------------------- pipeline

PIPELINE = [
    "recipe=captions_pipeline", "dataset={name: moving_shapes, sizes: [[16, 16]], frames: 8, train: 8, test: 6}",
    "captioner={name: coca, width: 16, heads: 2, frames: 4, size: 16, queries: 2, words: 40, length: 14}",
    "tokenizer.width=8", "train.tokenizer.steps=1", "train.tokenizer.batch=2", "train.captioner.steps=3",
    "train.captioner.batch=4", "train.captioner.clips=5", "train.generator.steps=2", "train.generator.batch=2",
    "train.generator.window=8", "sample.window=8", "sample.step=8", "backbone={width: 16, depth: 1, heads: 2}",
    "solver.steps=1", "suite=shapes_text", "suite.episodes=6", "suite.frames=8", "suite.metrics=[flicker]",
    "suite.controls=[]",
]  # fmt: skip


def pipeline_of(arguments: list[str], root: Path):
    from zoo.pipeline import Pipeline
    from zoo.recipe import resolve, validate
    from zoo.store import Store

    return Pipeline(validate(resolve(arguments, sweep=True)[0]), Store(root))


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    """Runs of the whole pipeline, tiny: trained, annotated, generated, judged."""
    root = tmp_path_factory.mktemp("captions")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_RUNS", str(root))
        assert guarded(run, PIPELINE) == 0
    return root


def test_one_recipe_goes_from_captioner_to_record(store):
    from benchmarks import record as records

    rows, broken = records.read_all(store / "records")
    (row,) = [row for row in rows if row.kind == "model"]
    assert not broken and row.stages["captioner"].startswith("captioner-")
    assert set(row.metrics["caption_accuracy"].parts) == set(ATTRIBUTES) and row.metrics["caption_accuracy"].n == 6
    assert row.metrics["caption_nats"].value > 0
    assert row.cost.parameters["captioner"] > 0 and row.cost.trained_seconds["captioner"] > 0
    assert {"yu2022coca", "yan2022videococa"} <= set(row.citations)
    said = annotation.read_manifest(store / row.stages["captioner"] / captioning.MANIFEST)
    assert len(said) == 8 and {one.caption_source for one in said} == {"synthetic"}
    assert len({one.weights for one in said}) == 1 and len(said[0].weights) == 16
    assert said[0].captioner == "coca" and said[0].path.startswith("moving_shapes/0/train/")


def test_the_generator_learned_from_what_was_said(store):
    pipeline = pipeline_of(PIPELINE, store)
    said = pipeline.captioning.captions()
    mixed = pipeline.captioning.mixed(Latents(0), 0)
    assert mixed.said == said and mixed.share == 1.0
    assert pipeline.generator_dir.done and pipeline.captioning.folder.done
    assert pipeline.generator_dir.facts()["parents"]["captioner"] == pipeline.captioning.folder.name


def test_without_synthetic_captions_no_captioner_names_a_run(store):
    plain = [one for one in PIPELINE if not one.startswith("captioner=")]
    plain += ["captioner=oracle", "train.generator.synthetic_share=0"]
    pipeline = pipeline_of(plain, store)
    other = pipeline_of([*plain, "train.captioner.lr=0.1"], store)
    assert "captioner" not in pipeline.generator_key and "synthetic_share" not in pipeline.generator_key["train"]
    assert pipeline.generator_dir.name == other.generator_dir.name
    half = pipeline_of([*PIPELINE, "train.generator.synthetic_share=0.5"], store)
    assert half.captioning.folder.name == pipeline_of(PIPELINE, store).captioning.folder.name
    assert len({one.generator_dir.name for one in (pipeline, half, pipeline_of(PIPELINE, store))}) == 3


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["text_encoder=none", "guidance=none"], "text_encoder=none does not read"),
        (["train.generator.synthetic_share=0"], "has no part in this run"),
    ],
)
def test_captions_that_nobody_reads_are_refused(changes, words, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ZOO_RUNS", str(tmp_path))
    assert guarded(run, [*PIPELINE, *changes]) == 2
    assert words in capsys.readouterr().err


def test_a_resumed_captioner_ends_with_the_weights_of_an_unbroken_one(store, tmp_path):
    """Stopped after step 2 of 3 by a loss that is not there, then called again."""
    whole = pipeline_of(PIPELINE, store).captioning
    broken = pipeline_of([*PIPELINE, "trainer.checkpoint_every=1"], tmp_path).captioning
    from components.captioner import coca

    own, calls = coca.Coca.loss, []

    def failing(self, video, captions):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return own(self, video, captions)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coca.Coca, "loss", failing)
        with pytest.raises(Interrupted):
            _ = broken.captioner
    assert broken.folder.state == "interrupted"
    again = pipeline_of([*PIPELINE, "trainer.checkpoint_every=1"], tmp_path).captioning
    for (name, a), b in zip(whole.captioner.state_dict().items(), again.captioner.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    assert again.folder.facts()["resumed_from"] >= 1


# ------------------------------------------------------------------------------------------------------- annotate


@pytest.fixture
def videos(tmp_path) -> Path:
    folder = tmp_path / "videos"
    for index, clip in enumerate(shapes(3)):
        write_mp4(folder / "below" / f"{index}.mp4", clip.frames, clip.fps)
    (folder / "broken.mp4").write_bytes(b"no video")
    return folder


def test_a_folder_of_videos_is_annotated_and_trained_on(store, videos, tmp_path, monkeypatch, capsys):
    from zoo.__main__ import main

    monkeypatch.setenv("ZOO_RUNS", str(store))
    out = tmp_path / "captions.csv"
    name = pipeline_of(PIPELINE, store).captioning.folder.name
    assert main(["annotate", name, f"videos={videos}", f"out={out}", "reader=pyav"]) == 0
    said = capsys.readouterr().err
    assert "left out broken.mp4" in said and "wrote 3 captions of 'coca'" in said
    rows = annotation.read_manifest(out)
    assert [row.path for row in rows] == [f"below/{index}.mp4" for index in range(3)]
    from zoo import registry

    folder = registry.build(
        "dataset",
        "video_folder",
        {"root": str(videos), "frames": 5, "size": 16, "manifest": str(out), "cache": str(tmp_path / "cache")},
        reader=registry.build("reader", "pyav"),
    )
    clips = [folder.clip(split, i) for split in ("train", "validation", "test") for i in range(folder.size(split))]
    assert sorted(clip.caption or "" for clip in clips) == sorted(row.caption for row in rows)


def test_known_captions_stay_unless_all_are_asked_for(store, videos, tmp_path, monkeypatch):
    from zoo.__main__ import main

    monkeypatch.setenv("ZOO_RUNS", str(store))
    with (videos / "manifest.csv").open("w", newline="") as file:
        table = [["path", "caption", "split"], ["below/0.mp4", "mine", "test"], ["below/1.mp4", "", "train"]]
        csv.writer(file).writerows(table)
    generator = pipeline_of(PIPELINE, store).generator_dir.name
    call = ["annotate", generator, f"videos={videos}", f"out={tmp_path / 'c.csv'}", "reader=pyav"]
    assert main(call) == 0
    first, second = annotation.read_manifest(tmp_path / "c.csv")
    assert (first.caption, first.caption_source, first.split) == ("mine", "truth", "test")
    assert (second.caption_source, second.captioner, second.split) == ("synthetic", "coca", "train")
    assert main([*call, "keep=false"]) == 0
    assert [row.caption_source for row in annotation.read_manifest(tmp_path / "c.csv")] == ["synthetic"] * 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing"], "needs a run and a folder"),
        (["nothing", "videos=/nowhere"], "no such folder"),
        (["nothing", "videos={}", "keep=maybe"], "must be true or false"),
        (["nothing", "videos={}"], "no run is named 'nothing'"),
    ],
)
def test_annotate_refuses_bad_input(arguments, words, videos, tmp_path, monkeypatch, capsys):
    from zoo.__main__ import main

    monkeypatch.setenv("ZOO_RUNS", str(tmp_path))
    assert main(["annotate", *(one.format(videos) for one in arguments)]) == 2
    assert words in capsys.readouterr().err
