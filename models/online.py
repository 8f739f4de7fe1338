"""Detectors row by row: one stream of rows, and what users of river (riverml.xyz) are used to.

`Stream` is the shipped detector for one machine: rows in, score and alarm out. `OnlineDetector` is
the same one as a model of river, which is not needed for it. `RiverFleet` is the way round: any
anomaly detector of river where a `Fleet` is expected.
"""

import copy
import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.commission import LEAST_ROWS
from models.factors import Array
from models.fleet import MAX_WARMUP, Attribution, Flags, Fleet

try:
    from river.base import AnomalyDetector
except ImportError:  # whoever has no river calls the same methods all the same

    class AnomalyDetector:  # type: ignore[no-redef]
        """Stands in for river's base class."""


_MOST_S = 9e9
"""Times further from 1970 than this, in seconds, do not fit 64 bits of nanoseconds."""
_SECOND_NS = 10**9
MAX_SIGNALS = 500
"""Of so many signals commissioning compares each with all others in seconds; more are ignored."""
_MEDIAN_ROWS = 5
"""A single odd score is no alarm: the median of five is judged."""

Row = Mapping[Any, Any]


class Machines(Protocol):
    """What judges rows of many machines: `Fleet` and `RiverFleet`."""

    def update(
        self, machines: ArrayLike, times_ns: ArrayLike, rows: ArrayLike
    ) -> tuple[Array, Flags]:
        """Judge rows, then learn them; return scores and alarms."""


def commissioning_rows(warmup: int) -> int:
    """Return how many rows are learned from if the first ``warmup`` shall not be judged."""
    return min(max(warmup, LEAST_ROWS), MAX_WARMUP)


def _nanoseconds(time: object) -> int | None:
    """Return seconds or a datetime as nanoseconds since 1970; None if it is no time."""
    try:
        seconds = time.timestamp() if isinstance(time, datetime) else float(time)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return round(max(-_MOST_S, min(_MOST_S, seconds)) * 1e9) if math.isfinite(seconds) else None


class Stream:
    """One machine's detector.

    Several signals are checked against each other; a lone one has nothing to be checked against,
    so only what is new in it is told (`models.fleet`).
    """

    def __init__(
        self, columns: Sequence[str], warmup: int, machines: Machines | None = None
    ) -> None:
        """Make a detector that knows nothing yet.

        Args:
            columns: names of the signals, in order.
            warmup: leading rows to learn from. Below 30 nothing can be judged, so it learns from
                30; more than 200,000 are not kept, so it judges early.
            machines: what judges machine 0 instead of the shipped detector.

        Raises:
            Malformed: no columns.
        """
        self._machines = machines or Fleet(columns, 1, commissioning_rows(warmup))
        self._last_ns = 0

    def step(self, time_s: float, row: ArrayLike) -> tuple[float, bool]:
        """Judge a row, then learn it.

        Args:
            time_s: event time in seconds. One that is not finite counts as the last one, so the
                row is not judged.
            row: the signals (d,), NaN where missing.

        Returns:
            Score, 1 is the alarm level, and whether there is an alarm.

        Raises:
            ValueError: not as many values as signals.
        """
        score, alarm = self.steps([time_s], np.asarray(row, np.float64)[None])
        return float(score[0]), bool(alarm[0])

    def steps(self, times_s: Sequence[float], rows: ArrayLike) -> tuple[Array, Flags]:
        """Judge rows (n, d) in their order, each as `step` does."""
        times_ns = np.zeros(len(times_s), np.int64)
        for i, time_s in enumerate(times_s):
            now = _nanoseconds(time_s)
            self._last_ns = times_ns[i] = self._last_ns if now is None else now
        return self._machines.update(np.zeros(len(times_ns), np.int64), times_ns, rows)


