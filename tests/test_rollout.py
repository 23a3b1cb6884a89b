"""Rollout plans: the published traces, and the promises every planner keeps."""

from __future__ import annotations

import json
import subprocess
import sys
import zlib
from collections import Counter
from itertools import groupby, pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components import frame_retrieval
from components.frame_choice import nearest_in_pose, pose_features, spread
from components.frame_retrieval import farthest_first, most_alike
from zoo import registry
from zoo.errors import BadValue, UnmetNeed

REFERENCE = Path("/work/shared/reference/fdm_golden_traces.json")

OPTIONS = {
    "long_range": [{"distant": d} for d in ("newest_observed", "spread", "random")],
    "hierarchical": [{"levels": n} for n in (2, 3, 4, 5)],
    "pose_nearest": [{}, {"recent": 0}, {"recent": 50, "weight": 0.0}],
    "combined": [{}, {"stride": 7}, {"stride": 2}],
    "adaptive": [{}, {"form": "hierarchical"}, {"form": "hierarchical", "levels": 4}],
    "feature_nearest": [{}, {"recent": 0, "lead": 0}, {"recent": 9, "query": 1, "matches": 3, "lead": 20}],
    "rolling": [{}, {"steps": 1}, {"steps": 7, "distant": "spread"}, {"distant": "newest_observed"}],
}
"""Worth trying beside the defaults; a rollout that is not named here is tested with its defaults."""

ROLLOUTS = [(name, options) for name in registry.names("rollout") for options in OPTIONS.get(name, [{}])]


def tour(frames, lap=40):
    """Round and round a circle; the second lap comes by exactly where the first did."""
    turn = 2 * np.pi * (np.arange(frames) % lap) / lap
    return np.stack([2 * np.cos(turn), 2 * np.sin(turn), 0 * turn, turn + np.pi / 2], 1).astype(np.float32)


class Watch:
    """What planners that look at content see: vectors of what frames show. Refuses frames that are not finished."""

    def __init__(self, shown, observed):
        self.shown = shown
        self.finished = set(range(observed))
        self.asked = Counter()

    def __call__(self, indices):
        assert set(indices) <= self.finished, "asked what an unfinished frame shows"
        self.asked.update(indices)
        return self.shown[list(indices)]


def walk(name, options=None, *, frames, observed, poses=None, shown=None, watch=None, **request):
    """The steps, each finished before the next is asked for: features are those of the poses, or of `shown`."""
    poses = tour(frames) if poses is None else poses
    watch = watch or Watch(pose_features(poses) if shown is None else shown, observed)
    rollout = registry.build("rollout", name, options or {})
    for made in rollout.plan(frames=frames, observed=observed, poses=poses, features=watch, **request):
        yield made
        watch.finished |= set(done_by(made))


def done_by(made):
    """The frames a step finishes."""
    levels = made.levels or [0.0] * len(made.latent)
    return [frame for frame, level in zip(made.latent, levels, strict=True) if level == 0]


def plan(name, options=None, **request):
    return list(walk(name, options, **request))


def runs(indices):
    """(1, 2, 3, 7) to "1-3 7"."""
    groups = [[i for _, i in g] for _, g in groupby(enumerate(sorted(indices)), lambda pair: pair[1] - pair[0])]
    return " ".join(f"{g[0]}-{g[-1]}" if len(g) > 1 else f"{g[0]}" for g in groups)


def written(steps):
    return [f"{runs(observed)} > {runs(latent)}" for observed, latent in steps]


# -------------------------------------------------------------------------------------------- published traces

