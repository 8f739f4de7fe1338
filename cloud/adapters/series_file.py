"""One file of the embedded store, read while another connection or process writes it.

It holds rows in two forms. ``recent`` has what was written lately, one blob per frame. A ``piece``
has what was written before that, sorted: one ``block`` per device. Rows count in the order of
pieces, then of recent blobs: of two values for one device, field and time, the later stays.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from cloud.adapters import series_blocks, sqlite_file
from cloud.adapters.series_blocks import Rows
from contract.errors import Unreachable

VERSION = 3
"""Of the file's layout; kept as SQLite's ``user_version``."""
DEVICE_BITS = 24
"""A block's id is its piece's number and its device's: pieces are one run of ids each."""
LOCK_TIMEOUT_S = 10.0
EVER_NS = 2**63 - 1

_decode = lru_cache(maxsize=256)(series_blocks.decode)  # most pieces of a type share one


class Extent(NamedTuple):
    """Where rows are."""

    rows: int
    first_ns: int
    """None is before it."""
    last_ns: int
    """None is after it."""


class File:
    """One file, read through a connection of its own. May be called from any thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._lock = Lock()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    @contextmanager
    def snapshot(self) -> Iterator["Snapshot | None"]:
        """Show the file as it is at one moment; None if nothing was written yet.

        Raises:
            Unreachable: the file cannot be read.
        """
        with self._lock:
            try:
                connection = self._connection or self._open()
                if connection is None:
                    yield None
                    return
                self._connection = connection
                connection.execute("BEGIN")
                yield Snapshot(connection)
            except sqlite3.DatabaseError as error:
                if sqlite_file.is_bug(error):
                    raise
                raise Unreachable(f"telemetry file {self._path}: {error}") from error
            finally:
                if self._connection is not None and self._connection.in_transaction:
                    self._connection.rollback()

    def _open(self) -> sqlite3.Connection | None:
        if not self._path.exists():
            return None
        connection = sqlite3.connect(
            f"{self._path.absolute().as_uri()}?mode=ro",
            uri=True,
            timeout=LOCK_TIMEOUT_S,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            ((version,),) = connection.execute("PRAGMA user_version")
        except sqlite3.DatabaseError:
            connection.close()
            raise
        if version == VERSION:
            return connection
        connection.close()
        if version == 0:
            return None  # its writer is just making it
        raise Unreachable(f"telemetry file {self._path} has layout {version}, not {VERSION}")


class Snapshot:
    """What a file holds at one moment."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def _device(self, name: str) -> int | None:
        found = self.connection.execute("SELECT id FROM device WHERE name = ?", (name,))
        return next((number for (number,) in found), None)

    def extent(self, measurement: str, device: str, from_ns: int, to_ns: int) -> "Extent":
        """Return about how many rows there are from ``from_ns`` until before ``to_ns``, and where.

        What is recent is not counted: the file's writer keeps that short.
        """
        number = self._device(device)
        if number is None:
            return Extent(0, EVER_NS, 0)
        blocks = (
            "SELECT coalesce(sum(length(data) / width), 0), min(from_ns), max(to_ns)"
            " FROM piece JOIN block ON block.id = (piece.id << ?) + ?"
            " WHERE measurement = ? AND to_ns >= ? AND from_ns < ?"
        )
        values = (DEVICE_BITS, number, measurement, from_ns, to_ns)
        ((rows, *span),) = self.connection.execute(blocks, values)
        recent = "SELECT min(from_ns), max(to_ns) FROM recent WHERE measurement = ?"
        (lately,) = self.connection.execute(recent, (measurement,))
        known = [at_ns for at_ns in (*span, *lately) if at_ns is not None]
        return Extent(rows, min(known, default=EVER_NS), max(known, default=0))

    def rows(
        self, measurement: str, device: str, fields: Sequence[str], from_ns: int, to_ns: int
    ) -> Rows:
        """Return rows from ``from_ns`` until before ``to_ns``, in the order of writing."""
        number = self._device(device)
        found = (
            []
            if number is None
            else [
                *self._blocks(measurement, number, fields, from_ns, to_ns),
                *self._recent(measurement, number, fields, from_ns, to_ns),
            ]
        )
        rows = concatenated(found, len(fields))
        wanted = (rows.times_ns >= from_ns) & (rows.times_ns < to_ns)
        return rows if wanted.all() else Rows(rows.times_ns[wanted], rows.values[wanted])

    def newest_ns(self, measurement: str, device: str, from_ns: int) -> int:
        """Return the time of the newest row, if not before ``from_ns``; -1 if there is none."""
        number = self._device(device)
        if number is None:
            return -1
        recent = self._recent(measurement, number, (), from_ns, EVER_NS)
        newest_ns = max((int(rows.times_ns.max()) for rows in recent), default=-1)
        query = (
            "SELECT from_ns, to_ns, coding, data FROM piece"
            " JOIN block ON block.id = (piece.id << ?) + ?"
            " WHERE measurement = ? AND to_ns >= ? ORDER BY to_ns DESC"
        )
        values = (DEVICE_BITS, number, measurement, from_ns)
        for start_ns, to_ns, coding, data in self.connection.execute(query, values):
            if to_ns <= newest_ns:
                break
            rows = unpacked(coding, [data], [start_ns], ())
            newest_ns = max(newest_ns, int(rows.times_ns.max()))
        return newest_ns if newest_ns >= from_ns else -1

    def fields(self, measurement: str) -> tuple[str, ...]:
        """Return all fields of a measurement."""
        codings = self.connection.execute(
            "SELECT DISTINCT coding FROM piece WHERE measurement = ?", (measurement,)
        )
        names = [c.field for (coding,) in codings for c in _decode(coding).columns]
        recent = self.connection.execute(
            "SELECT DISTINCT fields FROM recent WHERE measurement = ?", (measurement,)
        )
        return tuple(dict.fromkeys([*names, *(name for (f,) in recent for name in _names(f))]))

    def _blocks(
        self, measurement: str, number: int, fields: Sequence[str], from_ns: int, to_ns: int
    ) -> Iterator[Rows]:
        query = (
            "SELECT coding, from_ns, data FROM piece JOIN block ON block.id = (piece.id << ?) + ?"
            " WHERE measurement = ? AND to_ns >= ? AND from_ns < ? ORDER BY piece.id"
        )
        values = (DEVICE_BITS, number, measurement, from_ns, to_ns)
        found = self.connection.execute(query, values).fetchall()
        for coding, alike in groupby(found, key=lambda row: row[0]):
            _, starts_ns, data = zip(*alike, strict=True)
            yield unpacked(coding, data, starts_ns, fields)

    def _recent(
        self, measurement: str, number: int, fields: Sequence[str], from_ns: int, to_ns: int
    ) -> Iterator[Rows]:
        query = (
            "SELECT id, rows, devices FROM recent"
            " WHERE measurement = ? AND to_ns >= ? AND from_ns < ? ORDER BY id"
        )
        found = self.connection.execute(query, (measurement, from_ns, to_ns)).fetchall()
        ends = np.cumsum([rows for _, rows, _ in found])
        devices = np.frombuffer(b"".join(data for _, _, data in found), np.int32)
        places = np.flatnonzero(devices == number)
        blobs = np.searchsorted(ends, places, side="right")
        for blob in np.unique(blobs).tolist():
            id_, rows, _ = found[blob]
            which = places[blobs == blob] - (int(ends[blob]) - rows)
            one = self.connection.execute("SELECT fields, data FROM recent WHERE id = ?", (id_,))
            names, data = one.fetchone()
            yield _picked(_names(names), unframed(data, rows), which, fields)


