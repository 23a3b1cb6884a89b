"""The scripts that time things beside others: that they run, at sizes at which no time means anything."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from benchmarks.peers import encoding, metrics, packing, rollout, tokenizers
from zoo.canvas import Cost
from zoo.errors import BadValue

EDITS = ["backbone.width=16", "backbone.depth=1", "tokenizer.width=8", "solver.steps=1"]


@pytest.fixture(scope="module")
def model():
    return rollout.build(EDITS)


def test_remembering_is_timed_and_changes_nothing(model):
    found = rollout.remembering(model, batch=2, rounds=1, repeats=1)
    assert found["with"] > 0 and found["without"] > 0
    assert found["difference"] <= 1e-5 * max(1.0, found["largest"])
    assert found["largest"] > 0


def test_both_ends_of_a_rollout_are_timed(model):
    found = rollout.by_time(model, frames=40, videos=1, context=8, span=8)
    assert found["first"] > 0 and found["last"] > 0


def test_ends_are_taken_in_the_order_of_making():
    cost = Cost(frames_made=20, seconds_by_step=[1.0, 9.0, 9.0, 9.0, 4.0], frames_by_step=[4, 4, 4, 4, 4])
    assert rollout.ends(cost, 4) == (0.25, 1.0)
    assert rollout.ends(cost, 6) == (10 / 8, 13 / 8)
    slow_start = Cost(frames_made=4, seconds_by_step=[1.0, 1.0, 2.0], frames_by_step=[0, 0, 4])  # rolling
    assert rollout.ends(slow_start, 4) == (1.0, 0.5)


def test_a_streamed_rollout_leaves_videos_and_its_peak(model, tmp_path):
    found = rollout.streamed(model, tmp_path, frames=24, videos=1, context=8)
    assert found["peak"] >= found["before"] > 10
    assert np.load(tmp_path / "0000.npy", mmap_mode="r").shape == (24, 32, 32, 3)


def test_the_measuring_process_imports_no_torch():
    code = "import sys, benchmarks.peers.rollout; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_options_are_checked():
    with pytest.raises(BadValue, match="batch=many"):
        rollout.main(["batch=many"])
    with pytest.raises(BadValue, match="bath"):
        metrics.main(["bath=3"])


def test_every_metric_of_the_suite_is_timed():
    suite = metrics.protocol(2, 40, 16)
    assert len(suite.metrics) > 10
    suite = suite.model_copy(update={"metrics": suite.metrics[:2]})  # all of them take a while
    taken = metrics.suite_seconds(suite)
    assert len(taken) == len(suite.metrics) and all(seconds > 0 for seconds in taken.values())


def test_synthetic_videos_keep_their_context_and_are_wrong_after_it():
    from benchmarks import harness
    from zoo import registry

    suite = metrics.protocol(2, 24, 16)
    clips = harness.episodes(suite, registry.build("dataset", suite.dataset.name, suite.dataset.options))
    for video, clip in zip(metrics.synthetic(clips, suite.context), clips, strict=True):
        assert np.array_equal(video[:12], clip.frames[:12]) and not np.array_equal(video[12:], clip.frames[12:])


def test_the_textbook_distance_is_ours():
    pytest.importorskip("scipy")
    found = metrics.frechet_beside_scipy(n=60, d=12, repeats=1)
    assert found["distance"] == pytest.approx(found["textbook"], rel=1e-6)


def test_tokenizers_are_compared_with_a_public_one_of_their_kind():
    video = torch.rand(1, 3, 5, 16, 16) * 2 - 1
    left, right = tokenizers.ours("vae", "vae", width=8, depth=2), tokenizers.autoencoder_kl(8)
    found = tokenizers.compare(left, right, video, rounds=2)
    assert found.keys() == {"training step", "encode + decode"}
    assert all(low <= middle <= high for low, middle, high in (call["ratio"] for call in found.values()))
    assert all(part > 0 for part in (*tokenizers.size(left, video), *tokenizers.size(right, video)))
    with pytest.raises(BadValue, match="bath=3"):
        tokenizers.main(["bath=3"])


@pytest.mark.parametrize("name", ["vae", "magvit2", "vqvae"])
def test_a_long_clip_is_encoded_piece_by_piece(name):
    found = encoding.encode(name, frames=41, side=16)
    assert found["latents"] == {"vae": 41, "magvit2": 11, "vqvae": 10}[name]
    assert found["peak"] >= found["before"] > 10
    with pytest.raises(BadValue, match="lengths=long"):
        encoding.main(["lengths=long"])


def test_packing_is_compared_with_padding_the_ideal_and_navit():
    small = {**packing.OPTIONS, "clips": 3, "frames": 2, "width": 16, "depth": 1, "heads": 2, "rounds": 1}
    lines = packing.pictures(small)
    assert len(lines) == 5 and all(line["ms"] > 0 and line["peak"] > 0 for line in lines)
    assert lines[0]["ratio"] == 1 and lines[0]["ideal"] > 0
    assert len(packing.clips(small, "space_time_causal")) == 2
    with pytest.raises(BadValue, match="rounds=no"):
        packing.main(["rounds=no"])


@pytest.mark.parametrize("attention", ["full", "space_time_causal"])
def test_the_ideal_batch_has_as_many_tokens_and_as_much_attention(attention):
    sizes = packing.sizes_of(24, 4)
    same = packing.equal_work(sizes, attention)
    assert len(set(same)) == 1

    def work(found):
        tokens = sum(f * h * w for f, h, w in found)
        joint = sum((f * h * w) ** 2 for f, h, w in found)
        return tokens, joint if attention == "full" else sum(f * (h * w) ** 2 for f, h, w in found)

    assert all(abs(mine / theirs - 1) < 0.15 for mine, theirs in zip(work(same), work(sizes), strict=True))