KEYFRAMES = "0 3 7 11 15 19 23 27 31 35 > 36 87 139 190 242 293 345 396 448 499"
TRACES = {
    ("autoregressive", 0, 500): (
        (47, 2237459136),
        {0: "26-35 > 36-45", 1: "36-45 > 46-55", 23: "256-265 > 266-275", 46: "486-495 > 496-499"},
    ),
    ("long_range", 0, 500): (
        (47, 1410037947),
        {0: "26-35 > 36-45", 1: "31-35 41-45 > 46-55", 23: "31-35 261-265 > 266-275", 46: "31-35 491-495 > 496-499"},
    ),
    ("hierarchical", 2, 500): (
        (47, 3640668857),
        {
            0: KEYFRAMES,
            1: "32-36 87 139 190 242 293 > 37-46",
            7: "93-97 139 190 242 293 345 > 98-107",
            23: "256-260 293 345 396 448 499 > 261-270",
            46: "486-494 499 > 495-498",
        },
    ),
    ("hierarchical", 3, 500): (
        (47, 1338578123),
        {
            0: KEYFRAMES,
            1: "32-36 87 139 190 242 293 > 43 50 57 64 71 78 85 92 99 106",
            2: "85 87 92 99 106 139 190 242 293 345 > 113 120 127 134 141 148 155 162 169 176",
            7: "409 416 423 430 437 444 448 451 458 499 > 465 472 479 486 493",
            8: "32-36 43 50 57 64 71 > 37-42 44-47",
            23: "210-214 219 226 233 240 242 > 215-218 220-225",
            46: "481-488 493 499 > 489-492 494-498",
        },
    ),
    ("autoregressive", 0, 300): (
        (33, 1784167155),
        {0: "28-35 > 36-43", 1: "36-43 > 44-51", 16: "156-163 > 164-171", 32: "284-291 > 292-299"},
    ),
    ("long_range", 0, 300): (
        (33, 3812863593),
        {0: "28-35 > 36-43", 1: "32-35 40-43 > 44-51", 16: "32-35 160-163 > 164-171", 32: "32-35 288-291 > 292-299"},
    ),
    ("hierarchical", 2, 300): (
        (33, 736225896),
        {
            0: "0 5 10 15 20 25 30 35 > 36 73 111 149 186 224 262 299",
            1: "33-36 73 111 149 186 > 37-44",
            8: "90-93 111 149 186 224 > 94-101",
            16: "156-159 186 224 262 299 > 160-167",
            32: "284-290 299 > 291-298",
        },
    ),
}
"""FDM's own plans for 36 given frames (window 20, step 10 at 500 frames; 16, 8 at 300): (steps, checksum), examples.

The checksum is zlib.crc32 of the lines of `written`, joined by newlines.
"""


@pytest.mark.parametrize("key", TRACES, ids=lambda key: "-".join(map(str, key)))
def test_plans_are_those_of_the_authors(key):
    name, levels, frames = key
    window, step = {500: (20, 10), 300: (16, 8)}[frames]
    steps = plan(name, {"levels": levels} if levels else {}, frames=frames, observed=36, window=window, step=step)
    lines = written((s.observed, s.latent) for s in steps)
    (count, checksum), examples = TRACES[key]
    assert {i: lines[i] for i in examples} == examples
    assert (len(lines), zlib.crc32("\n".join(lines).encode())) == (count, checksum)


@pytest.mark.skipif(not REFERENCE.exists(), reason="the recorded traces are kept outside the project")
def test_every_recorded_trace_step_by_step():
    schemes = {"autoreg": "autoregressive", "long-range": "long_range"}
    traces = json.loads(REFERENCE.read_text())["traces"]
    assert len(traces) == 7
    for trace in traces:
        levels = {"levels": int(trace["scheme"][-1])} if trace["scheme"].startswith("hierarchy") else {}
        name = schemes.get(trace["scheme"], "hierarchical")
        request = {"observed": trace["n_observed"], "window": trace["window"], "step": trace["step"]}
        got = written((s.observed, s.latent) for s in plan(name, levels, frames=trace["frames"], **request))
        assert got == written((s["observed"], s["latent"]) for s in trace["steps"]), trace["scheme"]


# -------------------------------------------------------------------------------------------------- properties


def test_all_rollouts_are_walked():
    assert {"full", "autoregressive", "long_range", "hierarchical", "combined"} <= {name for name, _ in ROLLOUTS}
    assert {"adaptive", "pose_nearest", "feature_nearest", "rolling"} <= {name for name, _ in ROLLOUTS}
    assert set(OPTIONS) <= set(registry.names("rollout"))
    assert set(OPTIONS) <= set(registry.names("rollout"))


@st.composite
def requests(draw):
    """Anything a user may ask; 5,000 frames too, yet not in 5,000 steps."""
    window = draw(st.integers(1, 40))
    step = draw(st.integers(1, window))
    frames = draw(st.integers(1, 5000) if step > 8 else st.integers(1, 400))
    observed = draw(st.one_of(st.integers(0, 40), st.integers(0, frames + 2)))
    return {"frames": frames, "observed": observed, "window": window, "step": step, "seed": draw(st.integers(0, 9))}


