"""The commissioning reference: what a healthy machine shows under given conditions.

A Bayesian linear regression explains every response by the conditions at two lags that suit it.
It knows what it does not know: conditions never seen widen the expected deviation by their
leverage h, so they make the detector less sensitive and are never a fault in themselves. Healthy
scatter is measured on held-out parts of commissioning only. What a response wandered in
commissioning without returning may go on, but only for as long again as commissioning took:
widening without end goes blind. Nothing here changes after commissioning but how fast a driver may
move, once a mode has been learned to which it moves faster (`models.visits`).
"""

import math
from typing import Any, NamedTuple

import numpy as np
from msgspec import Struct
from numba import njit
from numpy.typing import NDArray

from models import monitor_kernel as kernel
from models.conditions import JUMP_LAG, LAGS_S, curves, regressors
from models.monitor_kernel import CLIP
from models.sample import Layout, Vector
from models.settings import Settings

FOLDS = 6
CORRELATED = 3.0
"""Readings that carry as much news as one independent reading, before it has been measured."""
JUMP_MARGIN = 1.25
"""A driver may move this much faster than in commissioning before it counts as a jump."""
SECOND_LAG_GAIN = 0.98
"""A second lag must lower the held-out error at least this much."""


class Reference(Struct):
    """What commissioning found; one row per usable response unless said otherwise."""

    usable: NDArray[np.bool_]
    """Which of the responses had values in commissioning."""
    first: NDArray[np.integer[Any]]
    second: NDArray[np.integer[Any]]
    """The lags that explain the response, as indices of the ladder."""
    centre: Vector
    """Mean conditions."""
    middle: Vector
    """Mean response."""
    weights: Vector
    inverse: Vector
    """Inverse precision of the weights, in units of the noise variance; packed."""
    sigma: Vector
    """Scatter of one reading around its expectation, in the signal's unit."""
    smooth_sigma: Vector
    """Standard deviation of the smoothed residual, in sigmas of one reading."""
    correlation: Vector
    """Of the smoothed residuals."""
    precision: Vector
    """Inverse of the correlation."""
    drift: Vector
    """Random-walk rate of the residual in sigma^2 per second."""
    jump: Vector
    """How far each driver may run ahead of its lagging self; it went no further."""
    interval_s: float
    middle_ns: int
    span_s: float
    places_seen: Vector
    """Judged readings in each mode place."""
    level_all: Vector
    """Alarm level of T2, by number of responses judged (index 0 is unused)."""
    level_one: float
    """Alarm level of a single smoothed residual in its own standard deviations."""


class _Series(Struct):
    """What all responses of one commissioning share."""

    alphas: Vector
    """Smoothing weight of each reading."""
    ages: Vector
    """Seconds from the middle of commissioning."""
    prior: Vector
    model_error: float
    interval_s: float
    white: float
    """Variance that smoothing leaves of noise without memory."""


class _Part(NamedTuple):
    """A stretch of commissioning."""

    phi: Vector
    y: Vector
    squares: Vector
    cross: Vector


class _Explained(Struct):
    """One response explained by the conditions."""

    weights: Vector
    inverse: Vector
    sigma: float
    smooth_sigma: float
    drift: float
    correlated: float
    """Readings that carry as much news as one independent reading."""
    smoothed: Vector
    """Held-out residuals, smoothed, in their own expected deviations."""


def weight(dt_s: float, interval_s: float, settings: Settings) -> float:
    """Return the smoothing weight of a reading; a gap never makes one reading decisive."""
    return float(kernel.weight(dt_s, interval_s, settings.smoothing_samples))


def pack(inverse: Vector) -> Vector:
    """Return symmetric matrices as the rows of their upper triangles; what stood twice, doubled.

    They are most of what a monitor is, and are read for every row: half is quicker.
    """
    above = np.triu_indices(inverse.shape[-1])
    once = np.where(above[0] == above[1], 0.5, 1.0)
    both = inverse + inverse.swapaxes(-1, -2)
    return np.ascontiguousarray(both[(slice(None), *above)] * once)


