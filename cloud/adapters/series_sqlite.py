"""The embedded series store: a SQLite file of our own, written in frames and kept in columns.

A write is one blob per frame, as it is: rows cost little when they come. Once in a while what came
is sorted by device and packed (`series_blocks`); `series_file` tells the layout and reads it.
Tags other than the device are not kept, since the list of assets has them.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Lock

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from cloud.adapters import series, series_blocks, sqlite_file
from cloud.adapters.series import Frame, Points, Rejected
from cloud.adapters.series_blocks import Rows
from cloud.adapters.series_file import DEVICE_BITS, VERSION, unframed
from cloud.adapters.series_files import DAY_NS, Files
from contract.errors import Refused

COMPACT_NS = 60 * 10**9
CELLS_MAX = 2_000_000
"""Times and values in recent blobs before they are packed: 16 MB, packed in about 0.1 s."""
BLOBS_MAX = 5000
DEVICES_MAX = 2**DEVICE_BITS - 1
WAL_PAGES = 4000
"""Pages in the write-ahead log before they move to the file: recent blobs are gone by then."""
WAL_BYTES_MAX = 64 * 2**20

LAYOUT = f"""
CREATE TABLE device (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE recent (
    id INTEGER PRIMARY KEY, measurement TEXT NOT NULL, fields BLOB NOT NULL, rows INTEGER NOT NULL,
    from_ns INTEGER NOT NULL, to_ns INTEGER NOT NULL, written_ns INTEGER NOT NULL,
    devices BLOB NOT NULL, data BLOB NOT NULL);
CREATE TABLE piece (
    id INTEGER PRIMARY KEY, measurement TEXT NOT NULL, from_ns INTEGER NOT NULL,
    to_ns INTEGER NOT NULL, width INTEGER NOT NULL, coding BLOB NOT NULL);
CREATE INDEX piece_by_time ON piece (measurement, to_ns);
CREATE INDEX piece_by_age ON piece (to_ns);
CREATE TABLE block (id INTEGER PRIMARY KEY, data BLOB NOT NULL);
PRAGMA user_version = {VERSION};
"""
"""``devices``: numbers, int32. ``data``: times, int64, then values row by row, float64."""


class _State(Struct):
    """What the writer knows of its file."""

    devices: dict[str, int]
    cells: int = 0
    blobs: int = 0
    since_ns: int = 0
    """When the oldest recent blob was written; 0 if there is none."""


class _Head(Struct, frozen=True):
    """A recent blob without its data."""

    id: int
    fields: tuple[str, ...]
    rows: int


class SqliteSeries:
    """Rows in a file of our own. May be called from any thread."""

    def __init__(self, path: Path, keep_days: float, now_ns: Callable[[], int]) -> None:
        """Open or create the file.

        Args:
            path: the SQLite file.
            keep_days: rows older than this are not shown, and deleted piece by piece, in days of
                plant time.
            now_ns: the plant clock.

        Raises:
            Refused: the file is damaged, no SQLite file, or of another version.
        """
        self._keep_ns, self._now_ns = round(keep_days * DAY_NS), now_ns
        self._writing = Lock()
        self._writer = sqlite_file.connect(path, timeout_s=10.0)
        try:
            self._prepare(path)
        except BaseException:
            self._writer.close()
            raise
        self._state: _State | None = None
        self._files = Files(lambda _: [path], keep_days, now_ns)

    def _prepare(self, path: Path) -> None:
        self._writer.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
        self._writer.execute(f"PRAGMA journal_size_limit = {WAL_BYTES_MAX}")
        ((version,),) = self._writer.execute("PRAGMA user_version")
        tables = self._writer.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
        if version == 0 and tables == 0:
            with sqlite_file.transaction(self._writer):
                for statement in LAYOUT.split(";"):
                    self._writer.execute(statement)
        elif version != VERSION:
            raise Refused(
                f"{path} has layout {version}, this program writes {VERSION}: put the file aside"
            )

    def close(self) -> None:
        """Close the file."""
        self._files.close()
        self._writer.close()

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
        return self._files.read(measurement, device, fields, from_ns, to_ns, max_points)

    def last(self, measurement: str, device: str) -> dict[str, float]:
        """See `series.Series.last`."""
        return self._files.last(measurement, device)

    def write(self, frames: Sequence[Frame]) -> Rejected:
        """See `series.Series.write`."""
        good, rejected = series.sift(frames)
        with self._writing:
            # What is known counts again only when the transaction has ended well.
            state, self._state = self._state or self._known(), None
            now_ns = self._now_ns()
            with sqlite_file.transaction(self._writer):
                for frame in _joined(good):
                    for part in _parts(frame):
                        self._append(state, part, now_ns)
                if _is_due(state, now_ns):
                    self._compact()
                    state.cells = state.blobs = state.since_ns = 0
            self._state = state
        return rejected

    def _known(self) -> _State:
        devices = dict(self._writer.execute("SELECT name, id FROM device").fetchall())
        query = (
            "SELECT count(*), coalesce(sum(length(devices) / 4 + length(data) / 8), 0),"
            " coalesce(min(written_ns), 0) FROM recent"
        )
        ((blobs, cells, since_ns),) = self._writer.execute(query)
        return _State(devices, cells, blobs, since_ns)

    def _append(self, state: _State, frame: Frame, now_ns: int) -> None:
        rows = len(frame.devices)
        try:
            numbers = np.fromiter(map(state.devices.__getitem__, frame.devices), np.int32, rows)
        except KeyError:  # it happens once for each device
            for name in dict.fromkeys(frame.devices):
                if name not in state.devices:
                    self._add_device(state, name)
            numbers = np.array([state.devices[name] for name in frame.devices], np.int32)
        self._writer.execute(
            "INSERT INTO recent (measurement, fields, rows, from_ns, to_ns, written_ns, devices,"
            " data) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                frame.measurement,
                msgspec.json.encode(frame.fields),
                rows,
                int(frame.times_ns.min()),
                int(frame.times_ns.max()),
                now_ns,
                numbers.tobytes(),
                frame.times_ns.tobytes() + frame.values.tobytes(),
            ),
        )
        state.cells += rows + frame.values.size
        state.blobs += 1
        state.since_ns = state.since_ns or now_ns

    def _add_device(self, state: _State, name: str) -> None:
        if len(state.devices) >= DEVICES_MAX:
            raise Refused(f"the telemetry file knows {DEVICES_MAX} devices, and no more fit")
        added = self._writer.execute("INSERT INTO device (name) VALUES (?)", (name,))
        state.devices[name] = added.lastrowid or 0

    def _compact(self) -> None:
        """Make pieces of all recent blobs, and delete pieces that are too old."""
        query = "SELECT measurement, id, fields, rows FROM recent ORDER BY id"
        heads: dict[str, list[_Head]] = {}
        for measurement, id_, fields, rows in self._writer.execute(query):
            names = msgspec.json.decode(fields, type=tuple[str, ...])
            heads.setdefault(measurement, []).append(_Head(id_, names, rows))
        made = 0
        for measurement, all_ in heads.items():
            for part in _batches(all_):
                self._write_piece(measurement, part)
                made += 1
        self._writer.execute("DELETE FROM recent")
        self._expire(2 * made + 1)

    def _write_piece(self, measurement: str, heads: Sequence[_Head]) -> None:
        fields = tuple(dict.fromkeys(name for head in heads for name in head.fields))
        devices, rows = self._collect(heads, fields)
        devices, rows = _sorted(devices, rows)
        from_ns, to_ns = int(rows.times_ns.min()), int(rows.times_ns.max())
        coding, packed = series_blocks.pack(rows.times_ns, from_ns, fields, rows.values)
        added = self._writer.execute(
            "INSERT INTO piece (measurement, from_ns, to_ns, width, coding) VALUES (?, ?, ?, ?, ?)",
            (measurement, from_ns, to_ns, packed.itemsize, series_blocks.encode(coding)),
        )
        first = (added.lastrowid or 0) << DEVICE_BITS
        starts = _starts(devices)
        cuts = (np.append(starts, len(devices)) * packed.itemsize).tolist()
        data = memoryview(packed.tobytes())
        ids = (devices[starts].astype(np.int64) + first).tolist()
        blocks = ((id_, data[a:b]) for id_, a, b in zip(ids, cuts, cuts[1:], strict=False))
        self._writer.executemany("INSERT INTO block (id, data) VALUES (?, ?)", blocks)

    def _collect(
        self, heads: Sequence[_Head], fields: tuple[str, ...]
    ) -> tuple[NDArray[np.int32], Rows]:
        """Put blobs one after the other, with all their fields."""
        total = sum(head.rows for head in heads)
        devices, times_ns = np.empty(total, np.int32), np.empty(total, np.int64)
        values = np.full((total, len(fields)), np.nan)
        end = 0
        for head in heads:
            start, end = end, end + head.rows
            query = "SELECT devices, data FROM recent WHERE id = ?"
            numbers, data = self._writer.execute(query, (head.id,)).fetchone()
            devices[start:end] = np.frombuffer(numbers, np.int32)
            rows = unframed(data, head.rows)
            times_ns[start:end] = rows.times_ns
            if head.fields == fields:
                values[start:end] = rows.values
            else:
                values[start:end, [fields.index(name) for name in head.fields]] = rows.values
        return devices, Rows(times_ns, values)

    def _expire(self, most: int) -> None:
        query = "SELECT id FROM piece WHERE to_ns < ? ORDER BY to_ns LIMIT ?"
        oldest_ns = max(0, self._now_ns() - self._keep_ns)
        for (piece,) in self._writer.execute(query, (oldest_ns, most)).fetchall():
            span = (piece << DEVICE_BITS, piece + 1 << DEVICE_BITS)
            self._writer.execute("DELETE FROM block WHERE id >= ? AND id < ?", span)
            self._writer.execute("DELETE FROM piece WHERE id = ?", (piece,))


def _joined(frames: Sequence[Frame]) -> Iterator[Frame]:
    """Make one of the frames of a measurement that follow each other with the same fields."""
    runs: list[list[Frame]] = []
    newest: dict[str, list[Frame]] = {}
    for frame in frames:
        run = newest.get(frame.measurement)
        if run and run[0].fields == frame.fields:
            run.append(frame)
        else:
            newest[frame.measurement] = [frame]
            runs.append(newest[frame.measurement])
    for run in runs:
        yield (
            run[0]
            if len(run) == 1
            else run[0]._replace(
                devices=[device for frame in run for device in frame.devices],
                sites=[site for frame in run for site in frame.sites],
                times_ns=np.concatenate([frame.times_ns for frame in run]),
                values=np.concatenate([frame.values for frame in run]),
            )
        )


def _parts(frame: Frame) -> Iterator[Frame]:
    """Cut a frame so that a blob has no more than `CELLS_MAX` numbers."""
    rows, most = len(frame.devices), CELLS_MAX // (1 + len(frame.fields))
    if rows <= most:
        yield frame
        return
    for a in range(0, rows, most):
        b = a + most
        yield frame._replace(
            devices=frame.devices[a:b],
            sites=frame.sites[a:b],
            times_ns=frame.times_ns[a:b],
            values=frame.values[a:b],
        )


def _batches(heads: Sequence[_Head]) -> Iterator[list[_Head]]:
    """Part blobs so that those of one part, with all their fields, are no more than fits."""
    part: list[_Head] = []
    fields: set[str] = set()
    rows = 0
    for head in heads:
        wider = fields | set(head.fields)
        if part and (rows + head.rows) * (1 + len(wider)) > 2 * CELLS_MAX:
            yield part
            part, wider, rows = [], set(head.fields), 0
        part.append(head)
        fields, rows = wider, rows + head.rows
    yield part


def _is_due(state: _State, now_ns: int) -> bool:
    return state.blobs > 0 and (
        state.cells >= CELLS_MAX
        or state.blobs >= BLOBS_MAX
        or not state.since_ns <= now_ns < state.since_ns + COMPACT_NS
    )


def _starts(devices: NDArray[np.int32]) -> NDArray[np.int64]:
    return np.flatnonzero(np.append(True, devices[1:] != devices[:-1]))


def _sorted(devices: NDArray[np.int32], rows: Rows) -> tuple[NDArray[np.int32], Rows]:
    """Sort rows by device and time; of several with the same, later values count."""
    short = devices.astype(np.uint16) if devices.max() < 2**16 else devices
    order = np.argsort(short, kind="stable")  # small numbers are sorted ten times as quickly
    numbers, times_ns = devices[order], rows.times_ns[order]
    same = numbers[1:] == numbers[:-1]
    if (same & (times_ns[1:] <= times_ns[:-1])).any():
        order = np.lexsort((rows.times_ns, devices))
        numbers, times_ns = devices[order], rows.times_ns[order]
    again = (numbers[1:] == numbers[:-1]) & (times_ns[1:] == times_ns[:-1])
    starts = np.flatnonzero(np.append(True, ~again))
    values = series_blocks.latest(starts, rows.values[order])
    return numbers[starts], Rows(times_ns[starts], values)
