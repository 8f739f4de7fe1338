"""The hot path of `models.checks`: one row of one machine at a time, all machines in flat arrays.

Nothing here raises. All that numba compiles together stands in this one file, because its cache
looks at no other; and arrays are handed over one by one, because states cost more than the work.
"""

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from models.prefetch import EARLY, LINE, SOON, ask

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Marks = NDArray[np.uint8]
Grades = NDArray[np.int8]
Hashes = NDArray[np.uint32]
Places = NDArray[np.uint16]

LAST, BEFORE, JUMP, SPIKES, LOWEST, HIGHEST, STEP, AWAY, SLOW, ALONE_S, OFFSET = range(11)
"""Places in ``numbers``; what every row needs stands first."""
RUN, RUN_FROM_NS, LIMIT, SAMPLES, CHANGES, LONGEST, JUDGED_NS, ORDINARY_NS = range(8)
"""Places in ``counts``."""
OUTSIDE, STUCK, LOOSE, DRIFTED, BAD = range(5)
"""Places in ``marks``."""
PLACE, LAG, SAME, FROM_NS, STALE, SAME_LIMIT, ROWS, REPEATED, LONGEST_SAME = range(9)
"""Places in ``repeats``."""
LATE, IDLE, JUDGED, OBSERVED = range(4)
"""How a row counts: not at all; of a machine that does not run; of one that does; of one that is
being commissioned."""

RING = 1024
"""Rows that are remembered to recognise a block played again; with what finds them, 8 kB."""
_LIVELY = 0.5
"""A number that stands still more often than not is never judged by its standing still."""
_ONE_IN = 1e-9
"""A number is stuck when healthy running would stand still so long by chance this rarely."""
_ENVELOPE = 0.1
"""A number that stands this share of its commissioned span outside of it may be in a state of the
machine never seen, where it may well be still."""
_CONTRADICTED_SIGMAS = 4.0
"""Unless the reference knows the conditions and is this sure that the number is wrong."""
_STEP_MARGIN = 2.0
"""A jump counts when it is this many times the largest step of commissioning. Of noise as heavy in
its tails as Student's t with 3 degrees of freedom, one reading in 8 times as many as commissioning
had is one; of normal noise, none ever."""
_SPIKES_REMEMBERED = 120.0
"""Readings over which jumps are counted."""
_SPIKES = 2.5
"""So many jumps, of which each fades with time, are a loose contact: three in short order. The
heavy-tailed noise above has them once in some 100,000 hours of a reading every 5 s."""
_SPIKES_OVER = 1.0


@njit(cache=True, error_model="numpy")
def advance(  # noqa: PLR0917  # jitted: arrays one by one
    numbers: Floats, counts: Counts, marks: Marks, repeats: Counts, ring: Hashes, chain: Places,
    which: Counts, times_ns: Counts, raw: Floats, grade: Grades, how: Marks, failing: Marks,
    low: Floats, high: Floats, responses: int, confirm: int, stuck_ns: float,
) -> None:  # fmt: skip
    """Move on by rows in their order.

    Args:
        numbers: what is remembered of each machine's signals (m, 11, c); changed in place.
        counts: the same, (m, 8, c).
        marks: the same, (m, 5, c).
        repeats: what is remembered of its rows, (m, 9).
        ring: hashes of its newest judged rows (m, 1024); 0: nothing yet.
        chain: where the newest row of each class of hashes is, and the one before each row,
            (m, 2 * 1024), counted from 1; 0: nowhere.
        which: machine number of each row, (n,).
        times_ns: event times.
        raw: the checked signals as read, (n, c).
        grade: of each value 1 if bad, -1 if good, 0 if neither.
        how: `LATE` to `OBSERVED`.
        failing: where it goes whether any check fails after the row.
        low: of plausible values, (c,).
        high: of plausible values, (c,).
        responses: how many of the signals are; the others are drivers.
        confirm: bad readings in a row that are a failure.
        stuck_ns: least time for anything to be stuck or stale.
    """
    rows = np.empty(which.size, np.int64)
    for i in range(which.size):
        rows[i] = _hash(raw, i)
    for i in range(which.size):
        early, soon = min(i + EARLY, which.size - 1), min(i + SOON, which.size - 1)
        _ask_signals(numbers, counts, marks, repeats, chain, which[early], rows[early] % RING)
        _ask_rows(repeats, ring, chain, which[soon], rows[soon] % RING)
        m, row = which[i], rows[i]
        if how[i] != LATE:
            judged = how[i] != IDLE
            _count_bad(marks, m, grade, i, confirm)
            long = _count_still(numbers, counts, marks, m, raw, i, times_ns[i], judged)
            _repeat(repeats, ring, chain, m, row, times_ns[i], judged and row != 0, stuck_ns)
            if judged and long:
                _find_stuck(numbers, counts, marks, m, times_ns[i], low, high, responses, stuck_ns)
            if how[i] == OBSERVED:
                observe(numbers, counts, repeats, m, raw, i)
        fails = repeats[m, STALE]
        for j in range(raw.shape[1]):
            fails |= marks[m, OUTSIDE, j] | marks[m, STUCK, j]
            fails |= marks[m, LOOSE, j] | marks[m, DRIFTED, j]
        failing[i] = fails


