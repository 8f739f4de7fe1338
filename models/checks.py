"""Data-quality checks: they blame the sensor or its wire, not the machine.

* *stuck*: one number stands still although it never did so long, and others live on;
* *stale*: the whole device repeats itself, the newest row or a block of rows, under new times: what
  stands between us and the sensors has died or plays its cache again;
* *loose*: single readings jump further than the signal ever stepped, and straight back;
* *drifted*: one response leaves its reference alone (see `models.blame`);
* *range*: outside the plausible range, or marked invalid.

What is normal for a signal is learned at commissioning from the signal itself.
"""

import math
import zlib

import numpy as np
from msgspec import Struct
from numba import njit
from numpy.typing import NDArray

from contract.machines import CheckKind
from models.sample import Layout, Sample, Vector
from models.settings import Settings

_ONE_IN = 1e-9
"""A number is stuck when healthy running would stand still so long by chance this rarely."""
_LIVELY = 0.5
"""A number that stands still more often than not is never judged by its standing still."""
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
_RING = 1024
"""Rows that are remembered to recognise a block played again; 4 kB per machine."""


class CheckResult(Struct, frozen=True):
    """A check that fails: which signal's sensor is to blame, and why, for people."""

    kind: CheckKind
    signal: str
    """Empty where the whole device is meant."""
    detail: str


class Repeats(Struct):
    """Hashes of the newest judged rows, and how the rows of now match them."""

    ring: NDArray[np.uint32]
    """0: nothing yet."""
    place: int = 0
    lag: int = 0
    """Now repeats what was so many rows ago; 0: nothing."""
    run: int = 0
    """Rows in a row that repeat at this lag."""
    from_ns: int = 0
    rows: int = 0
    repeated: int = 0
    longest: int = 0
    limit: int = 0
    """Rows repeated in a row that no healthy running shows; 0: repeats are normal."""
    stale: bool = False


class Checks(Struct):
    """What the checks remember, per checked signal (responses, then drivers)."""

    last: Vector
    before: Vector
    """The judged value before the last."""
    run: NDArray[np.int64]
    """Judged readings since the number last changed."""
    run_from_ns: NDArray[np.int64]
    samples: NDArray[np.int64]
    changes: NDArray[np.int64]
    longest: NDArray[np.int64]
    limit: NDArray[np.int64]
    """Readings without change that mean stuck; 0: normally still, never judged."""
    lowest: Vector
    highest: Vector
    """Between these the signal was in commissioning."""
    step: Vector
    """Largest step of one reading in commissioning."""
    jump: Vector
    """A step that physics forbids; infinite until it is known."""
    spikes: Vector
    """Jumps there and straight back; each fades with time."""
    bad: NDArray[np.int64]
    """Bad readings in a row, at most as many as confirm; counts down by good ones."""
    stuck: NDArray[np.bool_]
    outside: NDArray[np.bool_]
    loose: NDArray[np.bool_]
    drifted: NDArray[np.bool_]
    away: Vector
    """Last judged deviation in its own standard deviations; NaN where there is none."""
    slow: Vector
    """Mean of the deviation over the time that a real change's consequences may take."""
    judged_ns: NDArray[np.int64]
    """When the deviation was last judged."""
    alone_s: Vector
    """How long the signal has deviated alone."""
    ordinary_ns: NDArray[np.int64]
    """When the deviation was last an ordinary one."""
    offset: Vector
    """The same in the signal's unit."""
    repeats: Repeats


def empty(layout: Layout) -> Checks:
    """Return checks before the first reading."""
    n = len(layout.checked)
    nowhere = np.full(n, np.nan)
    zeros, counts = np.zeros(n), np.zeros(n, dtype=np.int64)
    no = np.zeros(n, dtype=bool)
    return Checks(
        last=nowhere.copy(), before=nowhere.copy(), run=counts.copy(), run_from_ns=counts.copy(),
        samples=counts.copy(), changes=counts.copy(), longest=counts.copy(), limit=counts.copy(),
        lowest=nowhere.copy(), highest=nowhere.copy(), step=zeros.copy(),
        jump=np.full(n, np.inf), spikes=zeros.copy(), bad=counts.copy(), stuck=no.copy(),
        outside=no.copy(), loose=no.copy(), drifted=no.copy(), away=nowhere.copy(),
        slow=zeros.copy(), judged_ns=counts.copy(), alone_s=zeros.copy(),
        ordinary_ns=counts.copy(), offset=zeros.copy(),
        repeats=Repeats(np.zeros(_RING, dtype=np.uint32)),
    )  # fmt: skip


