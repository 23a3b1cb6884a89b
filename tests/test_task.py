"""Tasks: what a training window shows and hides."""

from __future__ import annotations

import subprocess
import sys
from time import perf_counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.contracts import Layout, Task
from components.training_masks import FAMILIES, taught
from zoo import registry
from zoo.errors import BadValue, UnknownName, UnmetNeed


def tour(frames, lap=40):
    turn = 2 * np.pi * (np.arange(frames) % lap) / lap
    return np.stack([2 * np.cos(turn), 2 * np.sin(turn), 0 * turn, turn + np.pi / 2], 1).astype(np.float32)


def draws(family, count=2000, *, frames=500, window=16, seed=0):
    task, rng, poses = registry.build("task", "extend"), np.random.default_rng(seed), tour(frames)
    for _ in range(count):
        yield task.draw(frames=frames, window=window, masks={family: 1.0}, rng=rng, poses=poses)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("task", registry.names("task"))
@settings(max_examples=60, deadline=None, derandomize=True)
@given(frames=st.integers(1, 600), window=st.integers(1, 40), seed=st.integers(0, 999))
def test_every_window_is_whole_ascending_and_asks_for_something(task, family, frames, window, seed):
    task = registry.build("task", task)
    request = {"frames": frames, "window": window, "masks": {family: 2.0}, "poses": tour(frames)}
    indices, observed = task.draw(**request, rng=np.random.default_rng(seed))
    assert indices.shape == observed.shape == (min(window, frames),)
    assert np.issubdtype(indices.dtype, np.integer) and observed.dtype == bool
    assert (np.diff(indices) > 0).all() and indices[0] >= 0 and indices[-1] < frames
    assert not observed.all()
    again, same = task.draw(**request, rng=np.random.default_rng(seed))
    assert (indices == again).all() and (observed == same).all()


def test_the_axis_and_the_families_are_there():
    tasks = {"extend", "text_to_video", "image_to_video", "infill", "loop", "stitch"}
    assert tasks <= set(registry.names("task"))
    older = {"fdm", "hierarchy", "recent_spread", "recent_nearest", "window", "uniform"}
    assert set(FAMILIES) == older | {"none", "first", "single", "backward", "every_nth", "ends"}


@pytest.mark.parametrize("name", registry.names("task"))
def test_a_task_names_families_that_exist_and_its_own_mix_teaches_it(name):
    task = registry.build("task", name)
    assert isinstance(task, Task)
    assert {*task.own_masks, *task.taught_by, *task.continued_by} <= set(FAMILIES)
    assert taught({}, task.own_masks, task.taught_by) and taught({}, {}, task.taught_by) is False
    for indices, observed in own_draws(task, 50):
        assert len(indices) == 16 and not observed.all()
    assert registry.load("task", name).inputs


def own_draws(task, count, *, frames=60, window=16):
    rng = np.random.default_rng(0)
    return [task.draw(frames=frames, window=window, masks={}, rng=rng) for _ in range(count)]


def test_history_dropout_teaches_to_make_a_video_of_nothing():
    assert not taught({"window": 1.0}, {}, ("none",)) and taught({"window": 1.0}, {}, ("none",), history_dropout=0.1)
    assert not taught({"none": 0.0, "window": 1.0}, {}, ("none",))


