"""The monitor's hot path: a row under its conditions becomes a score, and scores an alarm.

First `settle`: may the machine be judged now? Then `judge`. Responses stand in tables, one column
each, whose rows have names. All that numba compiles together stands in this one file: its cache
looks at no other.

Coming back from a stop, a machine is not yet what running conditions explain. At rest it cools,
loses its pressure or lets its load run away, and how long it takes to come back is not in the
reference, which knows running only: heat comes back with its own time constant, a controller at
its limit with whatever reserve it has. So after a stop each response is awaited until it has been
seen where it belongs, and judged from then on. The wait ends early when none of those awaited gets
any nearer, for then something keeps them away, and it is bounded: a fault that came during the
stop is found at the latest when the time allowed is over.
"""

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from models.sample import Vector

Counts = NDArray[np.int64]

CLIP = 12.0
"""One reading counts at most this many sigmas, so that a spike passes quickly."""
LEADING_SIGMAS = 4.0
"""A response this far out when the alarm is raised must be seen again before it can end."""
STALE_SAMPLES = 10.0
"""A response without a value for so many judged readings is left out of the score."""
RESERVE = 3.0
"""Time allowed, as a multiple of the stop: what ran away for a minute takes three to bring back
with a reserve of a third of the load, and machines are seldom built with less."""
LEFT_OVER = 0.02
"""Share of a stop still felt at a response's lag: it may have moved the response by 50 sigmas
(`Settings.driver_sigmas`), so one sigma is left of that."""
NEARER_SIGMAS = 1.0
"""A smoothed residual that is so much smaller than ever since the stop, in sigmas of one reading,
has come nearer: its noise is half of that, and at the alarm level a first-order lag covers twice
that in one time constant."""
CALM_SIGMAS = 2.0
"""What chance and an inexact model leave of a deviation, or hide of one that is averaged."""
MAX_SIGMAS = 1000.0
"""Beyond this, more makes no difference to a deviation's mean."""
_NEVER_NS = 2**63 - 1
_FAST = {"reassoc", "contract", "nsz", "arcp"}
"""Sums in any order; but NaN and infinity keep their meaning."""

(
    SMOOTHED, LEVERAGE, ASIDE, ASIDE_LEVERAGE, STALE, LEADING, BACK, CALM, MEAN, NEAREST, STILL_S,
    AWAITED, VALUE, EXPECTED, WIDE, SIGMA, HERE,
) = range(17)  # fmt: skip
"""Rows of ``now``: what is known of the responses.

`SMOOTHED` residual in sigmas of one reading, and its `LEVERAGE`; `ASIDE`, both by the weights that
are not in use now. `STALE`: judged rows since the last value. `LEADING`: raised the standing alarm,
which cannot end without it. Since the last stop: `BACK`, seen where it belongs; `CALM`, for how
many rows in a row; `MEAN` of the residual, not clipped, it shows the way back; its `NEAREST` size
and for how long it has come no nearer, `STILL_S`. Of the newest row: still `AWAITED`; `VALUE` and
what was `EXPECTED`; how `WIDE` the smoothed residual may be, and it in these, `SIGMA`; judged
`HERE`.
"""
PLACE, FIRST, SECOND, LAG_S, MIDDLE, NOISE, SMOOTH_NOISE, DRIFT, LEVEL, MATRICES = range(10)
"""Rows of ``fixed``: what commissioning found of them, see `models.reference.Reference`; `LEVEL` of
T2 for one response and more; below them its correlation and its precision."""
CENTRE, JUMP = range(2)
"""Rows of ``course``: what it found of the conditions; `JUMP` is of the drivers in front only."""
JUDGED, SEEN = range(2)
"""Rows of ``modes``, a table of mode places: is it judged, how often was it seen?"""
OUTSIDE, INVALID = range(2)
"""Rows of ``marks`` of the checked signals."""
SETTLED_NS, MIDDLE_NS, ABOVE, CALM_ROWS, ALARM, TURNED, AWAY, ELSEWHERE, NEW = range(9)
"""Places of ``memory``: when the machine has settled; the middle of commissioning; one bit per
recent judged row, newest lowest, was it above the alarm level; judged rows in a row below the
clearing level; is there an alarm. `TURNED`: the weights in use are of a mode never commissioned;
`AWAY`: it was in one since it ran in a commissioned one; `ELSEWHERE`: it is in one; `NEW`: and in
one that was not learned either."""
(
    SETTLE_S, KNOWN_FROM, SMOOTHING, CLEAR_BELOW, CONFIRM, CLEAR, MODEL_ERROR, UNFAMILIAR,
    INTERVAL_S, SPAN_S, LEVEL_ONE, SLOW_S, JUMP_LAG, RESPONSES,
) = range(14)  # fmt: skip
"""Places of ``numbers``: settings, and single numbers of the reference; `SLOW_S` is the time
constant of the mean by which a drift is known."""


