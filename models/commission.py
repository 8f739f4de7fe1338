"""From a machine's commissioning rows to its reference in the fleet's flat arrays."""

import numpy as np
from numpy.typing import NDArray

from models import factors, terms
from models.arrays import MAX_FEATURES, Reference
from models.factors import Array
from models.kernel import REACH

LEAST_ROWS = 30
"""Fewer usable rows teach nothing; the machine stays unjudged."""
_PLAUSIBLE_SHARE = 0.5
"""A signal must have values in this share of commissioning to be judged."""
_AGILITY = (0.03, 0.5)
"""No model follows moving conditions better than to 3 %; one wrong by half explains nothing."""
_MOST_MOVING = 0.98
_RANGE = 0.001
_USUAL, _GLITCH = 0.01, 5.0
"""What lies five times the usual range beyond it is no reading: it would blind its signal."""


def learn(r: Reference, m: int, times_ns: NDArray[np.int64], rows: Array) -> bool:
    """Fill in machine ``m`` from its commissioning rows (n, d) in order of time, NaN where missing.

    Returns:
        False if the rows are no use: too few, or nothing in them moves.
    """
    finite = np.isfinite(rows)
    filled = _filled(rows, finite)
    centre, deviation = filled.mean(0), filled.std(0)
    judged = (finite.mean(0) >= _PLAUSIBLE_SHARE) & (deviation > 1e-9 * (np.abs(centre) + 1e-300))
    if len(rows) < LEAST_ROWS or not judged.any():
        return False
    steps = np.diff(times_ns)
    interval = max(int(np.median(steps)), 1)
    dt = np.minimum(np.concatenate([[1.0], steps / interval]), 1e4)
    r.interval_ns[m] = interval
    r.centre[m] = centre
    r.scale[m] = np.where(judged, 1.0 / np.where(judged, deviation, 1.0), 0.0)
    z = (filled - centre) * r.scale[m]
    r.low[m], r.high[m] = np.quantile(z, _RANGE, axis=0), np.quantile(z, 1 - _RANGE, axis=0)
    found = terms.explain(np.clip(z, -REACH, REACH), dt)
    spread = found.residual.std(0)
    r.noise[m] = np.where(spread > 1e-9, 1.0 / np.maximum(spread, 1e-9), 0.0)
    residual = found.residual * r.noise[m]
    r.memory[m] = [factors.autocorrelation_time(residual[:, j]) for j in range(rows.shape[1])]
    _keep_terms(r, m, found)
    if r.features[m]:
        _measure_agility(r, m, np.clip(z, -REACH, REACH), dt, residual)
    _keep_factors(r, m, residual, judged)
    r.ready[m] = True
    return True


def _filled(rows: Array, finite: NDArray[np.bool_]) -> Array:
    """Hold the last value where one is missing, or else the first one; cut glitches off."""
    place = np.where(finite, np.arange(len(rows))[:, None], -1)
    held = np.maximum.accumulate(place, axis=0)
    first = np.argmax(finite, axis=0)
    filled = np.take_along_axis(rows, np.where(held < 0, first, held), axis=0)
    clean: Array = np.where(np.isfinite(filled), filled, 0.0)
    low, high = np.quantile(clean, (_USUAL, 1 - _USUAL), axis=0)
    reach = np.where(high > low, _GLITCH * (high - low), np.inf)
    return np.clip(clean, low - reach, high + reach)


def _keep_terms(r: Reference, m: int, found: terms.Explained) -> None:
    """Number the candidates in use; those that find no place are left out."""
    places: dict[int, int] = {}
    for j, own in enumerate(found.signals):
        kept = []
        for t, c in enumerate(own.chosen):
            if c in places or len(places) < MAX_FEATURES:
                places.setdefault(c, len(places))
                kept.append(t)
        k = len(kept)
        which = [0, *(t + 1 for t in kept)]
        r.terms[m, j] = k
        r.term[m, j, :k] = [places[own.chosen[t]] for t in kept]
        r.term_centre[m, j, :k] = [found.centre[own.chosen[t]] for t in kept]
        r.term_scale[m, j, :k] = [1 / found.scale[own.chosen[t]] for t in kept]
        r.weight[m, j, 1 : k + 1] = own.weights[kept]
        r.spread[m, j, : k + 1, : k + 1] = own.spread[np.ix_(which, which)]
    used = list(places)
    n = r.features[m] = len(used)
    r.a[m, :n], r.b[m, :n], r.lag[m, :n] = found.a[used], found.b[used], found.lag[used]
    r.floor[m, :n], r.ceiling[m, :n] = found.floor[used], found.ceiling[used]


def _measure_agility(r: Reference, m: int, z: Array, dt: Array, residual: Array) -> None:
    """Measure how much worse predictions are while what they rest on moves."""
    n = r.features[m]
    state = terms.candidates(z, dt, r.a[m, :n], r.b[m, :n], r.lag[m, :n])
    run = state - np.column_stack(
        [terms.candidates(state[:, [f]], dt, np.zeros(1, int), np.full(1, -1), _lag(r, m, f))[:, 0]
         for f in range(n)]
    )  # fmt: skip
    low, high = (share * share for share in _AGILITY)
    for j in range(z.shape[1]):
        k = r.terms[m, j]
        share = r.weight[m, j, 1 : k + 1] * r.term_scale[m, j, :k] * r.noise[m, j]
        moved = ((run[:, r.term[m, j, :k]] * share) ** 2).sum(1)
        most = moved > np.quantile(moved, _MOST_MOVING)
        there = float(moved[most].mean()) if most.any() else 0.0
        worse = float(np.minimum(residual[most, j] ** 2, 1e4).mean()) - 1 if there > 1e-6 else 0.0
        r.agility[m, j] = min(max(worse / max(there, 1e-6), low), high)


def _lag(r: Reference, m: int, f: int) -> Array:
    """Return over how long a feature's own movement is measured, as the kernel does."""
    return np.array([2.0 * r.lag[m, f] + 30.0])


def _keep_factors(r: Reference, m: int, residual: Array, judged: NDArray[np.bool_]) -> None:
    where = np.flatnonzero(judged & (r.noise[m] > 0))
    found = factors.fit(np.ascontiguousarray(residual[:, where]))
    k, scales = len(where), len(found.variance)
    r.matrix[m] = 0.0
    r.matrix[m, where, :k] = found.matrix.T
    r.precision[m, :scales, :k] = 1 / found.variance
    r.freedom[m, :scales, :k] = found.freedom
    r.trust[m, :scales, :k] = factors.trust(found.freedom)
    r.scales[m] = scales
    r.level_all[m] = (factors.level_all(k) * found.inflation) ** -2
    r.level_one[m] = (factors.level_one() * found.inflation) ** -2
