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
