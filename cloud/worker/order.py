"""Which readings show the present, which are late, and where a machine leaps over a gap.

Compiled, since it looks at every reading (numba; `numba.njit`).
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

LIVE, LATE, BEHIND, QUIET = 0, 1, 2, 3
"""Shows the machine as it is; true but past, and next in order; older than the newest seen; as it
is, but so soon after a gap that its detector has to find its feet."""
MINUTE_NS = 60 * 10**9

Counts = NDArray[np.int64]
Flags = NDArray[np.bool_]


class Ordered(NamedTuple):
    """What is to be done with each reading of a group."""

    place: NDArray[np.uint8]
    turn: Counts
    """Readings of one machine that lie in different minutes have different turns, from 0."""
    leaps: Counts
    """Readings that leap over a gap: what lies in it may come later."""


def sort_out(  # noqa: PLR0917  # one array for each column
    device: Counts, times_ns: Counts, historical: Flags, newest_ns: Counts,
    leap_ns: Counts, late_before_ns: int,
) -> Ordered:  # fmt: skip
    """Look at the readings of a group in order of arrival.

    Args:
        device: (n,) whose reading it is.
        times_ns: (n,) event time.
        historical: (n,) the sender says that it was held back by an outage.
        newest_ns: (devices,) newest event time of each device, 0 before the first; moves on.
        leap_ns: (devices,) a longer step in event time is a gap.
        late_before_ns: readings from before this are late.
    """
    n = len(device)
    place, turn = np.empty(n, np.uint8), np.zeros(n, np.int64)
    leaps = np.zeros(n, np.bool_)
    minute = np.full(len(newest_ns), -1, np.int64)
    turns = np.zeros(len(newest_ns), np.int64)
    _sort_out(
        device, times_ns, historical, newest_ns, leap_ns, late_before_ns, place, turn, leaps,
        minute, turns,
    )  # fmt: skip
    return Ordered(place, turn, np.flatnonzero(leaps))


@njit(cache=True)
def _sort_out(  # noqa: PLR0917  # jitted: arrays one by one
    device: Counts, times_ns: Counts, historical: Flags, newest_ns: Counts, leap_ns: Counts,
    late_before_ns: int, place: NDArray[np.uint8], turn: Counts, leaps: Flags, minute: Counts,
    turns: Counts,
) -> None:  # fmt: skip
    for i in range(len(device)):
        d, t = device[i], times_ns[i]
        newest = newest_ns[d]
        if t <= newest:
            place[i] = BEHIND
            continue
        now = t // MINUTE_NS
        if minute[d] >= 0 and now != minute[d]:
            turns[d] += 1
        minute[d] = now
        turn[i] = turns[d]
        newest_ns[d] = t
        place[i] = LATE if historical[i] or t < late_before_ns else LIVE
        leaps[i] = newest > 0 and t - newest > leap_ns[d]
