"""What each signal owes to the others: a sparse regression learned in commissioning.

Nobody says which signals are causes. So every signal is explained by the others, by their squares
and products, now and through first-order lags (losses grow with the square of a current, a winding
follows them in minutes: a Hammerstein model). Terms are chosen one by one (orthogonal matching
pursuit, Pati et al. 1993) for as long as they help on held-out parts of commissioning: parts of the
time, and parts of the load, for what holds at one load only is no law of the machine. What an
operating point, a duty cycle or a warm day explains is thereby no deviation.

How far a prediction can be trusted is measured, not assumed: by the usual leverage and by how the
weights differ when a part of commissioning is left out (delete-group jackknife, Efron 1982).
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from models.factors import Array, autocorrelation_time

LAGS = np.array([0.0, 8.0, 32.0, 128.0, 512.0, 2048.0])
"""Time constants in sampling intervals: every machine is slow somewhere."""
ROWS_PER_CANDIDATE = 20
"""Fewer commissioning rows than this for each candidate term would choose by chance."""
MAX_TERMS = 8
FOLDS = 5
MAX_ROWS = 6000
"""Rows that a fit looks at; neighbouring ones tell little new."""
LEAST_GAIN = 0.02
"""Share of the unexplained that a term must explain on held-out parts."""
RISK = 10.0
"""The best of p chance terms gains about 2 log(p) / n (Foster and George 1994); rows that hang
together make it several times as much."""
_RIDGE = 1e-4


class Terms(NamedTuple):
    """The terms of one signal: candidate numbers, and weights of the standardised candidates."""

    chosen: list[int]
    weights: Array
    spread: Array
    """Covariance of the weights, in units of the residual's variance."""


class Explained(NamedTuple):
    """What `explain` found."""

    signals: list[Terms]
    a: NDArray[np.int64]
    """Candidate to signal number."""
    b: NDArray[np.int64]
    """Candidate to the signal it is multiplied by, -1 if to none."""
    lag: Array
    centre: Array
    scale: Array
    floor: Array
    ceiling: Array
    residual: Array
    """Held-out residuals of all commissioning rows, (n, d)."""


@njit(cache=True, error_model="numpy")
def candidates(
    z: Array, dt: Array, a: NDArray[np.int64], b: NDArray[np.int64], lag: Array
) -> Array:
    """Return all candidate terms of rows ``z`` (n, d), which come ``dt`` intervals apart."""
    n, p = z.shape[0], a.size
    out = np.empty((n, p))
    for c in range(p):
        state = 0.0
        for i in range(n):
            now = z[i, a[c]] if b[c] < 0 else z[i, a[c]] * z[i, b[c]]
            keep = 0.0 if i == 0 or lag[c] == 0.0 else np.exp(-dt[i] / lag[c])
            state = now + keep * (state - now)
            out[i, c] = state
    return out


def dictionary(d: int, n: int) -> tuple[NDArray[np.int64], NDArray[np.int64], Array]:
    """Return the candidate terms that ``n`` rows of ``d`` signals can choose from."""
    lags = LAGS[n / 12 >= LAGS]
    single = [(j, -1) for j in range(d)]
    pairs = [(i, j) for i in range(d) for j in range(i, d)]
    for names in (single + pairs, single):
        if n >= ROWS_PER_CANDIDATE * len(names) * len(lags):
            a, b = np.array(names * len(lags)).T
            return a, b, np.repeat(lags, len(names))
    return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)


class _Sums(NamedTuple):
    """Normal equations, whole and by fold: parts of the time first, then of the load."""

    gram: Array
    cross: Array
    fold_gram: list[Array]
    fold_cross: list[Array]
    fold_square: list[Array]
    rows: NDArray[np.int64]


