"""Coming back from a stop: which responses are not yet what running conditions explain.

A machine at rest cools, loses its pressure or lets its load run away. Back in a judged mode it
needs time, and how long is not in the reference, which knows running only: heat comes back with
its own time constant, a controller at its limit with whatever reserve it has. So after a stop
each response is awaited until it has been seen where it belongs, and judged from then on. The
wait is bounded: a fault that came during the stop is found when the time allowed is over.
"""

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from models.conditions import LAGS_S
from models.reference import Reference
from models.sample import Layout, Vector
from models.settings import Settings

RESERVE = 3.0
"""Time allowed, as a multiple of the stop: what ran away for a minute takes three to bring back
with a reserve of a third of the load, and machines are seldom built with less."""
LEFT_OVER = 0.02
"""Share of a stop still felt at a response's lag: it may have moved the response by 50 sigmas
(`Settings.driver_sigmas`), so one sigma is left of that."""
CALM_SIGMAS = 2.0
"""What chance and an inexact model leave of a deviation."""


class Recovery(Struct):
    """How far the machine has come back; one entry per usable response."""

    back: NDArray[np.bool_]
    """Seen where it belongs since the last stop."""
    calm: NDArray[np.int64]
    """Readings in a row in which it was there."""
    owed_s: float = 0.0
    """Grows while the machine is stopped, shrinks while it runs; nothing is allowed for at 0."""


def empty(count: int) -> Recovery:
    """Return the memory of a machine that was never stopped."""
    return Recovery(np.ones(count, dtype=bool), np.zeros(count, dtype=np.int64))


def advance(c: Recovery, dt_s: float, *, stopped: bool) -> None:
    """Count the time of a stop, and of running after it."""
    if stopped:
        c.owed_s += dt_s
        c.back[:] = False
        c.calm[:] = 0
    else:
        c.owed_s = max(0.0, c.owed_s - dt_s / RESERVE)


def awaited(c: Recovery, r: Reference, lagging: Vector, layout: Layout) -> NDArray[np.bool_]:
    """Return which responses are still allowed to be elsewhere."""
    if c.back.all():
        return ~c.back
    slots = lagging[:, lagging.shape[1] - layout.slot_count :]
    felt = slots[:, ~layout.judged_slots].sum(axis=1)
    slowest = np.where(LAGS_S[r.first] > LAGS_S[r.second], r.first, r.second)
    waiting: NDArray[np.bool_] = ~c.back & ((felt[slowest] > LEFT_OVER) | (c.owed_s > 0))
    return waiting


def look(c: Recovery, now: Vector, mean: Vector, settings: Settings) -> None:
    """See by the deviations of a running machine which responses have come back.

    Args:
        c: how far it has come back; changed in place.
        now: deviation of the newest reading in its own expected deviations; NaN where there is
            none or where too little is known of the conditions.
        mean: the same of the smoothed residual, which still remembers the way back.
        settings: the detector's numbers.
    """
    there = (np.abs(now) < CALM_SIGMAS) & (np.abs(mean) < CALM_SIGMAS)
    c.calm = np.where(there, c.calm + 1, 0)
    c.back |= c.calm >= settings.clear_samples
