"""Coming back from a stop: which responses are not yet what running conditions explain.

A machine at rest cools, loses its pressure or lets its load run away. Back in a judged mode it
needs time, and how long is not in the reference, which knows running only: heat comes back with
its own time constant, a controller at its limit with whatever reserve it has. So after a stop
each response is awaited until it has been seen where it belongs, and judged from then on. The
wait ends early when none of those awaited gets any nearer, for then something keeps them away, and
it is bounded: a fault that came during the stop is found at the latest when the time allowed is
over.
"""

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from models.conditions import LAGS_S
from models.reference import Reference, known_from, weight
from models.sample import Layout, Vector
from models.settings import Settings

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
"""What chance and an inexact model leave of a deviation."""


class Recovery(Struct):
    """How far the machine has come back; one entry per usable response."""

    back: NDArray[np.bool_]
    """Seen where it belongs since the last stop."""
    calm: NDArray[np.int64]
    """Readings in a row in which it was there."""
    mean: Vector
    """Smoothed residual in sigmas of one reading, not clipped: it shows the way back."""
    nearest: Vector
    """Its least size since the stop; infinite before it was seen."""
    still_s: Vector
    """For how long it has come no nearer."""
    owed_s: float = 0.0
    """Grows while the machine is stopped, shrinks while it runs; nothing is allowed for at 0."""
    elsewhere: bool = False
    """Whether it has been in a mode never commissioned since it ran in a commissioned one."""


def empty(count: int) -> Recovery:
    """Return the memory of a machine that was never stopped."""
    return Recovery(
        np.ones(count, dtype=bool), np.zeros(count, dtype=np.int64), np.full(count, np.nan),
        np.full(count, np.inf), np.zeros(count),
    )  # fmt: skip


def advance(c: Recovery, dt_s: float, *, stopped: bool, elsewhere: bool) -> None:
    """Count the time of a stop, and of running after it.

    A mode never commissioned leaves behind what is slow; but the machine ran in it, so its
    controller owes nothing.

    Args:
        c: how far the machine has come back; changed in place.
        dt_s: seconds since the last reading.
        stopped: whether it is in a mode that is not judged.
        elsewhere: whether it is in a mode that was never commissioned.
    """
    returned = c.elsewhere and not elsewhere and not stopped
    c.elsewhere = (c.elsewhere or elsewhere) and not returned
    if stopped or returned:
        c.back[:] = False
        c.calm[:] = 0
        c.mean[:] = np.nan
        c.nearest[:] = np.inf
        c.still_s[:] = 0.0
    c.owed_s = c.owed_s + dt_s if stopped else max(0.0, c.owed_s - dt_s / RESERVE)


def awaited(
    c: Recovery, r: Reference, settings: Settings, lagging: Vector, layout: Layout
) -> NDArray[np.bool_]:
    """Return which responses are still allowed to be elsewhere."""
    if c.back.all():
        return ~c.back
    slots = lagging[:, lagging.shape[1] - layout.slot_count :]
    new = r.places_seen < known_from(settings)
    foreign = ~layout.judged_slots | (new & ~new[slots[0] > 0].any())
    felt = slots[:, foreign].sum(axis=1)
    waiting: NDArray[np.bool_] = ~c.back & ((felt[r.first] > LEFT_OVER) | (c.owed_s > 0))
    return waiting


def look(
    c: Recovery, r: Reference, settings: Settings, *, residual: Vector, wide: Vector, sigma: Vector,
    here: NDArray[np.bool_], dt_s: float,
) -> None:  # fmt: skip
    """See by the deviations of a running machine which responses have come back.

    Args:
        c: how far it has come back; changed in place.
        r: what the deviations are measured against.
        settings: the detector's numbers.
        residual: in sigmas of one reading; NaN where there is no value.
        wide: expected deviation of the smoothed residual, in the same.
        sigma: the smoothed residual in these; it still remembers the way back.
        here: where enough is known of the conditions.
        dt_s: seconds since the last reading.
    """
    if c.back.all():
        return
    there = here & (np.abs(residual) < CALM_SIGMAS * np.hypot(1.0, wide))
    there &= np.abs(sigma) < CALM_SIGMAS
    c.calm = np.where(there, c.calm + 1, 0)
    c.back |= c.calm >= settings.clear_samples
    step = weight(dt_s, r.interval_s, settings) * (residual - c.mean)
    mean = np.where(np.isnan(c.mean), residual, c.mean + step)
    c.mean = np.where(np.isnan(residual), c.mean, mean)
    nearer = np.abs(c.mean) < c.nearest - NEARER_SIGMAS
    c.nearest = np.where(nearer, np.abs(c.mean), c.nearest)
    c.still_s = np.where(nearer, 0.0, c.still_s + dt_s)
    if (c.back | (c.still_s > settings.settle_s + LAGS_S[r.first])).all():
        c.back[:] = True
