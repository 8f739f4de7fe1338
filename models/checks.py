"""Data-quality checks: they blame the sensor or its wire, not the machine.

* *stuck*: one number stands still although it never did so long, and others live on;
* *stale*: the whole device repeats itself, the newest row or a block of rows, under new times: what
  stands between us and the sensors has died or plays its cache again;
* *loose*: single readings jump further than the signal ever stepped, and straight back;
* *drifted*: one response leaves its reference alone (see `models.blame`);
* *range*: outside the plausible range, or marked invalid.

What is normal for a signal is learned at commissioning from the signal itself.
"""

from typing import Any, NamedTuple

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from contract.machines import CheckKind
from models import checks_kernel as kernel
from models.checks_kernel import RING, Counts, Floats, Hashes, Marks, Places
from models.sample import Layout, Sample
from models.settings import Settings


class CheckResult(Struct, frozen=True):
    """A check that fails: which signal's sensor is to blame, and why, for people."""

    kind: CheckKind
    signal: str
    """Empty where the whole device is meant."""
    detail: str


class _Row:
    """One machine's numbers of one kind, one per checked signal, by name."""

    def __init__(self, array: str, place: int, kind: type[Any] | None = None) -> None:
        self._array, self._place, self._kind = array, place, kind

    def __get__(self, checks: "Checks", _: type["Checks"]) -> NDArray[Any]:
        row: NDArray[Any] = getattr(checks, self._array)[0, self._place]
        return row if self._kind is None else row.view(self._kind)

    def __set__(self, checks: "Checks", values: NDArray[Any]) -> None:
        getattr(checks, self._array)[0, self._place] = values


class Repeats(NamedTuple):
    """How the rows of now match the newest judged ones."""

    lag: int
    """Now repeats what was so many rows ago; 0: nothing."""
    from_ns: int
    stale: bool


class Checks(Struct):
    """What the checks remember of machines, in flat arrays; by name, of the first one.

    In each row of ``numbers``, ``counts`` and ``marks`` stands one number per checked signal
    (responses, then drivers).
    """

    numbers: Floats
    counts: Counts
    marks: Marks
    repeats_: Counts
    ring: Hashes
    chain: Places

    last = _Row("numbers", kernel.LAST)
    before = _Row("numbers", kernel.BEFORE)
    """The judged value before the last."""
    run = _Row("counts", kernel.RUN)
    """Judged readings since the number last changed."""
    run_from_ns = _Row("counts", kernel.RUN_FROM_NS)
    samples = _Row("counts", kernel.SAMPLES)
    changes = _Row("counts", kernel.CHANGES)
    longest = _Row("counts", kernel.LONGEST)
    limit = _Row("counts", kernel.LIMIT)
    """Readings without change that mean stuck; 0: normally still, never judged."""
    lowest = _Row("numbers", kernel.LOWEST)
    highest = _Row("numbers", kernel.HIGHEST)
    """Between these the signal was in commissioning."""
    step = _Row("numbers", kernel.STEP)
    """Largest step of one reading in commissioning."""
    jump = _Row("numbers", kernel.JUMP)
    """A step that physics forbids; infinite until it is known."""
    spikes = _Row("numbers", kernel.SPIKES)
    """Jumps there and straight back; each fades with time."""
    bad = _Row("marks", kernel.BAD)
    """Bad readings in a row, at most as many as confirm; counts down by good ones."""
    stuck = _Row("marks", kernel.STUCK, np.bool_)
    outside = _Row("marks", kernel.OUTSIDE, np.bool_)
    loose = _Row("marks", kernel.LOOSE, np.bool_)
    drifted = _Row("marks", kernel.DRIFTED, np.bool_)
    away = _Row("numbers", kernel.AWAY)
    """Last judged deviation in its own standard deviations; NaN where there is none."""
    slow = _Row("numbers", kernel.SLOW)
    """Mean of the deviation over the time that a real change's consequences may take."""
    judged_ns = _Row("counts", kernel.JUDGED_NS)
    """When the deviation was last judged."""
    alone_s = _Row("numbers", kernel.ALONE_S)
    """How long the signal has deviated alone."""
    ordinary_ns = _Row("counts", kernel.ORDINARY_NS)
    """When the deviation was last an ordinary one."""
    offset = _Row("numbers", kernel.OFFSET)
    """The same in the signal's unit."""

    @property
    def repeats(self) -> Repeats:
        """How the first machine's rows repeat themselves."""
        r = self.repeats_[0]
        return Repeats(int(r[kernel.LAG]), int(r[kernel.FROM_NS]), bool(r[kernel.STALE]))

    def of(self, m: int) -> "Checks":
        """Return machine ``m`` alone; it stays the same memory."""
        one = slice(m, m + 1)
        return Checks(*(array[one] for array in self.arrays()))

    def arrays(self) -> tuple[NDArray[Any], ...]:
        """Return everything, the first axis is the machine."""
        return self.numbers, self.counts, self.marks, self.repeats_, self.ring, self.chain


def empty(layout: Layout, machines: int = 1) -> Checks:
    """Return checks before the first reading."""
    m, n = machines, len(layout.checked)
    numbers = np.zeros((m, 11, n))
    unknown = [kernel.LAST, kernel.BEFORE, kernel.LOWEST, kernel.HIGHEST, kernel.AWAY]
    numbers[:, unknown] = np.nan
    numbers[:, kernel.JUMP] = np.inf
    return Checks(
        numbers, np.zeros((m, 8, n), np.int64), np.zeros((m, 5, n), np.uint8),
        np.zeros((m, 9), np.int64), np.zeros((m, RING), np.uint32),
        np.zeros((m, 2 * RING), np.uint16),
    )  # fmt: skip


def thresholds(settings: Settings) -> tuple[int, float]:
    """Return how many bad readings are a failure, and how many ns make a number stuck."""
    return min(settings.confirm_samples, 255), settings.stuck_s * 1e9


def commission(c: Checks) -> None:
    """Fix from what was observed how still a number may stand and how far it may step."""
    kernel.commission(c.numbers, c.counts, c.repeats_, 0)


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
