"""The fleet detector's hot path: one row of one machine at a time, all machines in flat arrays.

Compiled by numba. The first axis of every array is the machine (structure of arrays). Nothing here
raises: whatever a row holds, it is judged or skipped.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float64]
Counts = NDArray[np.int64]

LIMIT = 1e6
"""Readings further from the mean than this many deviations are cut: sums must stay finite."""
REACH = 8.0
"""Terms see a signal at most this many deviations from its mean, as far as squares can be trusted."""
HELD_ROWS = 30
"""A missing value is held for so many rows; then its signal counts as normal."""
HUBER = 4.0
NEVER_BEEN = 0.3
"""A prediction this uncertain (variance, in units of the residual's) is of conditions that
commissioning has not seen; they are learned, those it has seen stay frozen."""
OUTSIDE = 0.3
"""Share of what a term says outside its commissioned range that may be wrong."""
STRANGE = 0.2
"""What a signal outside its commissioned range may do to another one, in deviations each."""
NEWS = 0.03
CONFIRM_ROWS = 3
CLEAR_BELOW = 0.6
CLEAR_ROWS = 3
CALM = 0.5
NEARER = 0.5
"""An alarm ends when the machine is nearer to its reference than to the fault."""
FOLLOW = 0.05
"""Weight with which the picture of a standing fault follows the machine."""
CLEAR_SIGMAS = 6.0
"""The fastest moving average in which a fault stands out by this much tells when it is gone."""
AGAIN = 1.5
"""While a machine recovers, only a score this many times its lowest one is a new alarm."""
RECOVERY_ROWS = 3600


class Reference(NamedTuple):
    """What commissioning found of each machine."""

    ready: NDArray[np.bool_]
    interval_ns: Counts
    centre: Array
    scale: Array
    """1 / standard deviation; 0 for a signal that cannot be judged."""
    low: Array
    high: Array
    features: Counts
    """How many of the feature places below are in use."""
    a: Counts
    b: Counts
    lag: Array
    floor: Array
    ceiling: Array
    terms: Counts
    term: Counts
    term_centre: Array
    term_scale: Array
    weight: Array
    spread: Array
    memory: Array
    """Rows that carry as much news as one independent row."""
    noise: Array
    """1 / standard deviation of the residual."""
    agility: Array
    """What moving conditions add to the variance, per square of what they move."""
    matrix: Array
    variance: Array
    freedom: Array
    trust: Array
    scales: Counts
    level_all: Array
    level_one: Array


class Live(NamedTuple):
    """Where each machine stands."""

    last_ns: Counts
    rows: Counts
    held: Counts
    z: Array
    state: Array
    slow: Array
    excess: Array
    toll: Array
    residual: Array
    unsure: Array
    """Variance that doubtful predictions add to each residual, in units of its own."""
    doubt: Array
    """The same for each factor."""
    level: Array
    square: Array
    """Squares of the moving averages in their own deviations, bounded by their degrees of freedom."""
    alarm: NDArray[np.bool_]
    above: Counts
    calm: Counts
    alarm_rows: Counts
    recovery: Counts
    lowest: Array
    fault: Array
    size: Array
    score: Array


@njit(cache=True)
def advance(
    r: Reference, s: Live, weights: Array, machines: Counts, times_ns: Counts, x: Array,
    score: Array, alarm: NDArray[np.bool_],
) -> None:  # fmt: skip
    """Judge rows in their order; late and doubled ones repeat the machine's last answer.

    Args:
        r: reference of all machines.
        s: where all machines stand; changed in place.
        weights: of the moving averages.
        machines: machine number of each row.
        times_ns: event time of each row.
        x: rows (n, d), NaN where missing.
        score: where the scores go, (n,).
        alarm: where the alarms go, (n,).
    """
    for i in range(machines.size):
        m = machines[i]
        fresh = s.last_ns[m] < 0 or times_ns[i] > s.last_ns[m]
        if r.ready[m] and fresh:
            dt = 1.0 if s.last_ns[m] < 0 else (times_ns[i] - s.last_ns[m]) / r.interval_ns[m]
            s.last_ns[m] = times_ns[i]
            if _take(r, s, m, x[i]):
                if r.features[m] > 0:
                    _move(r, s, m, min(dt, 1e4))
                    _explain(r, s, m)
                _judge(r, s, m, weights)
                _decide(r, s, m)
                s.rows[m] += 1
        score[i] = s.score[m]
        alarm[i] = s.alarm[m]


@njit(cache=True)
def _take(r: Reference, s: Live, m: int, x: Array) -> bool:
    """Standardise a row; hold missing values for a while. False if there is nothing in it."""
    some = False
    for j in range(x.size):
        value = (x[j] - r.centre[m, j]) * r.scale[m, j]
        if math.isfinite(value):
            s.z[m, j] = max(-LIMIT, min(LIMIT, value))
            s.held[m, j] = 0
            some = some or r.scale[m, j] > 0.0
        else:
            s.held[m, j] += 1
        if r.features[m] == 0:
            s.residual[m, j] = s.z[m, j] * r.noise[m, j] if s.held[m, j] < HELD_ROWS else 0.0
    return some


@njit(cache=True)
def _move(r: Reference, s: Live, m: int, dt: float) -> None:
    """Advance the features, and note how far signals are outside what was commissioned."""
    first = s.rows[m] == 0
    for f in range(r.features[m]):
        now = max(-REACH, min(REACH, s.z[m, r.a[m, f]]))
        if r.b[m, f] >= 0:
            now *= max(-REACH, min(REACH, s.z[m, r.b[m, f]]))
        lag = r.lag[m, f]
        keep = 0.0 if first or lag == 0.0 else math.exp(-dt / lag)
        s.state[m, f] = now + keep * (s.state[m, f] - now)
        keep = 0.0 if first else math.exp(-dt / (2.0 * lag + 30.0))
        s.slow[m, f] = s.state[m, f] + keep * (s.slow[m, f] - s.state[m, f])
    for j in range(s.z.shape[1]):
        out = max(0.0, s.z[m, j] - r.high[m, j]) + min(0.0, s.z[m, j] - r.low[m, j])
        s.excess[m, j] += NEWS * (max(-REACH, min(REACH, out)) - s.excess[m, j])


@njit(cache=True)
def _explain(r: Reference, s: Live, m: int) -> None:
    """Find each signal's residual and how doubtful it is; learn conditions never seen before."""
    d = s.z.shape[1]
    strange = 0.0
    for j in range(d):
        strange += s.excess[m, j] ** 2
    learning = not s.alarm[m] and s.recovery[m] == 0
    phi, pull = np.empty(r.weight.shape[2]), np.empty(r.weight.shape[2])
    for j in range(d):
        if r.terms[m, j] == 0:
            s.residual[m, j] = s.z[m, j] * r.noise[m, j] if s.held[m, j] < HELD_ROWS else 0.0
            continue
        others = strange - s.excess[m, j] ** 2
        r.spread[m, j, 0, 0] += (STRANGE * r.noise[m, j]) ** 2 * abs(others - s.toll[m, j])
        s.toll[m, j] = others
        _features(r, s, m, j, phi)
        left = s.z[m, j]
        for t in range(r.terms[m, j] + 1):
            left -= phi[t] * r.weight[m, j, t]
        doubt = _doubt(r, m, j, phi, pull)
        if s.held[m, j] > 0:
            left = 0.0 if s.held[m, j] >= HELD_ROWS else s.residual[m, j] / r.noise[m, j]
        elif learning and doubt > NEVER_BEEN:
            _learn(r, m, j, pull, doubt, left)
        s.residual[m, j] = left * r.noise[m, j]
        s.unsure[m, j] = doubt + _moving(r, s, m, j)


@njit(cache=True)
def _features(r: Reference, s: Live, m: int, j: int, phi: Array) -> None:
    phi[0] = 1.0
    for t in range(r.terms[m, j]):
        f = r.term[m, j, t]
        phi[t + 1] = (s.state[m, f] - r.term_centre[m, j, t]) * r.term_scale[m, j, t]


@njit(cache=True)
def _doubt(r: Reference, m: int, j: int, phi: Array, pull: Array) -> float:
    """Return the prediction's variance, in units of the residual's; ``pull`` is its gradient."""
    doubt = 0.0
    for t in range(r.terms[m, j] + 1):
        total = 0.0
        for u in range(r.terms[m, j] + 1):
            total += r.spread[m, j, t, u] * phi[u]
        pull[t] = total
        doubt += total * phi[t]
    return max(doubt, 0.0)


@njit(cache=True)
def _learn(r: Reference, m: int, j: int, pull: Array, doubt: float, left: float) -> None:
    """Update the weights by one row (recursive least squares), worth 1 / memory of a row."""
    gain = 1.0 / (r.memory[m, j] + doubt)
    for t in range(r.terms[m, j] + 1):
        r.weight[m, j, t] += gain * left * pull[t]
        for u in range(r.terms[m, j] + 1):
            r.spread[m, j, t, u] -= gain * pull[t] * pull[u]


@njit(cache=True)
def _moving(r: Reference, s: Live, m: int, j: int) -> float:
    """Return the variance by terms that are still moving or outside their range."""
    total = 0.0
    for t in range(r.terms[m, j]):
        f = r.term[m, j, t]
        share = r.weight[m, j, t + 1] * r.term_scale[m, j, t] * r.noise[m, j]
        out = max(0.0, s.state[m, f] - r.ceiling[m, f]) + min(0.0, s.state[m, f] - r.floor[m, f])
        run = s.state[m, f] - s.slow[m, f]
        total += share * share * (r.agility[m, j] * run * run + (OUTSIDE * out) ** 2)
    return total


@njit(cache=True, fastmath=True)
def _judge(r: Reference, s: Live, m: int, weights: Array) -> None:
    """Move the factors' averages and score them; 1 is the alarm level."""
    d = s.z.shape[1]
    plain = r.features[m] == 0
    best = 0.0
    for k in range(d):
        y = 0.0
        more = 0.0
        for j in range(d):
            y += r.matrix[m, k, j] * s.residual[m, j]
        if not plain:
            for j in range(d):
                more += r.matrix[m, k, j] ** 2 * s.unsure[m, j]
            s.doubt[m, k] = more
        for c in range(r.scales[m]):
            level = s.level[m, c, k]
            limit = HUBER + abs(level)
            level += weights[c] * max(-limit, min(limit, y - level))
            s.level[m, c, k] = level
            s.square[m, c, k] = level * level / (r.variance[m, c, k] + more)
    for c in range(r.scales[m]):
        for k in range(d):
            s.square[m, c, k] = _evidence(s.square[m, c, k], r.freedom[m, c, k])
        whole = 0.0
        most = 0.0
        for k in range(d):
            whole += s.square[m, c, k]
            most = max(most, s.square[m, c, k])
        best = max(best, whole * r.level_all[m], most * r.level_one[m])
    s.score[m] = math.sqrt(best)


@njit(cache=True)
def _evidence(square: float, freedom: float) -> float:
    """Return nu log(1 + t^2 / nu): what a squared t value is worth in squared normal sigmas."""
    share = square / freedom
    if share < CALM:  # Pade's approximant, right to 0.2 %, without the logarithm's cost
        return square * (6.0 + share) / (6.0 + 4.0 * share)
    return freedom * math.log1p(share)


@njit(cache=True)
def _decide(r: Reference, s: Live, m: int) -> None:
    """Raise the alarm, keep it while the fault lasts, end it when the machine has come back."""
    score = s.score[m]
    if not s.alarm[m]:
        level = 1.0
        if s.recovery[m] > 0:
            s.recovery[m] -= 1
            s.lowest[m] = min(s.lowest[m], score)
            level = max(1.0, AGAIN * s.lowest[m])
        s.above[m] = s.above[m] + 1 if score > level else 0
        if s.above[m] >= CONFIRM_ROWS:
            s.alarm[m], s.above[m], s.calm[m], s.alarm_rows[m] = True, 0, 0, 0
            _picture(r, s, m, True)
        return
    s.alarm_rows[m] += 1
    back = _picture(r, s, m, False)
    s.calm[m] = s.calm[m] + 1 if back or score < CLEAR_BELOW else 0
    if s.calm[m] >= CLEAR_ROWS:
        s.alarm[m], s.calm[m], s.lowest[m] = False, 0, score
        # what took so long to come may take as long to go
        s.recovery[m] = min(s.alarm_rows[m], RECOVERY_ROWS)


@njit(cache=True)
def _picture(r: Reference, s: Live, m: int, begin: bool) -> bool:
    """Follow what the fault looks like; tell whether the machine is nearer to its reference.

    The line between a known healthy state and a fault learned while it stands is Fisher's linear
    discriminant, in coordinates that are white when healthy.
    """
    d = s.z.shape[1]
    judged = False
    back = False
    for c in range(r.scales[m]):
        along, own, size = 0.0, 1e-12, 0.0
        for k in range(d):
            now = _coordinate(r, s, m, c, k)
            along += now * s.fault[m, c, k]
            own += s.fault[m, c, k] ** 2
            size += now * now
        nearer = not begin and along < NEARER * own and size < NEARER * s.size[m, c]
        last = c == r.scales[m] - 1
        if not judged and (last or s.size[m, c] > CLEAR_SIGMAS**2):
            judged, back = True, nearer
        if nearer:
            continue
        weight = 1.0 if begin else FOLLOW * (1.0 if along < own else 6.0)
        for k in range(d):
            s.fault[m, c, k] += weight * (_coordinate(r, s, m, c, k) - s.fault[m, c, k])
        weight = 1.0 if begin else FOLLOW * (1.0 if size < s.size[m, c] else 6.0)
        s.size[m, c] += weight * (size - s.size[m, c])
    return back


@njit(cache=True)
def _coordinate(r: Reference, s: Live, m: int, c: int, k: int) -> float:
    return float(
        s.level[m, c, k] * r.trust[m, c, k] / math.sqrt(r.variance[m, c, k] + s.doubt[m, k])
    )


@njit(cache=True)
def calm(s: Live, m: int) -> None:
    """Forget alarms, but nothing else."""
    s.alarm[m], s.above[m], s.calm[m], s.recovery[m], s.score[m] = False, 0, 0, 0, 0.0


def attribute(r: Reference, s: Live, m: int) -> tuple[Array, Array]:
    """Return each signal's smoothed residual in its own deviations, and what it should read."""
    judged = r.scale[m] > 0
    back = np.linalg.pinv(r.matrix[m])
    # the fastest average in which the machine stands out most
    c = int(np.argmax(s.square[m, : r.scales[m]].sum(1)))
    residual = back @ s.level[m, c]
    usual = np.sqrt(np.square(back) @ r.variance[m, c] + s.unsure[m])
    sigmas = np.where(judged, residual / np.maximum(usual, 1e-9), 0.0)
    noise = np.where(r.noise[m] > 0, r.noise[m], 1.0)
    z = s.z[m] - s.residual[m] / noise
    expected = r.centre[m] + np.where(judged, z / np.where(judged, r.scale[m], 1.0), 0.0)
    return sigmas, expected
