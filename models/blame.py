"""Is a standing alarm the machine's or one sensor's? Blames a sensor that drifted.

One response alone may deviate because its sensor drifts, or because of a fault that shows only
there. What tells them apart is analytical redundancy (Dunia, Qin, Edgar and McAvoy 1996): whatever
could really move the response would move others as well. What that is, the machine type's fault
table knows, and else the correlation of healthy residuals. Where neither says anything, or a known
fault shows only in that response, sensor and machine cannot be told apart, and nothing is blamed.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from contract.faults import Direction
from contract.machines import MachineType
from models import judge
from models import monitor_kernel as kernel
from models.checks import Checks
from models.reference import Reference
from models.sample import Layout, Vector
from models.settings import Settings

Counts = NDArray[np.int64]
Marks = NDArray[np.bool_]

_CALM_SIGMAS = 2.0
"""What chance and an inexact model leave of a deviation, or hide of one that is averaged."""
_SHARE = 0.1
"""A real fault's listed consequences may be a tenth as far out as its leading symptom; a sensor is
blamed only when not even that can be hidden by chance, so never below 20 sigma."""
_SURE = math.log(1000.0)
"""A drifted sensor is blamed at a thousand to one, as much as a check counts in diagnosis."""
_CORRELATION_ERRORS = 3.0
"""A correlation counts when it is this many of its standard errors away from none."""
_PATIENCE = 2.0
"""A real change's slowest consequence has had so many of these times to show itself."""


class Looked(NamedTuple):
    """What compiled code looks at; per response unless said otherwise."""

    table: Vector
    """From `signatures`."""
    place: Counts
    """Which of the responses are usable. The next five are of these."""
    correlation: Vector
    clear: Vector
    """Below which T2 of so many of them an alarm ends."""
    noise: Vector
    level_one: float
    slow_s: float
    """How long a real change's consequences may take, as one number."""
    error: float
    """A correlation counts from here on."""
    wide: Vector
    slow: Vector
    """See `models.checks.Checks`, as the rest."""
    judged_ns: Counts
    alone_s: Vector
    offset: Vector
    stuck: Marks
    outside: Marks
    drifted: Marks


def signatures(machine: MachineType, layout: Layout) -> Vector:
    """Return the fault table as signed weights: [fault, response], above > 0, not a symptom 0."""
    rows = np.zeros((len(machine.faults), len(layout.responses)))
    place = {name: i for i, name in enumerate(layout.responses)}
    for row, fault in zip(rows, machine.faults, strict=True):
        for s in fault.symptoms:
            if s.signal in place:
                row[place[s.signal]] = s.weight if s.direction is Direction.ABOVE else -s.weight
    return rows


def looked_at(table: Vector, r: Reference, settings: Settings, now: Vector, c: Checks) -> Looked:
    """Return what `advance` takes after time; what changes with every row is looked at in place.

    Args:
        table: from `signatures`.
        r: what the deviations are measured against.
        settings: the detector's numbers.
        now: what is known of the usable responses (see `models.monitor_kernel`).
        c: the checks.
    """
    independent = r.span_s / r.interval_s / (2 * settings.smoothing_samples)
    error = _CORRELATION_ERRORS / math.sqrt(max(independent, 1.0))
    return Looked(
        table, np.flatnonzero(r.usable), r.correlation, settings.clear_below * r.level_all, r.sigma,
        r.level_one, judge.slow_s(r), error, now[kernel.WIDE], c.slow, c.judged_ns, c.alone_s,
        c.offset, c.stuck, c.outside, c.drifted,
    )  # fmt: skip


