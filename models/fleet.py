"""The fleet detector: thousands of machines of one type, each against its own commissioning.

    fleet = Fleet(["flow", "pressure", "current"], machines=1000, warmup=3600)
    scores, alarms = fleet.update(machines, times_ns, rows)

The first ``warmup`` rows of a machine are its commissioning. From then on every row gets a score
(1 is the alarm level; the same false-alarm rate on every machine) and an alarm that stands until
the machine has come back. Nothing is ever learned from conditions that commissioning has seen, so
no fault becomes the new normal. Rows may come in any order of machines; within one machine they
come in order of time, later ones that are older or doubled are not judged.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from contract.errors import Malformed
from models import artefact, commission, kernel
from models.commission import LEAST_ROWS
from models.factors import WEIGHTS, Array
from models.kernel import Live, Reference

MAX_WARMUP = 200_000
"""Rows kept of one machine in commissioning, at most: two days and a third at one a second."""


class Attribution(NamedTuple):
    """One signal's part in what is seen."""

    signal: str
    sigmas: float
    """Smoothed deviation from what the other signals explain, in its own standard deviations."""
    expected: float
    """What the signal should read now, in its unit."""


class _Kept(Struct):
    """Everything that a fleet remembers, machine by machine."""

    warmup: list[int]
    reference: Reference
    live: Live
    times: list[NDArray[np.int64]]
    rows: list[Array]


class _Buffer:
    """Commissioning rows of one machine."""

    def __init__(self, d: int) -> None:
        self.times, self.rows, self.count = np.zeros(0, np.int64), np.zeros((0, d)), 0

    def add(self, time_ns: int, row: Array) -> None:
        if self.count == len(self.times):
            room = max(256, self.count)
            self.times = np.concatenate([self.times, np.zeros(room, np.int64)])
            self.rows = np.concatenate([self.rows, np.zeros((room, self.rows.shape[1]))])
        self.times[self.count], self.rows[self.count] = time_ns, row
        self.count += 1


