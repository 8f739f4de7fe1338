"""The conditions a machine runs under: its drivers and modes, now and lagging.

Machines are slow: speed follows a set-point in seconds, a winding follows its losses in minutes.
So the conditions, their squares and products (losses grow with the square of a current) and the
modes are kept at a ladder of first-order lags, from which the reference picks for each response
the ones that fit it. A static curve behind a lag is called a Hammerstein model.

Every row passes here, so this is compiled; a reading and the ladder stand in tables, whose rows
have names. All that numba compiles together stands in this one file: its cache looks at no other.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from msgspec import Struct
from numba import njit
from numpy.typing import NDArray

from models.sample import Layout, Sample, Vector

LAGS_S = np.array([0.0, 10.0, 20.0, 40.0, 80.0, 120.0, 180.0, 260.0, 400.0, 700.0, 1300.0])
JUMP_LAG = int(np.argmax(LAGS_S >= 40))
"""Drivers are compared with what they were some forty seconds ago."""
_RATES = 1.0 / np.maximum(LAGS_S, 1e-9)
_LAGS = len(LAGS_S)
BACKWARDS_SAMPLES = 10
"""After so many readings from the past, in a row and in order, the clock was set back."""
_LATE = -1.0
_ABSURD = 1e300
"""Numbers from here on are none: their sums would not be finite."""
_UNCERTAIN, _BAD = 1, 2
"""Marks of `contract.telemetry.Quality`; 0 is good."""

_COLUMN, _LOW, _HIGH, _MARGIN, _SCALE, _RAW, _USABLE = range(7)
"""Rows of the table of checked signals; `_SCALE` is of drivers only."""
_OUTSIDE, _INVALID = range(2)
"""Rows of their marks."""
_MODE_COLUMN, _NUMBER, _GAIN, _NOW = range(4)
"""Rows of the table of mode places. The last place of a mode has no number: it is for others."""
_LAST_NS, _BACKWARDS, _BACKWARDS_NS, _MISSING = range(4)
"""What the clock remembers; `_MISSING` are readings in a row without a driver that was seen."""
_HELD, _ORIGIN = _LAGS, _LAGS + 1
"""Rows below the ladder: last usable drivers, in quarters of their plausible range, NaN before the
first; and the first ones, around which squares and products are taken."""

Lag = int | NDArray[np.integer[Any]]
"""A place on the ladder, or one for each response."""


class Conditions(Struct):
    """Where the ladder stands."""

    clock: NDArray[np.int64]
    ladder: Vector
    """One row per lag: drivers, their curves (squares, products, in each judged mode), modes; then
    what is held."""

    def arrays(self) -> tuple[NDArray[Any], ...]:
        """Return everything."""
        return self.clock, self.ladder

    @property
    def lagging(self) -> Vector:
        """The conditions, [lag, condition]."""
        return self.ladder[:_LAGS]


class Row(NamedTuple):
    """Where a row is taken apart; overwritten by the next one."""

    values: Vector
    quality: NDArray[np.uint8]
    sheet: Vector
    marks: NDArray[np.bool_]
    places: Vector


def empty(layout: Layout) -> Conditions:
    """Return conditions before the first reading."""
    width = len(layout.drivers) + curves(layout) + layout.slot_count
    ladder = np.full((_LAGS + 2, width), np.nan)
    ladder[_HELD, width - layout.slot_count :] = 0.0
    return Conditions(np.array([-1, 0, -1, 0]), ladder)


def curves(layout: Layout) -> int:
    """Return how many conditions bend the straight line of the drivers."""
    count = len(layout.drivers)
    return count * (count + 1) // 2 + count * len(layout.gain_slots)


def row(layout: Layout) -> Row:
    """Return the tables for a layout's rows."""
    column = {name: i for i, name in enumerate(layout.signals)}
    sheet = np.full((7, len(layout.checked)), np.nan)
    sheet[_COLUMN] = [column[s.name] for s in layout.checked]
    sheet[_LOW], sheet[_HIGH], sheet[_MARGIN] = layout.low, layout.high, layout.margin
    sheet[_SCALE, len(layout.responses) :] = layout.driver_scale
    places = np.zeros((4, layout.slot_count))
    parts = zip(layout.modes, layout.slots, strict=True)
    named = [(column[s.name], n) for s, numbers in parts for n in (*sorted(numbers), math.nan)]
    places[[_MODE_COLUMN, _NUMBER]] = np.reshape(named, (-1, 2)).T
    places[_GAIN, layout.gain_slots] = 1.0
    values = np.full(len(layout.signals), np.nan)
    marks = np.zeros((2, len(layout.checked)), dtype=bool)
    return Row(values, np.zeros(len(values), dtype=np.uint8), sheet, marks, places)


def as_sample(r: Row) -> Sample:
    """Return the tables' newest row by its names; its numbers change with the next one."""
    return Sample(
        0, r.sheet[_RAW], r.sheet[_USABLE], r.marks[_OUTSIDE], r.marks[_INVALID], r.places[_NOW]
    )


def regressors(lagging: Vector, first: Lag, second: Lag, centre: Vector) -> Vector:
    """Return 1, the conditions at one lag, and their difference to another.

    ``lagging`` is [..., lag, condition]; with index vectors for the lags, one row per pair.
    """
    a = lagging[..., first, :]
    ones = np.ones((*a.shape[:-1], 1))
    return np.concatenate([ones, a - centre, lagging[..., second, :] - a], axis=-1)