@pytest.mark.parametrize(("name", "options"), ROLLOUTS)
@settings(max_examples=40, deadline=None, derandomize=True)
@given(request=requests())
def test_every_plan_keeps_its_promises(name, options, request):
    frames, observed, window, step = (request[k] for k in ("frames", "observed", "window", "step"))
    too_many = frames - observed > step if name == "full" else step == window and frames - observed > window
    if too_many:
        with pytest.raises(BadValue, match="step="):
            plan(name, options, **request)
        return
    steps = plan(name, options, **request)
    assert steps == plan(name, options, **request)
    finished = set(range(observed))
    for made in steps:
        check_step(made, finished, window, step)
        assert made.observed or not finished or step == window
        finished |= set(done_by(made))
    assert finished == set(range(max(frames, observed)))


def check_step(made, finished, window, step):
    for part in (made.observed, made.latent):
        assert isinstance(part, tuple) and all(type(i) is int for i in part)
        assert all(a < b for a, b in pairwise(part))
    assert 1 <= len(made.latent) <= step and len(made.observed) + len(made.latent) <= window
    assert set(made.observed) <= finished and not finished & set(made.latent)
    assert made.levels is None or all(0 <= level < 1 for level in made.levels)


@pytest.mark.parametrize(("name", "options"), ROLLOUTS)
def test_the_longest_video_is_planned_with_few_operations(name, options, monkeypatch):
    rows = 0

    def counted(points, point):
        nonlocal rows
        rows += len(points)
        return np.square(points - point).sum(axis=1)

    monkeypatch.setattr(frame_retrieval, "squared_distances", counted)
    observed, window, step = (4990, 16, 10) if name == "full" else (1, 16, 8)
    watch = Watch(pose_features(tour(5000)), observed)
    steps = plan(name, options, frames=5000, observed=observed, window=window, step=step, watch=watch)
    assert sum(len(done_by(s)) for s in steps) == 5000 - observed
    assert set(watch.asked.values()) <= {1}, "what a frame shows is asked for once"
    assert rows <= len(steps) * 5000 * window, "frames times places, a step"
    assert bool(watch.asked) == bool(rows) == ("features" in registry.card("rollout", name).needs)


@pytest.mark.parametrize(
    "name", [name for name in registry.names("rollout") if "features" in registry.card("rollout", name).needs]
)
def test_what_looks_at_frames_needs_sound_features(name):
    rollout = registry.build("rollout", name)
    request = {"frames": 90, "observed": 40, "window": 8, "step": 4}
    with pytest.raises(UnmetNeed, match=f"{name} .*features="):
        list(rollout.plan(**request))
    for wrong in (np.zeros((3, 2)), np.zeros(40), np.full((40, 2), np.nan)):
        with pytest.raises(BadValue, match=f"{name} was given features"):
            list(rollout.plan(**request, features=lambda indices, wrong=wrong: wrong))
    grows = iter(range(2, 99))
    with pytest.raises(BadValue, match=r"\[4, 2\] is needed"):
        list(rollout.plan(**request, features=lambda indices: np.zeros((len(indices), next(grows)))))


@pytest.mark.parametrize("name", registry.names("rollout"))
def test_impossible_requests_name_the_cure(name):
    good = {"frames": 50, "observed": 4, "window": 8, "step": 4}
    for bad in ({"step": 9}, {"step": 0}, {"observed": -1}, {"window": 0}, {"step": 8}, {"frames": -1}):
        with pytest.raises(BadValue, match=r"\. (Give|Ask)"):
            plan(name, **{**good, **bad}, poses=tour(50))
    assert plan(name, **{**good, "observed": 50}) == plan(name, **{**good, "observed": 70}) == []
    if name != "rolling":
        (only,) = plan(name, frames=8, observed=0, window=8, step=8)
        assert only.observed == () and only.latent == tuple(range(8))


def test_planning_imports_no_torch():
    code = """if True:
        import sys
        from zoo import registry
        for name in registry.names("rollout"):
            given = {"poses": [[0.0, 0.0, 0.0, 0.0]] * 9, "features": lambda indices: [[0.0]] * len(indices)}
            list(registry.build("rollout", name).plan(frames=9, observed=7, window=4, step=2, **given))
        sys.exit("torch" in sys.modules)
    """
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# -------------------------------------------------------------------------------------------- each one's point


def test_long_range_stays_in_its_window_when_one_place_is_left():
    for distant in ("newest_observed", "spread", "random"):
        steps = plan("long_range", {"distant": distant}, frames=200, observed=20, window=16, step=15)
        assert [s.observed for s in steps[:2]] == [(19,), (34,)]


