"""The figures of 500-frame videos: each is right about a naive loop, about cheats, and about videos without memory."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from benchmarks import frame_types as types
from benchmarks import sliding
from benchmarks.contracts import Results, Scored, Setting
from benchmarks.feature import lite0
from benchmarks.frame_error import psnr_per_frame
from benchmarks.harness import control_rows, evaluate
from benchmarks.metric.coherence import coherence
from benchmarks.revisits import FAR, _other_views, consistency, recalled
from benchmarks.suite import Suite
from components.contracts import Clip
from zoo import registry
from zoo.errors import BadValue, UnmetNeed

CONTEXT, FRAMES, PAN = 40, 140, 20
TOURS = ("wobbled_loop", "loop", "out_and_back")
PLACES = (0, 1, 2, 0, 3, 2, 1)
"""One pan each: two given, one new, the first again, one new, the one that was generated again, the second again."""
SIZE = {"size": 32}
"""Of what the network sees: small, so that the tests are quick."""
COHERENCE = {"name": "coherence", **SIZE}
APPEARANCE = {"name": "fd_lite0_appearance", "feature_options": SIZE}
REVISITS = {"name": "pd_lite0", **SIZE, "every": 3, "label": "wobbled_revisit", "tours": ["wobbled_loop"],
            "types": ["revisit_context"]}  # fmt: skip

WOBBLED = {"name": "place_recognition", "label": "wobbled", "tours": ["wobbled_loop"], "types": ["revisit_context"]}


@lru_cache
def world(seed: int) -> Clip:
    """A camera pans over half a panorama at one place after another; the tour's kind goes round with the seed."""
    rng = np.random.default_rng(seed)
    tour = TOURS[seed % len(TOURS)]
    places = [gaussian_filter(rng.normal(size=(32, 160, 3)), (2, 2, 0), mode="wrap") for _ in range(4)]
    places = [((p - p.min()) / np.ptp(p) * 255).astype(np.uint8) for p in places]
    poses, frames = np.zeros((FRAMES, 4), np.float32), []
    for t in range(FRAMES):
        place, turn = PLACES[t // PAN], t % PAN
        shift = int(rng.integers(0, 2)) if tour == "wobbled_loop" else 0
        poses[t, 0], poses[t, 3] = 5 * place + 0.1 * shift, turn * np.pi / PAN
        frames.append(np.roll(places[place], -4 * turn - shift, axis=1)[:, :32])
    return Clip(np.stack(frames), np.arange(FRAMES) / 10, 10.0, poses=poses, episode=f"e{seed:02}", tour=tour)


CLIPS = [world(seed) for seed in range(6)]
KINDS = types.frame_types(CLIPS[0].poses, CONTEXT)


def run(change, *metrics, clips=CLIPS) -> Results:
    """Score clips whose frames after the context were changed by ``change(future frames, clip)``."""
    made = [np.concatenate([c.frames[:CONTEXT], change(c.frames[CONTEXT:], c)]).astype(np.uint8) for c in clips]
    suite = Suite(name="test", version=1, frames=FRAMES, context=CONTEXT, metrics=metrics, resamples=60)
    return evaluate(made, clips, suite, dataset="test:0")


def same(future, _):
    return future


def noisy(future, clip):
    rng = np.random.default_rng(int(clip.episode[1:]))
    return np.clip(future + rng.normal(0, 12, future.shape), 0, 255).round()


def blurred(future, _):
    return gaussian_filter(future.astype(float), (0, 3, 3, 0)).round()


def shuffled(future, _):
    return future[np.random.default_rng(0).permutation(len(future))]


def frozen(future, _):
    return np.repeat(future[:1], len(future), 0)


def decaying(future, _):
    """Ever more blurred."""
    return np.stack([gaussian_filter(f.astype(float), (t / 25, t / 25, 0)) for t, f in enumerate(future)]).round()


def elsewhere(future, clip):
    """The same camera in another world: consistent with itself, and wrong."""
    return world(int(clip.episode[1:]) + 30).frames[CONTEXT:]


# --------------------------------------------------------------------------------------------------- chosen frames


def test_the_world_has_every_type_of_frame():
    for clip in CLIPS:
        kinds = types.frame_types(clip.poses, CONTEXT)[CONTEXT:].reshape(-1, PAN)
        assert (kinds == np.array([[0], [1], [0], [2], [1]])).all()


def test_chosen_frames_are_those_of_a_naive_loop():
    chosen = {"tours": ["wobbled_loop"], "types": ["revisit_context"]}
    results = run(
        noisy, {"name": "pd_lite0", **SIZE}, {**REVISITS, "every": 8}, {"name": "psnr", "label": "w", **chosen}
    )
    feature = registry.build("feature", "lite0", SIZE)
    wanted: dict[str, dict[str, float]] = {"pd_lite0_wobbled_revisit": {}, "psnr_w": {}}
    for clip in CLIPS:
        if clip.tour != "wobbled_loop":
            continue
        fake = np.concatenate([clip.frames[:CONTEXT], noisy(clip.frames[CONTEXT:], clip)]).astype(np.uint8)
        at = [t for t in range(CONTEXT, FRAMES) if KINDS[t] == types.REVISIT_CONTEXT]
        wanted["psnr_w"][clip.episode] = float(np.mean(psnr_per_frame(fake[at], clip.frames[at])))
        at = [t for t in at if (t - CONTEXT) % 8 == 0]
        distances = feature.distance(fake[at], clip.frames[at])
        wanted["pd_lite0_wobbled_revisit"][clip.episode] = float(np.mean(distances))
    for name, values in wanted.items():
        metric = results.metrics[name]
        assert results.per_video[name] == pytest.approx(values, rel=1e-5) and metric.n == len(values) == 2
        assert metric.value == pytest.approx(np.mean(list(values.values())), rel=1e-5)
        assert "tours=wobbled_loop" in metric.key and "types=revisit_context" in metric.key and "videos=2" in metric.key
    whole = results.metrics["pd_lite0"]
    mean = np.mean(list(wanted["pd_lite0_wobbled_revisit"].values()))
    assert whole.parts["wobbled_loop/revisit_context"].value == pytest.approx(mean, rel=1e-5)
    assert "tours" not in whole.key and "types" not in whole.key


def test_frames_that_are_not_chosen_do_not_count():
    def spoilt(future, clip):
        made = future.copy()
        keep = (KINDS[CONTEXT:] == types.REVISIT_CONTEXT) & (clip.tour == "wobbled_loop")
        made[~keep] = 255 - made[~keep]
        return made

    good = run(spoilt, REVISITS, WOBBLED, {"name": "ssim", "label": "w", "tours": ["wobbled_loop"],
                                         "types": ["revisit_context"]})  # fmt: skip
    assert good.metrics["pd_lite0_wobbled_revisit"].value == pytest.approx(0, abs=1e-6)
    assert good.metrics["ssim_w"].value == pytest.approx(1, abs=1e-6)
    wobbled = good.metrics["place_recognition_wobbled"]
    assert wobbled.value == 1 and 0 < wobbled.parts["chance"].value < 0.5 and wobbled.n == 2
    assert run(lambda f, c: 255 - spoilt(f, c), REVISITS).metrics["pd_lite0_wobbled_revisit"].value > 0.1


def test_other_types_have_their_own_chance():
    unseen = {"name": "place_recognition", "label": "unseen", "types": ["unseen"]}
    results = run(noisy, "place_recognition", unseen)
    whole, chosen = (results.metrics[name] for name in ("place_recognition", "place_recognition_unseen"))
    assert chosen.value == whole.parts["unseen"].value and chosen.key != whole.key
    assert chosen.parts["chance"].value == whole.parts["chance_unseen"].value
    assert whole.parts["wobbled_loop"].n == 2 and whole.parts["chance_wobbled_loop"].value < 0.5
    assert {"gap32_128", "chance_gap32_128"} <= whole.parts.keys()


def test_a_choice_has_a_name_and_needs_poses():
    with pytest.raises(BadValue, match="label"):
        registry.build("metric", "psnr", {"tours": ["loop"]}, setting=Setting("p", "d"))
    for metric in ("psnr", "pd_lite0", "fd_lite0_motion"):
        blind = [Clip(c.frames, c.times, c.fps, episode=c.episode, tour=c.tour) for c in CLIPS]
        with pytest.raises(UnmetNeed, match="poses"):
            run(same, {"name": metric, "label": "x", "types": ["unseen"]}, clips=blind)
    chosen = {"label": "x", "tours": ["spin"]}
    nowhere = [{"name": name, **chosen} for name in ("psnr", "place_recognition", "fd_lite0_motion")]
    results = run(same, *nowhere)
    assert not results.metrics and results.silent == ("psnr", "place_recognition", "frechet")


def test_parts_by_tour_stand_where_there_are_several():
    parts = run(noisy, "psnr").metrics["psnr"].parts
    assert {*TOURS, "loop/unseen", "wobbled_loop/revisit_context", "out_and_back/revisit_generated"} <= parts.keys()
    whole = run(noisy, "psnr").per_video["psnr"]
    assert parts["loop"].value == pytest.approx((whole["e01"] + whole["e04"]) / 2) and parts["loop"].n == 2
    alone = run(noisy, "psnr", "drift", "flicker", "revisit", clips=[world(1), world(4)])
    assert not any(name.startswith("loop") for metric in alone.metrics.values() for name in metric.parts)


def test_curves_keep_each_video_in_bins_of_eight_frames():
    results = run(noisy, "psnr", {"name": "pd_lite0", **SIZE, "every": 16})
    curve = results.curves["psnr"]
    assert curve.videos_t == list(range(0, 100, 8)) and curve.videos.keys() == {c.episode for c in CLIPS}
    fake = noisy(CLIPS[2].frames[CONTEXT:], CLIPS[2]).astype(np.uint8)
    own = psnr_per_frame(fake, CLIPS[2].frames[CONTEXT:])
    for place, start in enumerate(range(0, 100, 8)):
        assert curve.videos["e02"][place] == pytest.approx(own[start : start + 8].mean(), rel=1e-3)
        assert curve.videos["e02"][place] == float(f"{curve.videos['e02'][place]:.4g}")
    assert results.curves["pd_lite0"].videos_t == [0, 16, 32, 48, 64, 80, 96]
    assert results.metrics["psnr"].value == pytest.approx(np.mean(curve.mean)), "the area under the curve, per frame"


# ------------------------------------------------------------------------------------------------------- coherence


def test_coherence_is_its_formula():
    x = np.random.default_rng(0).normal(size=(20, 5)).astype(np.float32)
    wanted = [1 - np.mean([np.sum((x[t] - x[t + gap]) ** 2) for t in range(20 - gap)]) / 14 for gap in range(1, 9)]
    np.testing.assert_allclose(coherence(x, 7.0, 8), wanted, rtol=1e-5)
    np.testing.assert_allclose(coherence(x + 9, 7.0, 8), wanted, rtol=1e-5, err_msg="an offset changes nothing")
    y = x / np.linalg.norm(x, axis=1, keepdims=True)
    cosines = [np.mean([y[t] @ y[t + gap] for t in range(20 - gap)]) for gap in range(1, 9)]
    np.testing.assert_allclose(coherence(y, 1.0, 8), cosines, atol=1e-6)


def test_coherence_is_won_by_the_truth_and_not_by_freezing():
    def looped(future, clip):
        return clip.frames[np.arange(CONTEXT, FRAMES) % 10]

    def good(future, _):
        return np.clip(future + np.random.default_rng(0).normal(0, 4, future.shape), 0, 255).round()

    def trembling(future, clip):  # one frame and a little grain: a cosine of its own features would find no repetition
        return np.clip(frozen(future, clip) + np.random.default_rng(0).normal(0, 3, future.shape), 0, 255).round()

    rows = {f.__name__: run(f, COHERENCE) for f in (same, good, noisy, blurred, shuffled, frozen, trembling, looped)}
    score = {name: row.metrics["coherence"] for name, row in rows.items()}
    assert score["same"].value == pytest.approx(0, abs=1e-6)
    assert score["noisy"].value > score["good"].value > 0 and score["blurred"].value > 0.03
    for name in ("shuffled", "frozen", "trembling", "looped"):
        assert score[name].value > 1.5 * score["good"].value, name
    assert score["frozen"].value > score["shuffled"].parts["real_vs_real"].value > 0
    assert score["frozen"].parts["raw"].value == pytest.approx(1)
    assert score["same"].parts["raw_truth"].value < 0.5, "raw coherence rewards freezing: it must stay a part"
    curve = rows["same"].curves["coherence"]
    assert curve.t == list(range(1, 81)) and curve.mean[0] > curve.mean[15]
    assert np.mean(curve.mean) == pytest.approx(score["same"].parts["raw"].value)
    short = [Clip(c.frames[:44], c.times[:44], 10.0, poses=c.poses[:44], episode=c.episode) for c in CLIPS]
    assert run(same, COHERENCE, clips=short).silent == ("coherence",)


def test_metrics_share_one_look_at_a_video(monkeypatch):
    looked = []
    maps = lite0._Network.maps
    monkeypatch.setattr(lite0._Network, "maps", lambda self, frames: looked.append(len(frames)) or maps(self, frames))
    lite0._network.cache_clear()
    clips = [world(48), world(51)]

    def frames_looked_at(*metrics) -> int:
        looked.clear()
        run(noisy, *metrics, clips=clips)
        return sum(looked)

    assert 0 < frames_looked_at(COHERENCE) <= 2 * 2 * 100
    motion = {"name": "fd_lite0_motion", "feature_options": SIZE}
    assert frames_looked_at(COHERENCE, motion, {**APPEARANCE, "hop": 8}) == 0, "windows are made of frames seen before"
    distance = {"name": "pd_lite0", **SIZE, "every": 5}
    assert frames_looked_at(distance) == 2 * 2 * 20
    assert frames_looked_at(distance, {**REVISITS, "every": 5}) == 0
    lite0._network.cache_clear()


def test_what_was_used_last_is_kept(monkeypatch):
    monkeypatch.setattr(lite0, "REMEMBERED", 12)
    lite0._network.cache_clear()
    feature, truth = registry.build("feature", "lite0", SIZE), world(0).frames[:8]
    wanted = feature.frames(truth)
    for row in range(3):  # three generated videos beside one true one
        feature.frames(world(60 + row).frames[:8])
        np.testing.assert_array_equal(feature.frames(truth), wanted)
        assert {*lite0._names(truth)} <= lite0._network(32).seen.keys() and len(lite0._network(32).seen) == 12
    lite0._network.cache_clear()


# ---------------------------------------------------------------------------------------------------------- Fréchet


def test_unseen_windows_hold_unseen_frames_alone():
    options = {**APPEARANCE, "frames": 8, "hop": 4}
    unseen = {**options, "label": "unseen", "types": ["unseen"]}

    def spoilt(future, _):
        made = future.copy()
        made[KINDS[CONTEXT:] != types.UNSEEN] = 0
        return made

    results = run(spoilt, unseen, options)
    metric = results.metrics["fd_lite0_appearance_unseen"]
    starts = [s for s in range(CONTEXT, FRAMES - 7, 4) if (KINDS[s : s + 8] == types.UNSEEN).all()]
    assert metric.value == pytest.approx(0, abs=1e-6) and results.metrics["fd_lite0_appearance"].value > 1
    assert f"windows={len(starts) * len(CLIPS)}" in metric.key and "types=unseen" in metric.key
    assert "fd_lite0_appearance_unseen" not in results.curves and "slope_per_100" not in metric.parts
    few = run(same, {**unseen, "hop": 30}, clips=CLIPS[:3])
    assert not few.metrics and few.silent == ("frechet",), "fewer than eight windows say nothing"


def test_the_slope_has_the_sign_of_decay():
    clips = [world(seed) for seed in range(8)]
    sliding_distance = {**APPEARANCE, "hop": 20}
    rows = {f.__name__: run(f, sliding_distance, clips=clips) for f in (same, decaying)}
    rows["healing"] = run(lambda future, clip: decaying(future[::-1], clip)[::-1], sliding_distance, clips=clips)
    parts = {name: row.metrics["fd_lite0_appearance"].parts for name, row in rows.items()}
    assert parts["same"]["slope_per_100"].value == pytest.approx(0, abs=1e-6)
    assert "last_over_first" not in parts["same"], "nothing over nothing"
    decay, healing = parts["decaying"], parts["healing"]
    assert decay["slope_per_100"].interval[0] > 0 and decay["last_over_first"].value > 2
    assert healing["slope_per_100"].interval[1] < 0 and healing["last_over_first"].value < 0.5
    floor = decay["slope_per_100_real_vs_real"]
    assert abs(floor.value) < decay["slope_per_100"].value and floor.n == 4
    fewer = run(decaying, {**APPEARANCE, "hop": 20}).metrics["fd_lite0_appearance"].parts
    assert "slope_per_100" in fewer and "slope_per_100_real_vs_real" not in fewer


def test_slope_is_per_hundred_frames():
    assert sliding.slope([1.0, 3.0, 5.0], hop=50) == pytest.approx(4.0)


# ---------------------------------------------------------------------------------------------------------- revisits


def scored(clip: Clip, future: np.ndarray) -> Scored:
    fake = np.concatenate([clip.frames[:CONTEXT], future]).astype(np.uint8)
    return Scored(fake, clip.frames, CONTEXT, clip.poses, None, clip.episode, KINDS, clip.tour)


def test_recall_is_chance_without_memory_and_one_with_it():
    many = [world(seed) for seed in range(100, 124)]
    assert run(same, "revisit").metrics["recall_at_1"].value == 1
    assert run(noisy, "revisit").metrics["recall_at_1"].value > 0.95

    def forgetful(future, clip):  # any frame of another world, at any time
        at = np.random.default_rng(int(clip.episode[1:])).integers(0, FRAMES, len(future))
        return world(int(clip.episode[1:]) + 500).frames[at]

    lost = run(forgetful, {"name": "revisit", "distractors": 4}, clips=many).metrics["recall_at_1"]
    assert lost.parts["chance"].value == pytest.approx(0.2) and "distractors=4" in lost.key
    assert lost.value == pytest.approx(0.2, abs=0.04)
    assert lost.parts["revisit_generated"].value == pytest.approx(0.2, abs=0.12)
    assert {"gap32_128", "loop", "wobbled_loop"} <= lost.parts.keys()
    grey = run(lambda future, _: np.full_like(future, 128), "revisit", clips=many).metrics["recall_at_1"]
    assert grey.value < 0.2


def test_recall_is_among_views_that_differ_from_each_other():
    clip = CLIPS[1]
    at = np.arange(60, 80)
    drawn, enough = _other_views(clip.poses, at, 6, 0.35, np.random.default_rng(0))
    assert enough.all() and len(np.unique(drawn)) > 20
    for row, t in zip(drawn, at, strict=True):
        cells, turn = types.pose_gaps(clip.poses[[t, *row]], clip.poses[[t, *row]])
        apart = (cells >= FAR) | (turn >= 0.5)
        assert apart[~np.eye(7, dtype=bool)].all()
    assert not _other_views(clip.poses, at, 100, 0.35, np.random.default_rng(0))[1].any()


def test_recall_is_drawn_by_seed_and_episode():
    clip = CLIPS[1]
    video = scored(clip, elsewhere(clip.frames[CONTEXT:], clip))
    options = {"distractors": 3, "side": 4, "yaw": 0.35}
    drawn = [recalled(video, KINDS[CONTEXT:], **options, seed=seed) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert (np.isnan(drawn[0]) == (KINDS[CONTEXT:] == types.UNSEEN)).all()
    assert (drawn[0] != drawn[2])[~np.isnan(drawn[0])].any(), "the seed draws"
    assert np.isnan(recalled(video, KINDS[CONTEXT:], distractors=100, side=4, yaw=0.35, seed=0)).all()


def test_self_consistency_is_no_truth_and_no_score():
    rows = {f.__name__: run(f, "revisit").metrics for f in (same, elsewhere, frozen)}
    rows["noise"] = run(lambda f, c: np.random.default_rng(0).integers(0, 256, f.shape), "revisit").metrics
    score = {name: row["self_consistency"] for name, row in rows.items()}
    assert all(metric.higher_is_better is None for metric in score.values())
    assert score["same"].value == score["same"].parts["truth"].value < -0.01
    assert score["elsewhere"].value < -0.01, "consistent with itself …"
    assert rows["elsewhere"]["revisit_gain"].value < 0.3 < rows["same"]["revisit_gain"].value, "… and wrong"
    assert score["frozen"].value == 0 and abs(score["noise"].value) < 0.002


def test_self_consistency_equals_a_naive_loop():
    clip = CLIPS[1]
    video = scored(clip, noisy(clip.frames[CONTEXT:], clip))
    values = consistency(video, KINDS[CONTEXT:], 0.5, 0.35, 32)
    t, x = 105, video.fake.astype(float) / 255  # place 2 again: seen 60 frames before; places 0, 3 and 1 are elsewhere
    others = [np.mean((x[t] - x[c]) ** 2) for c in (65, 85, 125)]
    own = np.mean((x[t] - x[45]) ** 2)
    assert min(abs(values[t - CONTEXT, 0] - (own - other)) for other in others) < 1e-6
    assert np.isnan(values[KINDS[CONTEXT:] != types.REVISIT_GENERATED]).all()


# ------------------------------------------------------------------------------------------------- drift and flicker


def test_drift_and_flicker_show_what_the_truth_does():
    parts = run(decaying, "drift", "flicker").metrics
    drift, flicker = parts["drift"].parts, parts["flicker"].parts
    assert drift["sharpness_generated"].value > 0.5 > drift["sharpness_truth"].value
    assert drift["sharpness"].value > 0.8 * (drift["sharpness_generated"].value - drift["sharpness_truth"].value)
    unchanged = run(same, "drift").metrics["drift"].parts
    for name in ("sharpness", "contrast", "saturation"):
        assert unchanged[f"{name}_generated"] == unchanged[f"{name}_truth"] == drift[f"{name}_truth"]
        assert unchanged[f"{name}_truth"].value > 0.01 and unchanged[name].value == 0
    assert drift["loop"].n == 2 and flicker["loop"].n == 2
    assert flicker["frozen_steps_truth"].value < 0.05
    still = run(frozen, "flicker").metrics["flicker"].parts
    assert still["frozen_steps"].value > 0.9 and still["frozen_steps_truth"] == flicker["frozen_steps_truth"]


# ----------------------------------------------------------------------------------------------------------- controls


FLOORS = ("copy_last", "mean_context", "looped_context", "noise")


def rows_of(metrics, *controls) -> dict[str, dict]:
    suite = Suite(name="test", version=1, frames=FRAMES, context=CONTEXT, metrics=metrics, resamples=60,
                  controls=controls)  # fmt: skip
    return {row.name: row.results.metrics for row in control_rows(suite, CLIPS, dataset="test:0")}


def test_the_oracle_is_perfect_and_no_floor_comes_near():
    memory = [REVISITS, WOBBLED, "revisit", COHERENCE]
    rows = rows_of(memory, "oracle", *FLOORS)
    oracle, model = rows.pop("oracle"), run(noisy, *memory).metrics
    perfect = {"pd_lite0_wobbled_revisit": 0, "place_recognition_wobbled": 1, "revisit": 100, "revisit_gain": 1,
               "recall_at_1": 1, "coherence": 0}  # fmt: skip
    for name, wanted in perfect.items():
        assert oracle[name].value == pytest.approx(wanted, abs=1e-5), name
        for control, row in rows.items():
            sign = 1 if oracle[name].higher_is_better else -1
            assert sign * row[name].value < sign * model[name].value, (control, name)


def test_a_distance_between_crowds_lets_copies_of_real_frames_through():
    """Why no Fréchet distance may be a headline: frames of the context, played again, look as real as the truth."""
    unseen = {**APPEARANCE, "frames": 8, "hop": 4, "label": "unseen", "types": ["unseen"]}
    rows = {name: row["fd_lite0_appearance_unseen"].value for name, row in rows_of([unseen], "oracle", *FLOORS).items()}
    model = run(noisy, unseen).metrics["fd_lite0_appearance_unseen"].value
    assert rows["oracle"] == pytest.approx(0, abs=1e-5)
    assert rows["looped_context"] < model < min(rows["mean_context"], rows["noise"])


def test_noise_is_drawn_by_episode_and_frame():
    noise = registry.build("control", "noise")
    whole = noise.make(CLIPS[0], CONTEXT, None)
    shorter = Clip(CLIPS[0].frames[:60], CLIPS[0].times[:60], 10.0, episode="e00")
    np.testing.assert_array_equal(noise.make(shorter, 50, None)[50:], whole[50:60])
    assert (noise.make(CLIPS[1], CONTEXT, None)[CONTEXT:] != whole[CONTEXT:]).mean() > 0.99
    assert (whole[CONTEXT + 1] != whole[CONTEXT]).mean() > 0.99
    assert abs(whole[CONTEXT:].mean() - 127.5) < 1 and {whole[CONTEXT:].min(), whole[CONTEXT:].max()} == {0, 255}


def test_the_context_is_looped_end_to_end():
    video = registry.build("control", "looped_context").make(CLIPS[0], 30, None)
    for t in range(FRAMES):
        np.testing.assert_array_equal(video[t], CLIPS[0].frames[t % 30])
