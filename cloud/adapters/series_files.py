"""Reading the embedded store: all files that may know a device, as one.

Each file is written by a process of its own.
"""

import math
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from cloud.adapters import series, series_blocks, series_pieces
from cloud.adapters.series import Points
from cloud.adapters.series_blocks import Rows, Times, Values
from cloud.adapters.series_file import EVER_NS, File, concatenated
from cloud.adapters.series_pieces import Head, Part

SLICE_ROWS = 1_000_000
"""About so many rows of a device are held in memory while averages are made of more."""
DEVICES_AT_ONCE = 64
"""Devices whose rows are in memory at the same time while a whole file is read."""
DAY_NS = 86_400 * 10**9
HALVINGS = 2.0**-40
"""Sums are made of values this much smaller, so that no sum overflows; exact both ways."""


class Sums(NamedTuple):
    """Spans of time with what was measured in them."""

    spans: NDArray[np.int64]
    values: Values
    """Sums, times `HALVINGS`."""
    counts: Values


def summed(spans: NDArray[np.int64], values: Values, counts: Values) -> Sums:
    """Add up neighbours of the same span."""
    starts = np.flatnonzero(np.append(True, spans[1:] != spans[:-1])[: len(spans)])
    if not len(starts):
        return Sums(spans, values, counts)
    return Sums(
        spans[starts],
        np.add.reduceat(values, starts, axis=0),
        np.add.reduceat(counts, starts, axis=0),
    )


