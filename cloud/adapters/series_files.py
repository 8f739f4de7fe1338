"""Reading the embedded store: all files that may know a device, as one.

Each file is written by a process of its own.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cloud.adapters import series, series_blocks
from cloud.adapters.series import Points
from cloud.adapters.series_blocks import Rows, Values
from cloud.adapters.series_file import EVER_NS, File, Recorded, concatenated

SLICE_ROWS = 1_000_000
"""About so many rows of a device are held in memory while averages are made of more."""
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
        from_ns = max(from_ns, 0, self._now_ns() - self._keep_ns)
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


def everything(path: Path) -> list[Recorded]:
    """Return all that a file holds, compacted or not.

    Raises:
        Unreachable: the file cannot be read.
    """
    file = File(path)
    try:
        with file.snapshot() as shown:
            return [] if shown is None else list(shown.everything())
    finally:
        file.close()


def instants(path: Path, field: str = "") -> set[tuple[str, int]]:
    """Return device and event time of every row that a file holds.

    Args:
        path: the file; one that is not there holds nothing.
        field: count only rows that have a value of it. ``alarm``: the readings that were scored.

    Raises:
        Unreachable: the file cannot be read.
    """
    found: set[tuple[str, int]] = set()
    for device in everything(path):
        times_ns = device.times_ns
        if field:
            places = [i for i, name in enumerate(device.fields) if name == field]
            gaps = np.isnan(device.values[:, places])
            times_ns = times_ns[~gaps.all(axis=1)]
        found |= {(device.device, at_ns) for at_ns in times_ns.tolist()}
    return found