def unpacked(
    coding: bytes, blocks: Sequence[bytes], starts_ns: Sequence[int], fields: Sequence[str]
) -> Rows:
    """Return the rows of one device's blocks, all of one coding."""
    known = _decode(coding)
    layout = known.layout
    packed = np.frombuffer(b"".join(blocks), layout)
    rows = series_blocks.unpack(known, packed, fields)
    counts = [len(block) // layout.itemsize for block in blocks]
    return Rows(rows.times_ns + np.repeat(np.array(starts_ns, np.int64), counts), rows.values)


def unframed(data: bytes, rows: int) -> Rows:
    """Return the times and values of a recent blob."""
    times_ns = np.frombuffer(data, np.int64, rows)
    return Rows(times_ns, np.frombuffer(data, np.float64, offset=8 * rows).reshape(rows, -1))


def _picked(
    names: Sequence[str], rows: Rows, which: NDArray[np.int64], fields: Sequence[str]
) -> Rows:
    values = np.full((len(which), len(fields)), np.nan)
    for k, field in enumerate(fields):
        if field in names:
            values[:, k] = rows.values[which, names.index(field)]
    return Rows(rows.times_ns[which], values)


@lru_cache(maxsize=256)
def _names(fields: bytes) -> tuple[str, ...]:
    return msgspec.json.decode(fields, type=tuple[str, ...])


def concatenated(parts: Sequence[Rows], width: int) -> Rows:
    """Return rows one after the other."""
    if not parts:
        return Rows(np.empty(0, np.int64), np.empty((0, width)))
    return Rows(
        np.concatenate([p.times_ns for p in parts]), np.concatenate([p.values for p in parts])
    )
