"""Robust centre and spread of numbers: medians over all their pairs, without listing the pairs.

There are n^2 / 2 pairs. In ascending numbers those up to a limit are counted in n steps, and the
limit that just holds enough of them is found by halving the range of floating-point numbers, which
takes at most 64 counts. It is exactly the value that sorting all pairs would find.
"""

import numpy as np
from numba import njit

from models.sample import Vector

SHAMOS = 1.0483
"""Makes the median distance of pairs the standard deviation of normal numbers."""
_SIGN = 0x7FFF_FFFF_FFFF_FFFF
"""Turns the bits of negative numbers, so that all compare like whole numbers."""


def centre(values: Vector) -> float:
    """Return the Hodges-Lehmann centre: the median of all pairs' means (1963).

    Each number makes a pair with itself, too. NaN if one is not finite.
    """
    n = len(values)
    return _median(values, n * (n + 1) // 2, apart=False)


def spread(values: Vector) -> float:
    """Return the Shamos spread: the median distance of all pairs, as a standard deviation.

    There must be two numbers or more. NaN if one is not finite.
    """
    n = len(values)
    return SHAMOS * _median(values, n * (n - 1) // 2, apart=True)


def _median(values: Vector, pairs: int, *, apart: bool) -> float:
    if not np.isfinite(values).all():
        return np.nan
    ascending = np.sort(values)
    upper: float = _select(ascending, pairs // 2, apart)
    if pairs % 2:
        return upper
    lower: float = _select(ascending, pairs // 2 - 1, apart)
    return (lower + upper) / 2


@njit(cache=True)
def _select(ascending: Vector, rank: int, apart: bool) -> float:  # noqa: FBT001 (jitted)
    """Return the distance, or the mean, that so many pairs do not reach."""
    number = np.empty(1)
    bits = number.view(np.int64)
    number[0] = 0.0 if apart else ascending[0]
    low = bits[0] if bits[0] >= 0 else bits[0] ^ _SIGN
    number[0] = ascending[-1] - ascending[0] if apart else ascending[-1]
    high = bits[0] if bits[0] >= 0 else bits[0] ^ _SIGN
    while low < high:
        middle = (low >> 1) + (high >> 1) + (low & high & 1)  # their sum would overflow
        bits[0] = middle if middle >= 0 else middle ^ _SIGN
        count = _near(ascending, number[0]) if apart else _below(ascending, number[0])
        if count > rank:
            high = middle
        else:
            low = middle + 1
    bits[0] = low if low >= 0 else low ^ _SIGN
    return float(number[0])


@njit(cache=True)
def _near(ascending: Vector, limit: float) -> int:
    """Count the pairs that are no further apart."""
    count = i = 0
    for j in range(len(ascending)):
        while ascending[j] - ascending[i] > limit:
            i += 1
        count += j - i
    return count


@njit(cache=True)
def _below(ascending: Vector, limit: float) -> int:
    """Count the pairs, each number's with itself among them, whose mean is no higher."""
    count, j = 0, len(ascending) - 1
    for i in range(len(ascending)):
        while j >= i and (ascending[i] + ascending[j]) / 2 > limit:
            j -= 1
        if j < i:
            break
        count += j - i + 1
    return count