def unpack(packed: Vector, count: int) -> Vector:
    """Return the symmetric matrices that were packed."""
    inverse = np.zeros((len(packed), count, count))
    inverse[(slice(None), *np.triu_indices(count))] = packed / 2
    return inverse + inverse.swapaxes(-1, -2)


def known_from(settings: Settings) -> float:
    """Return how many judged readings make a mode a commissioned one."""
    return settings.commissioning_samples / 5


def fit(
    times_ns: NDArray[np.int64],
    lagging: Vector,
    responses: Vector,
    settings: Settings,
    layout: Layout,
) -> Reference | None:
    """Learn the reference from commissioning's judged readings; None if they are no use.

    Args:
        times_ns: event times.
        lagging: conditions, [reading, lag, condition].
        responses: [reading, response], NaN where unusable.
        settings: the detector's numbers.
        layout: what stands where.
    """
    usable = (~np.isnan(responses)).mean(axis=0) > 0.5
    if not usable.any():
        return None
    y = _filled(responses[:, usable])
    try:
        found = _reference(times_ns, lagging, y, settings, layout)
    except np.linalg.LinAlgError:
        return None
    found.usable = usable
    return found if np.isfinite([*found.level_all, found.level_one]).all() else None


def _reference(
    times_ns: NDArray[np.int64],
    lagging: Vector,
    y: Vector,
    settings: Settings,
    layout: Layout,
) -> Reference:
    middle = y.mean(axis=0)
    y = y - middle
    series, span_s = _series(times_ns, layout, settings)
    first, second = choose_lags(lagging, y, series.prior)
    centre = lagging.mean(axis=(0, 1))
    found = [
        _explain(regressors(lagging, int(first[j]), int(second[j]), centre), y[:, j], series)
        for j in range(y.shape[1])
    ]
    smoothed = np.stack([f.smoothed for f in found], axis=1)[len(y) // 20 :]
    independent = len(y) * series.white / 2 / float(np.median([f.correlated for f in found]))
    correlation = _correlation(smoothed)
    levels, single = _levels(smoothed, correlation, independent, settings)
    margin = settings.model_margin if layout.drivers else 1.0
    weights = np.stack([f.weights for f in found])
    weights[:, 0] += middle
    return Reference(
        usable=np.ones(y.shape[1], dtype=bool),
        first=first,
        second=second,
        centre=centre,
        middle=middle,
        weights=weights,
        inverse=pack(np.stack([f.inverse for f in found])),
        sigma=np.array([f.sigma for f in found]),
        smooth_sigma=np.array([f.smooth_sigma for f in found]),
        correlation=correlation,
        precision=np.linalg.inv(correlation),
        drift=np.array([f.drift for f in found]),
        jump=JUMP_MARGIN * np.abs(ahead(lagging, layout)).max(axis=0),
        interval_s=series.interval_s,
        middle_ns=int(times_ns[0]) + int(span_s / 2 * 1e9),
        span_s=span_s,
        places_seen=lagging[:, 0, lagging.shape[2] - layout.slot_count :].sum(axis=0),
        level_all=margin * levels,
        level_one=margin * single,
    )


def _series(
    times_ns: NDArray[np.int64], layout: Layout, settings: Settings
) -> tuple[_Series, float]:
    steps = np.diff(times_ns) / 1e9
    interval_s = max(float(np.median(steps)), 1e-3)
    alphas = np.array([0.0, *(weight(dt, interval_s, settings) for dt in steps)])
    span_s = max(float(times_ns[-1] - times_ns[0]) / 1e9, interval_s)
    ages = np.abs((times_ns - times_ns[0]) / 1e9 - span_s / 2)
    alpha = weight(interval_s, interval_s, settings)
    prior = _prior(layout, settings)
    series = _Series(alphas, ages, prior, settings.model_error, interval_s, alpha / (2 - alpha))
    return series, span_s


def ahead(lagging: Vector, layout: Layout) -> Vector:
    """Return how far the drivers run ahead of what they were some forty seconds ago."""
    count = len(layout.drivers)
    gap: Vector = lagging[..., 0, :count] - lagging[..., JUMP_LAG, :count]
    return gap


def choose_lags(
    lagging: Vector, y: Vector, prior: Vector
) -> tuple[NDArray[np.integer[Any]], NDArray[np.integer[Any]]]:
    """Return for each response the lag that explains it best and a second one if that helps."""
    count, centre = y.shape[1], lagging.mean(axis=(0, 1))
    first, second = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    if lagging.shape[2] == 0:
        return first, second
    half = (len(prior) + 1) // 2
    errors = [
        _held_out_error(regressors(lagging, a, a, centre)[:, :half].copy(), y, prior[:half])
        for a in range(len(LAGS_S))
    ]
    first = np.argmin(errors, axis=0)
    second = first.copy()
    best = SECOND_LAG_GAIN * np.min(errors, axis=0)
    for a in np.unique(first):
        which = np.flatnonzero(first == a)
        for b in range(len(LAGS_S)):
            if a != b:
                phi = regressors(lagging, int(a), b, centre)
                error = _held_out_error(phi, y[:, which], prior)
                better = error < best[which]
                second[which[better]] = b
                best[which[better]] = error[better]
    return first, second


def _prior(layout: Layout, settings: Settings) -> Vector:
    """Return the prior's precision of the weights, in units of one reading's noise."""
    parts = (
        (len(layout.drivers), settings.driver_sigmas),
        (curves(layout), settings.curve_sigmas),
        (layout.slot_count, settings.mode_sigmas),
    )
    one = np.concatenate([np.full(n, sigmas**-2.0) for n, sigmas in parts])
    return np.concatenate([[1e-9], one, one])


def _held_out_error(phi: Vector, y: Vector, prior: Vector) -> Vector:
    parts = _parts(phi, y)
    outside, leverage = _hold_out(parts, *_sums(parts, prior, CORRELATED), CORRELATED)
    error: Vector = np.sqrt((outside**2 / (1 + leverage)[:, None]).mean(axis=0))
    return error


def _parts(phi: Vector, y: Vector) -> list[_Part]:
    """Take a series apart; held out are whole stretches, as readings follow each other closely."""
    both = zip(np.array_split(phi, FOLDS), np.array_split(y, FOLDS), strict=True)
    return [_Part(p, values, p.T @ p, p.T @ values) for p, values in both]


def _sums(parts: list[_Part], prior: Vector, correlated: float) -> tuple[Vector, Vector]:
    """Return precision and weighted sum of what all readings say.

    The readings follow each other closely, so each counts as ``1 / correlated`` of one.
    """
    squares = np.add.reduce([part.squares for part in parts]) / correlated + np.diag(prior)
    return squares, np.add.reduce([part.cross for part in parts]) / correlated


def _hold_out(
    parts: list[_Part], squares: Vector, cross: Vector, correlated: float
) -> tuple[Vector, Vector]:
    """Return residuals and leverage of each part, learned from the others."""
    outside, leverage = [], []
    for part in parts:
        inverse = np.linalg.inv(squares - part.squares / correlated)
        weights = inverse @ (cross - part.cross / correlated)
        outside.append(part.y - part.phi @ weights)
        leverage.append(np.einsum("ij,ij->i", part.phi @ inverse, part.phi))
    return np.concatenate(outside), np.maximum(np.concatenate(leverage), 0.0)


def _explain(phi: Vector, y: Vector, series: _Series) -> _Explained:
    """Explain one response; how correlated its residuals are decides how much they are worth."""
    share, correlated = 2 * series.white, CORRELATED
    parts = _parts(phi, y[:, None])
    for _ in range(3):
        squares, cross = _sums(parts, series.prior, correlated)
        outside, leverage = _hold_out(parts, squares, cross, correlated)
        inverse = np.linalg.inv(squares)
        weights = inverse @ cross
        sigma = _robust(outside[:, 0] / np.sqrt(1 + leverage), y)
        explained = phi @ weights[:, 0]
        drift = _drift((y - explained) / sigma, series.interval_s)
        unknown = smooth(leverage, series.alphas) + drift * series.ages
        unknown += (series.model_error * explained / sigma) ** 2
        residual = smooth(np.clip(outside[:, 0] / sigma, -CLIP, CLIP), series.alphas)
        share = max(float(np.mean(residual**2 / (1 + unknown / share))), series.white)
        correlated = float(np.clip(share / series.white, 1.0, 50.0))
    smoothed = residual / np.sqrt(share + unknown)
    return _Explained(weights[:, 0], inverse, sigma, math.sqrt(share), drift, correlated, smoothed)


@njit(cache=True)
def smooth(values: Vector, alphas: Vector) -> Vector:
    """Smooth a series exponentially from zero, each value with its weight."""
    out, state = np.empty(len(values)), 0.0
    for i in range(len(values)):
        state += alphas[i] * (values[i] - state)
        out[i] = state
    return out


def _filled(y: Vector) -> Vector:
    """Hold the last value over gaps; before the first value stands the mean."""
    index = np.where(np.isnan(y), 0, np.arange(len(y))[:, None])
    held = np.take_along_axis(y, np.maximum.accumulate(index, axis=0), axis=0)
    return np.where(np.isnan(held), np.nanmean(y, axis=0), held)


def _robust(residual: Vector, y: Vector) -> float:
    """Return a standard deviation without outliers, never finer than the number's own steps."""
    spread = max(1.4826 * float(np.median(np.abs(residual))), 0.3 * float(residual.std()))
    for _ in range(2):
        spread = math.sqrt(np.mean(np.clip(residual, -4 * spread, 4 * spread) ** 2))
    steps = np.abs(np.diff(y))
    steps = steps[steps > 0]
    quantum = float(steps.min()) if len(steps) else 1e-3 * float(np.abs(y).max()) + 1e-6
    return math.hypot(spread, quantum / math.sqrt(12))


def _drift(z: Vector, interval_s: float) -> float:
    """Return a residual's random-walk rate; zero where it only fluctuates about a level.

    A walk's mean squared change doubles when the lag doubles; a fluctuation's does not.
    """
    lag = min(100, len(z) // 4)

    def moved(k: int) -> float:
        return float(((z[k:] - z[:-k]) ** 2).mean())

    far, near = moved(lag), moved(1)
    if far > 2 * near and far > 1.4 * moved(lag // 2):
        return (far - near) / ((lag - 1) * interval_s)
    return 0.0


def _correlation(smoothed: Vector) -> Vector:
    """Return the smoothed residuals' correlation, shrunk towards independence."""
    second = smoothed.T @ smoothed / len(smoothed)
    scale = np.sqrt(np.diag(second)) + 1e-12
    correlation: Vector = 0.8 * second / np.outer(scale, scale)
    np.fill_diagonal(correlation, 1.0)
    return correlation


def _levels(
    smoothed: Vector, correlation: Vector, independent: float, settings: Settings
) -> tuple[Vector, float]:
    """Return alarm levels: theory's, raised for few readings and for heavier tails."""
    count = len(correlation)
    t2 = np.sqrt(np.einsum("ij,jk,ik->i", smoothed, np.linalg.inv(correlation), smoothed))
    tail_all = max(1.0, float(np.quantile(t2, 0.9)) / chi(count, 1.2816))
    tail_one = max(1.0, float(np.quantile(np.abs(smoothed), 0.9)) / chi(1, 1.2816))
    few = math.sqrt(1 + count / max(independent, 1.0))
    levels = [0.0, *(tail_all * few * chi(d, settings.alarm_z) for d in range(1, count + 1))]
    many = settings.alarm_z + math.log(count) / settings.alarm_z
    return np.array(levels), tail_one * few * chi(1, many)


def chi(degrees: int, z: float) -> float:
    """Return the root of the chi-square quantile at normal quantile z (Wilson and Hilferty)."""
    part = 2 / (9 * degrees)
    return math.sqrt(degrees * (1 - part + z * math.sqrt(part)) ** 3)
