"""A worker's log: what it has acknowledged, byte for byte, until it has been worked off.

One SQLite file in WAL mode. `Journal.append` commits a group of packets and returns when it is on
the disk, so an acknowledgement sent after it is a promise that survives a power failure. The same
file keeps what stands for the groups that are gone: detector checkpoints, how far the series store
has been fed, and what the dedupe knows. The file belongs to one worker at a time.

Pages of deleted groups are used again and not given back to the file system: the file stays as
large as the journal once was, which its bounds allow anyway, and no page is ever moved about.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from msgspec import Struct

from cloud.adapters import journal_schema as schema
from cloud.adapters import sqlite_file
from contract.errors import Refused, Unreachable

NOTED_BYTES_MAX = 8_000_000
"""Scores that wait in memory for a commit; a commit of more would hold up the others."""
SLICE_BYTES, SLICE_GROUPS = 4_000_000, 2000
"""So much is deleted in one transaction: a few milliseconds."""
PAUSE_S = 0.002
"""Between slices, so that several appends get their turn; winning back space is in no hurry."""
QUARANTINE_MAX = 1000
"""So many of the newest quarantined messages wait for the main process; older ones give way."""
QUARANTINE_PAYLOAD_BYTES_MAX = 16 * 1024
QUARANTINE_TEXT_MAX = 1000
WAL_PAGES = 512
"""After so many pages the log of the log is copied to its place: 4 MB, a few milliseconds."""

Quarantined = tuple[int, int, str, bytes, str]
"""Number, plant time in ns, topic, payload, reason."""


class Group(Struct, frozen=True):
    """Packets that were taken together."""

    id: int
    received_ns: int
    """Plant time at which the worker took them."""
    packets: bytes
    """Whole MQTT PUBLISH packets, byte for byte."""
    scores: bytes | None
    """What `Journal.note_scores` was given for the group."""


class Checkpoint(Struct, frozen=True):
    """A detector's state as of a group."""

    device: str
    position: int
    """The newest group that the state has seen."""
    data: bytes


class Fill(Struct, frozen=True):
    """How full a journal is."""

    bytes: int
    max_bytes: int
    oldest_ns: int
    """Plant time of the oldest group, or now where there is none."""
    now_ns: int
    max_age_s: float

    @property
    def share(self) -> float:
        """0 (empty) to 1 (takes no more): the worse of bytes and age."""
        age_s = max(0, self.now_ns - self.oldest_ns) / 1e9
        return min(1.0, max(self.bytes / self.max_bytes, age_s / self.max_age_s))


