"""Intervals cover the truth as often as they say, and are the same every time."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import stats
from benchmarks.frechet import Resampler, frechet_distance


def test_resamples_are_seeded_and_whole():
    counts = stats.resample_counts(7, 50, seed=3)
    assert counts.shape == (50, 7) and (counts.sum(1) == 7).all()
    np.testing.assert_array_equal(counts, stats.resample_counts(7, 50, seed=3))
    assert (counts != stats.resample_counts(7, 50, seed=4)).any()
    indices = stats.resample_indices(7, 50, seed=3)
    np.testing.assert_array_equal(counts[11], np.bincount(indices[11], minlength=7))


def test_the_interval_of_a_mean_covers_the_truth():
    covered = 0
    for seed in range(200):
        values = np.random.default_rng(seed).normal(2.0, 1.0, size=40)
        low, high = stats.mean_interval(values, 400, seed)
        covered += low <= 2.0 <= high
    assert 180 <= covered <= 198


def test_one_video_has_no_interval():
    assert stats.mean_interval(np.array([1.0])) is None


def test_curves_ignore_what_a_video_does_not_have():
    table = np.array([[1.0, 2.0, np.nan], [3.0, np.nan, np.nan]])
    mean, low, high = stats.curve_interval(table, 200)
    np.testing.assert_array_equal(mean, [2.0, 2.0, np.nan])
    assert low[0] == 1.0 and high[0] == 3.0
    assert np.isnan(low[1:]).all() and np.isnan(high[1:]).all(), "one video says nothing of the spread"


def test_curve_and_mean_intervals_agree():
    values = np.random.default_rng(0).normal(size=12)
    mean, low, high = stats.curve_interval(values[:, None], 500, seed=1)
    assert (low[0], high[0]) == pytest.approx(stats.mean_interval(values, 500, seed=1))
    assert mean[0] == pytest.approx(values.mean())


def test_the_basic_interval_of_a_frechet_distance_covers_the_truth_and_percentiles_do_not():
    d, n, truth = 10, 128, 10 * 0.5**2
    basic = percentile = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        x, y = rng.normal(size=(n, d)), rng.normal(size=(n, d)) + 0.5
        resampler = Resampler(x, y)
        rows = np.stack([stats.resample_indices(n, 100, seed), stats.resample_indices(n, 100, seed + 1000)], 1)
        replicates = np.array([resampler.distance(a, b) for a, b in rows])
        low, high = stats.basic_interval(frechet_distance(x, y), replicates)
        basic += low <= truth <= high
        percentile += np.quantile(replicates, 0.025) <= truth <= np.quantile(replicates, 0.975)
    assert basic >= 17
    assert percentile <= basic - 3


def test_paired_differences_see_what_separate_intervals_hide():
    rng = np.random.default_rng(0)
    difficulty = rng.normal(0, 10, 16)
    left = {f"e{i}": difficulty[i] + 1 + rng.normal(0, 0.3) for i in range(16)}
    right = {f"e{i}": difficulty[i] for i in range(16)} | {"other": 5.0}
    gap = stats.paired_difference(left, right)
    assert gap.n == 16 and gap.clear and gap.value == pytest.approx(1, abs=0.4)
    alone = stats.mean_interval(np.array(list(left.values())))
    assert alone[1] - alone[0] > 10 * (gap.interval[1] - gap.interval[0])
    assert not stats.paired_difference(left, left).clear
    with pytest.raises(ValueError):
        stats.paired_difference(left, {"other": 1.0})


# ------------------------------------------------------------------------------------------------ training seeds


def crossed(rng, seeds, videos, seed_sd, video_sd, noise):
    """Values [seeds, videos] of true mean 2: something of the seed, something of the video, something of both."""
    return (
        2.0
        + rng.normal(0, seed_sd, (seeds, 1))
        + rng.normal(0, video_sd, (1, videos))
        + rng.normal(0, noise, (seeds, videos))
    )


def test_one_seed_is_the_bootstrap_over_videos():
    values = np.random.default_rng(0).normal(size=12)
    assert stats.crossed_interval(values[None], 500, seed=1) == pytest.approx(stats.mean_interval(values, 500, seed=1))
    holes = np.insert(values, 3, np.nan)
    assert stats.crossed_interval(holes[None], 500, 1) == pytest.approx(stats.mean_interval(values, 500, seed=1))
    assert stats.crossed_interval(values[None, :1]) is None
    assert stats.crossed_interval(np.full((3, 4), np.nan)) is None


@pytest.mark.parametrize(("seed_sd", "video_sd"), [(1.0, 0.1), (0.1, 1.0), (0.5, 1.0)])
def test_the_crossed_interval_covers_whatever_varies(seed_sd, video_sd):
    """Resampling the cells as if they were independent would cover about half as often."""
    both = cells = 0
    for trial in range(150):
        table = crossed(np.random.default_rng(trial), 12, 24, seed_sd, video_sd, 0.3)
        low, high = stats.crossed_interval(table, 300, trial)
        both += low <= 2.0 <= high
        low, high = stats.mean_interval(table.ravel(), 300, trial)
        cells += low <= 2.0 <= high
    assert 128 <= both <= 150
    assert cells <= both - 30


def test_three_seeds_are_too_few_for_resampling_and_the_docstring_says_so():
    covered = 0
    for trial in range(150):
        table = crossed(np.random.default_rng(trial), 3, 24, 1.0, 0.1, 0.1)
        low, high = stats.crossed_interval(table, 300, trial)
        covered += low <= 2.0 <= high
    assert covered < 130
    assert "too short" in stats.crossed_interval.__doc__
    assert stats.seed_deviation(table) == pytest.approx(table.mean(1).std(ddof=1))
    assert stats.seed_deviation(table[:1]) is None


def test_differences_draw_the_same_seeds_and_videos_on_both_sides():
    rng = np.random.default_rng(0)
    right = crossed(rng, 3, 16, 2.0, 5.0, 0.1)
    left = right + 1 + rng.normal(0, 0.2, right.shape)
    paired = stats.crossed_difference(left, right, paired_seeds=True)
    apart = stats.crossed_difference(left, right[::-1], paired_seeds=False)
    assert paired.clear and paired.value == pytest.approx(1, abs=0.2) and paired.n == 16
    assert paired.by_seed == pytest.approx((left - right).mean(1))
    assert apart.by_seed == () and apart.value == pytest.approx(paired.value)
    width = apart.interval[1] - apart.interval[0]
    assert width > 10 * (paired.interval[1] - paired.interval[0]), "seeds drawn apart, videos still shared"
    alone = stats.crossed_interval(left)
    assert alone[1] - alone[0] > 5 * (paired.interval[1] - paired.interval[0])


def test_a_control_stands_against_every_seed():
    left, right = np.array([[3.0, 4.0, np.nan], [5.0, 6.0, 7.0]]), np.array([[1.0, 1.0, 1.0]])
    gap = stats.crossed_difference(left, right, paired_seeds=False)
    assert gap.value == pytest.approx(np.nanmean(left) - 1) and gap.n == 3 and gap.by_seed == (2.5, 5.0)
    with pytest.raises(ValueError, match="no video"):
        stats.crossed_difference(left, np.full((1, 3), np.nan), paired_seeds=False)


def curves(rng, seeds, videos, times):
    """Random curves about sin: what a video adds, what a seed adds to all its videos, and noise of each frame."""
    of_video = np.cumsum(rng.normal(0, 0.15, (1, videos, times)), axis=-1)
    of_seed = np.cumsum(rng.normal(0, 0.1, (seeds, 1, times)), axis=-1) if seeds > 1 else 0.0
    return np.sin(np.arange(times) / 8) + of_video + of_seed + rng.normal(0, 1, (seeds, videos, times))


@pytest.mark.parametrize("seeds", [1, 16])
def test_the_simultaneous_band_covers_the_whole_curve_and_the_pointwise_does_not(seeds):
    truth = np.sin(np.arange(40) / 8)
    whole = each = 0
    for trial in range(60):
        table = curves(np.random.default_rng(trial), seeds, 40, 40)
        _, low, high = stats.simultaneous_band(table, 300, trial)
        whole += bool(((low <= truth) & (truth <= high)).all())
        weights = stats.crossed_weights(seeds, 40, 300, trial)
        low, high = np.quantile(stats.crossed_means(table, weights), (0.025, 0.975), axis=0)
        each += bool(((low <= truth) & (truth <= high)).all())
    assert whole >= 51, "95 % of 60, less what sampling and the small number of videos may take"
    assert each <= whole - 12


def test_a_band_of_seeds_holds_what_seeds_vary():
    rng = np.random.default_rng(3)
    table = curves(rng, 6, 20, 30)
    mean, low, high = stats.simultaneous_band(table, 300)
    assert mean == pytest.approx(table.mean((0, 1)))
    shifted = table + np.arange(6)[:, None, None]
    _, wide_low, wide_high = stats.simultaneous_band(shifted, 300)
    assert (wide_high - wide_low > high - low).all()


def test_a_band_leaves_out_what_is_not_known():
    table = np.random.default_rng(0).normal(size=(2, 3, 4))
    table[:, 1:, 2], table[:, :, 3] = np.nan, np.nan
    mean, low, high = stats.simultaneous_band(table, 100)
    assert np.isfinite(mean[:3]).all() and np.isnan(mean[3])
    assert np.isfinite(low[:2]).all() and np.isnan(low[2:]).all() and np.isnan(high[2:]).all()
    constant = np.ones((2, 3, 4))
    mean, low, high = stats.simultaneous_band(constant, 100)
    assert (low == 1).all() and (high == 1).all()
