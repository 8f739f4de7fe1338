"""The intake log: what the gateway has acknowledged, byte for byte, until it has been worked off.

One SQLite file in WAL mode. `Journal.append` commits batches and the positions that they lead to
in one transaction and returns when both are on the disk, so an acknowledgement sent after it is a
promise that survives a power failure. The file belongs to one gateway at a time.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import msgspec
from msgspec import Struct

from cloud.adapters import sqlite_file
from cloud.core.intake import Position
from contract.errors import Refused, Unreachable

ENTRY_OVERHEAD_BYTES = 100
"""What an entry takes beside its payload, roughly."""
BOOTS_PER_DEVICE_MAX = 16
"""Positions kept for one device; a sender that restarts for ever must not fill the disk.

A forgotten boot that comes back starts from its batches' ``oldest``; what it repeats is stored
under the same time again, which changes nothing."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    id INTEGER PRIMARY KEY AUTOINCREMENT, device TEXT NOT NULL, site TEXT NOT NULL,
    boot TEXT NOT NULL, sequence INTEGER NOT NULL, received_ns INTEGER NOT NULL,
    payload BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS positions (
    device TEXT NOT NULL, boot TEXT NOT NULL, contiguous INTEGER NOT NULL, beyond BLOB NOT NULL,
    touched INTEGER NOT NULL, PRIMARY KEY (device, boot)
) WITHOUT ROWID;
"""


class Entry(Struct, frozen=True):
    """One batch as it came from the wire."""

    device: str
    site: str
    boot: str
    sequence: int
    received_ns: int
    """Plant time at which the gateway took it."""
    payload: bytes


class Journal:
    """Append-only log of entries with bounded size. May be called from any thread."""

    def __init__(self, path: Path, max_bytes: int = 1_000_000_000) -> None:
        """Open or create the log.

        Args:
            path: the SQLite file.
            max_bytes: entries are refused when those that wait take so much.

        Raises:
            Refused: another gateway has the file open, or it is damaged.
        """
        self._max_bytes = max_bytes
        self._lock = Lock()
        # Exclusive: keeps a second gateway out, and needs no shared memory beside the file.
        self._connection = sqlite_file.connect(path, timeout_s=1.0, exclusive=True)
        self._connection.executescript(_SCHEMA)
        self._bytes = self._measure()
        newest = self._connection.execute("SELECT max(touched) FROM positions").fetchone()
        self._touched: int = newest[0] or 0

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @property
    def waiting_bytes(self) -> int:
        """What the waiting entries take."""
        return self._bytes

    def append(
        self,
        entries: Sequence[Entry],
        positions: Mapping[tuple[str, str], Position] | None = None,
    ) -> None:
        """Keep entries and the positions of their (device, boot) in one durable commit.

        Raises:
            Refused: the log or the disk is full. Nothing was kept, so nothing may be acknowledged;
                the senders keep their data and the same entries can be appended later.
        """
        size = sum(_size(entry) for entry in entries)
        with self._lock:
            if self._bytes + size > self._max_bytes:
                raise Refused(
                    f"the journal holds {self._bytes} of {self._max_bytes} bytes: "
                    "it takes more when what waits has been worked off"
                )
            try:
                with sqlite_file.transaction(self._connection):
                    self._connection.executemany(
                        "INSERT INTO entries (device, site, boot, sequence, received_ns, payload)"
                        " VALUES (?, ?, ?, ?, ?, ?)",
                        [msgspec.structs.astuple(entry) for entry in entries],
                    )
                    for (device, boot), position in (positions or {}).items():
                        self._put_position(device, boot, position)
            except Unreachable as error:
                raise Refused(f"the journal cannot be written: {error}") from error
            self._bytes += size

    def read(self, after_id: int, limit: int) -> list[tuple[int, Entry]]:
        """Return the entries that follow a number, in the order in which they came."""
        query = (
            "SELECT id, device, site, boot, sequence, received_ns, payload FROM entries"
            " WHERE id > ? ORDER BY id LIMIT ?"
        )
        rows = self._query(query, after_id, limit)
        return [(number, Entry(*rest)) for number, *rest in rows]

    def position(self, device: str, boot: str) -> Position:
        """Return what has been received of one boot of a device."""
        query = "SELECT contiguous, beyond FROM positions WHERE device = ? AND boot = ?"
        for contiguous, beyond in self._query(query, device, boot):
            return Position(contiguous, frozenset(msgspec.json.decode(beyond, type=list[int])))
        return Position()

    def prune(self, up_to_id: int) -> None:
        """Delete the entries up to and including a number: they have been worked off.

        Raises:
            Unreachable: the disk does not let it; the entries stay.
        """
        with self._lock:
            with sqlite_file.transaction(self._connection):
                freed = self._measure(up_to_id)
                self._connection.execute("DELETE FROM entries WHERE id <= ?", (up_to_id,))
            self._bytes -= freed

    def _put_position(self, device: str, boot: str, position: Position) -> None:
        self._touched += 1
        beyond = msgspec.json.encode(sorted(position.beyond))
        self._connection.execute(
            "INSERT OR REPLACE INTO positions VALUES (?, ?, ?, ?, ?)",
            (device, boot, position.contiguous, beyond, self._touched),
        )
        self._connection.execute(
            "DELETE FROM positions WHERE device = ? AND touched <= ("
            " SELECT touched FROM positions WHERE device = ? ORDER BY touched DESC"
            " LIMIT 1 OFFSET ?)",
            (device, device, BOOTS_PER_DEVICE_MAX),
        )

    def _measure(self, up_to_id: int = sys.maxsize) -> int:
        query = f"SELECT sum(length(payload) + {ENTRY_OVERHEAD_BYTES}) FROM entries WHERE id <= ?"  # noqa: S608 (a constant)
        total: int | None = self._connection.execute(query, (up_to_id,)).fetchone()[0]
        return total or 0

    def _query(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._connection.execute(query, values).fetchall()


def _size(entry: Entry) -> int:
    return len(entry.payload) + ENTRY_OVERHEAD_BYTES
