"""Words and numbers of JSON, compiled; numbers are exactly what Python's ``float`` makes of them.

Decimal to binary by D. Lemire, "Number parsing at a gigabyte per second" (2021); that two words of
each power are enough is shown by N. Mushtak and D. Lemire, "Fast number parsing without fallback"
(2023). Short numbers by W. Clinger's way. What needs more care is refused, and Python reads it.
"""

from collections.abc import Callable
from typing import Any, Final, TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Words = NDArray[np.uint64]
F = TypeVar("F", bound=Callable[..., Any])

compiled: Callable[[F], F] = njit(  # type: ignore[call-overload]  # numba's types hide _nrt
    cache=True, boundscheck=True, _nrt=False
)
"""Compile with checks of every access, and without counting references: nothing is allocated there,
and counting would take most of the time, for every array that is handed over."""
LOWEST: Final = -342
HIGHEST: Final = 308
"""Powers of ten that `powers` knows; doubles need no others."""
_EXACT: Final = np.array([10.0**k for k in range(23)])
"""Powers of ten that are exact in a double."""
# Unsigned numbers meet only their kind: with signed ones they would turn into floats.
_NONE, _ONE, _HALF = map(np.uint64, (0, 1, 32))
_LOW_HALF: Final = np.uint64(2**32 - 1)
_TAIL: Final = np.uint64(0x1FF)
_TOP, _SHIFT, _FRACTION = map(np.uint64, (63, 9, 52))
_EXACT_MAX: Final = 2**53
_THREE: Final = np.uint64(3)
_MANTISSA, _TOO_LARGE = np.uint64(2**52 - 1), np.uint64(2**53)
_DIGITS: Final = 19
"""So many always fit into 64 bits."""


def powers() -> Words:
    """Return the 128 leading bits of each power of ten: (power, high and low word).

    Those below one are rounded up, so that decimals that are exact in binary come out exact.
    """
    found = np.empty((HIGHEST - LOWEST + 1, 2), np.uint64)
    for k in range(LOWEST, HIGHEST + 1):
        five: int = 5 ** abs(k)
        size = five.bit_length()
        if k < 0:
            leading = (1 << (size + 127 if k >= -27 else 2 * size + 128)) // five + 1
        else:
            leading = five << 128
        leading >>= leading.bit_length() - 128
        found[k - LOWEST] = leading >> 64, leading & (2**64 - 1)
    return found


@compiled
def at(buf: Bytes, i: int) -> int:
    """Return a byte as a number that may be counted with."""
    return np.int64(buf[i])  # type: ignore[return-value]  # of no consequence when compiled


@compiled
def word(buf: Bytes, i: int, end: int, text: Bytes) -> int:
    """Return the place behind a word and the spaces that follow it; -1 if it is not there."""
    if i < 0 or i + text.size > end:
        return -1
    for j in range(text.size):
        if buf[i + j] != text[j]:
            return -1
    return spaces(buf, i + text.size, end)


@compiled
def spaces(buf: Bytes, i: int, end: int) -> int:
    """Return the place behind spaces."""
    while i < end and buf[i] == 32:
        i += 1
    return i


@compiled
def same(  # noqa: PLR0917  # jitted: arrays one by one
    buf: Bytes, i: int, end: int, text: Bytes, begin: int, size: int
) -> bool:
    """Tell whether so many bytes are the same as some known ones."""
    if i + size > end:
        return False
    j = 0
    while j < size and buf[i + j] == text[begin + j]:
        j += 1
    return j == size


@compiled
def whole(buf: Bytes, i: int) -> tuple[int, int]:
    """Read a whole number below 2**63: the number, below 0 for any other, and the place behind."""
    if i < 0:
        return -1, -1
    value, first = 0, i
    while 48 <= buf[i] <= 57:
        value = 10 * value + at(buf, i) - 48
        i += 1
    if i == first or i > first + _DIGITS or (buf[first] == 48 and i > first + 1):
        return -1, i
    return value, i  # 19 digits that are too large have turned negative


@compiled
def _power(buf: Bytes, i: int) -> tuple[int, int]:
    """Read what follows an ``e`` and return the power and the place behind it, -1 if in doubt."""
    down = buf[i] == 45
    if down or buf[i] == 43:
        i += 1
    while buf[i] == 48 and 48 <= buf[i + 1] <= 57:
        i += 1  # Python writes e-05
    power, i = whole(buf, i)
    if power < 0 or power > 1000:
        return 0, -1
    return -power if down else power, i


