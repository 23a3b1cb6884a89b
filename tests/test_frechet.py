"""The Fréchet kernel against scipy's matrix root, at every shape that breaks other kernels."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg

from benchmarks.frechet import (
    Moments,
    Resampler,
    fd_infinity,
    frechet_distance,
    frechet_distance_moments,
    polynomial_mmd,
    real_floor,
)


def oracle(x: np.ndarray, y: np.ndarray, ddof: int = 1) -> float:
    """Textbook form with scipy's sqrtm of the symmetrised product (tf-gan's order of roots)."""
    covariance_x, covariance_y = np.cov(x.T, ddof=ddof), np.cov(y.T, ddof=ddof)
    root = scipy.linalg.sqrtm(covariance_x).real
    product = scipy.linalg.sqrtm(root @ covariance_y @ root).real
    gap = x.mean(0) - y.mean(0)
    return float(gap @ gap + np.trace(covariance_x) + np.trace(covariance_y) - 2 * np.trace(product))


def draw(n: int, d: int, seed: int, shift: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) / np.sqrt(d) + shift


@pytest.mark.parametrize("ddof", [0, 1])
@pytest.mark.parametrize(("n", "m", "d"), [(200, 200, 20), (100, 130, 20), (31, 200, 30), (2000, 1500, 4)])
def test_agrees_with_the_matrix_root(n, m, d, ddof):
    x, y = draw(n, d, 1), draw(m, d, 2, shift=0.3)
    assert frechet_distance(x, y, ddof) == pytest.approx(oracle(x, y, ddof), rel=1e-6)


def test_closed_form_in_one_dimension():
    x, y = draw(50, 1, 1), 3 * draw(70, 1, 2) + 1
    wanted = (x.mean() - y.mean()) ** 2 + (x.std(ddof=1) - y.std(ddof=1)) ** 2
    assert frechet_distance(x, y) == pytest.approx(wanted, rel=1e-9)


def test_fewer_samples_than_dimensions_equals_the_padded_root():
    """At N < D the covariance is singular; the nuclear norm equals the sum of roots of the product's eigenvalues."""
    x, y = draw(12, 60, 1), draw(15, 60, 2, shift=0.5)
    eigenvalues = np.linalg.eigvals(np.cov(x.T) @ np.cov(y.T)).real
    gap = x.mean(0) - y.mean(0)
    wanted = gap @ gap + np.cov(x.T).trace() + np.cov(y.T).trace() - 2 * np.sqrt(np.clip(eigenvalues, 0, None)).sum()
    assert frechet_distance(x, y) == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize(("n", "d"), [(100, 10), (20, 50)])
def test_identity_symmetry_permutation_and_shift(n, d):
    x, y = draw(n, d, 1), draw(n + 5, d, 2)
    value = frechet_distance(x, y)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(y, x) == pytest.approx(value, rel=1e-9)
    order = np.random.default_rng(0).permutation(n)
    assert frechet_distance(x[order], y) == pytest.approx(value, rel=1e-9)
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(d, d)))[0]
    assert frechet_distance((x + 7) @ rotation, (y + 7) @ rotation) == pytest.approx(value, rel=1e-8)
    assert frechet_distance(x, x + 2.0) == pytest.approx(4.0 * d, rel=1e-9)


def test_streaming_form_is_the_same_in_any_chunks_and_order():
    x, y = draw(300, 12, 1, shift=100.0), draw(250, 12, 2, shift=100.0)
    left, right = Moments(), Moments()
    for chunk in np.array_split(x, 7):
        left.update(chunk)
    for chunk in reversed(np.array_split(y, [1, 50, 60])):
        right.merge(Moments().update(chunk))
    assert left.count == 300
    np.testing.assert_allclose(left.scatter / 299, np.cov(x.T), rtol=1e-9, atol=1e-12)
    for ddof in (0, 1):
        wanted = frechet_distance(x, y, ddof)
        assert frechet_distance_moments(left, right, ddof) == pytest.approx(wanted, rel=1e-8)


@pytest.mark.parametrize(("n", "d"), [(40, 6), (12, 60)])
def test_resampler_equals_the_distance_of_the_drawn_rows(n, d):
    x, y = draw(n, d, 1, shift=50.0), draw(n + 3, d, 2, shift=50.0)
    resampler = Resampler(x, y, ddof=1)
    rng = np.random.default_rng(0)
    for _ in range(5):
        rows_x, rows_y = rng.integers(0, n, n), rng.integers(0, n + 3, n)
        wanted = frechet_distance(x[rows_x], y[rows_y])
        assert resampler.distance(rows_x, rows_y) == pytest.approx(wanted, rel=1e-7)


def test_the_floor_and_the_extrapolation_take_the_bias_out():
    """Two samples of one distribution: FD falls with N, its extrapolation lies near zero."""
    d = 20
    small, large = (frechet_distance(draw_plain(n, d, 1), draw_plain(n, d, 2)) for n in (64, 1024))
    assert small > 5 * large > 0
    x, y = draw_plain(400, d, 3), draw_plain(400, d, 4)
    assert abs(fd_infinity(x, y)) < 0.4 * frechet_distance(x, y)
    assert real_floor(y) == pytest.approx(frechet_distance(draw_plain(200, d, 5), draw_plain(200, d, 6)), rel=0.3)
    assert fd_infinity(x, y) == fd_infinity(x, y), "seeded"


def draw_plain(n: int, d: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d))


def test_mmd_is_unbiased_and_sees_a_shift():
    same = [polynomial_mmd(draw_plain(20, 5, 2 * s), draw_plain(20, 5, 2 * s + 1)) for s in range(200)]
    assert abs(np.mean(same)) < 3 * np.std(same) / np.sqrt(200)
    assert min(same) < 0, "an unbiased estimate of zero is negative about half the time"
    assert polynomial_mmd(draw_plain(20, 5, 0), draw_plain(20, 5, 1) + 1) > max(same)


def test_mmd_equals_its_sums():
    x, y = draw_plain(4, 3, 0), draw_plain(5, 3, 1)

    def kernel(a, b):
        return (a @ b / 3 + 1) ** 3

    within_x = np.mean([kernel(x[i], x[j]) for i in range(4) for j in range(4) if i != j])
    within_y = np.mean([kernel(y[i], y[j]) for i in range(5) for j in range(5) if i != j])
    across = np.mean([kernel(a, b) for a in x for b in y])
    assert polynomial_mmd(x, y) == pytest.approx(within_x + within_y - 2 * across)


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (np.zeros((3, 2)), np.zeros((3, 3))),
        (np.zeros(3), np.zeros((3, 1))),
        (np.zeros((1, 2)), np.zeros((3, 2))),
        (np.full((3, 2), np.nan), np.zeros((3, 2))),
    ],
)
def test_bad_features_are_refused(x, y):
    with pytest.raises(ValueError):
        frechet_distance(x, y)


def test_the_argument_is_left_alone():
    x = draw(20, 4, 1, shift=3.0)
    before = x.copy()
    frechet_distance(x, x + 1)
    Resampler(x, x)
    np.testing.assert_array_equal(x, before)
