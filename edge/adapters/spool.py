"""Telemetry on disk until the gateway itself says that it is safe.

One SQLite file. Every commit is synced to disk (``synchronous=FULL``): the same file remembers
which commands have acted, which a power cut must not undo, and the last seconds before a power
cut are telemetry that matters. One sync for everything that waited costs little at this rate.

A boot id names a numbering and sequences count from 1 within it; every run of the agent begins
with a new one, so that a number is never used twice, whatever the disk forgot. The spool is bounded
in bytes and in age; at a bound the oldest batches go, counted and never silently. Not thread-safe:
use it from one thread.
"""

import logging
import secrets
import sqlite3
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

from msgspec import Struct

from contract import codec
from contract.errors import Unreachable
from contract.telemetry import Reading
from edge.core import batcher

log = logging.getLogger(__name__)

ROW_BYTES = 128
"""What SQLite and its index need beside a batch's own bytes, rounded up."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS batch (
    id INTEGER PRIMARY KEY,
    device TEXT NOT NULL, boot TEXT NOT NULL, sequence INTEGER NOT NULL,
    at_ns INTEGER NOT NULL, data BLOB NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS batch_number ON batch (device, boot, sequence);
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


class Batch(Struct, frozen=True):
    """Readings of one device that are to be kept under its current numbering."""

    device: str
    boot: str
    ticks: Sequence[Reading]


class Acked(Struct, frozen=True):
    """What the gateway acknowledged of one numbering, no more than was ever sent."""

    device: str
    boot: str
    sequence: int


class Want(Struct, frozen=True):
    """Which batches are to leave: those of one numbering that follow a sequence."""

    device: str
    boot: str
    after: int
    limit: int


class Waiting(Struct, frozen=True):
    """A batch that the gateway has not acknowledged."""

    sequence: int
    at_ns: int
    """Time of its last tick."""
    data: bytes
    oldest: int
    """Lowest sequence of the same numbering that is still held."""


class Loss(StrEnum):
    """Why a batch was dropped."""

    BYTES = "bytes"
    """The spool was at `Bounds.max_bytes`."""
    AGE = "age"
    """It was older than `Bounds.max_age_s`."""
    DISK = "disk"
    """The disk refused to take it for too long."""


class Bounds(Struct, frozen=True):
    """What the spool may hold."""

    max_bytes: int
    max_age_s: float = 7 * 86400.0


class Spool:
    """Batches in order of arrival, by device and numbering."""

    def __init__(self, connection: sqlite3.Connection, bounds: Bounds) -> None:
        self._db = connection
        self._bounds = bounds
        self._numbers: dict[str, tuple[str, int]] = {}
        self.held_bytes: int = connection.execute(
            f"SELECT coalesce(sum(length(data) + {ROW_BYTES}), 0) FROM batch"  # noqa: S608 - a constant
        ).fetchone()[0]
        self.oldest_ns = self._oldest_ns()
        """Time of the oldest batch that is held; 0 when none is."""
        self.dropped = Counter(
            {
                Loss(name): count
                for name, count in connection.execute("SELECT name, value FROM counter")
                if name in list(Loss)
            }
        )
        """Batches lost, ever."""

    def held(self) -> list[tuple[str, str, int]]:
        """Return device, boot and highest sequence of all that is held, oldest first."""
        return self._db.execute(
            "SELECT device, boot, max(sequence) FROM batch GROUP BY device, boot ORDER BY min(id)"
        ).fetchall()

    def commit(
        self,
        batches: Sequence[Batch],
        acks: Sequence[Acked] = (),
        *,
        now_ns: int = 0,
        lost: int = 0,
    ) -> dict[tuple[str, str], int]:
        """Forget what is acknowledged and keep what is new, in one transaction.

        Args:
            batches: what is new.
            acks: what the gateway holds.
            now_ns: plant time, for the bound of age.
            lost: batches that the disk refused before, to be counted on it.

        Returns:
            The highest sequence of each device and boot among the new ones.

        Raises:
            Unreachable: the disk refused; nothing has changed.
        """
        before = self.held_bytes, self.dropped.copy(), self._numbers.copy(), self.oldest_ns
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for ack in acks:
                self._forget(ack)
            newest = {(batch.device, batch.boot): self._keep(batch) for batch in batches}
            self.dropped[Loss.DISK] += lost
            self._make_room(now_ns - int(self._bounds.max_age_s * 1e9))
            if self.dropped != before[1]:
                self._write_counters()
            self.oldest_ns = self._oldest_ns()
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            self.held_bytes, self.dropped, self._numbers, self.oldest_ns = before
            raise Unreachable(f"the spool cannot be written: {error}") from error
        return newest

    def take(self, wants: Sequence[Want]) -> list[list[Waiting]]:
        """Return the batches that are asked for, in order; an empty list where none is left."""
        return [self._take(want) for want in wants]

    def _take(self, want: Want) -> list[Waiting]:
        rows = self._db.execute(
            "SELECT sequence, at_ns, data FROM batch "
            "WHERE device = ? AND boot = ? AND sequence > ? ORDER BY sequence LIMIT ?",
            (want.device, want.boot, want.after, want.limit),
        ).fetchall()
        if not rows:
            return []
        (oldest,) = self._db.execute(
            "SELECT min(sequence) FROM batch WHERE device = ? AND boot = ?",
            (want.device, want.boot),
        ).fetchone()
        return [Waiting(sequence, at_ns, data, oldest) for sequence, at_ns, data in rows]

    def _keep(self, batch: Batch) -> int:
        sequence = self._next(batch.device, batch.boot)
        data = codec.encode(batcher.message(batch.ticks, batch.boot, sequence))
        self._db.execute(
            "INSERT INTO batch (device, boot, sequence, at_ns, data) VALUES (?, ?, ?, ?, ?)",
            (batch.device, batch.boot, sequence, batch.ticks[-1].time_ns, data),
        )
        self._numbers[batch.device] = batch.boot, sequence
        self.held_bytes += len(data) + ROW_BYTES
        return sequence

    def _next(self, device: str, boot: str) -> int:
        """Return the next number; one that goes on after a restart has its last batch here."""
        known, last = self._numbers.get(device, ("", 0))
        if known != boot:
            last = self._db.execute(
                "SELECT coalesce(max(sequence), 0) FROM batch WHERE device = ? AND boot = ?",
                (device, boot),
            ).fetchone()[0]
        return last + 1

    def _forget(self, ack: Acked) -> None:
        rows = self._db.execute(
            "DELETE FROM batch WHERE device = ? AND boot = ? AND sequence <= ? "
            "RETURNING length(data)",
            (ack.device, ack.boot, ack.sequence),
        ).fetchall()
        self.held_bytes -= sum(length + ROW_BYTES for (length,) in rows)

    def _make_room(self, too_old_ns: int) -> None:
        """Drop the oldest batches until the rest fits, and count them."""
        while row := self._db.execute(
            "SELECT id, at_ns, length(data) FROM batch ORDER BY id LIMIT 1"
        ).fetchone():
            number, at_ns, length = row
            if self.held_bytes > self._bounds.max_bytes:
                self.dropped[Loss.BYTES] += 1
            elif at_ns < too_old_ns:
                self.dropped[Loss.AGE] += 1
            else:
                break
            self._db.execute("DELETE FROM batch WHERE id = ?", (number,))
            self.held_bytes -= length + ROW_BYTES

    def _write_counters(self) -> None:
        self._db.executemany(
            "INSERT INTO counter VALUES (?, ?) "
            "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            list(self.dropped.items()),
        )

    def _oldest_ns(self) -> int:
        row = self._db.execute("SELECT at_ns FROM batch ORDER BY id LIMIT 1").fetchone()
        return row[0] if row else 0


def outgoing(waiting: Waiting, *, historical: bool) -> bytes:
    """Return a kept batch as it must leave now.

    What is known only now is put behind the rest: the bytes are those that encoding the whole
    message again would give, for a tenth of the time.
    """
    mark = b',"historical":true' if historical else b""
    return b'%b,"oldest":%d%b}' % (waiting.data[:-1], waiting.oldest, mark)
