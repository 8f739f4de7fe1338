"""Data-quality checks: they blame the sensor, not the machine."""

import math

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from contract.machines import CheckKind
from models.sample import Layout, Sample, Vector
from models.settings import Settings

_ONE_IN = 1e-9
"""A number is stuck when healthy running would stand still so long by chance this rarely."""


class CheckResult(Struct, frozen=True):
    """A check that fails: which signal's sensor is to blame, and why, for people."""

    kind: CheckKind
    signal: str
    detail: str


class Checks(Struct):
    """What the checks remember, per checked signal (responses, then drivers)."""

    last: Vector
    run: NDArray[np.int64]
    """Judged readings since the number last changed."""
    run_from_ns: NDArray[np.int64]
    samples: NDArray[np.int64]
    changes: NDArray[np.int64]
    longest: NDArray[np.int64]
    limit: NDArray[np.int64]
    """Readings without change that mean stuck; 0: normally still, never judged."""
    bad: NDArray[np.int64]
    """Bad readings in a row, at most as many as confirm; counts down by good ones."""
    stuck: NDArray[np.bool_]
    outside: NDArray[np.bool_]


def empty(layout: Layout) -> Checks:
    """Return checks before the first reading."""
    n = len(layout.checked)
    counts = [np.zeros(n, dtype=np.int64) for _ in range(7)]
    flags = [np.zeros(n, dtype=bool) for _ in range(2)]
    run, since, samples, changes, longest, limit, bad = counts
    return Checks(np.full(n, np.nan), run, since, samples, changes, longest, limit, bad, *flags)


def advance(c: Checks, s: Sample, layout: Layout, settings: Settings, *, judged: bool) -> None:
    """Move on by one reading; ``judged`` tells whether the machine runs in a judged mode."""
    _range(c, s, settings, judged=judged)
    present = ~np.isnan(s.raw)
    moved = present & (s.raw != c.last)
    c.stuck &= ~moved
    c.run_from_ns = np.where(moved, s.time_ns, c.run_from_ns)
    c.run = np.where(moved, 0, c.run + (present & judged))
    c.last = np.where(present, s.raw, c.last)
    if not judged:
        c.run_from_ns[:] = s.time_ns
        c.run[:] = 0
        return
    long = (c.limit > 0) & (c.run >= c.limit)
    if not long.any():
        return
    long &= s.time_ns - c.run_from_ns >= settings.stuck_s * 1e9
    pegged = (c.last <= layout.low) | (c.last >= layout.high)
    alive = (c.limit > 0) & (c.run * 4 < c.limit)
    if alive.any():
        c.stuck |= long & ~pegged


def _range(c: Checks, s: Sample, settings: Settings, *, judged: bool) -> None:
    """Count bad readings; a machine at rest may well read a little below zero."""
    bad = s.invalid | (s.outside & judged)
    good = ~np.isnan(s.usable)
    c.bad = np.minimum(np.maximum(c.bad + bad - good, 0), settings.confirm_samples)
    c.outside = (c.outside & (c.bad > 0)) | (c.bad >= settings.confirm_samples)


def observe(c: Checks, s: Sample) -> None:
    """Count how lively the numbers are, in commissioning, after `advance`."""
    present = ~np.isnan(s.raw)
    c.samples += present
    c.changes += present & (c.run == 0)
    c.longest = np.maximum(c.longest, c.run)


def commission(c: Checks, layout: Layout) -> None:
    """Fix from what was observed how long each response may stand still; drivers always may."""
    still = 1 - c.changes / np.maximum(c.samples, 1)
    needed = np.array([math.log(_ONE_IN) / math.log(min(max(p, 1e-3), 0.999)) for p in still])
    limit = np.ceil(np.maximum(needed, 3 * c.longest)).astype(np.int64)
    response = np.arange(len(limit)) < len(layout.responses)
    c.limit = np.where(response & (still < 0.5), np.maximum(limit, 6), 0)


def results(c: Checks, s: Sample, layout: Layout) -> list[CheckResult]:
    """Return the checks that fail now."""
    found = []
    for i in np.flatnonzero(c.outside | c.stuck):
        signal = layout.checked[i]
        value = s.raw[i]
        if c.outside[i]:
            plausible = f"the plausible {signal.range[0]:g} to {signal.range[1]:g} {signal.unit}"
            if np.isnan(value) or s.invalid[i]:
                detail = "the device gives no valid value"
            elif s.outside[i]:
                detail = f"{value:.6g} {signal.unit} is outside {plausible}"
            else:
                detail = f"was outside {plausible} a moment ago"
            found.append(CheckResult(CheckKind.RANGE, signal.name, detail))
        else:
            since = (s.time_ns - int(c.run_from_ns[i])) / 1e9
            detail = f"has stood still at {c.last[i]:.6g} {signal.unit} for {since:.0f} s"
            found.append(CheckResult(CheckKind.STUCK, signal.name, detail))
    return found