@njit(cache=True, error_model="numpy")
def advance(  # noqa: PLR0917  # jitted: arrays one by one
    time_ns: int, dt_s: float, table: Vector, place: Counts, correlation: Vector, clear: Vector,
    noise: Vector, level_one: float, slow_s: float, error: float, wide: Vector, slow: Vector,
    judged_ns: Counts, alone_s: Vector, offset: Vector, stuck: Marks, outside: Marks,
    drifted: Marks,
) -> None:  # fmt: skip
    """Ask whether the standing alarm is one sensor's drift; see `Looked` for the rest."""
    n = len(place)
    z = np.full(table.shape[1], np.nan)
    k = -1
    for i in range(n):
        p = place[i]
        offset[p] = slow[p] * wide[i] * noise[i]
        if time_ns - judged_ns[p] <= slow_s * 1e9:
            z[p] = slow[p]
            if k < 0 or abs(z[p]) > abs(z[place[k]]):
                k = i
    sure = k >= 0 and abs(z[place[k]]) >= level_one
    sure = sure and _alone(z, k, place, correlation, clear)
    sure = sure and _nothing_else(z, k, table, place, correlation, error)
    for i in range(len(alone_s)):
        alone_s[i] = alone_s[i] + dt_s if sure and i == place[k] else 0.0
        patient = alone_s[i] >= _PATIENCE * slow_s
        drifted[i] = patient and not stuck[i] and not outside[i]


@njit(cache=True, error_model="numpy")
def _alone(z: Vector, k: int, place: Counts, correlation: Vector, clear: Vector) -> bool:
    """Tell whether without a response all is as calm as it must be to end an alarm."""
    count = 0
    for i in range(len(place)):
        count += i != k and not np.isnan(z[place[i]])
    if count == 0:
        return False
    t2 = _distance(z, 0.0, k, place, correlation, 0.0)
    return bool(math.sqrt(max(t2, 0.0)) < clear[count])


@njit(cache=True, error_model="numpy")
def _nothing_else(  # noqa: PLR0917  # jitted: arrays one by one
    z: Vector, k: int, table: Vector, place: Counts, correlation: Vector, error: float
) -> bool:
    """Tell whether all that could really move response ``k`` like this would have shown elsewhere.

    Known faults say what moves together; without one, what moved together in healthy running does.
    A known fault is ruled out by a symptom as weighty as this one that does not show; what is its
    leading symptom may run far ahead of the others. Where nothing can be ruled out, the sensor and
    the machine cannot be told apart.
    """
    j, possible = place[k], False
    for fault in table:
        if np.sign(fault[j]) != np.sign(z[j]):
            continue
        possible, weighty = True, False
        for i in range(len(fault)):
            if i == j or fault[i] == 0 or np.isnan(z[i]):
                continue
            weighty |= abs(fault[i]) >= abs(fault[j])
            if np.sign(fault[i]) * z[i] + _CALM_SIGMAS >= _SHARE * abs(z[j]):
                return False
        if not weighty:
            return False
    if possible:
        return True
    follow = _distance(z, z[j], k, place, correlation, error)
    return bool(follow - _distance(z, 0.0, k, place, correlation, error) >= 2 * _SURE)


@njit(cache=True, error_model="numpy")
def _distance(  # noqa: PLR0917  # jitted: arrays one by one
    z: Vector, moved: float, k: int, place: Counts, correlation: Vector, error: float
) -> float:
    """Return the squared distance of all others from where response ``k``'s ``moved`` takes them.

    By Cholesky's factor, row by row, of their correlation.
    """
    n, count, total = len(place), 0, 0.0
    factor, rest, which = np.empty((n, n)), np.empty(n), np.empty(n, np.int64)
    for i in range(n):
        if i == k or np.isnan(z[place[i]]):
            continue
        coupled = correlation[i, k]
        rest[count] = z[place[i]] - (coupled * moved if abs(coupled) > error else 0.0)
        which[count] = i
        for b in range(count + 1):
            left = correlation[i, which[b]]
            for a in range(b):
                left -= factor[count, a] * factor[b, a]
            factor[count, b] = math.sqrt(left) if b == count else left / factor[b, b]
        for a in range(count):
            rest[count] -= factor[count, a] * rest[a]
        rest[count] /= factor[count, count]
        total += rest[count] ** 2
        count += 1
    return total
