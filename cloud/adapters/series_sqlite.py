"""The embedded series store: a SQLite file of our own, written in frames and kept in columns.

A write is one blob per frame, as it is: rows cost little when they come. Once in a while what came
is sorted by device and packed (`series_pieces`); `series_file` tells the layout and reads it.
Tags other than the device are not kept, since the list of assets has them.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Lock

import msgspec
import numpy as np
from msgspec import Struct

from cloud.adapters import series, series_pieces, sqlite_file
from cloud.adapters.series import Frame, Points, Rejected
from cloud.adapters.series_file import DEVICE_BITS, VERSION
from cloud.adapters.series_files import DAY_NS, Files
from cloud.adapters.series_pieces import CELLS_MAX
from contract.errors import Refused

COMPACT_NS = 60 * 10**9
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
    id INTEGER PRIMARY KEY, measurement TEXT NOT NULL, level INTEGER NOT NULL,
    rows INTEGER NOT NULL, from_ns INTEGER NOT NULL, to_ns INTEGER NOT NULL,
    width INTEGER NOT NULL, coding BLOB NOT NULL);
CREATE INDEX piece_by_order ON piece (measurement);
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
                    series_pieces.compact(self._writer, max(0, now_ns - self._keep_ns))
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


def _is_due(state: _State, now_ns: int) -> bool:
    return state.blobs > 0 and (
        state.cells >= CELLS_MAX
        or state.blobs >= BLOBS_MAX
        or not state.since_ns <= now_ns < state.since_ns + COMPACT_NS
    )
