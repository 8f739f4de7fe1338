"""Constant-memory sketches of one number's past: what was seen, and how rarely was it this odd.

All kernels work on views of one machine's arrays, so that states can live in flat arrays.
"""

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

LEADERS = 400
"""Values remembered per number: a gap of half a percent of the range is still seen as a gap."""

BINS_PER_OCTAVE = 8
"""A bin is 9 % wide: finer than any difference in oddness that matters."""

OCTAVES = 20
"""Gaps below a millionth of the spread are rounding, not news."""

BINS = BINS_PER_OCTAVE * OCTAVES

Floats = NDArray[np.float64]


@njit(cache=True)
def nearest(leaders: Floats, used: int, value: float) -> tuple[float, int]:
    """Distance to the nearest remembered value (inf if none) and the place to insert at."""
    place, above = 0, used
    while place < above:
        middle = (place + above) >> 1
        if leaders[middle] < value:
            place = middle + 1
        else:
            above = middle
    gap = math.inf
    if place < used:
        gap = leaders[place] - value
    if place > 0:
        gap = min(gap, value - leaders[place - 1])
    return gap, place


@njit(cache=True)
def insert(
    leaders: Floats, used: int, radius: float, value: float, place: int
) -> tuple[int, float]:
    """Remember a value that is farther than `radius` from all others; return count and radius.

    When the memory is full the radius doubles and neighbours closer than it become one (the
    doubling algorithm: Charikar, Chekuri, Feder, Motwani, "Incremental clustering and dynamic
    information retrieval", STOC 1997): lonely values always stay.
    """
    if used == len(leaders):
        closest = math.inf
        for i in range(1, used):
            closest = min(closest, leaders[i] - leaders[i - 1])
        radius = max(2.0 * radius, closest)
        used = _thin(leaders, used, radius)
        gap, place = nearest(leaders, used, value)
        if gap <= radius:
            return used, radius
    for i in range(used, place, -1):
        leaders[i] = leaders[i - 1]
    leaders[place] = value
    return used + 1, radius


@njit(cache=True)
def _thin(leaders: Floats, used: int, radius: float) -> int:
    """Keep the first value and every one farther than `radius` from the last one kept."""
    kept = 1
    for i in range(1, used):
        if leaders[i] - leaders[kept - 1] > radius:
            leaders[kept] = leaders[i]
            kept += 1
    return kept


@njit(cache=True)
def rank(counts: Floats, oddness: float) -> float:
    """Count an oddness in [0, 1]; return how many earlier ones were at least as large (by bin).

    `counts` is a Fenwick tree over a logarithmic grid, largest oddness first.
    """
    octaves = -math.log2(oddness) if oddness > 0.0 else math.inf
    place = int(min(max(octaves, 0.0) * BINS_PER_OCTAVE, BINS - 1.0)) + 1
    larger = 0.0
    i = place
    while i > 0:
        larger += counts[i - 1]
        i -= i & -i
    i = place
    while i <= BINS:
        counts[i - 1] += 1.0
        i += i & -i
    return larger