class Fleet:
    """Machines of one type, in flat arrays. Data of any kind never makes it raise."""

    def __init__(
        self, signals: Sequence[str], machines: int, warmup: int, units: Sequence[str] = ()
    ) -> None:
        """Make a fleet.

        Args:
            signals: names of the columns, in order.
            machines: how many; they are numbered from 0.
            warmup: rows of commissioning.
            units: of the signals; only to refuse a saved state with others.

        Raises:
            Malformed: no signals, or a warm-up too short to learn from.
        """
        if not signals or not LEAST_ROWS <= warmup <= MAX_WARMUP:
            raise Malformed(
                f"a fleet needs signals, and between {LEAST_ROWS} and {MAX_WARMUP} commissioning "
                f"rows; got {len(signals)} signals and {warmup} rows"
            )
        self.signals, self.units, self._warmup = list(signals), list(units), warmup
        self._reference, self._live = commission.empty(machines, len(signals))
        self._buffers = {m: _Buffer(len(signals)) for m in range(machines)}

    def update(
        self, machines: NDArray[np.int64], times_ns: NDArray[np.int64], rows: Array
    ) -> tuple[Array, NDArray[np.bool_]]:
        """Judge rows; return a score and an alarm for each. Both are zero in commissioning."""
        score, alarm = np.zeros(len(rows)), np.zeros(len(rows), bool)
        waiting = ~self._reference.ready[machines]
        if not waiting.any():
            self._run(machines, times_ns, rows, score, alarm)
            return score, alarm
        # a machine may end its commissioning within this batch: judge the rows after that
        end = np.zeros(len(rows), bool)
        for i in np.flatnonzero(waiting):
            end[i] = self._collect(int(machines[i]), int(times_ns[i]), rows[i])
        later = ~waiting | end
        if later.any():
            got, on = np.zeros(int(later.sum())), np.zeros(int(later.sum()), bool)
            self._run(machines[later], times_ns[later], rows[later], got, on)
            score[later], alarm[later] = got, on
        return score, alarm

    def _run(
        self, machines: NDArray[np.int64], times_ns: NDArray[np.int64], rows: Array,
        score: Array, alarm: NDArray[np.bool_],
    ) -> None:  # fmt: skip
        with np.errstate(all="ignore"):
            kernel.advance(
                self._reference, self._live, WEIGHTS, machines, times_ns, rows, score, alarm
            )

    def _collect(self, m: int, time_ns: int, row: Array) -> bool:
        """Keep a commissioning row; True if the machine was ready before it."""
        buffer = self._buffers.get(m)
        if buffer is None:
            return True
        if buffer.count and time_ns <= buffer.times[buffer.count - 1]:
            return False
        buffer.add(time_ns, row)
        if buffer.count >= self._warmup:
            self._learn(m, buffer)
        return False

    def _learn(self, m: int, buffer: _Buffer) -> None:
        """End commissioning, and run through it once so that all averages are where they belong."""
        times, rows = buffer.times[: buffer.count], buffer.rows[: buffer.count]
        with np.errstate(all="ignore"):
            ready = commission.learn(self._reference, m, times, rows)
        if not ready:
            self._buffers[m] = _Buffer(len(self.signals))
            return
        del self._buffers[m]
        quiet = np.zeros(len(rows)), np.zeros(len(rows), bool)
        self._run(np.full(len(rows), m), times, rows, *quiet)
        kernel.calm(self._live, m)

    def progress(self, machine: int) -> float:
        """Return the share of commissioning that is done, 0 to 1."""
        buffer = self._buffers.get(machine)
        return 1.0 if buffer is None else min(1.0, buffer.count / self._warmup)

    def recommission(self, machine: int) -> None:
        """Forget one machine's reference and learn it anew, after a repair or a change of duty."""
        commission.forget(self._reference, self._live, machine)
        self._buffers[machine] = _Buffer(len(self.signals))

    def attribution(self, machine: int) -> list[Attribution]:
        """Return how far each signal is from what is expected of it, largest first."""
        r, s = self._reference, self._live
        if not r.ready[machine]:
            return []
        sigmas, expected = kernel.attribute(r, s, machine)
        order = np.argsort(-np.abs(sigmas), kind="stable")
        return [Attribution(self.signals[j], float(sigmas[j]), float(expected[j])) for j in order]

    def machine_bytes(self) -> int:
        """Return the memory of one judged machine's state."""
        return sum(a[:1].nbytes for a in (*self._reference, *self._live))

    def save(self) -> bytes:
        """Return everything needed to go on exactly here."""
        n = len(self._live.score)
        waiting = [self._buffers.get(m, _Buffer(len(self.signals))) for m in range(n)]
        kept = _Kept(
            [self._warmup, *sorted(self._buffers)], self._reference, self._live,
            [b.times[: b.count] for b in waiting], [b.rows[: b.count] for b in waiting],
        )  # fmt: skip
        return artefact.pack(kept, self._made_from())

    @classmethod
    def restore(cls, signals: Sequence[str], data: bytes, units: Sequence[str] = ()) -> "Fleet":
        """Go on from saved bytes.

        Raises:
            Malformed: damaged, or saved for other signals, units or by another version.
        """
        fleet = cls(signals, 0, LEAST_ROWS, units)
        kept = artefact.unpack(data, _Kept, fleet._made_from())
        fleet._warmup, *waiting = kept.warmup
        fleet._reference, fleet._live = kept.reference, kept.live
        fleet._buffers = {}
        for m in waiting:
            buffer = fleet._buffers[m] = _Buffer(len(signals))
            buffer.times, buffer.rows = kept.times[m], kept.rows[m]
            buffer.count = len(buffer.times)
        return fleet

    def _made_from(self) -> list[list[str]]:
        return [["signals", *self.signals], ["units", *self.units]]