@njit(cache=True, error_model="numpy")
def settle(  # noqa: PLR0917  # jitted: arrays one by one
    time_ns: int, dt_s: float, changed: bool, known: bool, ladder: Vector, modes: Vector,  # noqa: FBT001
    course: Vector, memory: Counts, owed_s: Vector, now: Vector, fixed: Vector, learned: Vector,
    numbers: Vector, usable: Vector, marks: NDArray[np.bool_], grade: NDArray[np.int8],
) -> tuple[bool, int]:  # fmt: skip
    """Tell whether the machine may be judged now, and which learned mode it is in, or -1.

    It has ``changed`` if the mode is not what it was before, and it is ``known`` if there is one at
    all. ``owed_s`` is one number: it grows while the machine is stopped, shrinks while it runs, and
    at 0 nothing is allowed for. ``learned`` are modes learned later: is it judged, then its mode
    places. In ``grade`` comes 1 for a bad value, -1 for a good one, else 0: a machine at rest may
    well read a little below zero.
    """
    mode = ladder[0, ladder.shape[1] - modes.shape[1] :]
    settle_ns, ready = int(numbers[SETTLE_S] * 1e9), now.shape[1] > 0
    until_ns = min(time_ns, _NEVER_NS - settle_ns) + settle_ns
    memory[SETTLED_NS] = until_ns if changed else min(memory[SETTLED_NS], until_ns)
    which = _find(learned, mode)
    new = not _seen(mode, modes, numbers[KNOWN_FROM])
    memory[ELSEWHERE] = new
    memory[NEW] = new and (which < 0 or learned[which, 0] == 0)
    if ready and not memory[NEW] and _jumped(ladder, course, int(numbers[JUMP_LAG])):
        memory[SETTLED_NS] = max(memory[SETTLED_NS], until_ns)
    running = known
    for j in range(len(mode)):
        running &= mode[j] == 0 or modes[JUDGED, j] > 0
    _count_stop(dt_s, not running, ready and running and new, memory, owed_s, now)
    _await(now, fixed, mode, modes, ladder, owed_s[0], numbers[KNOWN_FROM])
    settled = running and time_ns >= memory[SETTLED_NS]
    for i in range(now.shape[1]):
        marks[OUTSIDE, int(fixed[PLACE, i])] &= now[AWAITED, i] == 0
    for i in range(len(usable)):
        wrong = marks[INVALID, i] or (marks[OUTSIDE, i] and settled)
        grade[0, i] = int(wrong) - int(not np.isnan(usable[i]))
    return settled, which


@njit(cache=True, error_model="numpy")
def _find(learned: Vector, mode: Vector) -> int:
    for i in range(learned.shape[0]):
        if np.array_equal(learned[i, 1:], mode):
            return i
    return -1


@njit(cache=True, error_model="numpy")
def _seen(mode: Vector, modes: Vector, known_from: float) -> bool:
    """Tell whether the mode was commissioned."""
    seen = True
    for j in range(len(mode)):
        seen &= mode[j] == 0 or modes[SEEN, j] >= known_from
    return seen


@njit(cache=True, error_model="numpy")
def _jumped(ladder: Vector, course: Vector, lag: int) -> bool:
    """Tell whether a driver has moved faster than ever."""
    jumped = False
    for i in range(ladder.shape[1]):
        jumped |= abs(ladder[0, i] - ladder[lag, i]) > course[JUMP, i]
    return jumped