class Files:
    """The reading half of the port, over all files that may know a device."""

    def __init__(
        self,
        where: Callable[[str], Sequence[Path]],
        keep_days: float,
        now_ns: Callable[[], int],
    ) -> None:
        """Open nothing yet.

        Args:
            where: the files that may hold rows of a device, the one written last at the end. A
                file that is not there yet holds nothing.
            keep_days: rows older than this are not shown, in days of plant time.
            now_ns: the plant clock.
        """
        self._where, self._keep_ns, self._now_ns = where, round(keep_days * DAY_NS), now_ns
        self._files: dict[Path, File] = {}

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()

    def read(  # noqa: PLR0917 (the port's order)
        self,
        measurement: str,
        device: str,
        fields: list[str],
        from_ns: int,
        to_ns: int,
        max_points: int,
    ) -> Points:
        """See `series.Series.read`."""
        from_ns, to_ns = max(from_ns, 0), min(to_ns, EVER_NS)
        if not fields or to_ns <= from_ns:
            return Points([], {name: [] for name in fields})
        span = series.bucket_ns(from_ns, to_ns, max_points)
        raw: list[Rows] = []
        sums = [Sums(np.empty(0, np.int64), *[np.empty((0, len(fields)))] * 2)]
        known = 0
        for lower_ns, upper_ns in self._slices(measurement, device, from_ns, to_ns):
            rows = self._rows(measurement, device, fields, lower_ns, upper_ns)
            kept = ~np.isnan(rows.values).all(axis=1)
            rows = Rows(rows.times_ns[kept], rows.values[kept])
            known += len(rows.times_ns)
            if known <= max_points:
                raw.append(rows)
            filled = ~np.isnan(rows.values)
            small = np.where(filled, rows.values * HALVINGS, 0.0)
            sums.append(summed((rows.times_ns - from_ns) // span, small, filled.astype(float)))
        if known <= max_points:
            return _points(fields, concatenated(raw, len(fields)))
        spans, small, counts = summed(*map(np.concatenate, zip(*sums, strict=True)))
        means = np.divide(small, counts, out=np.full(small.shape, np.nan), where=counts > 0)
        return _points(fields, Rows(from_ns + spans * span, means / HALVINGS))

    def last(self, measurement: str, device: str) -> dict[str, float]:
        """See `series.Series.last`."""
        newest_ns = -1
        fields: list[str] = []
        for file in self._files_of(device):
            with file.snapshot() as shown:
                if shown is not None:
                    oldest_ns = max(0, self._now_ns() - self._keep_ns)
                    newest_ns = max(newest_ns, shown.newest_ns(measurement, device, oldest_ns))
                    fields += shown.fields(measurement)
        names = list(dict.fromkeys(fields))
        rows = self._rows(measurement, device, names, newest_ns, newest_ns + 1)
        if not len(rows.times_ns):
            return {}
        values = zip(names, rows.values[0].tolist(), strict=True)
        return {name: value for name, value in values if not math.isnan(value)}

    def _files_of(self, device: str) -> list[File]:
        return [self._files.setdefault(path, File(path)) for path in self._where(device)]

    def _slices(
        self, measurement: str, device: str, from_ns: int, to_ns: int
    ) -> Iterator[tuple[int, int]]:
        """Cut a range so that no part of it has many rows."""
        from_ns = max(from_ns, self._now_ns() - self._keep_ns)
        found = []
        for file in self._files_of(device):
            with file.snapshot() as shown:
                if shown is not None:
                    found.append(shown.extent(measurement, device, from_ns, to_ns))
        first_ns = max(from_ns, min((e.first_ns for e in found), default=EVER_NS))
        end_ns = min(to_ns, max((e.last_ns for e in found), default=0) + 1)
        parts = sum(e.rows for e in found) // SLICE_ROWS + 1
        step_ns = max(1, -(-(end_ns - first_ns) // parts))
        for start_ns in range(first_ns, end_ns, step_ns):
            yield start_ns, min(start_ns + step_ns, end_ns)

    def _rows(
        self, measurement: str, device: str, fields: Sequence[str], from_ns: int, to_ns: int
    ) -> Rows:
        parts = []
        for file in self._files_of(device):
            with file.snapshot() as shown:
                if shown is not None:
                    parts.append(shown.rows(measurement, device, fields, from_ns, to_ns))
        return series_blocks.settle(concatenated(parts, len(fields)))


def _points(fields: list[str], rows: Rows) -> Points:
    columns: dict[str, list[float | None]] = {}
    for name, values in zip(fields, rows.values.T, strict=True):
        numbers = values.tolist()
        gaps = bool(np.isnan(values).any())
        columns[name] = [None if math.isnan(n) else n for n in numbers] if gaps else numbers
    return Points(rows.times_ns.tolist(), columns)


class Recorded(NamedTuple):
    """All that a file holds of one device under one measurement."""

    measurement: str
    device: str
    fields: tuple[str, ...]
    times_ns: Times
    """In order, each once."""
    values: Values
    """(n, k), NaN where there is no value."""


def everything(path: Path, fields: Sequence[str] | None = None) -> Iterator[Recorded]:
    """Give all rows of a file, one device after the other; as the file is at one moment.

    Args:
        path: the file; one that is not there holds nothing.
        fields: those that are wanted; all if left out.

    Raises:
        Unreachable: the file cannot be read.
    """
    file = File(path)
    try:
        with file.snapshot() as shown:
            if shown is not None:
                kinds = "SELECT measurement FROM piece UNION SELECT measurement FROM recent"
                for (measurement,) in shown.connection.execute(kinds).fetchall():
                    wanted = shown.fields(measurement) if fields is None else tuple(fields)
                    yield from _measured(shown.connection, measurement, wanted)
    finally:
        file.close()


def instants(path: Path, field: str = "") -> set[tuple[str, int]]:
    """Return device and event time of every row that a file holds.

    Args:
        path: the file; one that is not there holds nothing.
        field: take only rows that have a value of it. ``alarm``: the readings that were scored.

    Raises:
        Unreachable: the file cannot be read.
    """
    found: set[tuple[str, int]] = set()
    for device, times_ns in _times(path, field):
        found |= {(device, at_ns) for at_ns in times_ns.tolist()}
    return found


def count(path: Path, field: str = "") -> int:
    """Return how many rows a file holds; arguments are those of `instants`."""
    return sum(len(times_ns) for _, times_ns in _times(path, field))


def _times(path: Path, field: str) -> Iterator[tuple[str, NDArray[np.int64]]]:
    for found in everything(path, [field] if field else []):
        kept = ~np.isnan(found.values[:, 0]) if field else slice(None)
        yield found.device, found.times_ns[kept]


def _measured(
    connection: sqlite3.Connection, measurement: str, fields: tuple[str, ...]
) -> Iterator[Recorded]:
    names = dict(connection.execute("SELECT id, name FROM device ORDER BY id").fetchall())
    numbers = list(names)
    for i in range(0, len(numbers), DEVICES_AT_ONCE):
        some = numbers[i : i + DEVICES_AT_ONCE]
        span = (some[0], some[-1] + 1)
        parts = list(_parts(connection, measurement, fields, span))
        if not parts:
            continue
        devices, rows = series_pieces.merged(parts, fields)
        cuts = np.flatnonzero(np.diff(devices)) + 1
        for own, times_ns, values in zip(
            np.split(devices, cuts),
            np.split(rows.times_ns, cuts),
            np.split(rows.values, cuts),
            strict=True,
        ):
            yield Recorded(measurement, names[int(own[0])], fields, times_ns, values)


def _parts(
    connection: sqlite3.Connection,
    measurement: str,
    fields: tuple[str, ...],
    devices: tuple[int, int],
) -> Iterator[Part]:
    """Give what there is of some devices, in the order of writing."""
    pieces = "SELECT id, rows, level FROM piece WHERE measurement = ? ORDER BY id"
    for id_, rows, level in connection.execute(pieces, (measurement,)).fetchall():
        part = series_pieces.piece(connection, Head(id_, fields, rows, level), devices)
        if len(part.devices):
            yield part
    blobs = "SELECT id, fields, rows FROM recent WHERE measurement = ? ORDER BY id"
    for id_, names, rows in connection.execute(blobs, (measurement,)).fetchall():
        own = msgspec.json.decode(names, type=tuple[str, ...])
        part = series_pieces.blob(connection, Head(id_, own, rows, 0))
        which = np.flatnonzero((part.devices >= devices[0]) & (part.devices < devices[1]))
        if len(which):
            shared = tuple(name for name in own if name in fields)
            columns = [own.index(name) for name in shared]
            values = part.rows.values[which][:, columns]
            yield Part(shared, part.devices[which], Rows(part.rows.times_ns[which], values))
