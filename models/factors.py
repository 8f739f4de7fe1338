"""The healthy scatter of a machine, taken apart into slow and fast factors.

A signal that wanders has shown commissioning only a few independent excursions, one that is noise
hundreds. The slow feature analysis (Wiskott and Sejnowski 2002; for monitoring: Shang et al. 2015)
finds uncorrelated combinations of the signals ordered by slowness; each is then judged by as many
degrees of freedom as commissioning really showed of it. So what wandered may go on wandering, and
what stood still is watched closely.
"""

import math
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float64]

WEIGHTS = np.array([0.2, 0.03, 0.004])
"""Weights of the moving averages: a jump is seen in seconds, a small shift in minutes."""
CLIP = 12.0
HUBER = 4.0
"""One reading moves a moving average as if it were at most this many sigmas, and once more as far
as the average itself, away from it: a spike passes, a step is followed. So does the kernel."""
LEAST_SHIFT = 0.2
"""A steady shift by less than about this many sigmas of one reading, times the alarm level, does
not matter in practice, however certain it is."""
ALARM_Z = 4.5
"""Alarm level as a normal quantile: 3 in a million readings."""
SIGNIFICANT = 3.0
"""Correlations below so many of their own standard errors are taken for chance: among a hundred
pairs of signals, one in three reaches that by chance."""
FOLDS = 5
_RIDGE = 0.02
_SLOW = 0.1
_START = 20


class Factors(NamedTuple):
    """How to take a row of residuals apart, and what is usual for each factor."""

    matrix: Array
    """(factor, signal)."""
    variance: Array
    """(scale, factor) of the moving averages."""
    freedom: Array
    """(scale, factor) degrees of freedom."""
    inflation: float
    """How much larger scores are on held-out parts than where the factors were learned."""


def autocorrelation_time(y: Array) -> float:
    """Return how many rows carry as much news as one independent row (Geyer 1992)."""
    n = y.size
    r = y - y.mean()
    power = np.abs(np.fft.rfft(r, 2 * n)) ** 2
    rho = np.fft.irfft(power)[:n]
    if rho[0] <= 1e-30:
        return 1.0
    pairs = (rho[1 : n - 1 : 2] + rho[2:n:2]) / rho[0]
    negative = np.flatnonzero(pairs < 0)
    end = negative[0] if negative.size else pairs.size
    return float(max(1.0, 1.0 + 2.0 * pairs[:end].sum()))


@njit(cache=True, error_model="numpy")
def smooth(y: Array, weight: float) -> Array:
    """Return the moving average of rows (n, d), in which one reading never counts much."""
    n, d = y.shape
    out = np.empty((n, d))
    level = np.zeros(d)
    for i in range(n):
        for j in range(d):
            limit = HUBER + abs(level[j])
            level[j] += weight * max(-limit, min(limit, y[i, j] - level[j]))
            out[i, j] = level[j]
    return out


def shrunk_correlation(u: Array) -> Array:
    """Return the correlations that are more than chance, between autocorrelated columns.

    Bartlett's (1946) standard error: two wandering signals correlate by chance alone.
    """
    n, d = u.shape
    lags = n // 3
    r = u - u.mean(0)
    power = np.abs(np.fft.rfft(r, 2 * n, axis=0)) ** 2
    rho = np.fft.irfft(power, axis=0)[:lags]
    rho = rho / np.maximum(rho[0], 1e-30) * (1 - np.arange(lags) / n)[:, None]
    independent = n / np.maximum(1 + 2 * rho[1:].T @ rho[1:], 1)
    c = u.T @ u / n
    error = (1 - np.clip(c, -0.9999, 0.9999) ** 2) ** 2 / independent
    keep = np.maximum(0.0, 1 - SIGNIFICANT**2 * error / np.maximum(c * c, 1e-12))
    out: Array = c * keep
    out[np.diag_indices(d)] = np.diag(c)
    return out


def _matrix(u: Array) -> Array:
    """Return the factors' matrix: rows in rising slowness, unit variance, uncorrelated."""
    d = u.shape[1]
    values, vectors = np.linalg.eigh(shrunk_correlation(u))
    whole = (vectors * (np.maximum(values, 0) + _RIDGE)) @ vectors.T
    level = smooth(u, _SLOW)[_START:]
    size = level.std(0) + 1e-9
    slow = shrunk_correlation(level / size) * np.outer(size, size)
    slow += _RIDGE * np.diag(slow).mean() * np.eye(d)
    inverse = np.linalg.inv(np.linalg.cholesky(whole))
    _, turn = np.linalg.eigh(inverse @ slow @ inverse.T)
    matrix: Array = turn.T @ inverse
    return matrix


