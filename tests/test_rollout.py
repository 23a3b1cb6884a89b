"""Rollout plans: the published traces, and the promises every planner keeps."""

from __future__ import annotations

import json
import subprocess
import sys
import zlib
from itertools import groupby, pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.frame_choice import nearest_in_pose, pose_features, spread
from zoo import registry
from zoo.errors import BadValue, UnmetNeed

REFERENCE = Path("/work/shared/reference/fdm_golden_traces.json")

OPTIONS = {
    "long_range": [{"distant": d} for d in ("newest_observed", "spread", "random")],
    "hierarchical": [{"levels": n} for n in (2, 3, 4, 5)],
    "pose_nearest": [{}, {"recent": 0}, {"recent": 50, "weight": 0.0}],
}
"""Worth trying beside the defaults; a rollout that is not named here is tested with its defaults."""

ROLLOUTS = [(name, options) for name in registry.names("rollout") for options in OPTIONS.get(name, [{}])]


def tour(frames, lap=40):
    """Round and round a circle; the second lap comes by exactly where the first did."""
    turn = 2 * np.pi * (np.arange(frames) % lap) / lap
    return np.stack([2 * np.cos(turn), 2 * np.sin(turn), 0 * turn, turn + np.pi / 2], 1).astype(np.float32)


def plan(name, options=None, *, frames, poses=None, **request):
    poses = tour(frames) if poses is None else poses
    return list(registry.build("rollout", name, options or {}).plan(frames=frames, poses=poses, **request))


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
    assert {"autoregressive", "long_range", "hierarchical", "pose_nearest"} <= {name for name, _ in ROLLOUTS}
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
    if step == window and frames - observed > window:
        with pytest.raises(BadValue, match="step="):
            plan(name, options, **request)
        return
    steps = plan(name, options, **request)
    assert steps == plan(name, options, **request)
    finished = set(range(observed))
    for made in steps:
        for part in (made.observed, made.latent):
            assert isinstance(part, tuple) and all(type(i) is int for i in part)
            assert all(a < b for a, b in pairwise(part))
        assert 1 <= len(made.latent) <= step and len(made.observed) + len(made.latent) <= window
        assert set(made.observed) <= finished and not finished & set(made.latent)
        assert made.observed or not observed or step == window
        finished |= set(made.latent)
    assert finished == set(range(max(frames, observed)))


@pytest.mark.parametrize(("name", "options"), ROLLOUTS)
def test_the_longest_video_is_planned_quickly(name, options):
    assert sum(len(s.latent) for s in plan(name, options, frames=5000, observed=1, window=16, step=8)) == 4999


@pytest.mark.parametrize("name", registry.names("rollout"))
def test_impossible_requests_name_the_cure(name):
    good = {"frames": 50, "observed": 4, "window": 8, "step": 4}
    for bad in ({"step": 9}, {"step": 0}, {"observed": -1}, {"window": 0}, {"step": 8}, {"frames": -1}):
        with pytest.raises(BadValue, match=r"\. (Give|Ask)"):
            plan(name, **{**good, **bad}, poses=tour(50))
    assert plan(name, **{**good, "observed": 50}) == plan(name, **{**good, "observed": 70}) == []
    (only,) = plan(name, frames=8, observed=0, window=8, step=8)
    assert only.observed == () and only.latent == tuple(range(8))


def test_planning_imports_no_torch():
    code = """if True:
        import sys
        from zoo import registry
        for name in registry.names("rollout"):
            poses = [[0.0, 0.0, 0.0, 0.0]] * 9
            list(registry.build("rollout", name).plan(frames=9, observed=2, window=4, step=2, poses=poses))
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
