"""Packing the embedded store: recent blobs become pieces, small pieces become larger ones.

What is read of one device costs one look into each piece of the time asked for. So `FANOUT` pieces
of one level become one of the next, until a piece is as large as memory should hold at once: a row
is written a few times in its life, and a month of a small plant is some hundred pieces.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from cloud.adapters import series_blocks
from cloud.adapters.series_blocks import Rows
from cloud.adapters.series_file import DEVICE_BITS, unframed

CELLS_MAX = 2_000_000
"""Times and values in recent blobs before they are packed: 16 MB, packed in about 0.1 s."""
FANOUT = 8
"""Pieces of one level that become one of the next, if they have no more than `CELLS_MAX`."""

DEVICES = 1 << DEVICE_BITS
"""Devices in one file at most."""

Devices = NDArray[np.int32]


class Head(NamedTuple):
    """A recent blob or a piece, without its data."""

    id: int
    fields: tuple[str, ...]
    rows: int
    level: int


class Part(NamedTuple):
    """What a blob or a piece holds."""

    fields: tuple[str, ...]
    devices: Devices
    rows: Rows


def compact(connection: sqlite3.Connection, oldest_ns: int) -> None:
    """Make pieces of all recent blobs, within the transaction that is open.

    Args:
        connection: the file.
        oldest_ns: pieces that are older than this as a whole are deleted, a few at a time.
    """
    query = "SELECT measurement, id, fields, rows FROM recent ORDER BY id"
    heads: dict[str, list[Head]] = {}
    for measurement, id_, fields, rows in connection.execute(query):
        names = msgspec.json.decode(fields, type=tuple[str, ...])
        heads.setdefault(measurement, []).append(Head(id_, names, rows, 0))
    made = 0
    for measurement, all_ in heads.items():
        for batch in _batches(all_):
            _write(connection, measurement, 0, [blob(connection, head) for head in batch])
            made += 1
        _merge(connection, measurement)
    connection.execute("DELETE FROM recent")
    _expire(connection, oldest_ns, 2 * made + 1)


def _merge(connection: sqlite3.Connection, measurement: str) -> None:
    """Make one piece of the newest ones, as long as they are of one level and not too large."""
    query = (
        "SELECT id, coding, rows, level FROM piece WHERE measurement = ? ORDER BY id DESC LIMIT ?"
    )
    while True:
        found = [
            Head(id_, tuple(c.field for c in series_blocks.decode(coding).columns), rows, level)
            for id_, coding, rows, level in connection.execute(query, (measurement, FANOUT))
        ]
        levels = {head.level for head in found}
        if len(found) < FANOUT or len(levels) > 1 or _cells(found) > CELLS_MAX:
            return
        parts = [piece(connection, head) for head in reversed(found)]
        _write(connection, measurement, found[0].level + 1, parts)
        for head in found:
            _delete(connection, head.id)


def _write(
    connection: sqlite3.Connection, measurement: str, level: int, parts: Sequence[Part]
) -> None:
    """Write a piece; its number is the highest, so that its values count last."""
    fields = tuple(dict.fromkeys(name for part in parts for name in part.fields))
    devices, rows = merged(parts, fields)
    from_ns, to_ns = int(rows.times_ns.min()), int(rows.times_ns.max())
    coding, packed = series_blocks.pack(rows.times_ns, from_ns, fields, rows.values)
    width = packed.itemsize
    added = connection.execute(
        "INSERT INTO piece (measurement, level, rows, from_ns, to_ns, width, coding)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (measurement, level, len(devices), from_ns, to_ns, width, series_blocks.encode(coding)),
    )
    first = (added.lastrowid or 0) << DEVICE_BITS
    starts = np.flatnonzero(np.append(True, devices[1:] != devices[:-1]))
    cuts = (np.append(starts, len(devices)) * width).tolist()
    ids = (devices[starts].astype(np.int64) + first).tolist()
    data = memoryview(packed.tobytes())
    blocks = ((id_, data[a:b]) for id_, a, b in zip(ids, cuts, cuts[1:], strict=False))
    connection.executemany("INSERT INTO block (id, data) VALUES (?, ?)", blocks)


def blob(connection: sqlite3.Connection, head: Head) -> Part:
    """Return what a recent blob holds."""
    query = "SELECT devices, data FROM recent WHERE id = ?"
    devices, data = connection.execute(query, (head.id,)).fetchone()
    return Part(head.fields, np.frombuffer(devices, np.int32), unframed(data, head.rows))


def piece(
    connection: sqlite3.Connection, head: Head, devices: tuple[int, int] = (0, DEVICES)
) -> Part:
    """Return what a piece holds of the fields asked for, of devices from the first to the last.

    Args:
        connection: the file.
        head: the piece; its fields may be fewer than it has.
        devices: numbers, the first and the one after the last.
    """
    query = "SELECT coding, from_ns FROM piece WHERE id = ?"
    data, from_ns = connection.execute(query, (head.id,)).fetchone()
    coding = series_blocks.decode(data)
    start = head.id << DEVICE_BITS
    blocks = "SELECT id, data FROM block WHERE id >= ? AND id < ? ORDER BY id"
    found = connection.execute(blocks, (start + devices[0], start + devices[1])).fetchall()
    packed = np.frombuffer(b"".join(data for _, data in found), coding.layout)
    counts = [len(data) // packed.itemsize for _, data in found]
    numbers = np.repeat(np.array([id_ - start for id_, _ in found], np.int32), counts)
    rows = series_blocks.unpack(coding, packed, head.fields)
    return Part(head.fields, numbers, Rows(rows.times_ns + from_ns, rows.values))


def _delete(connection: sqlite3.Connection, id_: int) -> None:
    blocks = (id_ << DEVICE_BITS, (id_ + 1) << DEVICE_BITS)
    connection.execute("DELETE FROM block WHERE id >= ? AND id < ?", blocks)
    connection.execute("DELETE FROM piece WHERE id = ?", (id_,))


def _expire(connection: sqlite3.Connection, oldest_ns: int, most: int) -> None:
    query = "SELECT id FROM piece WHERE to_ns < ? ORDER BY to_ns LIMIT ?"
    for (id_,) in connection.execute(query, (oldest_ns, most)).fetchall():
        _delete(connection, id_)


def _cells(heads: Sequence[Head]) -> int:
    """Return how many times and values these are with all their fields."""
    fields = {name for head in heads for name in head.fields}
    return sum(head.rows for head in heads) * (1 + len(fields))


def _batches(heads: Sequence[Head]) -> Iterator[list[Head]]:
    """Part blobs so that those of one part, with all their fields, are no more than fits."""
    batch: list[Head] = []
    fields: set[str] = set()
    rows = 0
    for head in heads:
        wider = fields.union(head.fields)
        if batch and (rows + head.rows) * (1 + len(wider)) > 2 * CELLS_MAX:
            yield batch
            batch, wider, rows = [], set(head.fields), 0
        batch.append(head)
        fields, rows = wider, rows + head.rows
    yield batch


def merged(parts: Sequence[Part], fields: tuple[str, ...]) -> tuple[Devices, Rows]:
    """Return rows by device and time, each once; of several values the last counts.

    Args:
        parts: in the order in which they were written.
        fields: all that parts have.
    """
    return _sorted(*_gathered(parts, fields))


def _gathered(parts: Sequence[Part], fields: tuple[str, ...]) -> tuple[Devices, Rows]:
    """Put parts one after the other, with all their fields."""
    values = np.full((sum(len(part.devices) for part in parts), len(fields)), np.nan)
    end = 0
    for part in parts:
        start, end = end, end + len(part.devices)
        if part.fields == fields:
            values[start:end] = part.rows.values
        else:
            values[start:end, [fields.index(name) for name in part.fields]] = part.rows.values
    times_ns = np.concatenate([part.rows.times_ns for part in parts])
    return np.concatenate([part.devices for part in parts]), Rows(times_ns, values)


def _sorted(devices: Devices, rows: Rows) -> tuple[Devices, Rows]:
    """Sort rows by device and time; of several with the same, later values count."""
    short = devices.astype(np.uint16) if devices.max() < 2**16 else devices
    order = np.argsort(short, kind="stable")  # numbers this small are sorted by digits
    numbers, times_ns = devices[order], rows.times_ns[order]
    same = numbers[1:] == numbers[:-1]
    if (same & (times_ns[1:] <= times_ns[:-1])).any():
        order = np.lexsort((rows.times_ns, devices))
        numbers, times_ns = devices[order], rows.times_ns[order]
    again = (numbers[1:] == numbers[:-1]) & (times_ns[1:] == times_ns[:-1])
    starts = np.flatnonzero(np.append(True, ~again))
    values = series_blocks.latest(starts, rows.values[order])
    return numbers[starts], Rows(times_ns[starts], values)