class OnlineDetector(AnomalyDetector):
    """The shipped detector of one machine, as an anomaly detector of river.

    The first ``warmup`` learned rows are the commissioning, and every signal that occurs in them is
    watched from then on; one that comes later was never commissioned and is ignored, one that is
    left out is missing. Needs no scaler in front of it. A score is what `Fleet.update` would say
    of the row, to the last bit; 1 is the alarm level, 0 until there is a reference.
    """

    def __init__(
        self, warmup: int = 600, time: Hashable = "time", signals: Sequence[str] | None = None
    ) -> None:
        """Make a detector that knows nothing yet.

        Args:
            warmup: rows of commissioning, 30 to 200,000.
            time: key of the event time (seconds, or datetime); rows without it are a second apart.
            signals: keys to watch; without it those that occur in commissioning, sorted.
        """
        self.warmup, self.time, self.signals = warmup, time, signals
        self.alarm = False
        """Whether the row learned last is within an alarm."""
        self._keys: list[Hashable] = list(signals or ())
        self._early: list[tuple[int, Array]] = []
        self._last_ns = -_SECOND_NS
        self._now: Fleet | None = None
        self._ahead: Fleet | None = None
        self._ahead_of: tuple[bytes, bytes] | None = None
        self._ahead_alarm = False

    def score_one(self, x: Row) -> float:
        """Return the score that the row has if it is the next one; changes no state."""
        return float(self._look([x])[0])

    def learn_one(self, x: Row) -> None:
        """Take the row in: as commissioning first, then as the machine's newest one."""
        self._learn([x])

    def score_many(self, X: Mapping[Any, ArrayLike]) -> Array:  # noqa: N803 - river's name
        """Return the scores that rows have if they come next in this order; changes no state.

        Args:
            X: columns by name, as in a dict of arrays or a DataFrame.
        """
        return self._look(_rows(X))

    def learn_many(self, X: Mapping[Any, ArrayLike]) -> None:  # noqa: N803 - river's name
        """Take rows in, in their order, each as `learn_one` does."""
        self._learn(_rows(X))

    def attribution(self) -> list[Attribution]:
        """Return how far each signal is from what is expected of it, largest first."""
        return [] if self._now is None else self._now.attribution(0)

    def _read(self, rows: Sequence[Row]) -> tuple[NDArray[np.int64], Array]:
        times_ns, last = np.zeros(len(rows), np.int64), self._last_ns
        for i, x in enumerate(rows):
            now = _nanoseconds(x.get(self.time))
            times_ns[i] = last = last + _SECOND_NS if now is None else now
        return times_ns, np.array([[_number(x.get(key)) for key in self._keys] for x in rows])

    def _look(self, rows: Sequence[Row]) -> Array:
        now = self._now
        if not rows:
            return np.zeros(0)
        if now is None or now.progress(0) < 1.0:
            waiting = 0 if now else commissioning_rows(self.warmup) - len(self._early)
            if len(rows) <= max(waiting, 1):
                return np.zeros(len(rows))
            # commissioning may end among these rows
            return copy.deepcopy(self)._learn(rows)  # noqa: SLF001 - its own copy
        times_ns, values = self._read(rows)
        if self._ahead is None:
            self._ahead = now.twin()
        self._ahead.follow(now)
        score, alarm = self._ahead.update(np.zeros(len(rows), np.int64), times_ns, values)
        self._ahead_of = times_ns.tobytes(), values.tobytes()
        self._ahead_alarm = bool(alarm[-1])
        return score

    def _learn(self, rows: Sequence[Row]) -> Array:
        if not rows:
            return np.zeros(0)
        if self._now is None:
            return self._collect(rows)
        times_ns, values = self._read(rows)
        if self._ahead is not None and self._ahead_of == (times_ns.tobytes(), values.tobytes()):
            self._now, self._ahead, self._ahead_of = self._ahead, self._now, None
            self._last_ns, self.alarm = int(times_ns[-1]), self._ahead_alarm
            return np.zeros(0)  # told before
        return self._update(self._now, times_ns, values)

    def _update(self, now: Fleet, times_ns: NDArray[np.int64], values: Array) -> Array:
        score, alarm = now.update(np.zeros(len(times_ns), np.int64), times_ns, values)
        self._last_ns, self.alarm, self._ahead_of = int(times_ns[-1]), bool(alarm[-1]), None
        return score

    def _collect(self, rows: Sequence[Row]) -> Array:
        """Keep commissioning rows, and begin as soon as they are enough; return the new scores."""
        if self.signals is None:
            new = dict.fromkeys(key for x in rows for key in x if key != self.time)
            self._keys = list(dict.fromkeys([*self._keys, *new]))[:MAX_SIGNALS]
        times_ns, values = self._read(rows)
        self._last_ns = int(times_ns[-1])
        self._early.extend(zip(times_ns.tolist(), values, strict=True))
        needed = commissioning_rows(self.warmup)
        if len(self._early) < needed:
            return np.zeros(len(rows))
        early, self._early = self._early, []
        if not self._keys:
            return np.zeros(len(rows))
        table = np.full((len(early), len(self._keys)), np.nan)
        for i, (_, row) in enumerate(early):
            table[i, : len(row)] = row
        if self.signals is None:  # rows in which only the order of keys differs are the same
            order = sorted(range(len(self._keys)), key=lambda j: str(self._keys[j]))
            self._keys, table = [self._keys[j] for j in order], table[:, order]
        self._now = Fleet([str(key) for key in self._keys], 1, needed)
        times_ns = np.array([time_ns for time_ns, _ in early])
        return self._update(self._now, times_ns, table)[len(early) - len(rows) :]


