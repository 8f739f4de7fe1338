"""What a remaining-life regression looks at: a fixed map from a machine's history to features.

The map needs no names, units or lists of useful signals:

1. Signals are centred and scaled by their own spread; constant ones drop out.
2. Directions in which the signals move slowly against their noise are found by the generalised
   eigenvalues of covariance against covariance of first differences (minimum/maximum
   autocorrelation factors, Switzer and Green 1984). They do not change when signals are renamed,
   shuffled, rescaled or mixed, and signals that jump with every cycle drop out by themselves.
3. Every direction is weighted by what it tells about the remaining life (Gaussian mutual
   information with its zones), so that weather and differences between machines fade.
4. Each is smoothed at several scales up to the whole life: for degradation paths built of
   exponentials these sums are sufficient statistics.
5. Random Fourier features (Rahimi and Recht 2007) of all that make ridge regression on them
   approximate a Gaussian process, with matrices of fixed size.
"""

import math
from typing import NamedTuple

import numpy as np
from msgspec import Struct, structs
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float64]

SCALES = (0.024, 0.064, 0.16, 0.48, math.inf)
"""Smoothing constants, as parts of the cap, about three apart; the last is the mean since birth."""
DIRECTIONS = 8
"""Directions kept: a few ways to fail, and as many nuisances that the regression can tell apart."""
SLOW = 12
"""Slowest directions from which they are taken by what they tell."""
FOURIER = 500
"""Random features; 300 and 600 gave the same error within 3 %."""
WIDTH = 3.0
"""Kernel width in standard deviations of a feature: half-way across its range of about six."""
LINEAR = 0.1
"""Weight of the linear part beside the Fourier part, whose squared length is 1."""
CLIP = 8.0
"""One reading counts at most this many spreads, so that a spike or a wrong value passes."""
FAR = 10.0
"""A feature counts at most this many standard deviations; only keeps numbers finite."""
PRECISE = 1e-3
"""Noise below this part of a signal's variance is taken as this: more precision tells nothing."""
ZONES = 6
"""Zones of remaining life for the mutual information: one is 'cap or more'."""
CONSTANT = 1e-9
"""Relative spread up to which a signal is constant: rounding."""

RIDGES = (5e-4, 5e-3, 5e-2)
"""Noise over prior variance of the curve per life. Noise of 10 under curves of 60 cycles is 0.03;
the rows of a life tell as much as some 5 independent ones: 5e-3, and a factor 10 to each side."""
CAUTIOUS = 1
"""Ridge in use before errors were measured."""

FOLDS = 10
"""Parts of the library that are predicted from the rest."""


class Basis(Struct):
    """The frozen map; d signals, k directions, f smoothed features, D random ones."""

    cap: float
    centre: Array
    """Median of every signal (d)."""
    spread: Array
    """Robust standard deviation of every signal (d); 0 where it is constant."""
    directions: Array
    """From scaled signals to unit-noise scores (d, k)."""
    oldest: float
    """Age that the map can still tell from higher ages."""
    mean: Array
    """Mean of the smoothed features (f)."""
    weight: Array
    """Relevance over standard deviation of the smoothed features (f)."""
    waves: Array
    """Random frequencies (f, D)."""
    phases: Array
    """Random phases (D)."""


class History(Struct):
    """A life, or the part of it seen so far: ages and signals, at most ROWS rows."""

    ages: list[float]
    rows: list[Array]
    every: int = 1
    """Observations per row; doubles whenever the history is full."""
    pending: int = 0
    """Observations already averaged into the last row."""
    end: float = math.nan
    """Age at the failure."""


ROWS = 512
"""Bound of a history. Lives of turbofans have 130-530 cycles; longer ones are averaged."""


class Smooth(Struct):
    """Exponentially weighted sums of scaled signals at all scales (scales, d)."""

    sums: Array
    weights: Array
    age: float


