"""The embedded series store: one SQLite file, one wide table for each measurement.

A table is named like its measurement and has a column for each field, added when it first comes.
Its key is device and time; further tags of a row are not kept, since the list of assets has them.
"""

# ruff: noqa: S608 (identifiers are quoted by `_quoted`, values are bound)

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

from cloud.adapters import series, sqlite_file
from cloud.adapters.series import Frame, Points, Rejected, Row
from contract.errors import Unreachable

EXPIRE_EVERY_NS = 60 * 10**9
"""Often, so that each time only little is to be deleted."""
DAY_NS = 86_400 * 10**9
COLUMNS_MAX = 1000

Columns = dict[str, dict[str, None]]
"""Fields of each measurement, in the order in which they came."""


class SqliteSeries:
    """Rows in a file of our own. May be called from any thread."""

    def __init__(self, path: Path, keep_days: float, now_ns: Callable[[], int]) -> None:
        """Open or create the file.

        Args:
            path: the SQLite file.
            keep_days: rows older than this are deleted, in days of plant time.
            now_ns: the plant clock.

        Raises:
            Refused: the file is damaged or no SQLite file.
        """
        self._keep_ns, self._now_ns, self._expired_ns = round(keep_days * DAY_NS), now_ns, 0
        self._writing, self._reading = Lock(), Lock()
        self._writer = sqlite_file.connect(path, timeout_s=10.0)
        self._reader = sqlite_file.connect(path, timeout_s=10.0)  # never waits for the writer
        self._columns = self._known_columns()

    def close(self) -> None:
        """Close the file."""
        self._reader.close()
        self._writer.close()

    def write(self, frames: Sequence[Frame]) -> Rejected:
        """See `series.Series.write`."""
        kept, rejected = series.sift(frames)
        good = [series.row(frame, i) for frame in kept for i in range(len(frame.devices))]
        groups = defaultdict(list)
        for row in good:
            names = tuple(name for name, value in row.fields.items() if value is not None)
            groups[row.measurement, names].append(row)
        with self._writing:
            columns = {measurement: dict(known) for measurement, known in self._columns.items()}
            with sqlite_file.transaction(self._writer):
                for (measurement, names), group in groups.items():
                    reason = self._make_room(columns, measurement, names)
                    if reason:
                        rejected += [(row, reason) for row in group]
                    else:
                        self._upsert(measurement, names, group)
                self._expire(columns)
            self._columns = columns  # only now can readers see them
        return rejected

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
        known = [name for name in fields if name in self._columns.get(measurement, ())]
        if not known or to_ns <= from_ns:
            return Points([], {name: [] for name in fields})
        columns, table = [_quoted(name) for name in known], _quoted(measurement)
        some = " OR ".join(f"{column} IS NOT NULL" for column in columns)
        scope = f"FROM {table} WHERE device = ? AND time_ns >= ? AND time_ns < ? AND ({some})"
        raw = f"SELECT time_ns, {', '.join(columns)} {scope} ORDER BY time_ns LIMIT ?"
        rows = self._query(raw, device, from_ns, to_ns, max_points + 1)
        if len(rows) > max_points:
            span = series.bucket_ns(from_ns, to_ns, max_points)
            means = ", ".join(f"avg({column})" for column in columns)
            start = f"{from_ns} + (time_ns - {from_ns}) / {span} * {span}"
            mean = f"SELECT {start}, {means} {scope} GROUP BY 1 ORDER BY 1"
            rows = self._query(mean, device, from_ns, to_ns)
        found = {name: [row[i] for row in rows] for i, name in enumerate(known, 1)}
        empty: list[float | None] = [None] * len(rows)
        return Points([row[0] for row in rows], {name: found.get(name, empty) for name in fields})

    def last(self, measurement: str, device: str) -> dict[str, float]:
        """See `series.Series.last`."""
        names = list(self._columns.get(measurement, ()))
        if not names:
            return {}
        columns, table = ", ".join(map(_quoted, names)), _quoted(measurement)
        newest = f"SELECT {columns} FROM {table} WHERE device = ? ORDER BY time_ns DESC LIMIT 1"
        for row in self._query(newest, device):
            return {n: value for n, value in zip(names, row, strict=True) if value is not None}
        return {}

    def _known_columns(self) -> Columns:
        tables = self._writer.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        known: Columns = {}
        for (table,) in tables.fetchall():
            info = self._writer.execute(f"PRAGMA table_info({_quoted(table)})")
            known[table] = {row[1]: None for row in info if row[1] not in ("device", "time_ns")}
        return known

    def _make_room(self, columns: Columns, measurement: str, names: tuple[str, ...]) -> str:
        """Add what is missing of a table; say why not if it cannot be."""
        table = _quoted(measurement)
        if measurement not in columns:
            if measurement.lower().startswith("sqlite_"):
                return f"SQLite keeps the name {measurement} for itself"
            same = [t for t in columns if t.lower() == measurement.lower()]
            if same:
                return f"measurement {measurement} differs from {same[0]} only in case"
            self._writer.execute(
                f"CREATE TABLE {table} (device TEXT NOT NULL, time_ns INTEGER NOT NULL,"
                " PRIMARY KEY (device, time_ns)) WITHOUT ROWID"
            )
            columns[measurement] = {}
        known = columns[measurement]
        taken = {name.lower(): name for name in ("device", "time_ns", *known)}
        missing = [name for name in names if name not in known]
        for name in missing:
            if name.lower() in taken:
                return f"field {name} differs from {taken[name.lower()]} at most in case"
            taken[name.lower()] = name
        if len(known) + len(missing) > COLUMNS_MAX:
            return f"measurement {measurement} has {len(known)} fields already"
        for name in missing:
            self._writer.execute(f"ALTER TABLE {table} ADD COLUMN {_quoted(name)} REAL")
            known[name] = None
        return ""

    def _upsert(self, measurement: str, names: tuple[str, ...], rows: list[Row]) -> None:
        columns = [_quoted(name) for name in names]
        news = ", ".join(f"{column} = excluded.{column}" for column in columns)
        self._writer.executemany(
            f"INSERT INTO {_quoted(measurement)} (device, time_ns, {', '.join(columns)})"
            f" VALUES (?, ?{', ?' * len(columns)})"
            f" ON CONFLICT (device, time_ns) DO UPDATE SET {news}",
            [(r.tags["device"], r.time_ns, *(r.fields[name] for name in names)) for r in rows],
        )

    def _expire(self, columns: Columns) -> None:
        now_ns = self._now_ns()
        if now_ns < self._expired_ns + EXPIRE_EVERY_NS:
            return
        self._expired_ns = now_ns
        for table in map(_quoted, columns):
            # One seek per device instead of a walk through all rows, which may be millions.
            self._writer.execute(
                "WITH RECURSIVE known(device) AS ("
                f" SELECT min(device) FROM {table} UNION ALL"
                f" SELECT (SELECT min(device) FROM {table} WHERE device > known.device)"
                " FROM known WHERE known.device IS NOT NULL)"
                f" DELETE FROM {table} WHERE time_ns < ? AND device IN (SELECT device FROM known)",
                (now_ns - self._keep_ns,),
            )

    def _query(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        try:
            with self._reading:
                return self._reader.execute(query, values).fetchall()
        except sqlite3.OperationalError as error:
            if sqlite_file.is_bug(error):
                raise
            raise Unreachable(f"telemetry file: {error}") from error


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