def _number(value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _rows(columns: Mapping[Any, ArrayLike]) -> list[Row]:
    names = list(columns)
    return [
        dict(zip(names, row, strict=True))
        for row in zip(*(np.asarray(columns[name]) for name in names), strict=True)
    ]


class RiverFleet:
    """Machines of one type, each watched by a river model of its own instead of by `Fleet`.

    The alarm level is learned in the second half of commissioning: the highest that healthy rows
    have scored, so that one of them is above it once in as many rows (a conformal p-value, Vovk et
    al. 2005). Models of river go on learning, so a fault that stays becomes their normal.
    """

    def __init__(
        self, make: Callable[[], Any], signals: Sequence[str], machines: int, warmup: int
    ) -> None:
        """Make a fleet.

        Args:
            make: returns a new river anomaly detector, or a pipeline that ends with one.
            signals: names of the columns, in order.
            machines: how many; they are numbered from 0.
            warmup: rows of commissioning.
        """
        self._signals, self._warmup = list(signals), warmup
        self._models = [make() for _ in range(machines)]
        self._last = np.zeros((machines, len(signals)))
        self._recent = np.zeros((machines, _MEDIAN_ROWS))
        self._rows = np.zeros(machines, np.int64)
        self._level = np.zeros(machines)

    def update(
        self, machines: ArrayLike, times_ns: ArrayLike, rows: ArrayLike
    ) -> tuple[Array, Flags]:
        """Judge rows, then learn them; times are not looked at. As in `Fleet.update`."""
        which, x = np.asarray(machines, np.int64), np.asarray(rows, np.float64)
        if which.shape != np.shape(times_ns) or x.shape != (len(which), len(self._signals)):
            raise ValueError(f"{x.shape} are not rows of {len(self._signals)} signals each")
        answers = [self._step(int(m), row) for m, row in zip(which, x, strict=True)]
        score, alarm = np.array(answers).reshape(-1, 2).T
        return score, alarm > 0

    def _step(self, m: int, row: Array) -> tuple[float, bool]:
        """Judge one row: missing values count as the last ones, rivers have no gaps."""
        there = np.isfinite(row)
        self._last[m, there] = row[there]
        x = dict(zip(self._signals, self._last[m].tolist(), strict=True))
        n = self._rows[m]
        said = float(self._models[m].score_one(x))
        self._models[m].learn_one(x)
        self._rows[m] = n + 1
        self._recent[m, n % _MEDIAN_ROWS] = said if math.isfinite(said) else 0.0
        score = float(np.median(self._recent[m]))
        if n < self._warmup or self._level[m] <= 0.0:  # it may be silent for longer than that
            if n >= self._warmup // 2:
                self._level[m] = max(self._level[m], score)
            return 0.0, False
        return score / float(self._level[m]), score > self._level[m]
