"""Telemetry on disk until the gateway itself says that it is safe.

One SQLite file. Every commit is synced to disk (``synchronous=FULL``): the same file remembers
which commands have acted, which a power cut must not undo, and the last seconds before a power
cut are telemetry that matters. One sync for everything that waited costs little at this rate.

A boot id names one run of the agent and sequences count from 1 within it, so that a number is
never used twice, whatever the disk forgot. The spool is bounded in bytes; at the bound the oldest
batches go, counted and never silently. Not thread-safe: use it from one thread.
"""

import logging
import secrets
import sqlite3
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from contract import codec
from contract.errors import Unreachable
from contract.telemetry import Reading, TelemetryBatch
from edge.core import batcher

log = logging.getLogger(__name__)

ROW_BYTES = 128
"""What SQLite and its index need beside a batch's own bytes, rounded up."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS batch (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    device TEXT NOT NULL, boot TEXT NOT NULL, sequence INTEGER NOT NULL,
    at_ns INTEGER NOT NULL, data BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS batch_order ON batch (device, id);
CREATE INDEX IF NOT EXISTS batch_name ON batch (device, boot, sequence);
CREATE TABLE IF NOT EXISTS counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS command (
    device TEXT NOT NULL, id TEXT NOT NULL, expires_ns INTEGER NOT NULL,
    answer BLOB, owed INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (device, id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS answer_owed ON command (owed) WHERE owed > 0;
"""


def open_database(path: Path) -> sqlite3.Connection:
    """Open the agent's file; a damaged one is put aside, since a device must go on unattended.

    Raises:
        Unreachable: the directory cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return _open(path)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            aside = path.with_name(f"{path.name}.damaged-{secrets.token_hex(4)}")
            log.exception("%s is damaged; put aside as %s, starting an empty one", path, aside)
            path.rename(aside)
            for suffix in ("-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            return _open(path)
    except (OSError, sqlite3.OperationalError) as error:
        raise Unreachable(f"spool {path} cannot be opened: {error}") from error


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA journal_size_limit=4194304")
    connection.execute("PRAGMA cache_size=-1024")
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        connection.close()
        raise sqlite3.DatabaseError(verdict)
    connection.executescript(_SCHEMA)
    return connection


class Waiting(Struct, frozen=True):
    """A batch that the gateway has not acknowledged."""

    id: int
    boot: str
    sequence: int
    at_ns: int
    """Time of its last tick."""
    data: bytes
    oldest: int
    """Lowest sequence of the same boot that is still held."""


class Acked(Struct, frozen=True):
    """What the gateway acknowledged of one device, and the last batch that was ever sent."""

    device: str
    boot: str
    sequence: int
    highest_id: int


class Spool:
    """Batches in order of arrival, per device."""

    def __init__(self, connection: sqlite3.Connection, max_bytes: int) -> None:
        self.boot = secrets.token_hex(8)
        self._db = connection
        self._max_bytes = max_bytes
        self._sequences: Counter[str] = Counter()
        self.held_bytes: int = connection.execute(
            f"SELECT coalesce(sum(length(data) + {ROW_BYTES}), 0) FROM batch"  # noqa: S608 - a constant
        ).fetchone()[0]
        row = connection.execute("SELECT value FROM counter WHERE name = 'dropped'").fetchone()
        self.dropped: int = row[0] if row else 0

    def commit(
        self, batches: Sequence[tuple[str, Sequence[Reading]]], acks: Sequence[Acked] = ()
    ) -> dict[str, int]:
        """Forget what is acknowledged and keep what is new, in one transaction.

        Returns:
            The number of each device's newest batch among the new ones.

        Raises:
            Unreachable: the disk refused; nothing has changed.
        """
        held, dropped, sequences = self.held_bytes, self.dropped, self._sequences.copy()
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for ack in acks:
                self._forget(ack)
            newest = {device: self._keep(device, ticks) for device, ticks in batches}
            self._make_room()
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            self.held_bytes, self.dropped, self._sequences = held, dropped, sequences
            raise Unreachable(f"the spool cannot be written: {error}") from error
        return newest

    def waiting(self, device: str, after_id: int, limit: int) -> list[Waiting]:
        """Return a device's next batches in order."""
        rows = self._db.execute(
            "SELECT id, boot, sequence, at_ns, data FROM batch "
            "WHERE device = ? AND id > ? ORDER BY id LIMIT ?",
            (device, after_id, limit),
        ).fetchall()
        oldest = {boot: self._oldest(device, boot) for boot in {row[1] for row in rows}}
        return [
            Waiting(number, boot, sequence, at_ns, data, oldest[boot])
            for number, boot, sequence, at_ns, data in rows
        ]

    def _oldest(self, device: str, boot: str) -> int:
        row = self._db.execute(
            "SELECT min(sequence) FROM batch WHERE device = ? AND boot = ?", (device, boot)
        ).fetchone()
        return int(row[0])

    def newest(self) -> dict[str, int]:
        """Return the number of each device's newest batch."""
        rows = self._db.execute("SELECT device, max(id) FROM batch GROUP BY device")
        return dict(rows.fetchall())

    def _keep(self, device: str, ticks: Sequence[Reading]) -> int:
        self._sequences[device] += 1
        sequence = self._sequences[device]
        data = codec.encode(batcher.message(ticks, self.boot, sequence))
        cursor = self._db.execute(
            "INSERT INTO batch (device, boot, sequence, at_ns, data) VALUES (?, ?, ?, ?, ?)",
            (device, self.boot, sequence, ticks[-1].time_ns, data),
        )
        self.held_bytes += len(data) + ROW_BYTES
        return cursor.lastrowid or 0

    def _forget(self, ack: Acked) -> None:
        rows = self._db.execute(
            "DELETE FROM batch WHERE device = ? AND boot = ? AND sequence <= ? AND id <= ? "
            "RETURNING length(data)",
            (ack.device, ack.boot, ack.sequence, ack.highest_id),
        ).fetchall()
        self.held_bytes -= sum(length + ROW_BYTES for (length,) in rows)

    def _make_room(self) -> None:
        """Drop the oldest batches until the rest fits, and count them on disk."""
        before = self.dropped
        while self.held_bytes > self._max_bytes:
            rows = self._db.execute(
                "DELETE FROM batch WHERE id = (SELECT min(id) FROM batch) RETURNING length(data)"
            ).fetchall()
            self.held_bytes -= rows[0][0] + ROW_BYTES
            self.dropped += 1
        if self.dropped != before:
            self._db.execute(
                "INSERT INTO counter VALUES ('dropped', ?) "
                "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                (self.dropped,),
            )


def outgoing(waiting: Waiting, *, historical: bool) -> bytes:
    """Return a kept batch as it must leave now."""
    batch = codec.decode(waiting.data, TelemetryBatch)
    return codec.encode(replace(batch, oldest=waiting.oldest, historical=historical))