def test_long_range_random_depends_on_its_seed_and_reaches_everywhere():
    request = {"frames": 400, "observed": 36, "window": 16, "step": 8}
    one, two = (plan("long_range", {"distant": "random"}, **request, seed=s) for s in (1, 2))
    assert one != two and len({i for s in one for i in s.observed}) > 100
    far = plan("long_range", {"distant": "spread"}, **request)[-1].observed
    assert far == (0, *far[1:]) and far[3] == far[4] - 1 and far[-4:] == (392, 393, 394, 395)


def test_pose_nearest_looks_at_the_same_place_a_lap_ago():
    steps = plan("pose_nearest", frames=120, observed=40, window=16, step=8)
    assert runs(steps[0].observed) == "0-1 3 5 7 37-39" and runs(steps[0].latent) == "40-47"
    assert runs(steps[1].observed) == "8-9 11 13 15 45-47"
    # On the third lap the first one is taken, which was given, and not the second, which was made.
    assert runs(steps[5].observed) == "0-1 3 5 7 77-79"


def test_pose_nearest_needs_poses_that_fit():
    rollout = registry.build("rollout", "pose_nearest")
    request = {"frames": 20, "observed": 4, "window": 8, "step": 4}
    with pytest.raises(UnmetNeed, match="maze"):
        list(rollout.plan(**request))
    for poses in (tour(19), tour(20)[:, :3], np.full((20, 4), np.nan)):
        with pytest.raises(BadValue, match="poses"):
            list(rollout.plan(**request, poses=poses))


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.integers(0, 2**31), st.integers(1, 60), st.integers(1, 6), st.integers(0, 12), st.floats(0, 5))
def test_nearest_by_an_exhaustive_search(seed, before, wanted, count, weight):
    poses = np.random.default_rng(seed).normal(size=(before + wanted, 4)) * 2

    def distance(a, b):
        return np.sum((a[:3] - b[:3]) ** 2) + weight * (1 - np.cos(a[3] - b[3]))

    latent = range(before, before + wanted)
    order = {i: sorted(range(before), key=lambda m, i=i: distance(poses[i], poses[m])) for i in latent}
    got = nearest_in_pose(pose_features(poses, weight), latent, before, count)
    assert len(got) == min(count, before) and got == sorted(set(got))
    # Whoever is chosen is no worse than `rank` for someone, and all of better rank are chosen too.
    rank = {m: min(order[i].index(m) for i in latent) for m in range(before)}
    worst = max((rank[m] for m in got), default=0)
    assert all(m in got for m in range(before) if rank[m] < worst)


def test_yaw_wraps():
    poses = np.array([[0, 0, 0, 2 * np.pi - 0.1], [0, 0, 0, 1.0], [0, 0, 0, 0.0]])
    assert nearest_in_pose(pose_features(poses), [2], 2, 1) == [0]


def test_spread_covers_both_ends():
    assert spread(0, 36, 10) == (0, 3, 7, 11, 15, 19, 23, 27, 31, 35)
    assert spread(36, 500, 10)[-1] == 499
    assert spread(4, 9, 5) == (4, 5, 6, 7, 8) == spread(4, 9, 50) and spread(3, 3, 2) == () == spread(0, 9, 0)


def test_hierarchical_keeps_two_places_around_what_lies_between():
    steps = plan("hierarchical", {"levels": 3}, frames=300, observed=20, window=12, step=11)
    for made in steps:
        between = [i for i in made.observed if made.latent[0] < i < made.latent[-1]]
        assert len(made.observed) - len(between) >= 2 and made.observed[0] < made.latent[0]
    assert len(steps[0].latent) == 10 and len(steps[0].observed) == 2
    # Level 2 walks with the stride of level 1's ten keyframes, int((280 / 9) ** 0.5), past those that are finished.
    assert steps[1].latent[:5] == (25, 30, 35, 40, 45)


def test_full_makes_all_at_once_and_looks_at_the_newest_given_frames():
    (only,) = plan("full", frames=30, observed=20, window=16, step=12)
    assert runs(only.observed) == "14-19" and runs(only.latent) == "20-29"
    with pytest.raises(BadValue, match=r"464 are missing where step=8 .*Give step=464 and window=464"):
        plan("full", frames=500, observed=36, window=16, step=8)