@njit(cache=True, error_model="numpy", inline="always")
def _ask_signals(  # noqa: PLR0917  # jitted: arrays one by one
    numbers: Floats, counts: Counts, marks: Marks, repeats: Counts, chain: Places, m: int,
    kind: int,
) -> None:  # fmt: skip
    """Ask for the memory of machine ``m``; see `models.prefetch`."""
    one = numbers.shape[2] * 8
    for skip in range(0, (SPIKES + 1) * one, LINE):
        ask(numbers, m, skip)
    for skip in range(0, (LIMIT + 1) * one, LINE):
        ask(counts, m, skip)
    for skip in range(0, marks.shape[1] * marks.shape[2], LINE):
        ask(marks, m, skip)
    ask(repeats, m, 0)
    ask(repeats, m, LINE)
    ask(chain, m, 2 * kind)


@njit(cache=True, error_model="numpy", inline="always")
def _ask_rows(  # jitted: arrays one by one
    repeats: Counts, ring: Hashes, chain: Places, m: int, kind: int
) -> None:
    """Ask for the places of its rows that will be read and written."""
    place = repeats[m, PLACE]
    ask(ring, m, 4 * place)
    ask(chain, m, 2 * (RING + place))
    ask(ring, m, 4 * (np.int64(chain[m, kind]) - 1))


@njit(cache=True, error_model="numpy", inline="always")
def _hash(raw: Floats, i: int) -> int:
    """Return 32 bits of a row; 0 if it has no value at all."""
    anything = False
    h = np.uint64(0x9E3779B97F4A7C15)
    bits = raw.view(np.uint64)
    for j in range(raw.shape[1]):
        word = np.uint64(0x7FF8000000000000)
        if not math.isnan(raw[i, j]):
            anything = True
            word = bits[i, j]
        h = (h ^ word) * np.uint64(0xFF51AFD7ED558CCD)
        h ^= h >> np.uint64(32)
    return max(int(h & np.uint64(0xFFFFFFFF)), 1) if anything else 0


@njit(cache=True, error_model="numpy", inline="always")
def _count_bad(marks: Marks, m: int, grade: Grades, i: int, confirm: int) -> None:
    """Count bad readings up, good ones down."""
    for j in range(grade.shape[1]):
        if grade[i, j] >= 0 or marks[m, BAD, j] > 0:
            bad = min(max(np.int64(marks[m, BAD, j]) + grade[i, j], 0), confirm)
            marks[m, BAD, j] = bad
            marks[m, OUTSIDE, j] = bad >= confirm or (bad > 0 and marks[m, OUTSIDE, j] > 0)


@njit(cache=True, error_model="numpy", inline="always")
def _count_still(  # noqa: PLR0917  # jitted: arrays one by one
    numbers: Floats, counts: Counts, marks: Marks, m: int, raw: Floats, i: int, time_ns: int,
    judged: bool,  # noqa: FBT001  # jitted: no keywords
) -> bool:  # fmt: skip
    """Count jumps there and straight back and how long numbers stand still; is any too long?"""
    place, count, long = -1, 0, False
    for j in range(raw.shape[1]):
        now, old, older = raw[i, j], numbers[m, LAST, j], numbers[m, BEFORE, j]
        there, back = old - older, now - old
        if there * back < 0 and min(abs(there), abs(back)) > numbers[m, JUMP, j]:
            place, count = j, count + 1
        if not math.isnan(now):
            if now != old:
                marks[m, STUCK, j] = 0
                counts[m, RUN, j] = -1
                counts[m, RUN_FROM_NS, j] = time_ns
            counts[m, RUN, j] += 1
            numbers[m, BEFORE, j], numbers[m, LAST, j] = old, now
        if judged:
            numbers[m, SPIKES, j] *= 1 - 1 / _SPIKES_REMEMBERED
        else:
            counts[m, RUN, j], counts[m, RUN_FROM_NS, j] = 0, time_ns
            numbers[m, BEFORE, j] = np.nan
    if judged and count == 1:  # several at once are no loose contact of one sensor
        numbers[m, SPIKES, place] += 1
    for j in range(raw.shape[1]):
        enough = _SPIKES_OVER if marks[m, LOOSE, j] > 0 else _SPIKES
        marks[m, LOOSE, j] = numbers[m, SPIKES, j] >= enough
        long |= 0 < counts[m, LIMIT, j] <= counts[m, RUN, j]
    return long


