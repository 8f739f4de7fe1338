"""The conditions a machine runs under: its drivers and modes, now and lagging.

Machines are slow: speed follows a set-point in seconds, a winding follows its losses in minutes.
So the conditions, their squares and products (losses grow with the square of a current) and the
modes are kept at a ladder of first-order lags, from which the reference picks for each response
the ones that fit it. A static curve behind a lag is called a Hammerstein model.
"""

from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from models.sample import Layout, Vector

LAGS_S = np.array([0.0, 10.0, 20.0, 40.0, 80.0, 120.0, 180.0, 260.0, 400.0, 700.0, 1300.0])
_RATES = 1.0 / np.maximum(LAGS_S, 1e-9)


Lag = int | NDArray[np.integer[Any]]
"""A place on the ladder, or one for each response."""


class Conditions(Struct):
    """Where the ladder stands."""

    drivers: Vector
    """Last usable values, in quarters of their plausible range; NaN before the first."""
    origin: Vector
    """First usable values: squares and products are taken around them."""
    mode: Vector
    lagging: Vector
    """One row per lag: drivers, their curves (squares, products, in each judged mode), modes."""
    missing: int = 0
    """Readings in a row in which a driver once seen had no usable value."""


def empty(layout: Layout) -> Conditions:
    """Return conditions before the first reading."""
    count = len(layout.drivers)
    nowhere = np.full(count, np.nan)
    width = count + curves(layout) + layout.slot_count
    return Conditions(
        nowhere, nowhere.copy(), np.zeros(layout.slot_count), np.full((len(LAGS_S), width), np.nan)
    )


def curves(layout: Layout) -> int:
    """Return how many conditions bend the straight line of the drivers."""
    count = len(layout.drivers)
    return count * (count + 1) // 2 + count * len(layout.gain_slots)


def advance(c: Conditions, layout: Layout, drivers: Vector, mode: Vector, dt_s: float) -> None:
    """Move on by one reading; a driver or mode without a value keeps its last one."""
    scaled = drivers / layout.driver_scale
    gone = np.isnan(scaled)
    lost = bool((gone & ~np.isnan(c.drivers)).any())
    c.missing = c.missing + 1 if lost else 0
    c.drivers = np.where(gone, c.drivers, scaled)
    c.origin = np.where(np.isnan(c.origin), c.drivers, c.origin)
    if mode.any():
        c.mode = mode
    u = c.drivers - c.origin
    u = np.where(np.isnan(u), 0.0, u)
    gains = np.outer(c.mode[layout.gain_slots], u).ravel()
    now = np.concatenate([u, np.outer(u, u)[layout.pairs], gains, c.mode])
    keep = np.exp(-dt_s * _RATES)[:, None]
    fresh = np.isnan(c.lagging)
    c.lagging = np.where(fresh, now, now + keep * (c.lagging - now))
    c.lagging[0] = now


def regressors(lagging: Vector, first: Lag, second: Lag, centre: Vector) -> Vector:
    """Return 1, the conditions at one lag, and their difference to another.

    ``lagging`` is [..., lag, condition]; with index vectors for the lags, one row per pair.
    """
    a = lagging[..., first, :]
    ones = np.ones((*a.shape[:-1], 1))
    return np.concatenate([ones, a - centre, lagging[..., second, :] - a], axis=-1)