def explain(z: Array, dt: Array) -> Explained:
    """Learn what each signal owes to the others.

    Args:
        z: commissioning rows (n, d), standardised, finite.
        dt: sampling intervals since the row before, (n,).
    """
    n, d = z.shape
    a, b, lag = dictionary(d, n)
    everything = candidates(z, dt, a, b, lag)
    lead = min(3 * 8, n // 10)  # the lags start where the first row happened to be
    step = max(1, n // MAX_ROWS)
    used = everything[lead::step]
    centre = used.mean(0) if len(used) else np.zeros(a.size)
    scale = used.std(0) + 1e-12 if len(used) else np.ones(a.size)
    fold = np.arange(len(used)) * FOLDS // max(len(used), 1)
    load = _load(z[lead::step]) if len(used) else fold
    sums = _sums((used - centre) / scale, z[lead::step], (fold, load))
    signals, residual = [], np.empty_like(z)
    all_folds = np.clip((np.arange(n) - lead) // step * FOLDS // max(len(used), 1), 0, FOLDS - 1)
    for j in range(d):
        free = (a != j) & (b != j)
        chosen = _choose(sums, j, free) if a.size else []
        x = (everything[:, chosen] - centre[chosen]) / scale[chosen]
        by_fold = [_solve(sums, j, chosen, f) for f in range(2 * FOLDS)]
        for f in range(FOLDS):
            rows = all_folds == f
            residual[rows, j] = z[rows, j] - x[rows] @ by_fold[f]
        signals.append(_terms(sums, j, chosen, np.array(by_fold), residual[:, j]))
    floor = used.min(0) if len(used) else centre
    ceiling = used.max(0) if len(used) else centre
    return Explained(signals, a, b, lag, centre, scale, floor, ceiling, residual)


def _load(z: Array) -> NDArray[np.int64]:
    """Return the fifth of its operating range in which the machine ran at each row.

    The range is that of the first principal component: what moves most signals most.
    """
    _, vectors = np.linalg.eigh(z.T @ z)
    order = np.argsort(z @ vectors[:, -1], kind="stable")
    fifths = np.empty(len(z), np.int64)
    fifths[order] = np.arange(len(z)) * FOLDS // len(z)
    return fifths


def _sums(x: Array, y: Array, folds: tuple[NDArray[np.int64], NDArray[np.int64]]) -> _Sums:
    parts = [(x[fold == f], y[fold == f]) for fold in folds for f in range(FOLDS)]
    gram, cross = [p.T @ p for p, _ in parts], [p.T @ q for p, q in parts]
    square = [(q * q).sum(0) for _, q in parts]
    rows = np.array([len(q) for _, q in parts])
    whole = np.sum(gram[:FOLDS], axis=0), np.sum(cross[:FOLDS], axis=0)
    return _Sums(*whole, gram, cross, square, rows)


def _rows(s: _Sums) -> int:
    return int(s.rows[:FOLDS].sum())


def _solve(s: _Sums, j: int, chosen: list[int], without: int | None = None) -> Array:
    """Return the weights for signal ``j``, if asked for without one fold."""
    if not chosen:
        return np.zeros(0)
    gram: Array = s.gram[np.ix_(chosen, chosen)]
    cross: Array = s.cross[chosen, j]
    if without is not None:
        gram = gram - s.fold_gram[without][np.ix_(chosen, chosen)]
        cross = cross - s.fold_cross[without][chosen, j]
    ridge = _RIDGE * _rows(s) * np.eye(len(chosen))
    return np.linalg.solve(gram + ridge, cross).astype(np.float64)


def _choose(s: _Sums, j: int, free: NDArray[np.bool_]) -> list[int]:
    """Add the best term until held-out parts gain nothing more."""
    chosen: list[int] = []
    best: list[int] = []
    error = _held_out(s, j, [])
    rows = _rows(s)
    least = max(LEAST_GAIN, RISK * np.log(max(free.sum(), 2)) / rows)
    while len(chosen) < MAX_TERMS:
        left: Array = np.diag(s.gram)
        pull: Array = s.cross[:, j]
        if chosen:
            inner = s.gram[np.ix_(chosen, chosen)] + _RIDGE * rows * np.eye(len(chosen))
            explained = np.linalg.solve(inner, s.gram[chosen])
            left = left - (s.gram[chosen] * explained).sum(0)
            pull = pull - explained.T @ s.cross[chosen, j]
        gain = np.where(free & (left > 1e-3 * rows), pull**2 / np.maximum(left, 1e-9), 0.0)
        gain[chosen] = 0.0
        if gain.max() <= 0:
            break
        chosen = [*chosen, int(gain.argmax())]
        now = _held_out(s, j, chosen)
        if now.mean() < (1 - least) * error.mean() and now.max() <= 1.05 * error.max():
            best, error = chosen, now
    return best


def _held_out(s: _Sums, j: int, chosen: list[int]) -> Array:
    """Return the mean squared error on each fold of weights learned from the others."""
    out = []
    for f in range(2 * FOLDS):
        w = _solve(s, j, chosen, f)
        square = s.fold_square[f][j] - 2 * w @ s.fold_cross[f][chosen, j]
        square += w @ s.fold_gram[f][np.ix_(chosen, chosen)] @ w
        out.append(square / max(s.rows[f], 1))
    return np.array(out)


def _terms(s: _Sums, j: int, chosen: list[int], by_fold: Array, residual: Array) -> Terms:
    weights = _solve(s, j, chosen)
    k = len(chosen)
    spread = np.zeros((k + 1, k + 1))
    independent = len(residual) / autocorrelation_time(residual)
    spread[0, 0] = 1.0 / independent
    if chosen:
        share = independent / _rows(s)
        gram = s.gram[np.ix_(chosen, chosen)] + _RIDGE * _rows(s) * np.eye(k)
        apart = by_fold - weights
        jackknife = (FOLDS - 1) / FOLDS * apart.T @ apart / max(residual.var(), 1e-12)
        spread[1:, 1:] = np.linalg.inv(gram * share) + jackknife
    return Terms(chosen, weights, spread)