@njit(cache=True, error_model="numpy")
def _count_stop(  # noqa: PLR0917  # jitted: arrays one by one
    dt_s: float, stopped: bool, elsewhere: bool, memory: Counts, owed_s: Vector, now: Vector,  # noqa: FBT001
) -> None:  # fmt: skip
    """Count the time of a stop, and of running after it.

    A mode never commissioned leaves behind what is slow; but the machine ran in it, so its
    controller owes nothing.
    """
    returned = memory[AWAY] != 0 and not elsewhere and not stopped
    memory[AWAY] = (memory[AWAY] != 0 or elsewhere) and not returned
    if stopped or returned:
        now[BACK], now[CALM], now[STILL_S] = 0.0, 0.0, 0.0
        now[MEAN], now[NEAREST] = np.nan, np.inf
    owed_s[0] = owed_s[0] + dt_s if stopped else max(0.0, owed_s[0] - dt_s / RESERVE)


@njit(cache=True, error_model="numpy")
def _await(  # noqa: PLR0917  # jitted: arrays one by one
    now: Vector, fixed: Vector, mode: Vector, modes: Vector, ladder: Vector, owed_s: float,
    known_from: float,
) -> None:  # fmt: skip
    """Find out which responses are still allowed to be elsewhere: an unfamiliar mode is felt."""
    new, start = False, ladder.shape[1] - len(mode)
    for j in range(len(mode)):
        new |= mode[j] > 0 and modes[SEEN, j] < known_from
    for i in range(now.shape[1]):
        felt = 0.0
        if now[BACK, i] == 0:
            for j in range(len(mode)):
                foreign = not new and modes[SEEN, j] < known_from
                if foreign or modes[JUDGED, j] == 0:
                    felt += ladder[int(fixed[FIRST, i]), start + j]
        now[AWAITED, i] = now[BACK, i] == 0 and (felt > LEFT_OVER or owed_s > 0)


@njit(cache=True, error_model="numpy", fastmath=_FAST)
def judge(  # noqa: PLR0917  # jitted: arrays one by one
    time_ns: int, dt_s: float, weights: Vector, inverse: Vector, usable: Vector, ladder: Vector,
    course: Vector, memory: Counts, now: Vector, fixed: Vector, numbers: Vector, away: Vector,
    slow: Vector, judged_ns: Counts, ordinary_ns: Counts, alone_s: Vector,
    drifted: NDArray[np.bool_],
) -> float:  # fmt: skip
    """Judge a row by the weights of its mode and their inverse precision, packed as `pack` does.

    The rest are tables as named above, and from ``away`` on what `models.checks.Checks` remembers;
    where no alarm stands, none of the signals has drifted.

    Returns:
        The score; NaN where nothing can be judged, or where the mode is new.
    """
    _turn(now, memory)
    alpha = weight(dt_s, numbers[INTERVAL_S], numbers[SMOOTHING])
    _smooth(now, fixed, ladder, course, usable, weights, inverse, alpha)
    _widen(now, fixed, min(abs(time_ns - memory[MIDDLE_NS]) / 1e9, numbers[SPAN_S]), numbers)
    if memory[NEW]:
        return np.nan
    _look(now, fixed, numbers, alpha, dt_s)
    count, blind, n = 0, False, now.shape[1]
    for i in range(n):
        leading = now[LEADING, i] > 0
        if now[AWAITED, i] > 0 and now[BACK, i] == 0 and not leading:
            now[HERE, i] = 0.0
        count += now[HERE, i] > 0
        blind |= leading and now[HERE, i] == 0
    if count * 2 < n or (memory[ALARM] and blind):
        return np.nan
    value = score(now, fixed, numbers)
    _decide(now, memory, value, numbers)
    alpha = -math.expm1(-dt_s / numbers[SLOW_S])
    _remember(now, fixed, numbers, away, slow, judged_ns, ordinary_ns, time_ns, alpha)
    if not memory[ALARM]:
        alone_s[:], drifted[:] = 0.0, False
    return value


@njit(cache=True)
def weight(dt_s: float, interval_s: float, smoothing: float) -> float:
    """Return the smoothing weight of a reading; a gap never makes one reading decisive."""
    return 1.0 - math.exp(-min(max(dt_s / interval_s, 0.0), 2.0) / smoothing)