class Journal:
    """Append-only log of groups, bounded in bytes and age. May be called from any thread."""

    def __init__(self, path: Path, max_bytes: int, max_age_s: float) -> None:
        """Open or create the log.

        Args:
            path: the SQLite file; its folder is made where it is missing.
            max_bytes: groups are refused when those that wait, with their scores, take so much.
            max_age_s: groups are refused when the oldest waits for so long, in plant time.

        Raises:
            Refused: another worker has the file open, or it is damaged.
        """
        self._max_bytes, self._max_age_s = max_bytes, max_age_s
        self._lock, self._noting = Lock(), Lock()
        self._noted: dict[int, bytes] = {}
        self._noted_bytes = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        # Exclusive: keeps a second gateway out, and needs no shared memory beside the file.
        self._connection = sqlite_file.connect(path, timeout_s=1.0, exclusive=True)
        self._connection.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
        self._connection.executescript(schema.SCHEMA)
        self._pruned_to = self._one("SELECT pruned_to FROM state") or 0
        self._newest = max(self._pruned_to, self._one("SELECT max(id) FROM groups") or 0)
        self._bytes = self._measure(sys.maxsize)
        self._oldest_ns = self._find_oldest()

    def close(self) -> None:
        """Close the file. Scores noted since the last commit are dropped: they can be made anew."""
        self._connection.close()

    def append(
        self,
        packets: bytes,
        count: int,
        received_ns: int,
        quarantined: Sequence[tuple[str, bytes, str]] = (),
    ) -> int:
        """Keep a group, what of it was quarantined, and the scores noted since, in one commit.

        Args:
            packets: the accepted packets; may be empty when there is only something to quarantine.
            count: how many messages they are.
            received_ns: plant time now.
            quarantined: topic, payload and reason of each message that cannot be used.

        Returns:
            The group's number; without packets the number of the newest group.

        Raises:
            Refused: the journal or the disk is full. Nothing was kept, so nothing may be
                acknowledged; the senders keep their data and the same group can be appended later.
        """
        with self._lock:
            size = len(packets) + schema.GROUP_OVERHEAD_BYTES if packets else 0
            if packets:
                self._check_room(size, count, received_ns)
            number = self._newest + 1 if packets else self._newest
            try:
                with self._commit():
                    if packets:
                        self._connection.execute(
                            "INSERT INTO groups VALUES (?, ?, ?)", (number, received_ns, packets)
                        )
                    self._put_quarantined(received_ns, quarantined)
            except Unreachable as error:
                raise Refused(
                    f"the journal cannot be written ({error}): {count} messages are not taken;"
                    " make room on the disk"
                ) from error
            self._newest, self._bytes = number, self._bytes + size
            if packets and self._oldest_ns is None:
                self._oldest_ns = received_ns
            return number

    def note_scores(self, group_id: int, data: bytes) -> None:
        """Keep a group's scores with it. They are on the disk after the next append or save.

        Raises:
            Unreachable: too many wait, and the disk does not let them be written; these scores are
                not kept.
        """
        if group_id <= self._pruned_to:
            return
        if self._noted_bytes + len(data) > NOTED_BYTES_MAX:
            with self._lock, self._commit():
                pass
        with self._noting:
            self._noted_bytes += len(data) - len(self._noted.get(group_id, b""))
            self._noted[group_id] = data

    def read(self, after_id: int, max_bytes: int) -> list[Group]:
        """Return the groups that follow a number, in order: what fits, but at least one."""
        groups: list[Group] = []
        size = 0
        with self._lock:
            rows = self._connection.execute(schema.READ, (max(after_id, self._pruned_to),))
            try:
                for number, received_ns, packets, kept in rows:
                    scores = self._noted.get(number, kept)
                    size += len(packets) + len(scores or b"")
                    if groups and size > max_bytes:
                        break
                    groups.append(Group(number, received_ns, packets, scores))
            finally:
                rows.close()  # an open one would keep the WAL from starting over
        return groups

    def newest(self) -> int:
        """Return the number of the newest group that there ever was; 0: none."""
        return self._newest

    def save(
        self,
        checkpoints: Sequence[Checkpoint],
        *,
        fed: int,
        positions: tuple[int, bytes] | None,
        prune_to: int,
    ) -> None:
        """Keep in one commit what stands for groups, and drop the groups that it stands for.

        The commit is what counts. The space of dropped groups is won back after it, slice by
        slice, so that other threads can append in between; a crash there leaves the rest to the
        next save.

        Args:
            checkpoints: replace those of the same devices.
            fed: the series store has all groups up to this one.
            positions: a group, and a snapshot of the dedupe after exactly the groups up to it: it
                must not know of packets that have been taken but not appended. None: as before.
            prune_to: groups up to this one are needed no more.

        Raises:
            Unreachable: the disk does not let it. Before the commit nothing is changed.
            ValueError: a number names a group that does not exist, or groups would be dropped that
                are not fed or not in the snapshot.
        """
        with self._lock:
            stands_for = positions[0] if positions else self._one(schema.SNAPSHOT_OF) or 0
            if max(fed, stands_for) > self._newest or prune_to > min(fed, stands_for):
                raise ValueError(
                    f"cannot prune to {prune_to}: fed to {fed}, positions of {stands_for},"
                    f" newest {self._newest}"
                )
            prune_to = max(prune_to, self._pruned_to)
            with self._commit(prune_to):
                self._connection.executemany(
                    schema.PUT_CHECKPOINT,
                    [(each.device, each.position, each.data) for each in checkpoints],
                )
                self._connection.execute(schema.PUT_MARKS, (fed, prune_to))
                if positions:
                    self._connection.execute(schema.PUT_SNAPSHOT, positions)
                    self._connection.execute("DELETE FROM inherited")
            self._pruned_to = prune_to
            self._oldest_ns = self._find_oldest()
        while self._drop_slice():
            time.sleep(PAUSE_S)

    def checkpoints(self) -> dict[str, Checkpoint]:
        """Return the saved checkpoint of each device."""
        with self._lock:
            rows = self._connection.execute("SELECT device, position, data FROM checkpoints")
            return {row[0]: Checkpoint(*row) for row in rows.fetchall()}

    def fed(self) -> int:
        """Return up to which group the series store has everything."""
        with self._lock:
            return self._one("SELECT fed FROM state") or 0

    def positions(self) -> tuple[int, bytes] | None:
        """Return the newest group that the dedupe's snapshot stands for, and the snapshot."""
        with self._lock:
            query = "SELECT positions_id, positions FROM state WHERE positions_id IS NOT NULL"
            found: tuple[int, bytes] | None = self._connection.execute(query).fetchone()
        return found

    def inherited(self) -> list[bytes]:
        """Return the snapshots of earlier workers, to be restored before `positions`.

        The first `save` drops them: its own snapshot holds what they knew.
        """
        with self._lock:
            rows = self._connection.execute("SELECT positions FROM inherited ORDER BY id")
            return [snapshot for (snapshot,) in rows.fetchall()]

    def inherit(
        self,
        checkpoints: Sequence[Checkpoint],
        snapshots: Sequence[bytes],
        quarantined: Sequence[Quarantined],
        start: int,
    ) -> None:
        """Begin a new journal with what earlier workers left; its groups are numbered from `start`.

        Every checkpoint then stands for group `start`: no older group is left.
        """
        with self._lock:
            with self._commit():
                self._connection.executemany(
                    schema.PUT_CHECKPOINT,
                    [(each.device, start, each.data) for each in checkpoints],
                )
                self._connection.executemany(
                    "INSERT INTO inherited (positions) VALUES (?)", [(each,) for each in snapshots]
                )
                self._connection.executemany(
                    schema.ADD_QUARANTINED,
                    [(at_ns, *message) for _, at_ns, *message in quarantined],
                )
                self._connection.execute(schema.PUT_MARKS, (start, start))
            self._newest = self._pruned_to = start

    def quarantined(self, limit: int) -> list[Quarantined]:
        """Return messages that could not be used, oldest first."""
        with self._lock:
            query = "SELECT id, at_ns, topic, payload, reason FROM quarantine ORDER BY id LIMIT ?"
            return self._connection.execute(query, (limit,)).fetchall()

    def forget_quarantined(self, up_to_id: int) -> None:
        """Drop quarantined messages up to and including a number: the main process has them.

        Raises:
            Unreachable: the disk does not let it; they stay.
        """
        with self._lock, self._commit():
            self._connection.execute("DELETE FROM quarantine WHERE id <= ?", (up_to_id,))

    def fill(self, now_ns: int) -> Fill:
        """Tell how full the journal is at a plant time."""
        oldest_ns = self._oldest_ns
        oldest_ns = now_ns if oldest_ns is None else oldest_ns
        return Fill(self._bytes, self._max_bytes, oldest_ns, now_ns, self._max_age_s)

    def _check_room(self, size: int, count: int, now_ns: int) -> None:
        then = f"{count} messages are not taken until what waits has been written to the store"
        if self._bytes + size > self._max_bytes:
            raise Refused(f"the journal holds {self._bytes} of {self._max_bytes} bytes: {then}")
        waits_s = 0.0 if self._oldest_ns is None else (now_ns - self._oldest_ns) / 1e9
        if waits_s > self._max_age_s:
            raise Refused(
                f"the journal's oldest group waits for {waits_s:.0f} of {self._max_age_s:.0f}"
                f" seconds: {then}"
            )

    @contextmanager
    def _commit(self, prune_to: int = 0) -> Iterator[None]:
        """Commit what the block does together with the scores noted since the last commit."""
        with self._noting:
            noted = dict(self._noted)
        grown = 0
        with sqlite_file.transaction(self._connection):
            for number, data in noted.items():
                if number > max(prune_to, self._pruned_to):
                    grown += len(data) - (self._one(schema.SCORE_BYTES, number) or 0)
                    self._connection.execute(schema.ADD_SCORE, (number, data))
            yield
        self._bytes += grown
        with self._noting:
            for number, data in noted.items():
                if self._noted.get(number) is data:
                    del self._noted[number]
            self._noted_bytes = sum(map(len, self._noted.values()))

    def _put_quarantined(self, now_ns: int, quarantined: Sequence[tuple[str, bytes, str]]) -> None:
        if not quarantined:
            return
        self._connection.executemany(
            schema.ADD_QUARANTINED,
            [
                (now_ns, _text(topic), payload[:QUARANTINE_PAYLOAD_BYTES_MAX], _text(reason))
                for topic, payload, reason in quarantined[-QUARANTINE_MAX:]
            ],
        )
        self._connection.execute(
            "DELETE FROM quarantine WHERE id <= (SELECT max(id) FROM quarantine) - ?",
            (QUARANTINE_MAX,),
        )

    def _drop_slice(self) -> bool:
        """Delete some of the groups that are needed no more; return whether there are others."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT id, length(packets) FROM groups WHERE id <= ? ORDER BY id LIMIT ?",
                (self._pruned_to, SLICE_GROUPS),
            ).fetchall()
            if not rows:
                return False
            last = size = 0
            for number, length in rows:
                last, size = number, size + length
                if size >= SLICE_BYTES:
                    break
            freed = self._measure(last)
            with sqlite_file.transaction(self._connection):
                self._connection.execute("DELETE FROM groups WHERE id <= ?", (last,))
                self._connection.execute("DELETE FROM scores WHERE group_id <= ?", (last,))
            self._bytes -= freed
            return last < rows[-1][0] or len(rows) == SLICE_GROUPS

    def _measure(self, up_to_id: int) -> int:
        of_groups = self._one(schema.GROUP_BYTES, up_to_id)
        of_scores = self._one("SELECT sum(length(data)) FROM scores WHERE group_id <= ?", up_to_id)
        return (of_groups or 0) + (of_scores or 0)

    def _find_oldest(self) -> int | None:
        query = "SELECT received_ns FROM groups WHERE id > ? ORDER BY id LIMIT 1"
        return self._one(query, self._pruned_to)

    def _one(self, query: str, *values: int) -> int | None:
        row: tuple[int | None] | None = self._connection.execute(query, values).fetchone()
        return row and row[0]


def _text(text: str) -> str:
    """Return hostile text short and in a shape that can be stored."""
    return text[:QUARANTINE_TEXT_MAX].encode(errors="backslashreplace").decode()
