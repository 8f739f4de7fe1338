"""The fleet detector's hot path: one row of one machine at a time, all machines in flat arrays.

Nothing here raises: whatever a row holds, it is judged or skipped. All that numba compiles together
stands in this one file, because its cache looks at no other. What is called for every row takes
arrays one by one, or is inlined: handing over the whole state costs more than most of the work.
"""

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from models.arrays import Counts, Live, Reference
from models.factors import HUBER, Array
from models.prefetch import EARLY, SOON, ask_ahead

LIMIT = 1e6
"""Readings further from the mean than this many deviations are cut: sums must stay finite."""
REACH = 8.0
"""Terms see a signal at most this many deviations from its mean: squares carry no further."""
HELD_ROWS = 30
"""After so many rows without a value, what a signal told of others is in doubt."""
GONE = 2.0
"""A signal that went missing may since be so many of its deviations from what is expected."""
NEVER_BEEN = 1.0
"""A prediction with more variance than this, in units of the residual's, is of conditions never
seen; they are learned, those that commissioning has seen stay frozen."""
OUTSIDE = 0.3
"""Share of what a term says outside its commissioned range that may be wrong."""
STRANGE = 0.2
AFRESH = 0.5
"""What a signal outside its commissioned range may do to another one, in deviations each; counted
when it has changed by this share, and this much."""
NEWS = 0.03
"""Weight of the average that tells a lasting excess from noise."""
CONFIRM_ROWS, CLEAR_ROWS, CLEAR_BELOW = 3, 3, 0.6
"""So many rows in a row above the level are an alarm; so many below this share of it, or nearer to
the reference than to the fault, end it."""
CALM = 0.5
"""A square below this share of its degrees of freedom needs no logarithm."""
NEARER = 0.5
FOLLOW = 0.05
FASTER = 6.0
"""Weight with which the picture of a fault follows the machine; this much more while it grows."""
CLEAR_SIGMAS = 6.0
"""The fastest moving average in which a fault stands out by this much tells when it is gone."""
AGAIN = 1.5
"""While a machine recovers, only a score this many times its lowest one is a new alarm."""
RECOVERY_ROWS = 3600
"""Recovery is given as long as the alarm stood, at most this."""
DEARER = 1.2
"""An alarm that ended by itself makes the next one dearer by this factor: a machine that cries
often has too low a level (after adaptive conformal inference, Gibbs and Candes 2021)."""
DEAREST, CHEAP = 2.0, 1.001
DEAR_ROWS = 30_000.0
"""In so many rows it becomes as cheap again as it was, about."""