@njit(cache=True, error_model="numpy", inline="always")
def _repeat(  # noqa: PLR0917  # jitted: arrays one by one
    repeats: Counts, ring: Hashes, chain: Places, m: int, row: int, time_ns: int,
    judged: bool, stuck_ns: float,  # noqa: FBT001  # jitted: no keywords
) -> None:  # fmt: skip
    """Look for the row among the newest ones; in sequence, so that chance does not count."""
    place, lag = repeats[m, PLACE], repeats[m, LAG]
    if lag > 0 and row > 0 and ring[m, (place - lag) % RING] == row:
        repeats[m, SAME] += 1
    else:
        lag = _newest(ring, chain, m, place, row)
        repeats[m, LAG], repeats[m, SAME] = lag, min(lag, 1)
        repeats[m, FROM_NS] = time_ns
        if lag == 0:
            repeats[m, STALE] = 0
    if not judged:
        repeats[m, SAME] = 0
        return
    kind = row % RING
    chain[m, RING + place] = chain[m, kind]
    chain[m, kind] = place + 1
    ring[m, place] = row
    repeats[m, PLACE] = (place + 1) % RING
    if 0 < repeats[m, SAME_LIMIT] <= repeats[m, SAME] and time_ns - repeats[m, FROM_NS] >= stuck_ns:
        repeats[m, STALE] = 1


@njit(cache=True, error_model="numpy")
def _newest(  # jitted: arrays one by one
    ring: Hashes, chain: Places, m: int, place: int, row: int
) -> int:
    """Return how many rows ago this row came last; 0 if not within memory.

    The chain leads from the newest row of the same class to older ones. What it leads to may have
    been written over since: that is newer, or of another class, and all beyond it is gone as well.
    """
    at, age, kind = int(chain[m, row % RING]) - 1, 0, row % RING
    while at >= 0 and row > 0:
        older = (place - at - 1) % RING + 1
        if older <= age or ring[m, at] % RING != kind:
            return 0
        if ring[m, at] == row:
            return older
        age, at = older, int(chain[m, RING + at]) - 1
    return 0


@njit(cache=True, error_model="numpy")
def _find_stuck(  # noqa: PLR0917  # jitted: arrays one by one
    numbers: Floats, counts: Counts, marks: Marks, m: int, time_ns: int, low: Floats,
    high: Floats, responses: int, stuck_ns: float,
) -> None:  # fmt: skip
    """Call numbers stuck that stand still for too long while another one lives."""
    lively = False
    for j in range(low.size):
        lively |= counts[m, RUN, j] * 4 < counts[m, LIMIT, j]
    for j in range(responses if lively else 0):
        last = numbers[m, LAST, j]
        if not 0 < counts[m, LIMIT, j] <= counts[m, RUN, j]:
            continue
        if time_ns - counts[m, RUN_FROM_NS, j] < stuck_ns or last <= low[j] or last >= high[j]:
            continue
        margin = _ENVELOPE * (numbers[m, HIGHEST, j] - numbers[m, LOWEST, j])
        within = numbers[m, LOWEST, j] - margin <= last <= numbers[m, HIGHEST, j] + margin
        if within or abs(numbers[m, AWAY, j]) >= _CONTRADICTED_SIGMAS:
            marks[m, STUCK, j] = 1


@njit(cache=True, error_model="numpy")
def observe(  # noqa: PLR0917  # jitted: arrays one by one
    numbers: Floats, counts: Counts, repeats: Counts, m: int, raw: Floats, i: int
) -> None:
    """Count how lively the numbers of row ``i`` are, in commissioning, after it was taken in."""
    for j in range(raw.shape[1]):
        run = counts[m, RUN, j]
        counts[m, LONGEST, j] = max(counts[m, LONGEST, j], run)
        step = abs(numbers[m, LAST, j] - numbers[m, BEFORE, j])
        numbers[m, STEP, j] = max(numbers[m, STEP, j], step)
        if not math.isnan(raw[i, j]):
            counts[m, SAMPLES, j] += 1
            counts[m, CHANGES, j] += run == 0
            if not numbers[m, LOWEST, j] <= raw[i, j]:  # also before the first one
                numbers[m, LOWEST, j] = raw[i, j]
            if not numbers[m, HIGHEST, j] >= raw[i, j]:
                numbers[m, HIGHEST, j] = raw[i, j]
    repeats[m, ROWS] += 1
    repeats[m, REPEATED] += repeats[m, LAG] > 0
    repeats[m, LONGEST_SAME] = max(repeats[m, LONGEST_SAME], repeats[m, SAME])


@njit(cache=True, error_model="numpy")
def commission(numbers: Floats, counts: Counts, repeats: Counts, m: int) -> None:
    """Fix from what was observed how still a number may stand and how far it may step."""
    for j in range(numbers.shape[2]):
        still = 1 - counts[m, CHANGES, j] / max(counts[m, SAMPLES, j], 1)
        counts[m, LIMIT, j] = _limit(still, counts[m, LONGEST, j])
        step = numbers[m, STEP, j]
        numbers[m, JUMP, j] = _STEP_MARGIN * step if step > 0 else np.inf
    still = repeats[m, REPEATED] / max(repeats[m, ROWS], 1)
    repeats[m, SAME_LIMIT] = _limit(still, repeats[m, LONGEST_SAME])


@njit(cache=True, error_model="numpy")
def _limit(share: float, longest: int) -> int:
    """Return how many repeats in a row are too many, where a share of readings repeats."""
    if share >= _LIVELY:
        return 0
    chance = math.log(_ONE_IN) / math.log(max(share, 1e-3))
    return max(int(math.ceil(chance)), 3 * longest, 6)  # noqa: RUF046 - jitted: a float
