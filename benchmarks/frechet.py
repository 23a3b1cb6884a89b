"""Fréchet distance between Gaussians fitted to features, ‖μ₁−μ₂‖² + tr Σ₁ + tr Σ₂ − 2 tr (Σ₁Σ₂)^½ (Heusel 2017).

tr (Σ₁Σ₂)^½ is the nuclear norm of R₁R₂ᵀ, where Σ = RᵀR and R comes from a QR of the centred features: no covariance is
formed, nothing is added to it, and fewer samples than dimensions are no trouble. All arithmetic is float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


def frechet_distance(x_nd: np.ndarray, y_nd: np.ndarray, ddof: int = 1) -> float:
    """Distance of two feature sets [N, D] and [M, D]; ≥ 0. ``ddof`` 1 divides the scatter by N − 1, 0 by N.

    Raises ValueError for other shapes, fewer than ddof + 1 rows, or values that are not finite.
    """
    x, y = _checked(x_nd, ddof), _checked(y_nd, ddof)
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"features have {x.shape[1]} and {y.shape[1]} dimensions; they must come from one extractor")
    root_x, root_y = _root(x, ddof), _root(y, ddof)
    return _assemble(x.mean(0) - y.mean(0), _square(root_x), _square(root_y), _nuclear(root_x @ root_y.T))


@dataclass
class Moments:
    """Streaming form for many samples: count, mean and centred Gram matrix [D, D], merged exactly in any order."""

    count: int = 0
    mean: np.ndarray | None = None
    scatter: np.ndarray | None = None

    def update(self, x_nd: np.ndarray) -> Moments:
        """Add rows [N, D]; returns itself."""
        x = np.asarray(x_nd, dtype=np.float64)
        mean = x.mean(0)
        centred = x - mean
        return self.merge(Moments(len(x), mean, centred.T @ centred))

    def merge(self, other: Moments) -> Moments:
        """Add another stream's moments (Chan's pairwise update); returns itself."""
        if other.mean is None or other.scatter is None:
            return self
        if self.mean is None or self.scatter is None:
            self.count, self.mean, self.scatter = other.count, other.mean.copy(), other.scatter.copy()
            return self
        gap, total = other.mean - self.mean, self.count + other.count
        self.scatter = self.scatter + other.scatter + np.outer(gap, gap) * (self.count * other.count / total)
        self.mean = self.mean + gap * (other.count / total)
        self.count = total
        return self


def frechet_distance_moments(x: Moments, y: Moments, ddof: int = 1) -> float:
    """The distance from two streams' moments; agrees with ``frechet_distance`` for N ≥ D."""
    if x.mean is None or y.mean is None or min(x.count, y.count) <= ddof:
        raise ValueError(f"each stream needs at least {ddof + 1} rows")
    roots = [_root_of_scatter(m.scatter / (m.count - ddof)) for m in (x, y) if m.scatter is not None]
    return _assemble(x.mean - y.mean, _square(roots[0]), _square(roots[1]), _nuclear(roots[0] @ roots[1].T))


class Resampler:
    """Distances of many resamples of the same features, from three Gram matrices computed once.

    With centred X and Y the nuclear norm of XYᵀ is that of R₁R₂ᵀ, and XYᵀ of a resample is rows and columns of the
    whole one: a resample costs one N × M singular value problem, whatever D is.
    """

    def __init__(self, x_nd: np.ndarray, y_nd: np.ndarray, ddof: int = 1) -> None:
        x, y = _checked(x_nd, ddof), _checked(y_nd, ddof)
        middle = y.mean(0)  # a common shift changes no distance and keeps the sums small
        x, y = x - middle, y - middle
        self.ddof, self.cross, self.xx, self.yy = ddof, x @ y.T, x @ x.T, y @ y.T

    def distance(self, rows_x: np.ndarray, rows_y: np.ndarray) -> float:
        """Distance between the drawn rows of both sets."""
        n, m = len(rows_x), len(rows_y)
        cross = self.cross[np.ix_(rows_x, rows_y)]
        gram_x, gram_y = self.xx[np.ix_(rows_x, rows_x)], self.yy[np.ix_(rows_y, rows_y)]
        gap = gram_x.mean() + gram_y.mean() - 2 * cross.mean()
        trace_x = (np.trace(gram_x) - gram_x.sum() / n) / (n - self.ddof)
        trace_y = (np.trace(gram_y) - gram_y.sum() / m) / (m - self.ddof)
        centred = cross - cross.mean(0, keepdims=True) - cross.mean(1, keepdims=True) + cross.mean()
        nuclear = _nuclear(centred) / np.sqrt((n - self.ddof) * (m - self.ddof))
        return max(0.0, float(gap + trace_x + trace_y - 2 * nuclear))