def _freedom(y: Array, level: Array, weight: float) -> float:
    """Return the degrees of freedom of a moving average's variance (Satterthwaite 1946).

    Its white part is known from all rows, its slow part only from as many excursions as fit.
    """
    white = weight / (2 - weight) * 0.5 * float(np.mean(np.diff(y) ** 2))
    slow = min(max(1 - white / max(float(np.mean(level**2)), 1e-30), 0.0), 1.0)
    excursions = max(level.size / autocorrelation_time(level), 1.5)
    return 1.0 / (slow**2 / excursions + (1 - slow) ** 2 / y.size)


def _fit(u: Array) -> tuple[Array, Array, Array]:
    n, d = u.shape
    u = np.clip(u, -CLIP, CLIP)
    matrix = _matrix(u)
    y = u @ matrix.T
    usable = scales(n)
    variance, freedom = np.ones((usable, d)), np.ones((usable, d))
    for s, weight in enumerate(WEIGHTS[:usable]):
        level = smooth(y, weight)[min(int(2 / weight), n // 4) :]
        for k in range(d):
            dof = _freedom(y[:, k], level[:, k], weight)
            variance[s, k] = np.mean(level[:, k] ** 2) * (1 + 1 / dof) + LEAST_SHIFT**2
            freedom[s, k] = max(dof - 1, 1.0)
    return matrix, variance, freedom


def scales(rows: int) -> int:
    """Return how many of the moving averages ``rows`` of commissioning can teach."""
    return max(1, int((rows / 4 >= 5 / WEIGHTS).sum()))


def fit(u: Array) -> Factors:
    """Learn the factors of commissioning's held-out residuals (n, d), each of unit variance."""
    n = len(u)
    matrix, variance, freedom = _fit(u)
    inside = score(u, matrix, variance, freedom)
    edges = np.linspace(0, n, FOLDS + 1).astype(int)
    outside = []
    for low, high in pairwise(edges.tolist()):
        learned = _fit(np.concatenate([u[:low], u[high:]]))
        lead = max(0, low - int(2 / WEIGHTS[-1]))
        outside.append(score(u[lead:high], *learned)[low - lead :])
    held_out = np.concatenate(outside)[_START:]
    ratio = float(np.median(held_out) / max(float(np.median(inside[_START:])), 1e-9))
    # measured without a fifth of the rows; what is too optimistic goes with their number
    inflation = 1.0 + (1 - 1 / FOLDS) * max(ratio - 1.0, 0.0)
    return Factors(matrix, variance, freedom, inflation)


def score(u: Array, matrix: Array, variance: Array, freedom: Array) -> Array:
    """Return the score of rows in order; 1 is the alarm level before inflation."""
    y = u @ matrix.T
    d = int((np.abs(matrix).sum(0) > 0).sum())
    best = np.zeros(len(u))
    for s in range(len(variance)):
        level = smooth(y, WEIGHTS[s])
        square = evidence(level**2 / variance[s], freedom[s])
        whole = np.sqrt(square.sum(1)) / level_all(d)
        best = np.maximum(best, np.maximum(whole, np.sqrt(square.max(1)) / level_one()))
    return best


def evidence(square: Array, freedom: Array) -> Array:
    """Return squared t values as squared normal quantiles, about: nu log(1 + t^2 / nu).

    A t value of few degrees of freedom is worth less than it seems (Wallace 1959).
    """
    result: Array = freedom * np.log1p(square / freedom)
    return result


def trust(freedom: Array) -> Array:
    """Return by how much the alarm level is lower than with so many degrees of freedom."""
    nu, z = freedom, ALARM_Z
    t = np.sqrt(nu * np.expm1(np.minimum((z * (8 * nu + 3) / (8 * nu + 1)) ** 2 / nu, 50.0)))
    result: Array = z / t
    return result


def level_all(d: int) -> float:
    """Return the alarm level of the root of a sum of ``d`` squares (Wilson and Hilferty 1931)."""
    d = max(d, 1)
    return math.sqrt(d * (1 - 2 / (9 * d) + ALARM_Z * math.sqrt(2 / (9 * d))) ** 3)


def level_one() -> float:
    """Return the alarm level of the largest of the factors; a little more, as there are several."""
    return ALARM_Z + 0.4
