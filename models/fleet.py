"""The fleet detector: thousands of machines of one type, each against its own commissioning.

    fleet = Fleet(["flow", "pressure", "current"], machines=1000, warmup=3600)
    scores, alarms = fleet.update(machines, times_ns, rows)

The first ``warmup`` rows of a machine are its commissioning. From then on every row gets a score
(1 is the alarm level; the same false-alarm rate on every machine) and an alarm that stands until
the machine has come back. Nothing is ever learned from conditions that commissioning has seen, so
no fault becomes the new normal. Rows may come in any order of machines; within one machine they
come in order of time, later ones that are older or doubled are not judged (`models.clocks`).

A lone signal has nothing to be checked against: whether a new level is a fault or another duty
nobody can tell, only that it is new. So a machine with a single signal, or with a single one that
had values and moved in commissioning, is judged by `models.news`: alarms are momentary there.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from msgspec import Struct
from numba import njit
from numpy.typing import ArrayLike, NDArray

from contract.errors import Malformed
from models import arrays, artefact, clocks, commission, kernel, memory, news
from models.arrays import Live, Reference
from models.buffers import Buffer, plausible
from models.clocks import Clocks
from models.commission import LEAST_ROWS
from models.factors import WEIGHTS, Array
from models.news import News

MAX_WARMUP = 200_000
"""Rows kept of one machine in commissioning, at most: two days and a third at one a second."""

Counts = NDArray[np.int64]
Flags = NDArray[np.bool_]


class Attribution(NamedTuple):
    """One signal's part in what is seen."""

    signal: str
    sigmas: float
    """Smoothed deviation from what the other signals explain, in its own standard deviations."""
    expected: float
    """What the signal should read now, in its unit."""


class _Kept(Struct):
    """Everything that a fleet remembers, machine by machine."""

    warmup: int
    reference: Reference
    live: Live
    clocks: Clocks
    news: News
    place: Counts
    column: Counts
    waiting: list[int]
    times: list[Counts]
    rows: list[Array]


class Kept(Struct):
    """Everything that a fleet remembers of one machine."""

    state: bytes
    """Its part of all arrays, one behind the other."""
    news: bytes
    """The same of the news; empty unless it has a lone signal."""
    column: int
    times: bytes
    rows: bytes
    """In commissioning: what is kept to learn from."""