LAYOUTS = {
    "text_to_video": Layout(),
    "image_to_video": Layout(first=1),
    "extend": Layout(first=5),
    "infill": Layout(first=5, last=3),
    "stitch": Layout(first=5, last=3),
    "loop": Layout(first=5, copies=5),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_where_given_frames_stand(name):
    task = registry.build("task", name)
    assert task.layout(5, 3) == LAYOUTS[name] and task.context(5) == LAYOUTS[name].first


def test_time_may_run_the_other_way():
    task = registry.build("task", "extend", {"direction": "backward"})
    assert task.layout(5, 3) == Layout(last=3) and task.needs == ("last",)
    for _, observed in own_draws(task, 100):
        assert observed[-1] and (np.diff(observed.astype(int)) >= 0).all()


def test_vdts_families():
    for family, least, most in (("none", 0, 0), ("first", 1, 1), ("single", 1, 1), ("every_nth", 4, 8)):
        seen = list(draws(family, 300))
        assert all((np.diff(indices) == 1).all() for indices, _ in seen)
        counts = {int(observed.sum()) for _, observed in seen}
        assert (min(counts), max(counts)) == (least, most), family
    assert all(observed[0] for _, observed in draws("first", 50))
    assert {int(np.flatnonzero(observed)[0]) for _, observed in draws("single", 400)} == set(range(16))
    for _, observed in draws("every_nth", 100):
        assert len(set(np.diff(np.flatnonzero(observed)))) == 1


def test_ends_gives_frames_before_and_after_near_and_far():
    gaps = []
    for indices, observed in draws("ends", 2000):
        made = np.flatnonzero(~observed)
        assert observed[0] and observed[-1] and (np.diff(made) == 1).all()
        assert (np.diff(indices[: made[-1] + 1]) == 1).all(), "what is made follows what is given at once"
        gaps.append(indices[made[-1] + 1] - indices[made[-1]])
    assert 0.45 < np.mean(np.array(gaps) == 1) < 0.7 and max(gaps) > 300
    assert min(i[0] for i, _ in draws("ends", 500)) < 20 and max(i[-1] for i, _ in draws("ends", 500)) > 480


def test_text_to_video_gives_nothing():
    task, rng = registry.build("task", "text_to_video"), np.random.default_rng(0)
    drawn = [task.draw(frames=40, window=16, masks={}, rng=rng) for _ in range(200)]
    assert all(not observed.any() and (np.diff(indices) == 1).all() for indices, observed in drawn)
    assert {int(indices[0]) for indices, _ in drawn} == set(range(25))
    assert task.context(36) == 0
    assert registry.build("task", "extend").context(36) == 36


def test_fdm_draws_any_spacing_and_looks_back_and_ahead():
    drawn = list(draws("fdm"))
    spacings = np.concatenate([np.diff(indices) for indices, _ in drawn])
    assert np.median(spacings) < 10 and spacings.max() > 200
    given_after = [observed[i] for _, observed in drawn for i in [-1]]
    assert 0.1 < np.mean(given_after) < 0.5
    assert 3 < np.mean([observed.sum() for _, observed in drawn]) < 5
    assert 0.3 < np.mean([not observed.any() for _, observed in drawn]) < 0.5
    covered = np.bincount(np.concatenate([indices for indices, _ in drawn]), minlength=500)
    assert covered.min() > 5


def test_recent_families_make_a_block_after_what_they_look_at():
    for family in ("recent_spread", "recent_nearest"):
        sizes, starts = set(), []
        for indices, observed in draws(family):
            made = indices[~observed]
            assert (np.diff(made) == 1).all() and indices[observed][-1] == made[0] - 1
            sizes.add(len(made))
            starts.append(made[0])
        assert sizes == set(range(1, 9)), family
        assert min(starts) < 30 and max(starts) > 480, family


def test_recent_nearest_looks_where_the_rollout_would():
    rollout = registry.build("rollout", "pose_nearest")
    seen = 0
    for indices, observed in draws("recent_nearest", 300, frames=120):
        if (~observed).sum() == 8:
            request = {"frames": 120, "observed": int(indices[~observed][0]), "window": 16, "step": 8}
            step = next(iter(rollout.plan(**request, poses=tour(120))))
            assert step.observed == tuple(indices[observed]) and step.latent == tuple(indices[~observed])
            seen += 1
    assert seen > 20


def test_window_and_uniform():
    for indices, observed in draws("window", 300):
        assert (np.diff(indices) == 1).all() and observed[0] and (np.diff(observed.astype(int)) <= 0).all()
    shares = [observed.mean() for _, observed in draws("uniform", 500)]
    assert 0.47 < np.mean(shares) < 0.53
    assert np.mean([indices.mean() for indices, _ in draws("uniform", 500)]) == pytest.approx(249.5, abs=10)


def test_masks_are_mixed_by_weight():
    task, rng = registry.build("task", "extend"), np.random.default_rng(0)
    masks = {"uniform": 0.0, "window": 3.0, "fdm": 0.0, "recent_spread": 1.0}
    drawn = [task.draw(frames=5000, window=16, masks=masks, rng=rng)[0] for _ in range(2000)]
    assert np.mean([(np.diff(indices) == 1).all() for indices in drawn]) == pytest.approx(0.75 + 0.25 / 11, abs=0.03)


def test_wrong_mixes_name_the_cure():
    draw, rng = registry.build("task", "extend").draw, np.random.default_rng(0)
    for masks, error, words in (
        ({"recent_nearst": 1.0}, UnknownName, "Did you mean 'recent_nearest'"),
        ({"fdm": -1.0}, BadValue, "from 0 on"),
        ({"fdm": float("nan")}, BadValue, "from 0 on"),
        ({"fdm": 0.0}, BadValue, "Give one of"),
        ({"fdm": 9.0, "recent_nearest": 1e-9}, UnmetNeed, "poses"),
    ):
        with pytest.raises(error, match=words):
            draw(frames=50, window=8, masks=masks, rng=rng)
    draw(frames=50, window=8, masks={"fdm": 1.0, "recent_nearest": 0.0}, rng=rng)
    with pytest.raises(BadValue, match="longer"):
        draw(frames=0, window=8, masks={"fdm": 1.0}, rng=rng)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_of_windows_costs_little_of_a_training_step(family):
    times = []
    for _ in range(5):
        start = perf_counter()
        list(draws(family, 50))
        times.append((perf_counter() - start) / 50)
    # Measured 40 to 390 microseconds on a busy core; a step takes 240,000.
    assert min(times) < 2e-3


def test_drawing_imports_no_torch():
    code = """if True:
        import sys
        import numpy as np
        from zoo import registry
        rng = np.random.default_rng(0)
        for name in registry.names("task"):
            registry.build("task", name).draw(frames=9, window=4, masks={"fdm": 1.0}, rng=rng)
        sys.exit("torch" in sys.modules)
    """
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
