"""How machines have run lately: means of their measures in buckets of time, for a day and a little.

A machine's clock may be wrong: an event time far from now is not believed, and the reading counts
as measured when it was seen.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cloud.adapters.board import Board
from cloud.core.evidence import NS
from models.monitor import STATES, State

_ALARM = STATES.index(State.ALARM)

BUCKET_NS = 120 * NS
BUCKETS = 780
"""26 hours: the longest comparison of a day, and the update within it. With five measures, 10,000
machines take 172 MB."""
CLOCK_NS = 600 * NS
"""So far an event time may be from now."""

Means = NDArray[np.float64]
Singles = NDArray[np.float32]
Flags = NDArray[np.bool_]
Places = NDArray[np.int64]


class Buckets:
    """Means per bucket, measure and machine."""

    def __init__(self, devices: Sequence[str], columns: Sequence[int]) -> None:
        """Begin with nothing heard.

        Args:
            devices: the machines, in the order of all arrays here.
            columns: where the key signals are among the machine type's signals.
        """
        self.devices, self._columns = list(devices), list(columns)
        self.index = {device: i for i, device in enumerate(self.devices)}
        count, width = len(self.devices), 1 + len(self._columns)
        self.means = np.full((BUCKETS, width, count), np.nan, np.float32)
        """The score, then the key signals; NaN: no value."""
        self.heard = np.zeros((BUCKETS, count), np.bool_)
        self.alarm = np.zeros((BUCKETS, count), np.bool_)
        """In alarm at every reading of the bucket."""
        self.newest = -1
        """Number of the newest bucket, counted from 1970; its place is the rest by `BUCKETS`."""
        self._last_ns = np.zeros(count, np.int64)
        self._open = np.full(count, -1, np.int64)
        self._sums, self._counts = np.zeros((width, count)), np.zeros((width, count))
        self._places: list[tuple[Board, Places, Places]] = []

    def sample(self, now_ns: int, boards: Sequence[Board]) -> None:
        """Take in what is new on the workers' boards."""
        now = now_ns // BUCKET_NS
        self.advance(now)
        for board, mine, there in self._found(boards):
            if not len(mine):
                continue  # and it may be too narrow for our signals
            last_ns = board.last_ns[there]
            new = last_ns != self._last_ns[mine]
            at, row = mine[new], there[new]
            self._last_ns[at] = last_ns[new]
            close = np.abs(last_ns[new] - now_ns) <= CLOCK_NS
            bucket = np.where(close, np.minimum(last_ns[new] // BUCKET_NS, now), now)
            values = np.column_stack([board.score[row], board.values[row][:, self._columns]])
            alarm = board.state[row] == _ALARM
            self._add(at, np.maximum(bucket, self._open[at]), values.T, alarm)

    def advance(self, now: int) -> None:
        """Make room up to a bucket; what is a day older is forgotten."""
        for number in range(max(self.newest + 1, now - BUCKETS + 1), now + 1):
            self.means[number % BUCKETS] = np.nan
            self.heard[number % BUCKETS] = self.alarm[number % BUCKETS] = False
        self.newest = max(self.newest, now)

    def _found(self, boards: Sequence[Board]) -> list[tuple[Board, Places, Places]]:
        """Return each board with our machines on it: where they are here, and there."""
        if [id(place[0]) for place in self._places] != [id(board) for board in boards]:
            self._places = []
            for board in boards:
                here = [device for device in board.devices if device in self.index]
                mine = np.array([self.index[device] for device in here], np.int64)
                there = np.array([board.index[device] for device in here], np.int64)
                self._places.append((board, mine, there))
        return self._places

    def _add(self, at: Places, bucket: Places, values: Means, alarm: Flags) -> None:
        first = bucket != self._open[at]
        fresh = at[first]
        self._sums[:, fresh] = self._counts[:, fresh] = 0.0
        self._open[at] = bucket
        given = np.isfinite(values)
        self._sums[:, at] += np.where(given, values, 0.0)
        self._counts[:, at] += given
        sums, counts = self._sums[:, at], self._counts[:, at]
        means = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
        place = bucket % BUCKETS
        self.means[place, :, at] = means.T
        self.alarm[place, at] = alarm & (first | self.alarm[place, at])
        self.heard[place, at] = True

    def mean(self, begin: int, end: int) -> Means:
        """Return (measures, machines) means over the buckets from `begin` to before `end`."""
        sums = np.zeros(self.means.shape[1:])
        counts = np.zeros(sums.shape, np.int16)
        for row in self._rows(begin, end):
            given = ~np.isnan(self.means[row])
            counts += given
            np.add(sums, self.means[row], out=sums, where=given)
        found: Means = np.full(sums.shape, np.nan)
        np.divide(sums, counts, out=found, where=counts > 0)
        return found

    def heard_in(self, begin: int, end: int) -> Flags:
        """Tell which machines were heard in the buckets from `begin` to before `end`."""
        found: Flags = np.any(self.heard[self._rows(begin, end)], axis=0)
        return found

    def alarm_in(self, begin: int, end: int) -> Flags:
        """Tell which machines were in alarm all through one of the buckets."""
        found: Flags = np.any(self.alarm[self._rows(begin, end)], axis=0)
        return found

    def silent_in(self, begin: int, end: int) -> Flags:
        """Tell which machines were not heard in two buckets in a row."""
        heard = self.heard[self._rows(begin, end)]
        found: Flags = np.any(~(heard[:-1] | heard[1:]), axis=0)
        return found

    def scores(self, numbers: Places) -> Singles:
        """Return (buckets, machines) scores of buckets that are not older than a day."""
        found: Singles = self.means[numbers % BUCKETS, 0]
        return found

    def take(
        self, devices: Sequence[str], newest: int, means: Singles, heard: Flags, alarm: Flags
    ) -> None:
        """Take in what another object with these devices had heard.

        Raises:
            ValueError: the arrays do not fit.
        """
        here = [i for i, device in enumerate(devices) if device in self.index]
        there = [self.index[devices[i]] for i in here]
        self.means[:, :, there] = means.reshape(*self.means.shape[:2], len(devices))[:, :, here]
        self.heard[:, there] = heard.reshape(BUCKETS, len(devices))[:, here]
        self.alarm[:, there] = alarm.reshape(BUCKETS, len(devices))[:, here]
        self.newest = newest

    @property
    def oldest(self) -> int:
        """Number of the oldest bucket that is kept."""
        return self.newest - BUCKETS + 1

    def _rows(self, begin: int, end: int) -> Places:
        return np.arange(max(begin, self.oldest), min(end, self.newest + 1)) % BUCKETS