@njit(cache=True)
def _turn(now: Vector, memory: Counts) -> None:
    """Change to other weights: residuals by the former ones say nothing about these.

    Under an alarm these go on where they left off, so that it does not end unseen; without one they
    start anew, for what they left off with may be long over.
    """
    if memory[ELSEWHERE] == memory[TURNED]:
        return
    memory[TURNED] = memory[ELSEWHERE]
    for i in range(now.shape[1]):
        smoothed, leverage = now[SMOOTHED, i], now[LEVERAGE, i]
        now[SMOOTHED, i] = now[ASIDE, i] if memory[ALARM] else 0.0
        now[LEVERAGE, i] = now[ASIDE_LEVERAGE, i]
        now[ASIDE, i], now[ASIDE_LEVERAGE, i] = smoothed, leverage


@njit(cache=True, error_model="numpy", fastmath=_FAST)
def _smooth(  # noqa: PLR0917  # jitted: arrays one by one
    now: Vector, fixed: Vector, ladder: Vector, course: Vector, usable: Vector, weights: Vector,
    inverse: Vector, alpha: float,
) -> None:  # fmt: skip
    """Take the row's residuals in, and how unfamiliar its conditions are."""
    width = ladder.shape[1]
    phi = np.empty(1 + 2 * width)
    phi[0] = 1.0
    for i in range(now.shape[1]):
        first, second = int(fixed[FIRST, i]), int(fixed[SECOND, i])
        for j in range(width):
            phi[1 + j] = ladder[first, j] - course[CENTRE, j]
            phi[1 + width + j] = ladder[second, j] - ladder[first, j]
        leverage, start = 0.0, 0
        for a in range(len(phi)):
            end = start + len(phi) - a
            leverage += phi[a] * _dot(inverse[i, start:end], phi[a:])
            start = end
        expected = _dot(weights[i], phi)
        x = usable[int(fixed[PLACE, i])]
        now[VALUE, i], now[EXPECTED, i] = x, expected
        z = (x - expected) / fixed[NOISE, i]
        if np.isnan(z):
            now[STALE, i] = min(now[STALE, i] + 1, STALE_SAMPLES)
        else:
            # a spike passes quickly, but what lasts counts in full
            limit = CLIP + abs(now[SMOOTHED, i])
            now[SMOOTHED, i] += alpha * (min(max(z, -limit), limit) - now[SMOOTHED, i])
            now[STALE, i] = 0.0
        now[LEVERAGE, i] += alpha * (max(leverage, 0.0) - now[LEVERAGE, i])


@njit(cache=True, error_model="numpy", fastmath=_FAST)
def _dot(x: Vector, y: Vector) -> float:
    total = 0.0
    for i in range(len(x)):
        total += x[i] * y[i]
    return total


@njit(cache=True, error_model="numpy")
def _widen(now: Vector, fixed: Vector, age_s: float, numbers: Vector) -> None:
    """Find how far each residual may be, and which are fresh and under familiar conditions."""
    for i in range(now.shape[1]):
        usual = fixed[SMOOTH_NOISE, i]
        wrong = numbers[MODEL_ERROR] * (now[EXPECTED, i] - fixed[MIDDLE, i]) / fixed[NOISE, i]
        wide = math.sqrt(usual**2 + now[LEVERAGE, i] + fixed[DRIFT, i] * age_s + wrong**2)
        now[WIDE, i], now[SIGMA, i] = wide, now[SMOOTHED, i] / wide
        familiar = wide <= max(numbers[UNFAMILIAR], 1.5 * usual)
        now[HERE, i] = familiar and now[STALE, i] < STALE_SAMPLES


@njit(cache=True, error_model="numpy")
def _look(now: Vector, fixed: Vector, numbers: Vector, alpha: float, dt_s: float) -> None:
    """See by the deviations of a running machine which responses have come back."""
    n, back = now.shape[1], True
    for i in range(n):
        back &= now[BACK, i] > 0
    if back:
        return
    over = True
    for i in range(n):
        residual = (now[VALUE, i] - now[EXPECTED, i]) / fixed[NOISE, i]
        there = abs(residual) < CALM_SIGMAS * math.hypot(1.0, now[WIDE, i]) and now[HERE, i] > 0
        there &= abs(now[SIGMA, i]) < CALM_SIGMAS  # it still remembers the way back
        now[CALM, i] = now[CALM, i] + 1 if there else 0.0
        if now[CALM, i] >= numbers[CLEAR]:
            now[BACK, i] = 1.0
        if np.isnan(now[MEAN, i]):
            now[MEAN, i] = residual
        elif not np.isnan(residual):
            now[MEAN, i] += alpha * (residual - now[MEAN, i])
        nearer = abs(now[MEAN, i]) < now[NEAREST, i] - NEARER_SIGMAS
        if nearer:
            now[NEAREST, i] = abs(now[MEAN, i])
        now[STILL_S, i] = 0.0 if nearer else now[STILL_S, i] + dt_s
        over &= now[BACK, i] > 0 or now[STILL_S, i] > numbers[SETTLE_S] + fixed[LAG_S, i]
    if over:
        now[BACK] = 1.0


