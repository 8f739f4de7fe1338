"""Machines' hours and days, sampled once a minute: what lives and peers are followed by.

Deviations are smoothed over several readings and an hour is a mean, so sixty samples tell as much
as thirty-six hundred.
"""

import logging
from collections.abc import Callable, Sequence

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from cloud.adapters.wire import Rows
from cloud.core import hours
from cloud.core.hours import Hour
from cloud.worker import days
from cloud.worker.days import Today
from cloud.worker.kind import Kind
from cloud.worker.messages import DayEnded, HourEnded
from cloud.worker.order import MINUTE_NS
from contract.errors import Malformed
from contract.telemetry import Quality, Reading
from models.monitor import State
from models.sample import Layout, sample

log = logging.getLogger(__name__)

Counts = NDArray[np.int64]


class _Kept(Struct):
    minute: int
    hour: Hour
    day: bytes


class Sums:
    """The hour and the day under way of every machine."""

    def __init__(
        self, kinds: Sequence[Kind], count: int, emit: Callable[[msgspec.Struct], None]
    ) -> None:
        self._layouts = {kind.machine.name: Layout(kind.machine) for kind in kinds}
        self._minute = np.full(count, -1, np.int64)
        self._hours: dict[int, Hour] = {}
        self._days: dict[int, Today] = {}
        self._emit = emit

    def sample(
        self, kind: Kind, rows: Rows, judged: Counts, local: Counts, devices: Sequence[str]
    ) -> None:
        """Take in readings that were just judged: the first of each machine in a minute.

        Args:
            kind: their machine type.
            rows: the group.
            judged: which of its readings.
            local: the same machines' numbers within the type.
            devices: names by number.
        """
        minute = rows.times_ns[judged] // MINUTE_NS
        for k in np.flatnonzero(minute > self._minute[rows.device[judged]]):
            i, device = int(judged[k]), int(rows.device[judged[k]])
            if minute[k] > self._minute[device]:  # else a reading before it was the first
                self._minute[device] = minute[k]
                self._add(kind, int(local[k]), device, devices[device], _reading(kind, rows, i))

    def _add(self, kind: Kind, m: int, device: int, name: str, reading: Reading) -> None:
        """Take in one reading.

        A machine in alarm has its case: among its peers it would stand out for days after.
        """
        found = kind.watchers.assessment(m)
        hour = self._hours.setdefault(device, Hour())
        ended = hours.add(hour, reading.time_ns, found.deviations)
        if ended is not None:
            self._emit(HourEnded(name, ended))
        if found.state is not State.HEALTHY:
            return
        layout = self._layouts[kind.machine.name]
        today = self._days.setdefault(device, days.begin(layout))
        over = days.add(today, sample(layout, reading), layout)
        if over is not None:
            number, (responses, conditions) = over
            self._emit(DayEnded(name, number, responses.tolist(), conditions.tolist()))

    def save(self, device: int, kind: Kind) -> bytes:
        """Return a machine's hour and day under way."""
        layout = self._layouts[kind.machine.name]
        today = self._days.get(device)
        day = days.save(today, layout) if today else b""
        kept = _Kept(int(self._minute[device]), self._hours.get(device, Hour()), day)
        return msgspec.msgpack.encode(kept)

    def restore(self, device: int, kind: Kind, data: bytes) -> None:
        """Go on with saved sums; those that do not fit any more begin anew."""
        try:
            kept = msgspec.msgpack.decode(data, type=_Kept)
            self._minute[device], self._hours[device] = kept.minute, kept.hour
            if kept.day:
                self._days[device] = days.restore(kept.day, self._layouts[kind.machine.name])
        except (msgspec.DecodeError, Malformed) as error:
            log.warning("hour and day under way of a machine begin anew: %s", error)


def _reading(kind: Kind, rows: Rows, i: int) -> Reading:
    names = [signal.name for signal in kind.machine.signals]
    values = [None if np.isnan(v) else float(v) for v in rows.values[i, : len(names)]]
    quality = [Quality(q) for q in rows.quality[i, : len(names)]]
    return Reading(
        int(rows.times_ns[i]),
        dict(zip(names, values, strict=True)),
        dict(zip(names, quality, strict=True)),
    )