def remember(history: History, age: float, x: Array) -> None:
    """Append an observation; a full history halves its resolution."""
    if history.pending:
        last, n = history.rows[-1], history.pending
        history.rows[-1] = np.where(
            np.isnan(x), last, np.where(np.isnan(last), x, last + (x - last) / (n + 1))
        )
        history.ages[-1] = age
    else:
        history.rows.append(x)
        history.ages.append(age)
    history.pending = (history.pending + 1) % history.every
    if len(history.rows) == ROWS and not history.pending:
        pairs = np.array(history.rows).reshape(ROWS // 2, 2, -1)
        seen = np.isfinite(pairs)
        total = np.where(seen, pairs, 0.0).sum(axis=1)
        count = seen.sum(axis=1)
        history.rows = list(np.where(count > 0, total / np.maximum(count, 1), np.nan))
        history.ages = history.ages[1::2]
        history.every *= 2


def begin(signals: int) -> Smooth:
    """Return the smoothing state of a machine without observations."""
    shape = (len(SCALES), signals)
    return Smooth(np.zeros(shape), np.zeros(shape), math.nan)


def smoothed(basis: Basis, smooth: Smooth, ages: Array, rows: Array) -> Array:
    """Take in observations (n, d) at ages (n) and return the smoothed features (n, f)."""
    z = scale(basis.centre, basis.spread, rows)
    steps = np.maximum(np.diff(ages, prepend=ages[0] if math.isnan(smooth.age) else smooth.age), 0)
    constants = np.array(SCALES) * basis.cap
    levels = _levels(z, steps, constants, smooth.sums, smooth.weights) @ basis.directions
    smooth.age = float(ages[-1])
    told = np.clip(ages, 0.0, basis.oldest)[:, None]
    differences = (levels[:, :-1] - levels[:, 1:]).reshape(len(ages), -1)
    return np.hstack([levels[:, -2], differences, told, np.log1p(told)])


@njit(cache=True)
def _levels(z: Array, steps: Array, constants: Array, sums: Array, weights: Array) -> Array:
    """Weighted means (n, scales, d) after every row; sums and weights move on in place."""
    levels = np.zeros((len(z), len(constants), z.shape[1]))
    for i in range(len(z)):
        for s in range(len(constants)):
            decay = math.exp(-steps[i] / constants[s])
            for k in range(z.shape[1]):
                if not math.isnan(z[i, k]):
                    sums[s, k] = decay * sums[s, k] + z[i, k]
                    weights[s, k] = decay * weights[s, k] + 1.0
                if weights[s, k] > 0:
                    levels[i, s, k] = sums[s, k] / weights[s, k]
    return levels


def scale(centre: Array, spread: Array, x: Array) -> Array:
    """Return signals in spreads from their centre: NaN stays, constant signals are 0."""
    with np.errstate(invalid="ignore", over="ignore"):
        z = np.clip((x - centre) / np.where(spread > 0, spread, 1.0), -CLIP, CLIP)
    return np.where(spread > 0, z, 0.0)


def expand(basis: Basis, features: Array) -> Array:
    """Return the regressors (n, 1 + f + D) of smoothed features (n, f)."""
    z = np.clip((features - basis.mean) * basis.weight, -FAR, FAR)
    waves = np.cos(z @ basis.waves + basis.phases) * math.sqrt(2.0 / len(basis.phases))
    return np.hstack([np.ones((len(z), 1)), LINEAR * z, waves])


def replay(basis: Basis, life: History) -> tuple[Array, Smooth]:
    """Return the smoothed features of a life (rows, f), each knowing only its past, and the end."""
    smooth = begin(len(basis.centre))
    return smoothed(basis, smooth, np.array(life.ages), np.array(life.rows)), smooth


def remaining(life: History, cap: float) -> Array:
    """Return the capped remaining life at every row."""
    return np.minimum(life.end - np.array(life.ages), cap)


def learn_basis(lives: list[History], cap: float) -> Basis:
    """Fix the map from complete lives."""
    centre, spread = _spread(np.vstack([x for life in lives for x in life.rows]))
    scaled = [np.nan_to_num(scale(centre, spread, np.array(life.rows))) for life in lives]
    directions, slowness = _slow(scaled)
    zones = [_zone(remaining(life, cap), cap) for life in lives]
    constant = np.array([2 * SCALES[0] * cap])  # enough to see the movement through the noise
    scores = []
    for z, life in zip(scaled, lives, strict=True):
        steps, state = np.diff(life.ages, prepend=life.ages[0]), np.zeros((2, 1, z.shape[1]))
        scores.append(_levels(z, steps, constant, state[0], state[1])[:, 0] @ directions)
    value = slowness * np.sqrt(_relevance(scores, zones))
    best = np.argsort(-value, kind="stable")[:DIRECTIONS]
    directions, value = directions[:, best], value[best] / max(value.max(initial=0.0), 1e-12)
    oldest = max(life.ages[-1] for life in lives)
    count = len(best) * len(SCALES) + 2
    draw = np.random.default_rng(0)  # any fixed seed: two sites must draw the same features
    basis = Basis(
        cap,
        centre,
        spread,
        directions,
        oldest,
        np.zeros(count),
        np.ones(count),
        draw.standard_normal((count, FOURIER)) / WIDTH,
        draw.uniform(0, 2 * np.pi, FOURIER),
    )
    features = [replay(basis, life)[0] for life in lives]
    basis.mean = np.mean([f.mean(axis=0) for f in features], axis=0)
    deviation = np.sqrt(np.mean([((f - basis.mean) ** 2).mean(axis=0) for f in features], axis=0))
    relevance = np.concatenate([np.tile(value, len(SCALES)), [1.0, 1.0]])
    basis.weight = np.where(deviation > CONSTANT, relevance / np.maximum(deviation, CONSTANT), 0.0)
    return basis


def same_map(one: Basis | None, other: Basis | None) -> bool:
    """Whether matrices over both maps may be added."""
    if one is None or other is None:
        return False
    pairs = zip(structs.astuple(one), structs.astuple(other), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def _spread(rows: Array) -> tuple[Array, Array]:
    """Median and robust standard deviation per signal; 0 where it is constant or never seen."""
    centre, spread = np.zeros(rows.shape[1]), np.zeros(rows.shape[1])
    for i, column in enumerate(rows.T):
        seen = column[np.isfinite(column)]
        if len(seen) < 2:
            continue
        low, centre[i], high = np.quantile(seen, [0.01, 0.5, 0.99])
        sigma = (high - low) / 4.65  # between these quantiles lie 4.65 sigmas of a Gaussian
        rounding = CONSTANT * abs(centre[i])
        sigma = sigma if sigma > rounding else seen.std()
        spread[i] = sigma if sigma > rounding else 0.0
    return centre, spread


def _slow(lives: list[Array]) -> tuple[Array, Array]:
    """Directions of slow movement against noise, slowest first, and their share of signal."""
    signals = lives[0].shape[1]
    steps = [np.diff(z, axis=0) for z in lives]
    rows = sum(len(s) for s in steps)
    noise = sum((s.T @ s for s in steps), np.zeros((signals, signals))) / (2 * max(rows, 1))
    total = np.cov(np.vstack(lives).T, bias=True).reshape(signals, signals)
    noise = noise + np.diag(PRECISE * np.diag(total) + CONSTANT)
    values, vectors = np.linalg.eigh(noise)
    whiten = vectors / np.sqrt(np.maximum(values, CONSTANT))
    ratio, turn = np.linalg.eigh(whiten.T @ total @ whiten)
    slowest = np.argsort(-ratio, kind="stable")[:SLOW]
    return whiten @ turn[:, slowest], np.clip(1 - 1 / np.maximum(ratio[slowest], 1e-9), 0.0, 1.0)


def _zone(left: Array, cap: float) -> NDArray[np.int64]:
    return np.minimum(left * (ZONES - 1) / cap, ZONES - 1).astype(np.int64)


def _relevance(scores: list[Array], zones: list[NDArray[np.int64]]) -> Array:
    """1 - exp(-2 I), I = Gaussian mutual information with the zone: a squared correlation.

    A direction counts that moves as the end comes nearer, and one that spreads: two ways to fail
    in opposite directions keep their mean.
    """
    x, zone = np.vstack(scores), np.concatenate(zones)
    weight = np.concatenate([np.full(len(z), 1.0 / len(z)) for z in zones])  # each life counts once
    weight /= weight.sum()
    total = weight @ (x - weight @ x) ** 2 + CONSTANT
    logs = np.zeros(x.shape[1])
    for z in range(ZONES):
        inside = zone == z
        part = weight[inside].sum()
        if part > 0:
            share = weight[inside] / part
            logs += part * np.log(share @ (x[inside] - share @ x[inside]) ** 2 + CONSTANT)
    return np.clip(1.0 - np.exp(logs - np.log(total)), 0.0, 1.0)


def ridges(gram: Array, moment: Array) -> Array:
    """Return the coefficients for every ridge (P, R)."""
    return np.column_stack([np.linalg.solve(damped(gram, r), moment) for r in RIDGES])


def damped(gram: Array, ridge: float) -> Array:
    """Return the normal matrix of a ridge regression."""
    damping = np.full(len(gram), ridge)
    damping[0] = 1e-9  # the mean is not held towards 0; only kept solvable
    return gram + np.diag(damping)


class Part(NamedTuple):
    """What one life adds to the normal equations."""

    regressors: Array
    truth: Array
    gram: Array
    moment: Array


def part_of(basis: Basis, life: History) -> Part:
    """Return the part of a life; all its rows together count 1."""
    x, truth = expand(basis, replay(basis, life)[0]), remaining(life, basis.cap)
    return Part(x, truth, x.T @ x / len(x), x.T @ truth / len(x))


def predict_fold(parts: list[Part], fold: int) -> list[tuple[Array, Array, float]]:
    """Return estimates per ridge, truth and mean for the lives of a fold, told by the others."""
    others = [part for i, part in enumerate(parts) if i % FOLDS != fold]
    gram = np.sum([part.gram for part in others], axis=0)
    moment = np.sum([part.moment for part in others], axis=0)
    solutions, mean = ridges(gram, moment), float(moment[0] / gram[0, 0])
    return [(part.regressors @ solutions, part.truth, mean) for part in parts[fold::FOLDS]]