def test_combined_sees_the_recent_window_and_keyframes_on_both_sides():
    request = {"observed": 36, "window": 20, "step": 10}
    steps = plan("combined", frames=500, **request)
    assert written([(steps[0].observed, steps[0].latent)]) == [KEYFRAMES]
    keys = set(steps[0].latent)
    assert runs(steps[1].observed) == "27 31-36 87 139 190" and runs(steps[1].latent) == "37-46"
    for made in steps[2:-1]:
        first, last = made.latent[0], made.latent[-1]
        assert len(made.observed) == 20 - len(made.latent) or last > 490
        assert {first - 1, first - 2, first - 3} <= set(made.observed)
        assert max(k for k in keys if k < first) in made.observed and min(k for k in keys if k > last) in made.observed
        assert {i for i in range(first, last) if i in keys} <= set(made.observed)


def test_combined_with_a_stride_leaves_no_wider_gap_and_makes_keyframes_coarse_to_fine():
    steps = plan("combined", {"stride": 16}, frames=500, observed=36, window=20, step=10)
    keyframe_steps = [made for made in steps if made.latent[-1] - made.latent[0] > 2 * len(made.latent)]
    assert keyframe_steps == steps[: len(keyframe_steps)] and steps[0].latent[::9] == (36, 499)
    keys = sorted(i for made in keyframe_steps for i in made.latent)
    assert keys[0] == 36 and keys[-1] == 499 and max(b - a for a, b in pairwise(keys)) <= 16 and len(keys) == 30
    assert all(made.observed[-1] > made.latent[-1] for made in keyframe_steps[1:])


def farthest_by_hand(shown, finished, chosen, count):
    """The textbook's loop, on frame indices."""
    chosen = list(chosen)
    while len(chosen) < min(count, len(finished)):
        gaps = {i: min(float(np.sum((shown[i] - shown[c]) ** 2)) for c in chosen) for i in finished if i not in chosen}
        chosen.append(max(gaps, key=gaps.get))
    return sorted(chosen)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(0, 2**31), st.integers(1, 30), st.integers(2, 9), st.data())
def test_adaptive_is_farthest_point_selection_from_the_newest_frame(seed, observed, window, data):
    step = data.draw(st.integers(1, window - 1))
    shown = np.random.default_rng(seed).normal(size=(40, 3))
    for made in plan("adaptive", frames=40, observed=observed, window=window, step=step, shown=shown):
        first = made.latent[0]
        assert list(made.observed) == farthest_by_hand(shown, range(first), [first - 1], window - step)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.integers(0, 2**31), st.integers(2, 20), st.integers(4, 12), st.integers(2, 4), st.data())
def test_adaptive_by_levels_starts_from_the_frames_around(seed, observed, window, levels, data):
    step = data.draw(st.integers(1, window - 2))
    shown = np.random.default_rng(seed).normal(size=(40, 3))
    request = {"frames": 40, "observed": observed, "window": window, "step": step}
    steps = plan("adaptive", {"form": "hierarchical", "levels": levels}, shown=shown, **request)
    plain = plan("hierarchical", {"levels": levels}, **request)
    assert [made.latent for made in steps] == [made.latent for made in plain]
    finished = set(range(observed))
    for made, other in zip(steps, plain, strict=True):
        first, last = made.latent[0], made.latent[-1]
        between = [i for i in sorted(finished) if first < i < last]
        before, after = sorted(i for i in finished if i < first), sorted(i for i in finished if i > last)
        start = [*between, *[*before[-1:], *after[:1], *before[-2:-1]][: len(made.observed) - len(between)]]
        assert list(made.observed) == farthest_by_hand(shown, sorted(finished), start, len(made.observed))
        assert len(made.observed) >= len(other.observed), "as many as rollout=hierarchical, or more near an end"
        finished |= set(made.latent)


def test_farthest_first_takes_no_frame_twice_where_all_look_the_same():
    assert sorted(farthest_first(np.zeros((5, 2)), [4], 4)) == [0, 1, 2, 4]
    assert farthest_first(np.array([[0.0], [9.0], [9.0], [4.0]]), [0], 3) == [0, 1, 3]


def test_feature_nearest_looks_at_what_came_after_the_same_place_a_lap_ago():
    shown = pose_features(tour(204, lap=50))
    steps = plan("feature_nearest", frames=204, observed=60, window=16, step=8, shown=shown)
    for made in steps:
        first, made_last = made.latent[0], made.latent[-1]
        found = np.array(made.observed[:-3])
        assert runs(made.observed[-3:]) == runs(range(first - 3, first)) and len(found) == 5
        # The oldest lap is taken, and the five places are spread over what is to be made, the first and last included.
        places = found % 50
        assert {int(i) for i in places} <= {i % 50 for i in made.latent}
        assert first % 50 in places and made_last % 50 in places
        assert found.max() < 60, "of laps that look exactly the same the first one is taken, which was given"