def fd_infinity(x_nd: np.ndarray, y_nd: np.ndarray, ddof: int = 1, points: int = 8, seed: int = 0) -> float:
    """Distance extrapolated to infinitely many samples: intercept of FD on 1/N over subsamples without replacement.

    Chong and Forsyth, 2020. Subsample sizes run evenly in 1/N from half of the smaller set to all of it. May fall
    below zero by the noise of the fit.
    """
    n = min(len(x_nd), len(y_nd))
    if n < 8:
        raise ValueError(f"extrapolation needs at least 8 samples a side, there are {n}")
    rng = np.random.default_rng([seed, n])
    sizes = np.unique(np.round(1 / np.linspace(2 / n, 1 / n, points)).astype(int))
    x, y = np.asarray(x_nd), np.asarray(y_nd)
    distances = [
        frechet_distance(x[rng.permutation(len(x))[:size]], y[rng.permutation(len(y))[:size]], ddof) for size in sizes
    ]
    return float(np.polyfit(1 / sizes, distances, 1)[1])


def real_floor(real_nd: np.ndarray, ddof: int = 1, repeats: int = 4, seed: int = 0) -> float:
    """What perfect generation would score at half this N: mean distance between random halves of the real set."""
    n = len(real_nd) // 2
    if n <= ddof:
        raise ValueError("the real-against-real floor needs more real samples")
    rng = np.random.default_rng([seed, n])
    real = np.asarray(real_nd)
    halves = [rng.permutation(len(real)) for _ in range(repeats)]
    return float(np.mean([frechet_distance(real[order[:n]], real[order[n : 2 * n]], ddof) for order in halves]))


def polynomial_mmd(x_nd: np.ndarray, y_nd: np.ndarray, degree: int = 3, coefficient: float = 1.0) -> float:
    """Unbiased (U-statistic) squared maximum mean discrepancy with kernel (x·y / D + coefficient)^degree.

    Its expectation is 0 for equal distributions at any N, so single values may be negative.
    """
    x, y = _checked(x_nd, 1), _checked(y_nd, 1)
    n, m, d = len(x), len(y), x.shape[1]
    within_x, within_y = (x @ x.T / d + coefficient) ** degree, (y @ y.T / d + coefficient) ** degree
    across = (x @ y.T / d + coefficient) ** degree
    own_x = (within_x.sum() - np.trace(within_x)) / (n * (n - 1))
    own_y = (within_y.sum() - np.trace(within_y)) / (m * (m - 1))
    return float(own_x + own_y - 2 * across.mean())


def _checked(x_nd: np.ndarray, ddof: int) -> np.ndarray:
    x = np.asarray(x_nd, dtype=np.float64)
    if x.ndim != 2:
        raise ValueError(f"features must have shape [N, D], not {list(x.shape)}")
    if len(x) <= ddof:
        raise ValueError(f"{len(x)} samples are too few for a covariance; at least {ddof + 1} are needed")
    if not np.isfinite(x).all():
        raise ValueError("features hold values that are not finite")
    return x


def _root(x_nd: np.ndarray, ddof: int) -> np.ndarray:
    """R [min(N, D), D] with RᵀR the covariance; where N < D the centred features themselves already are small."""
    centred = (x_nd - x_nd.mean(0)) / np.sqrt(len(x_nd) - ddof)
    return np.asarray(np.linalg.qr(centred, mode="r")) if len(centred) > centred.shape[1] else centred


def _root_of_scatter(covariance_dd: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(covariance_dd)
    return np.sqrt(np.clip(values, 0, None))[:, None] * vectors.T


def _square(root: np.ndarray) -> float:
    return float(np.square(root).sum())


def _nuclear(matrix: np.ndarray) -> float:
    return float(np.linalg.svd(matrix, compute_uv=False).sum())


def _assemble(gap_d: np.ndarray, trace_x: float, trace_y: float, nuclear: float) -> float:
    return max(0.0, float(gap_d @ gap_d) + trace_x + trace_y - 2 * nuclear)
