"""Is a standing alarm the machine's or one sensor's? Blames a sensor that drifted.

One response alone may deviate because its sensor drifts, or because of a fault that shows only
there. What tells them apart is analytical redundancy (Dunia, Qin, Edgar and McAvoy 1996): whatever
could really move the response would move others as well. What that is, the machine type's fault
table knows, and else the correlation of healthy residuals. Where neither says anything, or a known
fault shows only in that response, sensor and machine cannot be told apart, and nothing is blamed.
"""

import math

import numpy as np

from contract.faults import Direction
from contract.machines import MachineType
from models import judge
from models import monitor_kernel as kernel
from models.checks import Checks
from models.reference import Reference
from models.sample import Layout, Vector
from models.settings import Settings

_SHARE = 0.1
"""A real fault's listed consequences may be a tenth as far out as its leading symptom; a sensor is
blamed only when not even that can be hidden by chance, so never below 20 sigma."""
_SURE = math.log(1000.0)
"""A drifted sensor is blamed at a thousand to one, as much as a check counts in diagnosis."""
_CORRELATION_ERRORS = 3.0
"""A correlation counts when it is this many of its standard errors away from none."""
_PATIENCE = 2.0
"""A real change's slowest consequence has had so many of these times to show itself."""


def signatures(machine: MachineType, layout: Layout) -> Vector:
    """Return the fault table as signed weights: [fault, response], above > 0, not a symptom 0."""
    rows = np.zeros((len(machine.faults), len(layout.responses)))
    place = {name: i for i, name in enumerate(layout.responses)}
    for row, fault in zip(rows, machine.faults, strict=True):
        for s in fault.symptoms:
            if s.signal in place:
                row[place[s.signal]] = s.weight if s.direction is Direction.ABOVE else -s.weight
    return rows


def advance(  # noqa: PLR0917
    c: Checks, table: Vector, r: Reference, settings: Settings, now: Vector, time_ns: int,
    dt_s: float,
) -> None:  # fmt: skip
    """Ask whether a standing alarm is one sensor's drift.

    Args:
        c: the checks.
        table: from `signatures`.
        r: what the residuals are measured against.
        settings: the detector's numbers.
        now: what is known of the usable responses (see `models.monitor_kernel`).
        time_ns: event time.
        dt_s: seconds since the last reading.
    """
    tau_s = judge.slow_s(r)
    n = table.shape[1]
    c.offset[:n][r.usable] = c.slow[:n][r.usable] * now[kernel.WIDE] * r.sigma
    z = np.where(time_ns - c.judged_ns[:n] <= tau_s * 1e9, c.slow[:n], np.nan)
    j = _alone(z, r, settings)
    sure = j >= 0 and _nothing_else(z, j, table, r, settings)
    for i in range(n):
        c.alone_s[i] = c.alone_s[i] + dt_s if sure and i == j else 0.0
    c.drifted[:] = (c.alone_s >= _PATIENCE * tau_s) & ~c.stuck & ~c.outside


def _alone(z: Vector, r: Reference, settings: Settings) -> int:
    """Return the response without which all is as calm as it must be to end an alarm; else -1."""
    j = int(np.nanargmax(np.abs(z))) if not np.isnan(z).all() else -1
    rest = ~np.isnan(z)
    rest[j] = False
    if j < 0 or not rest.any() or abs(z[j]) < r.level_one:
        return -1
    others, among = z[rest], rest[r.usable]
    within = r.correlation[np.ix_(among, among)]
    t2 = float(others @ np.linalg.solve(within, others))
    calm = math.sqrt(max(t2, 0.0)) < settings.clear_below * r.level_all[len(others)]
    return j if calm else -1


def _nothing_else(z: Vector, j: int, table: Vector, r: Reference, settings: Settings) -> bool:
    """Tell whether all that could really move response ``j`` like this would have shown elsewhere.

    Known faults say what moves together; without one, what moved together in healthy running does.
    A known fault is ruled out by a symptom as weighty as this one that does not show; what is its
    leading symptom may run far ahead of the others. Where nothing can be ruled out, the sensor and
    the machine cannot be told apart.
    """
    possible = table[np.sign(table[:, j]) == np.sign(z[j])]
    if len(possible):
        others = possible.copy()
        others[:, j] = 0
        others[:, np.isnan(z)] = 0
        weighty = (np.abs(others) >= np.abs(possible[:, [j]])).any(axis=1)
        hidden = np.sign(others) * np.nan_to_num(z) + kernel.CALM_SIGMAS < _SHARE * abs(z[j])
        shown = (~hidden & (others != 0)).any(axis=1)
        return bool((weighty & ~shown).all())
    rest = ~np.isnan(z)
    rest[j] = False
    among, me = rest[r.usable], int(r.usable[:j].sum())
    coupled = r.correlation[among, me]
    independent = r.span_s / r.interval_s / (2 * settings.smoothing_samples)
    error = _CORRELATION_ERRORS / math.sqrt(max(independent, 1.0))
    coupled = np.where(np.abs(coupled) > error, coupled, 0.0)
    follow = z[rest] - coupled * z[j]
    solved = np.linalg.solve(
        r.correlation[np.ix_(among, among)], np.stack([follow, z[rest]], axis=1)
    )
    return bool(follow @ solved[:, 0] - z[rest] @ solved[:, 1] >= 2 * _SURE)