@njit(cache=True, error_model="numpy")
def score(now: Vector, fixed: Vector, numbers: Vector) -> float:
    """Return the score of the responses that are judged `HERE`; 1.0 is the alarm level."""
    n, count, most, t2 = now.shape[1], 0, 0.0, 0.0
    here, rest = np.empty(n, np.int64), np.empty(n)
    for i in range(n):
        if now[HERE, i] > 0:
            here[count], rest[count] = i, now[SIGMA, i]
            most = max(most, abs(now[SIGMA, i]))
            count += 1
    if count == n:
        for i in range(n):
            for j in range(n):
                t2 += rest[i] * fixed[MATRICES + n + i, j] * rest[j]
    else:
        # by Cholesky's factor, row by row, of the correlation of those that are judged
        factor = np.empty((count, count))
        for i in range(count):
            for j in range(i + 1):
                left = fixed[MATRICES + here[i], here[j]]
                for k in range(j):
                    left -= factor[i, k] * factor[j, k]
                factor[i, j] = math.sqrt(left) if i == j else left / factor[j, j]
            for k in range(i):
                rest[i] -= factor[i, k] * rest[k]
            rest[i] /= factor[i, i]
            t2 += rest[i] ** 2
    everything = math.sqrt(max(t2, 0.0)) / fixed[LEVEL, count - 1]
    return float(max(everything, most / numbers[LEVEL_ONE]))


@njit(cache=True)
def _decide(now: Vector, memory: Counts, value: float, numbers: Vector) -> None:
    """Raise or end the alarm by one judged score."""
    window = int(numbers[CONFIRM]) + 1
    memory[ABOVE] = ((memory[ABOVE] << 1) | (value > 1.0)) & ((1 << window) - 1)
    memory[CALM_ROWS] = memory[CALM_ROWS] + 1 if value < numbers[CLEAR_BELOW] else 0
    above = 0
    for bit in range(window):
        above += (memory[ABOVE] >> bit) & 1
    if above >= numbers[CONFIRM]:
        memory[ALARM] = 1
        for i in range(now.shape[1]):
            if now[HERE, i] > 0 and abs(now[SIGMA, i]) >= LEADING_SIGMAS:
                now[LEADING, i] = 1.0
    elif memory[CALM_ROWS] >= numbers[CLEAR]:
        memory[ALARM] = 0
        now[LEADING] = 0.0


@njit(cache=True)
def _remember(  # noqa: PLR0917  # jitted: arrays one by one
    now: Vector, fixed: Vector, numbers: Vector, away: Vector, slow: Vector, judged_ns: Counts,
    ordinary_ns: Counts, time_ns: int, alpha: float,
) -> None:  # fmt: skip
    """Keep the deviations by which a sensor's drift is known (see `models.blame`)."""
    k = 0
    for i in range(int(numbers[RESPONSES])):
        usable = k < now.shape[1] and fixed[PLACE, k] == i
        here = usable and now[HERE, k] > 0
        away[i] = now[SIGMA, k] if here else np.nan
        if abs(away[i]) < CALM_SIGMAS or ordinary_ns[i] == 0:
            ordinary_ns[i] = time_ns
        if here and not np.isnan(now[VALUE, k]):
            far = (now[VALUE, k] - now[EXPECTED, k]) / (fixed[NOISE, k] * now[WIDE, k])
            slow[i] += alpha * (min(max(far, -MAX_SIGMAS), MAX_SIGMAS) - slow[i])
            judged_ns[i] = time_ns
        k += usable