@compiled
def number(  # noqa: C901, PLR0917  # jitted: arrays one by one
    buf: Bytes, i: int, powers: Words, values: Floats, bits: Words, row: int, column: int
) -> int:
    """Read a number into ``values[row, column]``; return the place behind it, -1 if in doubt.

    It ends at the first byte that cannot be part of it, and there must be one.
    """
    negative = buf[i] == 45
    if negative:
        i += 1
    first, exponent, mantissa = i, 0, 0
    digit = at(buf, i) - 48
    while 0 <= digit <= 9:
        mantissa = 10 * mantissa + digit
        i += 1
        digit = at(buf, i) - 48
    digits, whole_number = i - first, True
    if digits == 0 or (digits > 1 and buf[first] == 48):
        return -1
    if buf[i] == 46:
        point, whole_number = i + 1, False
        i = point
        if mantissa == 0:
            digits = 0
            while buf[i] == 48:
                i += 1
        first = i
        digit = at(buf, i) - 48
        while 0 <= digit <= 9:
            mantissa = 10 * mantissa + digit
            i += 1
            digit = at(buf, i) - 48
        digits += i - first
        exponent = point - i
        if exponent == 0:
            return -1
    if buf[i] == 101 or buf[i] == 69:
        power, i = _power(buf, i + 1)
        if i < 0:
            return -1
        exponent, whole_number = exponent + power, False
    if digits > _DIGITS or (negative and whole_number and mantissa == 0):
        return -1  # -0 is read as a whole number, without its sign
    if 0 <= mantissa < _EXACT_MAX and -22 <= exponent <= 22:
        value = float(mantissa)
        value = value / _EXACT[-exponent] if exponent < 0 else value * _EXACT[exponent]
        values[row, column] = -value if negative else value
        return i
    unsigned = np.uint64(mantissa)  # 19 digits may have turned negative: the same bits
    return i if _nearest(unsigned, exponent, negative, powers, bits, row, column) else -1


@compiled
def _product(a: np.uint64, b: np.uint64) -> tuple[np.uint64, np.uint64]:
    """Return the high and the low word of a product."""
    a_low, a_high, b_low, b_high = a & _LOW_HALF, a >> _HALF, b & _LOW_HALF, b >> _HALF
    low = a_low * b_low
    middle = a_high * b_low + (low >> _HALF)
    other = (middle & _LOW_HALF) + a_low * b_high
    return a_high * b_high + (middle >> _HALF) + (other >> _HALF), a * b


@compiled
def _nearest(  # noqa: PLR0917  # jitted: arrays one by one
    mantissa: np.uint64, exponent: int, negative: bool, powers: Words, bits: Words,  # noqa: FBT001
    row: int, column: int,
) -> bool:  # fmt: skip
    """Write the double nearest to ``mantissa * 10**exponent``; false if that is not certain."""
    if mantissa == _NONE or exponent < LOWEST or exponent > HIGHEST:
        return False
    shift = 0
    while mantissa >> _TOP == _NONE:
        mantissa <<= _ONE
        shift += 1
    power = exponent - LOWEST
    high, low = _product(mantissa, powers[power, 0])
    if high & _TAIL == _TAIL:
        more, _ = _product(mantissa, powers[power, 1])
        low += more
        if low < more:
            high += _ONE
    top = high >> _TOP
    fraction = high >> (top + _SHIFT)
    binary = ((217706 * exponent) >> 16) + 1086 - shift + np.int64(top)
    if low <= _ONE and fraction & _THREE == _ONE and fraction << (top + _SHIFT) == high:
        return False  # may lie in the middle of two
    fraction = (fraction + (fraction & _ONE)) >> _ONE
    if fraction >= _TOO_LARGE:
        fraction >>= _ONE
        binary += 1
    if binary < 1 or binary >= 0x7FF:
        return False  # with fewer bits, or too large
    sign = _ONE << _TOP if negative else _NONE
    bits[row, column] = sign | (np.uint64(binary) << _FRACTION) | (fraction & _MANTISSA)
    return True