def test_feature_nearest_is_told_one_way_from_the_way_back_by_a_stretch():
    there = np.arange(30.0)[:, None]
    shown = np.concatenate([there, there[::-1], there])  # the same places passed in both directions
    one, stretch = (
        plan("feature_nearest", {"query": q}, frames=90, observed=75, window=12, step=6, shown=shown)[0].observed
        for q in (1, 4)
    )
    assert runs(stretch) == "15 18-20 72-74" or {15, 20} <= set(stretch)
    assert next(most_alike(shown[:75], length=4, before=60, apart=1)) == 14
    assert list(most_alike(shown[:75], length=1, before=60, apart=1))[:2] == [14, 45]
    assert one[-3:] == stretch[-3:] == (72, 73, 74)


def test_feature_nearest_looks_back_where_nothing_is_old_enough():
    steps = plan("feature_nearest", frames=30, observed=5, window=16, step=8)
    assert steps[0].observed == (0, 1, 2, 3, 4) and runs(steps[1].observed) == "5-12"


def test_most_alike_by_hand():
    shown = np.random.default_rng(0).normal(size=(30, 4))
    cost = {m: sum(np.sum((shown[29 - k] - shown[m - k]) ** 2) for k in range(3)) for m in range(2, 20)}
    by_hand = sorted(cost, key=cost.get)
    assert list(most_alike(shown, length=3, before=20, apart=1)) == by_hand
    kept = []
    for m in by_hand:
        kept += [m] if all(abs(m - other) >= 4 for other in kept) else []
    assert list(most_alike(shown, length=3, before=20, apart=4)) == kept
    assert list(most_alike(shown, length=3, before=2, apart=1)) == []
    assert list(most_alike(shown[:1], length=3, before=1, apart=1)) == [0]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(1, 300), st.integers(0, 40), st.integers(1, 12), st.integers(1, 20))
def test_rolling_lowers_every_frame_in_equal_parts_to_clean(missing, observed, step, calls):
    steps = plan("rolling", {"steps": calls}, frames=observed + missing, observed=observed, window=2 * step, step=step)
    levels = {}
    for made in steps:
        assert len(made.levels) == len(made.latent) <= step
        assert list(made.levels) == sorted(made.levels), "the farther a frame, the noisier"
        assert made.latent == tuple(range(made.latent[0], made.latent[-1] + 1))
        assert made.observed == tuple(range(max(0, made.latent[0] - step), made.latent[0])), "the newest finished"
        for frame, level in zip(made.latent, made.levels, strict=True):
            levels.setdefault(frame, []).append(level)
    assert list(levels) == list(range(observed, observed + missing))
    assert all(seen == [(calls - i) / calls for i in range(1, calls + 1)] for seen in levels.values())
    assert len(steps) == calls + (missing - 1) * calls // step
    # Between the first frame's end and the last frame's beginning the window is full.
    full = [len(made.latent) for call, made in enumerate(steps, 1) if calls <= call <= missing * calls // step]
    assert set(full) <= {step}


def test_rolling_begins_and_ends_as_a_ramp():
    steps = plan("rolling", frames=16, observed=4, window=16, step=8)
    lines = [f"{runs(made.latent)}: {' '.join(f'{level:g}' for level in made.levels)}" for made in steps]
    assert lines == [
        "4-5: 0.75 0.75",
        "4-7: 0.5 0.5 0.75 0.75",
        "4-9: 0.25 0.25 0.5 0.5 0.75 0.75",
        "4-11: 0 0 0.25 0.25 0.5 0.5 0.75 0.75",
        "6-13: 0 0 0.25 0.25 0.5 0.5 0.75 0.75",
        "8-15: 0 0 0.25 0.25 0.5 0.5 0.75 0.75",
        "10-15: 0 0 0.25 0.25 0.5 0.5",
        "12-15: 0 0 0.25 0.25",
        "14-15: 0 0",
    ]
    assert [runs(made.observed) for made in steps] == ["0-3"] * 4 + ["0-5", "0-7", "2-9", "4-11", "6-13"]


def test_rolling_may_keep_half_its_places_for_distant_frames():
    for distant, far in (("newest_observed", (32, 33, 34, 35)), ("spread", (0, 98, 197, 295))):
        steps = plan("rolling", {"distant": distant}, frames=500, observed=36, window=16, step=8)
        made = next(made for made in steps if made.latent[0] == 300)
        assert made.observed == (*far, 296, 297, 298, 299)