@njit(cache=True)
def _numbered(machines: Counts, count: int) -> bool:
    """Tell whether all machines have a number below ``count``."""
    for m in machines:  # noqa: SIM110 - jitted
        if not 0 <= m < count:
            return False
    return True


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
        self._reference, self._live = arrays.empty(machines, len(signals))
        self._clocks = clocks.empty(machines)
        alone = len(signals) == 1
        self._news = news.empty(machines if alone else 0)
        # where a machine with a lone signal is among the news, and which signal; -1: it has more
        self._place = np.arange(machines) if alone else np.full(machines, -1)
        self._column = np.zeros(machines, np.int64)
        self._buffers = {} if alone else {m: Buffer(len(signals)) for m in range(machines)}
        self._block: NDArray[np.uint8] | None = None

    def update(
        self, machines: ArrayLike, times_ns: ArrayLike, rows: ArrayLike
    ) -> tuple[Array, Flags]:
        """Judge rows; return a score and an alarm for each. Both are zero in commissioning.

        Args:
            machines: machine number of each row, (n,).
            times_ns: event time of each row, (n,).
            rows: the signals, (n, d); NaN where missing.

        Raises:
            ValueError: arrays that do not fit each other or the fleet, or machines that it has not:
                an error of the program, never of the data.
        """
        score, alarm, _ = self.judge(*self.checked(machines, times_ns, rows))
        return score, alarm

    def judge(self, which: Counts, when: Counts, x: Array) -> tuple[Array, Flags, Flags]:
        """Do the same for arrays that fit; tell also which rows were fresh: not late or doubled."""
        running, fresh = np.empty(len(x), np.int64), np.empty(len(x), bool)
        worn = clocks.straighten(self._clocks, which, when, running, fresh)
        if len(self.signals) == 1:
            told = news.step_many(self._news, which, when / 1e9, x[:, 0], self._warmup)
            return *told, fresh
        score, alarm = np.zeros(len(x)), np.zeros(len(x), bool)
        judged = self._collect(which, when, running, fresh, x) if self._buffers else None
        alone = self._place[which] >= 0 if self._news.rows.size else None
        if alone is not None and alone.any():
            own = alone if judged is None else alone & judged
            if own.all():
                return *self._tell_news(which, when, x), fresh
            score[own], alarm[own] = self._tell_news(which[own], when[own], x[own])
            judged = ~alone if judged is None else judged & ~alone
        if judged is None or judged.all():
            self._run(which, running, x, score, alarm)
        elif judged.any():
            got, on = np.zeros(int(judged.sum())), np.zeros(int(judged.sum()), bool)
            self._run(which[judged], running[judged], x[judged], got, on)
            score[judged], alarm[judged] = got, on
        if worn:
            begin = self._reference.ready & (self._clocks.running_ns > clocks.WORN_NS)
            self._clocks.running_ns[begin] = self._live.last_ns[begin] = 0
        return score, alarm, fresh

    def checked(
        self, machines: ArrayLike, times_ns: ArrayLike, rows: ArrayLike
    ) -> tuple[Counts, Counts, Array]:
        """Return the three as arrays that fit each other and the fleet, or raise ValueError."""
        which, when = np.asarray(machines), np.asarray(times_ns)
        x = np.ascontiguousarray(rows, np.float64)
        n, d = len(which) if which.ndim else -1, len(self.signals)
        if n == 0 and x.size == 0:
            return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, d))
        if which.shape != (n,) or when.shape != (n,) or x.shape != (n, d):
            raise ValueError(
                f"{d} signals need machines (n,), times_ns (n,) and rows (n, {d}); "
                f"got {which.shape}, {when.shape} and {x.shape}"
            )
        if which.dtype.kind not in "iu" or when.dtype.kind not in "iu":
            raise ValueError(
                f"machines and times_ns are integers; got {which.dtype} and {when.dtype}"
            )
        which = np.ascontiguousarray(which, np.int64)
        if not _numbered(which, len(self._place)):
            raise ValueError(f"machines are numbered from 0 to {len(self._place) - 1}")
        return which, np.ascontiguousarray(when, np.int64), x

    def _run(
        self, machines: Counts, running_ns: Counts, rows: Array, score: Array, alarm: Flags
    ) -> None:
        kernel.advance(
            self._reference, self._live, WEIGHTS, machines, running_ns, rows, score, alarm
        )

    def _tell_news(self, machines: Counts, times_ns: Counts, rows: Array) -> tuple[Array, Flags]:
        """Judge rows of machines with a lone signal, in the order in which they come."""
        value = rows[np.arange(len(rows)), self._column[machines]]
        return news.step_many(
            self._news, self._place[machines], times_ns / 1e9, value, self._warmup
        )

    def _collect(
        self, machines: Counts, times_ns: Counts, running_ns: Counts, fresh: Flags, rows: Array
    ) -> Flags:
        """Keep the rows of machines in commissioning; return which rows are to be judged."""
        judged = np.ones(len(rows), bool)
        waiting = np.flatnonzero(~self._reference.ready[machines] & (self._place[machines] < 0))
        kept = plausible(rows[waiting])
        for row, i in zip(kept, waiting.tolist(), strict=True):
            m = int(machines[i])
            buffer = self._buffers.get(m)
            if buffer is None:  # its commissioning ended with an earlier row of this batch
                continue
            judged[i] = False
            if fresh[i]:
                buffer.add(int(running_ns[i]), row)
                if buffer.count >= self._warmup:
                    self._learn(m, buffer, int(times_ns[i]) - int(running_ns[i]))
        return judged

    def _learn(self, m: int, buffer: Buffer, start_ns: int) -> None:
        """End commissioning, and run through it once so that all averages are where they belong."""
        times, rows = buffer.held()
        try:
            with np.errstate(all="ignore"):
                ready = commission.learn(self._reference, m, times, rows)
        except np.linalg.LinAlgError:  # rows that no arithmetic can make sense of
            ready = False
        usable = np.flatnonzero(self._reference.scale[m] > 0)
        if not ready or not usable.size:
            arrays.forget(self._reference, self._live, m)
            self._buffers[m] = Buffer(len(self.signals))
            return
        del self._buffers[m]
        if len(usable) == 1:
            arrays.forget(self._reference, self._live, m)
            self._settle_alone(m, int(usable[0]))
            self._tell_news(np.full(len(rows), m), times + start_ns, rows)
            return
        quiet = np.zeros(len(rows)), np.zeros(len(rows), bool)
        self._run(np.full(len(rows), m), times, rows, *quiet)
        arrays.calm(self._live, m)

    def _settle_alone(self, m: int, column: int) -> None:
        """Find a place among the news for a machine whose other signals are no use."""
        free = np.setdiff1d(np.arange(len(self._news.rows)), self._place)
        if not free.size:
            more = news.empty(max(1, len(self._news.rows)))
            free = np.arange(len(more.rows)) + len(self._news.rows)
            old, new = self._news._asdict(), more._asdict()
            self._news = News(**{name: np.concatenate([old[name], new[name]]) for name in old})
        self._place[m], self._column[m] = free[0], column

    def progress(self, machine: int) -> float:
        """Return the share of commissioning that is done, 0 to 1."""
        return (self._warmup - self.left(machine)) / self._warmup

    def left(self, machine: int) -> int:
        """Return how many rows of commissioning are left."""
        place = self._place[machine]
        if place >= 0:
            return max(0, self._warmup - int(self._news.rows[place]))
        buffer = self._buffers.get(machine)
        return 0 if buffer is None else self._warmup - buffer.count

    def recommission(self, machine: int) -> None:
        """Forget one machine's reference and learn it anew, after a repair or a change of duty."""
        arrays.forget(self._reference, self._live, machine)
        place = self._place[machine]
        if place >= 0:
            for array, fresh in zip(self._news, news.empty(1), strict=True):
                array[place] = fresh[0]
        if len(self.signals) > 1:
            self._place[machine] = -1
            self._buffers[machine] = Buffer(len(self.signals))

    def attribution(self, machine: int) -> list[Attribution]:
        """Return how far each signal is from what is expected of it, largest first."""
        r, s = self._reference, self._live
        if not r.ready[machine]:
            return []
        sigmas, expected = arrays.attribute(r, s, machine)
        order = np.argsort(-np.abs(sigmas), kind="stable")
        return [Attribution(self.signals[j], float(sigmas[j]), float(expected[j])) for j in order]

    def machine_bytes(self) -> int:
        """Return the memory of one judged machine's state."""
        alone = self._news if len(self.signals) == 1 else ()
        return sum(a[:1].nbytes for a in (*self._reference, *self._live, *self._clocks, *alone))

    def save(self) -> bytes:
        """Return everything needed to go on exactly here."""
        waiting = sorted(self._buffers)
        buffers = [self._buffers[m] for m in waiting]
        kept = _Kept(
            self._warmup, self._reference, self._live, self._clocks, self._news, self._place,
            self._column, waiting,
            [b.held()[0] for b in buffers], [b.held()[1] for b in buffers],
        )  # fmt: skip
        return artefact.pack(kept, self.made_from())

    @classmethod
    def restore(cls, signals: Sequence[str], data: bytes, units: Sequence[str] = ()) -> "Fleet":
        """Go on from saved bytes.

        Raises:
            Malformed: damaged, or saved for other signals, units or by another version.
        """
        fleet = cls(signals, 0, LEAST_ROWS, units)
        kept = artefact.unpack(data, _Kept, fleet.made_from())
        fleet._warmup, fleet._clocks, fleet._news = kept.warmup, kept.clocks, kept.news
        fleet._reference, fleet._live = kept.reference, kept.live
        fleet._place, fleet._column = kept.place, kept.column
        fleet._buffers = {}
        for m, times, rows in zip(kept.waiting, kept.times, kept.rows, strict=True):
            fleet._buffers[m] = Buffer.of(times, rows)
        return fleet

    def __reduce__(self) -> tuple[object, ...]:
        return Fleet.restore, (self.signals, self.save(), self.units)

    def twin(self) -> "Fleet":
        """Return a copy that can quickly become like this one again, again and again."""
        return Fleet.restore(self.signals, self.save(), self.units)

    def follow(self, other: "Fleet") -> None:
        """Become exactly like a twin; both are past commissioning."""
        np.copyto(self.block(), other.block())

    def kept(self, m: int) -> Kept:
        """Return everything needed to go on exactly here with machine ``m``."""
        buffer, place = self._buffers.get(m, Buffer(0)), int(self._place[m])
        times, rows = buffer.held()
        return Kept(
            memory.packed(self._own(), m),
            memory.packed(self._news, place) if place >= 0 else b"",
            int(self._column[m]), times.tobytes(), rows.tobytes(),
        )  # fmt: skip

    def keep(self, m: int, kept: Kept) -> None:
        """Go on with machine ``m`` where one of a fleet alike was.

        Raises:
            Malformed: it is not of a fleet alike; nothing has changed.
        """
        d, rows = len(self.signals), len(kept.times) // 8
        fits = (
            len(kept.state) == sum(map(memory.row_bytes, self._own()))
            and len(kept.news) in (0, sum(map(memory.row_bytes, self._news)))
            and (d > 1 or kept.news != b"")
            and 0 <= kept.column < d
            and (len(kept.times), len(kept.rows)) == (8 * rows, 8 * rows * d)
            and rows < self._warmup
        )
        if not fits:
            raise Malformed("saved machine is of another fleet; commission the machine anew")
        self.recommission(m)
        memory.fill(self._own(), m, kept.state)
        if kept.news:
            if d > 1:
                self._settle_alone(m, kept.column)
            memory.fill(self._news, int(self._place[m]), kept.news)
        if kept.news or self._reference.ready[m]:
            self._buffers.pop(m, None)
        elif rows:
            times = np.frombuffer(kept.times, np.int64).copy()
            self._buffers[m] = Buffer.of(times, np.frombuffer(kept.rows).reshape(rows, d).copy())

    def _own(self) -> tuple[NDArray[Any], ...]:
        return *self._reference, *self._live, *self._clocks

    def block(self) -> NDArray[np.uint8]:
        """Return all arrays as one block of memory, to be copied at once; moves them if need be."""
        if self._block is None:
            parts = self._reference, self._live, self._clocks, self._news
            starts = np.cumsum([0, *(sum(map(memory.room, part)) for part in parts)]).tolist()
            self._block = np.zeros(starts[-1], np.uint8)
            self._reference = memory.moved(self._reference, self._block[starts[0] :])
            self._live = memory.moved(self._live, self._block[starts[1] :])
            self._clocks = memory.moved(self._clocks, self._block[starts[2] :])
            self._news = memory.moved(self._news, self._block[starts[3] :])
        return self._block

    def made_from(self) -> list[list[str]]:
        """Return what a saved state depends on, readable in an error message."""
        arrays = *self._reference, *self._live, *self._clocks, *self._news
        layout = [f"{a.dtype.str}{list(a.shape[1:])}" for a in arrays]
        return [["signals", *self.signals], ["units", *self.units], ["state", *layout]]