def advance(c: Checks, s: Sample, layout: Layout, settings: Settings, *, judged: bool) -> None:
    """Move on by one reading; ``judged`` tells whether the machine runs in a judged mode."""
    anything = _count_range(
        c.bad, c.outside, s.invalid, s.outside, s.raw, s.usable, settings.confirm_samples, judged
    )
    long = _count_still(
        c.limit, c.last, c.before, c.run, c.run_from_ns, c.stuck, c.spikes, c.loose, c.jump,
        s.raw, s.time_ns, judged,
    )  # fmt: skip
    _repeat(c.repeats, s, settings, judged=judged and bool(anything))
    if judged and long:
        _find_stuck(c, s.time_ns, layout, settings)


@njit(cache=True)
def _count_range(  # noqa: PLR0917  # jitted: arrays one by one
    bad: NDArray[np.int64], failing: NDArray[np.bool_], invalid: NDArray[np.bool_],
    outside: NDArray[np.bool_], raw: Vector, usable: Vector, confirm: int, judged: bool,  # noqa: FBT001
) -> bool:  # fmt: skip
    """Count bad readings; a machine at rest may well read a little below zero. Any value at all?"""
    anything = False
    for i in range(len(bad)):
        wrong = invalid[i] or (outside[i] and judged)
        bad[i] = min(max(bad[i] + wrong - (not np.isnan(usable[i])), 0), confirm)
        failing[i] = (failing[i] and bad[i] > 0) or bad[i] >= confirm
        anything |= not np.isnan(raw[i])
    return anything


@njit(cache=True)
def _count_still(  # noqa: PLR0917  # jitted: arrays one by one
    limit: NDArray[np.int64], last: Vector, before: Vector, run: NDArray[np.int64],
    run_from_ns: NDArray[np.int64], stuck: NDArray[np.bool_], spikes: Vector,
    loose: NDArray[np.bool_], jump: Vector, raw: Vector, time_ns: int, judged: bool,  # noqa: FBT001  # jitted: no keywords
) -> bool:  # fmt: skip
    """Count jumps there and straight back and how long numbers stand still; is any too long?"""
    which, count, long = -1, 0, False
    for i in range(len(raw)):
        now, old, older = raw[i], last[i], before[i]
        there, back = old - older, now - old
        if there * back < 0 and min(abs(there), abs(back)) > jump[i]:
            which, count = i, count + 1
        if not np.isnan(now):
            if now != old:
                stuck[i] = False
                run[i] = -1
                run_from_ns[i] = time_ns
            run[i] += 1
            before[i], last[i] = old, now
        if judged:
            spikes[i] *= 1 - 1 / _SPIKES_REMEMBERED
        else:
            run[i], run_from_ns[i] = 0, time_ns
            before[i] = np.nan
    if judged and count == 1:  # several at once are no loose contact of one sensor
        spikes[which] += 1
    for i in range(len(raw)):
        loose[i] = spikes[i] >= (_SPIKES_OVER if loose[i] else _SPIKES)
        long |= 0 < limit[i] <= run[i]
    return long


def _repeat(r: Repeats, s: Sample, settings: Settings, *, judged: bool) -> None:
    """Look for the row among the newest ones; in sequence, so that chance does not count."""
    row = zlib.crc32(s.raw.tobytes()) or 1
    if r.lag and r.ring[(r.place - r.lag) % _RING] == row:
        r.run += 1
    else:
        r.lag = int(_newest(r.ring, r.place, row))
        r.run = min(r.lag, 1)
        r.from_ns = s.time_ns
        r.stale &= r.lag > 0
    if not judged:
        r.run = 0
        return
    r.ring[r.place] = row
    r.place = (r.place + 1) % _RING
    long = s.time_ns - r.from_ns >= settings.stuck_s * 1e9
    r.stale |= 0 < r.limit <= r.run and long


@njit(cache=True)
def _newest(ring: NDArray[np.uint32], place: int, row: int) -> int:
    """Return how many rows ago this row came last; 0 if not within memory."""
    for k in range(place - 1, -1, -1):
        if ring[k] == row:
            return place - k
    for k in range(len(ring) - 1, place - 1, -1):
        if ring[k] == row:
            return place - k + len(ring)
    return 0