@njit(cache=True, error_model="numpy")
def advance(  # noqa: PLR0917  # jitted: arrays one by one
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
    ready, interval_ns, features, scales = r.ready, r.interval_ns, r.features, r.scales
    centre, scale, noise, matrix = r.centre, r.scale, r.noise, r.matrix  # once: it counts uses
    precision, freedom, level_all, level_one = r.precision, r.freedom, r.level_all, r.level_one
    last_ns, rows, held, gone, z, now = s.last_ns, s.rows, s.held, s.gone, s.z, s.score
    residual, doubt, level, busy, on = s.residual, s.doubt, s.level, s.busy, s.alarm
    y, end = np.empty(matrix.shape[2]), machines.size - 1
    for i in range(machines.size):
        ask_ahead(r, s, machines[min(i + EARLY, end)], machines[min(i + SOON, end)], y.size)
        m = machines[i]
        if ready[m] and (last_ns[m] < 0 or times_ns[i] > last_ns[m]):
            dt = 1.0 if last_ns[m] < 0 else (times_ns[i] - last_ns[m]) / interval_ns[m]
            last_ns[m] = times_ns[i]
            there = _take(x, i, m, centre, scale, noise, z, residual)
            if there < x.shape[1] or gone[m] > 0:
                there = _mend(x, i, m, centre, scale, noise, z, residual, held, gone)
            if there > 0:
                if features[m] > 0:
                    _explain(r, s, m, min(dt, 1e4))
                _transform(m, matrix, residual, y)
                if there < x.shape[1]:
                    _impute(m, matrix, held, y)
                best = 0.0
                for c in range(scales[m]):
                    _smooth(y, weights[c], m, c, level)
                    whole, most = _judge(m, c, level, precision, doubt, freedom)
                    if most < 0.0:
                        whole, most = _judge_exactly(m, c, level, precision, doubt, freedom)
                    best = max(best, whole * level_all[m], most * level_one[m])
                now[m] = math.sqrt(best)
                if best > 1.0 or busy[m]:
                    busy[m] = _decide(r, s, m)
                rows[m] += 1
        score[i] = now[m]
        alarm[i] = on[m]


@njit(cache=True, error_model="numpy")
def _take(  # noqa: PLR0917  # jitted: arrays one by one
    x: Array, i: int, m: int, centre: Array, scale: Array, noise: Array, z: Array, residual: Array
) -> int:
    """Standardise the plausible values of a row; return how many there are."""
    fine = 0
    for j in range(x.shape[1]):
        value = (x[i, j] - centre[m, j]) * scale[m, j]
        if abs(value) < LIMIT:  # false for NaN, too
            z[m, j] = value
            residual[m, j] = value * noise[m, j]
            fine += 1
    return fine


@njit(cache=True, error_model="numpy")
def _mend(  # noqa: PLR0917  # jitted: arrays one by one
    x: Array, i: int, m: int, centre: Array, scale: Array, noise: Array,
    z: Array, residual: Array, held: Counts, gone: Counts,
) -> int:  # fmt: skip
    """Cut huge values, hold what is missing or was until now; return how many values there are."""
    there = 0
    for j in range(x.shape[1]):
        if math.isfinite(x[i, j]):
            z[m, j] = max(-LIMIT, min(LIMIT, (x[i, j] - centre[m, j]) * scale[m, j]))
            held[m, j] = 0
            there += 1
        else:
            held[m, j] += 1
        residual[m, j] = z[m, j] * noise[m, j] if held[m, j] == 0 else 0.0
    gone[m] = x.shape[1] - there
    return there


@njit(cache=True, error_model="numpy", fastmath=True)
def _transform(m: int, matrix: Array, residual: Array, y: Array) -> None:
    """Turn residuals into factors; the matrix is (signal, factor)."""
    for k in range(y.size):
        y[k] = 0.0
    for j in range(matrix.shape[1]):
        for k in range(y.size):
            y[k] += matrix[m, j, k] * residual[m, j]


@njit(cache=True, error_model="numpy")
def _impute(m: int, matrix: Array, held: Counts, y: Array) -> None:
    """Give signals that are gone the residual that the others make most likely."""
    for j in range(matrix.shape[1]):
        if held[m, j] > 0:
            along, own = 0.0, 1e-12
            for k in range(y.size):
                along += matrix[m, j, k] * y[k]
                own += matrix[m, j, k] ** 2
            for k in range(y.size):
                y[k] -= along / own * matrix[m, j, k]


@njit(cache=True, error_model="numpy", fastmath=True)
def _smooth(y: Array, weight: float, m: int, c: int, level: Array) -> None:
    """Move one of the averages."""
    for k in range(y.size):
        limit = HUBER + abs(level[m, c, k])
        level[m, c, k] += weight * max(-limit, min(limit, y[k] - level[m, c, k]))


@njit(cache=True, error_model="numpy", fastmath=True)
def _judge(  # noqa: PLR0917  # jitted: arrays one by one
    m: int, c: int, level: Array, precision: Array, doubt: Array, freedom: Array
) -> tuple[float, float]:
    """Return the sum and the largest of what the factors of one average are worth, -1 if too much.

    A squared t value is worth nu log(1 + t^2 / nu) squared normal sigmas, about. Pade's
    approximant is right to 0.2 % as long as t^2 is less than half of nu; a machine that is well
    never needs the logarithm. Functions as short as this are put in place by the compiler.
    """
    whole, most, far = 0.0, 0.0, 0.0
    for k in range(level.shape[2]):
        square = level[m, c, k] * level[m, c, k] * precision[m, c, k]
        usual = 1.0 + doubt[m, k] * precision[m, c, k]
        nu = freedom[m, c, k] * usual
        worth = square * (6.0 * nu + square) / (usual * (6.0 * nu + 4.0 * square))
        whole += worth
        most = max(most, worth)
        far = max(far, square - CALM * nu)
    return whole, most if far == 0.0 else -1.0


@njit(cache=True, error_model="numpy")
def _judge_exactly(  # noqa: PLR0917  # jitted: arrays one by one
    m: int, c: int, level: Array, precision: Array, doubt: Array, freedom: Array
) -> tuple[float, float]:
    whole, most = 0.0, 0.0
    for k in range(level.shape[2]):
        usual = 1.0 + doubt[m, k] * precision[m, c, k]
        square = level[m, c, k] ** 2 * precision[m, c, k] / usual
        worth = freedom[m, c, k] * math.log1p(square / freedom[m, c, k])
        whole += worth
        most = max(most, worth)
    return whole, most


@njit(cache=True, error_model="numpy", inline="always")
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


@njit(cache=True, error_model="numpy")
def _explain(r: Reference, s: Live, m: int, dt: float) -> None:
    """Find each signal's residual and how doubtful it is; learn conditions never seen before."""
    _move(r, s, m, dt)
    d = s.z.shape[1]
    strange = 0.0
    for j in range(d):
        strange += s.excess[m, j] ** 2
    learning = not s.alarm[m] and s.recovery[m] == 0
    phi, pull = np.empty(r.weight.shape[2]), np.empty(r.weight.shape[2])
    for j in range(d):
        if r.terms[m, j] == 0:
            continue
        others = strange - s.excess[m, j] ** 2
        change = abs(others - s.toll[m, j])
        if change > AFRESH * (1.0 + s.toll[m, j]):
            r.spread[m, j, 0, 0] += (STRANGE * r.noise[m, j]) ** 2 * change
            s.toll[m, j] = others
        _features(r, s, m, j, phi)
        left = s.z[m, j]
        for t in range(r.terms[m, j] + 1):
            left -= phi[t] * r.weight[m, j, t]
        doubt = _doubt(r, m, j, phi, pull)
        if s.held[m, j] > 0:
            s.z[m, j] -= left  # until it is back, it reads what is expected
            left = 0.0
        elif learning and doubt > NEVER_BEEN:
            _learn(r, m, j, pull, doubt, left)
        s.residual[m, j] = left * r.noise[m, j]
        s.unsure[m, j] = doubt + _moving(r, s, m, j)
    for k in range(r.matrix.shape[2]):
        total = 0.0
        for j in range(d):
            total += r.matrix[m, j, k] ** 2 * s.unsure[m, j]
        s.doubt[m, k] = total


@njit(cache=True, error_model="numpy", inline="always")
def _features(r: Reference, s: Live, m: int, j: int, phi: Array) -> None:
    phi[0] = 1.0
    for t in range(r.terms[m, j]):
        f = r.term[m, j, t]
        phi[t + 1] = (s.state[m, f] - r.term_centre[m, j, t]) * r.term_scale[m, j, t]


@njit(cache=True, error_model="numpy", inline="always")
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


@njit(cache=True, error_model="numpy", inline="always")
def _learn(  # noqa: PLR0917  # jitted: numbers one by one
    r: Reference, m: int, j: int, pull: Array, doubt: float, left: float
) -> None:
    """Update the weights by one row (recursive least squares), worth 1 / memory of a row."""
    gain = 1.0 / (r.memory[m, j] + doubt)
    for t in range(r.terms[m, j] + 1):
        r.weight[m, j, t] += gain * left * pull[t]
        for u in range(r.terms[m, j] + 1):
            r.spread[m, j, t, u] -= gain * pull[t] * pull[u]


@njit(cache=True, error_model="numpy", inline="always")
def _moving(r: Reference, s: Live, m: int, j: int) -> float:
    """Return the variance by terms that are still moving or outside their range."""
    total = 0.0
    for t in range(r.terms[m, j]):
        f = r.term[m, j, t]
        share = r.weight[m, j, t + 1] * r.term_scale[m, j, t] * r.noise[m, j]
        out = max(0.0, s.state[m, f] - r.ceiling[m, f]) + min(0.0, s.state[m, f] - r.floor[m, f])
        run = s.state[m, f] - s.slow[m, f]
        total += share * share * (r.agility[m, j] * run * run + (OUTSIDE * out) ** 2)
        if s.held[m, r.a[m, f]] >= HELD_ROWS:
            total += (GONE * share / r.noise[m, r.a[m, f]]) ** 2
        if r.b[m, f] >= 0 and s.held[m, r.b[m, f]] >= HELD_ROWS:
            total += (GONE * share / r.noise[m, r.b[m, f]]) ** 2
    return total


@njit(cache=True, error_model="numpy")
def _decide(r: Reference, s: Live, m: int) -> bool:
    """Raise the alarm, keep it while the fault lasts, end it when the machine has come back.

    Returns:
        Whether the next row needs a decision even if its score is low.
    """
    score = s.score[m]
    s.dear[m] = max(1.0, s.dear[m])
    if not s.alarm[m]:
        s.dear[m] -= (s.dear[m] - 1.0) / DEAR_ROWS
        level = s.dear[m]
        if s.recovery[m] > 0:
            s.recovery[m] -= 1
            s.lowest[m] = min(s.lowest[m], score)
            level = max(1.0, AGAIN * s.lowest[m])
        s.above[m] = s.above[m] + 1 if score > level else 0
        if s.above[m] >= CONFIRM_ROWS:
            s.alarm[m], s.above[m], s.calm[m], s.alarm_rows[m] = True, 0, 0, 0
            _begin(r, s, m)
        return bool(s.alarm[m] or s.above[m] + s.recovery[m] > 0 or s.dear[m] > CHEAP)
    s.alarm_rows[m] += 1
    back = _picture(r, s, m)
    s.calm[m] = s.calm[m] + 1 if back or score < CLEAR_BELOW else 0
    if s.calm[m] >= CLEAR_ROWS:
        s.alarm[m], s.calm[m], s.lowest[m] = False, 0, score
        s.dear[m] = min(DEAREST, s.dear[m] * DEARER)
        # what took so long to come may take as long to go
        s.recovery[m] = min(s.alarm_rows[m], RECOVERY_ROWS)
    return True


@njit(cache=True, error_model="numpy")
def _begin(r: Reference, s: Live, m: int) -> None:
    """Take the first picture of a fault."""
    for c in range(r.scales[m]):
        s.size[m, c] = 0.0
        for k in range(r.matrix.shape[2]):
            now = _coordinate(m, c, k, s.level, s.doubt, r.precision, r.trust)
            s.fault[m, c, k] = now
            s.size[m, c] += now * now


@njit(cache=True, error_model="numpy")
def _picture(r: Reference, s: Live, m: int) -> bool:
    """Follow what the fault looks like; tell whether the machine is nearer to its reference.

    The line between a known healthy state and a fault learned while it stands is Fisher's linear
    discriminant, in coordinates that are white when healthy.
    """
    judged = False
    back = False
    for c in range(r.scales[m]):
        along, own, size = 0.0, 1e-12, 0.0
        for k in range(r.matrix.shape[2]):
            now = _coordinate(m, c, k, s.level, s.doubt, r.precision, r.trust)
            along += now * s.fault[m, c, k]
            own += s.fault[m, c, k] ** 2
            size += now * now
        nearer = along < NEARER * own and size < NEARER * s.size[m, c]
        if not judged and (c == r.scales[m] - 1 or s.size[m, c] > CLEAR_SIGMAS**2):
            judged, back = True, nearer
        if not nearer:
            weight = FOLLOW * (1.0 if along < own else FASTER)
            for k in range(r.matrix.shape[2]):
                s.fault[m, c, k] += weight * (
                    _coordinate(m, c, k, s.level, s.doubt, r.precision, r.trust) - s.fault[m, c, k]
                )
            weight = FOLLOW * (1.0 if size < s.size[m, c] else FASTER)
            s.size[m, c] += weight * (size - s.size[m, c])
    return back


@njit(cache=True, error_model="numpy")
def _coordinate(  # noqa: PLR0917  # jitted: arrays one by one
    m: int, c: int, k: int, level: Array, doubt: Array, precision: Array, trust: Array
) -> float:
    usual = 1.0 / precision[m, c, k] + doubt[m, k]
    return float(level[m, c, k] * trust[m, c, k] / math.sqrt(usual))
