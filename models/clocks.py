"""Clocks that people set: event times made to run forward only, and never too far at once.

A row that is not newer than its machine's newest one is late or doubled, and not judged. But after
a few rows from the past, in a row and in order, the clock was set back (or the leap forward before
was the error), and time goes on from there.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

Counts = NDArray[np.int64]

BACKWARDS_ROWS = 10
"""After so many rows from the past, in a row and in order, the clock was set back."""
LONGEST_STEP_NS = 30 * 86_400 * 10**9
"""A gap counts as a month at most: longer than any average remembers."""
WORN_NS = 2**61
"""A clock that is in 1970 after every restart leaps a month each time; from here on it is time to
begin at 0 again, lest 64 bits are used up."""
_END_NS = 2**62


class Clocks(NamedTuple):
    """One clock per machine."""

    seen_ns: Counts
    """Event time of the newest row that counted."""
    running_ns: Counts
    """Time since the first row, without leaps; -1 before it."""
    back_rows: Counts
    back_ns: Counts
    """Rows from the past in order, and the newest of them."""


def empty(machines: int) -> Clocks:
    """Return clocks that have not seen a row."""
    zeros = np.zeros(machines, np.int64)
    return Clocks(zeros.copy(), zeros - 1, zeros.copy(), zeros.copy())


@njit(cache=True)
def straighten(
    c: Clocks, machines: Counts, times_ns: Counts, running_ns: Counts, fresh: NDArray[np.bool_]
) -> bool:
    """Advance the clocks by rows in their order.

    Args:
        c: all clocks; changed in place.
        machines: machine number of each row.
        times_ns: event time of each row.
        running_ns: where each row's time since its machine's first row goes.
        fresh: where it goes whether the row counts; otherwise its time is the newest one again.

    Returns:
        Whether a clock is worn.
    """
    worn = False
    for i in range(machines.size):
        m, now = machines[i], times_ns[i]
        since = c.seen_ns[m]
        fresh[i] = True
        if c.running_ns[m] < 0:
            c.running_ns[m] = 0
            since = now
        elif now <= since:
            in_order = c.back_rows[m] > 0 and now > c.back_ns[m]
            since = c.back_ns[m]
            c.back_rows[m] = c.back_rows[m] + 1 if in_order else 1
            c.back_ns[m] = now
            fresh[i] = c.back_rows[m] >= BACKWARDS_ROWS
        if fresh[i]:
            step = now - since
            if step < 0 or step > LONGEST_STEP_NS:  # below zero: the difference was too wide
                step = LONGEST_STEP_NS
            c.running_ns[m] = min(c.running_ns[m] + step, _END_NS)
            c.seen_ns[m] = now
            c.back_rows[m] = 0
            worn = worn or c.running_ns[m] > WORN_NS
        running_ns[i] = c.running_ns[m]
    return worn