def _find_stuck(c: Checks, time_ns: int, layout: Layout, settings: Settings) -> None:
    """Call numbers stuck that stand still for too long while another one lives."""
    long = (c.limit > 0) & (c.run >= c.limit)
    long[len(layout.responses) :] = False
    long &= time_ns - c.run_from_ns >= settings.stuck_s * 1e9
    pegged = (c.last <= layout.low) | (c.last >= layout.high)
    margin = _ENVELOPE * (c.highest - c.lowest)
    usual = (c.last >= c.lowest - margin) & (c.last <= c.highest + margin)
    usual |= np.abs(c.away) >= _CONTRADICTED_SIGMAS
    if ((c.limit > 0) & (c.run * 4 < c.limit)).any():
        c.stuck |= long & ~pegged & usual


def observe(c: Checks, s: Sample) -> None:
    """Count how lively the numbers are, in commissioning, after `advance`."""
    present = ~np.isnan(s.raw)
    c.samples += present
    c.changes += present & (c.run == 0)
    c.longest = np.maximum(c.longest, c.run)
    c.lowest = np.fmin(c.lowest, s.raw)
    c.highest = np.fmax(c.highest, s.raw)
    c.step = np.fmax(c.step, np.abs(c.last - c.before))
    r = c.repeats
    r.rows += 1
    r.repeated += r.lag > 0
    r.longest = max(r.longest, r.run)


def commission(c: Checks) -> None:
    """Fix from what was observed how still a number may stand and how far it may step."""
    still = 1 - c.changes / np.maximum(c.samples, 1)
    c.limit = np.array([_limit(p, n) for p, n in zip(still, c.longest, strict=True)])
    c.jump = np.where(c.step > 0, _STEP_MARGIN * c.step, np.inf)
    r = c.repeats
    r.limit = _limit(r.repeated / max(r.rows, 1), r.longest)


def _limit(share: float, longest: int) -> int:
    """Return how many repeats in a row are too many, where a share of readings repeats."""
    if share >= _LIVELY:
        return 0
    chance = math.log(_ONE_IN) / math.log(max(share, 1e-3))
    return max(math.ceil(chance), 3 * int(longest), 6)


def results(c: Checks, s: Sample, layout: Layout) -> list[CheckResult]:
    """Return the checks that fail now; where the whole device is stale, no sensor is stuck."""
    failing = c.outside | c.stuck | c.loose | c.drifted
    if not (c.repeats.stale or failing.any()):
        return []
    lively = c.limit[: len(layout.responses)] > 0
    still = c.stuck[: len(layout.responses)]
    silent = c.repeats.stale or (lively.sum() > 1 and bool(still[lively].all()))
    found = [CheckResult(CheckKind.STALE, "", _stale(c, s))] if silent else []
    stuck = c.stuck & (not silent)
    for i in np.flatnonzero(c.outside | stuck | c.loose | c.drifted):
        name = layout.checked[i].name
        if c.outside[i]:
            found.append(CheckResult(CheckKind.RANGE, name, _range(s, layout, int(i))))
        elif stuck[i]:
            since_s = (s.time_ns - int(c.run_from_ns[i])) / 1e9
            detail = (
                f"has stood still at {c.last[i]:.6g} {layout.checked[i].unit} for {since_s:.0f} s"
            )
            found.append(CheckResult(CheckKind.STUCK, name, detail))
        elif c.loose[i]:
            detail = (
                "has jumped there and straight back several times, further than it ever stepped"
            )
            found.append(CheckResult(CheckKind.LOOSE, name, detail))
        else:
            found.append(CheckResult(CheckKind.DRIFTED, name, _drifted(c, s, layout, int(i))))
    return found


def _stale(c: Checks, s: Sample) -> str:
    r = c.repeats
    if not r.stale:
        return "all responses stand still although the conditions move"
    since_s = (s.time_ns - r.from_ns) / 1e9
    if r.lag == 1:
        return f"the same numbers have come under new times for {since_s:.0f} s"
    return f"numbers from {r.lag} readings before have come again for {since_s:.0f} s"


def _range(s: Sample, layout: Layout, i: int) -> str:
    signal, value = layout.checked[i], s.raw[i]
    plausible = f"the plausible {signal.range[0]:g} to {signal.range[1]:g} {signal.unit}"
    if np.isnan(value) or s.invalid[i]:
        return "the device gives no valid value"
    if s.outside[i]:
        return f"{value:.6g} {signal.unit} is outside {plausible}"
    return f"was outside {plausible} a moment ago"


def _drifted(c: Checks, s: Sample, layout: Layout, i: int) -> str:
    minutes = (s.time_ns - int(c.ordinary_ns[i])) / 6e10
    side = "above" if c.offset[i] > 0 else "below"
    return (
        f"reads {abs(c.offset[i]):.3g} {layout.checked[i].unit} {side} its reference, further than "
        f"usual for {minutes:.0f} min, while whatever would follow a real change stays normal"
    )
