"""Plans over frames given at the end, or at both ends: the promises of rollouts hold, and the far end is looked at."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_rollout import ROLLOUTS, Watch, check_step, done_by, tour

from components.frame_choice import pose_features
from components.given_ends import planned
from zoo import registry
from zoo.errors import BadValue


class SeenBoth(Watch):
    """Finished, to begin with, at both ends."""

    def __init__(self, shown, observed, closing):
        super().__init__(shown, observed)
        self.finished |= set(range(len(shown) - closing, len(shown)))


def walk(name, options, *, frames, observed, closing, **request):
    """The steps, each finished before the next is asked for."""
    poses = tour(frames)
    watch = SeenBoth(pose_features(poses), observed, closing)
    rollout = registry.build("rollout", name, options)
    plan = planned(rollout, frames=frames, observed=observed, closing=closing, poses=poses, features=watch, **request)
    for made in plan:
        yield made
        watch.finished |= set(done_by(made))


@st.composite
def requests(draw):
    window = draw(st.integers(3, 24))
    frames = draw(st.integers(1, 200))
    closing = draw(st.integers(0, frames))
    observed = draw(st.integers(0, frames - closing))
    return {
        "frames": frames,
        "observed": observed,
        "closing": closing,
        "window": window,
        "step": draw(st.integers(1, window - 1)),
        "seed": draw(st.integers(0, 9)),
    }


@pytest.mark.parametrize(("name", "options"), ROLLOUTS)
@settings(max_examples=25, deadline=None, derandomize=True)
@given(request=requests())
def test_every_plan_keeps_its_promises(name, options, request):
    frames, observed, closing = (request[key] for key in ("frames", "observed", "closing"))
    window, step = request["window"], request["step"]
    both, missing = observed > 0 and closing > 0, frames - observed - closing
    if name == "full" and missing > (min(step, window - 2) if both else step):
        with pytest.raises(BadValue, match="step="):
            list(walk(name, options, **request))
        return
    steps = list(walk(name, options, **request))
    assert steps == list(walk(name, options, **request))
    finished = {*range(observed), *range(frames - closing, frames)}
    for made in steps:
        check_step(made, finished, window, step)
        if both:
            assert made.observed[-1] >= frames - closing, "the far end is looked at"
            assert frames - closing in made.observed, "the nearest frame of it first"
        finished |= set(done_by(made))
    assert finished == set(range(frames))


@pytest.mark.parametrize(("name", "options"), ROLLOUTS)
def test_frames_given_at_the_start_alone_are_planned_as_ever(name, options):
    request = {"frames": 24, "observed": 16, "window": 12, "step": 8, "poses": tour(24)}
    rollout = registry.build("rollout", name, options)
    features = lambda frames: pose_features(tour(24))[list(frames)]  # noqa: E731
    assert list(planned(rollout, closing=0, features=features, **request)) == list(
        rollout.plan(features=features, **request)
    )


def test_a_plan_from_the_end_is_the_plan_of_the_mirrored_video():
    rollout = registry.build("rollout", "autoregressive")
    steps = list(planned(rollout, frames=10, observed=0, closing=4, window=6, step=3))
    assert [(made.observed, made.latent) for made in steps] == [((6, 7, 8), (3, 4, 5)), ((3, 4, 5), (0, 1, 2))]


def test_what_lies_between_is_made_with_the_far_end_in_sight():
    rollout = registry.build("rollout", "autoregressive")
    steps = list(planned(rollout, frames=14, observed=4, closing=4, window=6, step=3))
    assert [(made.observed, made.latent) for made in steps] == [((2, 3, 10), (4, 5, 6)), ((5, 6, 10), (7, 8, 9))]
    (alone,) = planned(rollout, frames=9, observed=1, closing=5, window=8, step=4)
    assert alone.observed == (0, 4, 5, 6, 7) and alone.latent == (1, 2, 3), "free places go to the far end"


def test_impossible_requests_name_the_cure():
    rollout = registry.build("rollout", "autoregressive")
    good = {"frames": 20, "observed": 4, "closing": 4, "window": 8, "step": 4}
    for bad in ({"window": 2, "step": 1}, {"step": 9}, {"step": 0}, {"closing": 17}, {"closing": -1}):
        with pytest.raises(BadValue, match=r"\. (Give|Ask)"):
            list(planned(rollout, **{**good, **bad}))


def test_planning_imports_no_torch():
    code = """if True:
        import sys
        from components.given_ends import planned
        from zoo import registry
        list(planned(registry.build("rollout", "full"), frames=9, observed=3, closing=3, window=8, step=4))
        sys.exit("torch" in sys.modules)
    """
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