@njit(cache=True, error_model="numpy")
def advance(  # noqa: PLR0917  # jitted: arrays one by one
    time_ns: int, values: Vector, quality: NDArray[np.uint8], sheet: Vector,
    marks: NDArray[np.bool_], places: Vector, clock: NDArray[np.int64], ladder: Vector,
) -> tuple[float, bool, bool, int]:  # fmt: skip
    """Move on by one row; a driver or mode without a value keeps its last one.

    Args:
        time_ns: event time.
        values: in order of the machine type's signals, NaN where there is none.
        quality: their marks.
        sheet: of a `Row`; the row is written there.
        marks: of a `Row`, too.
        places: of a `Row`, too.
        clock: of the conditions; changed in place.
        ladder: of the conditions; changed in place.

    Returns:
        Seconds since the last row, below zero if this one is late or doubled and changes nothing;
        whether a known mode has changed; whether the mode is known now, or there is none; for how
        many rows a driver has been missing.
    """
    there = _take(values, quality, sheet, marks, places)
    dt_s = _elapsed(time_ns, clock)
    if dt_s < 0:
        return _LATE, False, False, 0
    start = ladder.shape[1] - places.shape[1]
    before, changed = False, False
    for j in range(places.shape[1]):
        before |= ladder[_HELD, start + j] > 0
        changed |= there and places[_NOW, j] != ladder[_HELD, start + j]
        if there:
            ladder[_HELD, start + j] = places[_NOW, j]
    drivers, lost = _hold(sheet, ladder)
    clock[_MISSING] = clock[_MISSING] + 1 if lost else 0
    _lag(drivers, places, ladder, dt_s)
    return dt_s, before and changed, there or not before, clock[_MISSING]


@njit(cache=True, error_model="numpy")
def _take(
    values: Vector, quality: NDArray[np.uint8], sheet: Vector, marks: NDArray[np.bool_],
    places: Vector,
) -> bool:  # fmt: skip
    """Take a row apart, as `models.sample.sample` does; return whether a mode is there."""
    for i in range(sheet.shape[1]):
        column = int(sheet[_COLUMN, i])
        x, mark = values[column], quality[column]
        if not -_ABSURD < x < _ABSURD:
            x = np.nan
        low, high, margin = sheet[_LOW, i], sheet[_HIGH, i], sheet[_MARGIN, i]
        sheet[_RAW, i] = x
        sheet[_USABLE, i] = np.nan if mark != 0 or x < low or x > high else x
        marks[_OUTSIDE, i] = x < low - margin or x > high + margin
        marks[_INVALID, i] = mark == _BAD
    anything, met = False, False
    for j in range(places.shape[1]):
        column = int(places[_MODE_COLUMN, j])
        x, number = values[column], places[_NUMBER, j]
        there = quality[column] <= _UNCERTAIN and -_ABSURD < x < _ABSURD
        if np.isnan(number):
            hit, met = there and not met, False
        else:
            hit = there and np.rint(x) == number
            met |= hit
        places[_NOW, j] = hit
        anything |= hit
    return anything


@njit(cache=True, error_model="numpy")
def _elapsed(time_ns: int, clock: NDArray[np.int64]) -> float:
    """Return seconds since the last row; below zero if this one is late or doubled."""
    last_ns = clock[_LAST_NS]
    if last_ns < 0:
        last_ns = time_ns
    elif time_ns <= last_ns:
        clock[_BACKWARDS] = clock[_BACKWARDS] + 1 if time_ns > clock[_BACKWARDS_NS] else 1
        clock[_BACKWARDS_NS] = time_ns
        if clock[_BACKWARDS] < BACKWARDS_SAMPLES:
            return _LATE
        last_ns = time_ns
    clock[_BACKWARDS], clock[_BACKWARDS_NS] = 0, -1
    clock[_LAST_NS] = time_ns
    return float(time_ns - last_ns) / 1e9


@njit(cache=True, error_model="numpy")
def _hold(sheet: Vector, ladder: Vector) -> tuple[int, bool]:
    """Keep the drivers' values; return how many there are, and whether one seen is missing now."""
    i, lost = 0, False
    for k in range(sheet.shape[1]):
        if np.isnan(sheet[_SCALE, k]):
            continue
        x = sheet[_USABLE, k] / sheet[_SCALE, k]
        if not np.isnan(x):
            ladder[_HELD, i] = x
        else:
            lost |= not np.isnan(ladder[_HELD, i])
        if np.isnan(ladder[_ORIGIN, i]):
            ladder[_ORIGIN, i] = ladder[_HELD, i]
        i += 1
    return i, lost


@njit(cache=True, error_model="numpy")
def _lag(drivers: int, places: Vector, ladder: Vector, dt_s: float) -> None:
    """Fill in the conditions of now, then let the others follow."""
    slots, width, now = places.shape[1], ladder.shape[1], ladder[0]
    for i in range(drivers):
        u = ladder[_HELD, i] - ladder[_ORIGIN, i]
        now[i] = 0.0 if np.isnan(u) else u
    place = drivers
    for i in range(drivers):
        for j in range(i, drivers):
            now[place] = now[i] * now[j]
            place += 1
    for j in range(slots):
        mode = ladder[_HELD, width - slots + j]
        now[width - slots + j] = mode
        if places[_GAIN, j] > 0:
            for i in range(drivers):
                now[place] = mode * now[i]
                place += 1
    for k in range(1, _LAGS):
        keep = math.exp(-dt_s * _RATES[k])
        for j in range(width):
            old = ladder[k, j]
            ladder[k, j] = now[j] if np.isnan(old) else now[j] + keep * (old - now[j])
