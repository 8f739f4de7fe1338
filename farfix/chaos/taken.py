"""What the agents really took, known without trusting a program: a trigger in the spool's file.

A batch enters the spool and our own table in one transaction of the agent's, so no kill can part
them, and nothing that the agent deletes later leaves our table.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

from contract import codec
from contract.telemetry import Quality, TelemetryBatch, readings
from edge.adapters.spool import open_database

WAIT_S = 10.0
_NOTE = """
CREATE TABLE taken (id INTEGER PRIMARY KEY, device TEXT NOT NULL, data BLOB NOT NULL);
CREATE INDEX taken_device ON taken (device);
CREATE TRIGGER note_taken AFTER INSERT ON batch BEGIN
    INSERT INTO taken (device, data) VALUES (new.device, new.data);
END;
"""

Values = dict[str, float]
"""The signals of one reading that have a value worth keeping."""
Readings = dict[int, Values]
"""One device's readings by event time in ns."""


class _Times(Struct):
    times_ns: list[int]


_TIMES = msgspec.json.Decoder(_Times)


class Spool:
    """One agent's file, seen from outside."""

    def __init__(self, file: Path) -> None:
        """Make the file as the agent would at its first start, and have it note what comes in."""
        self._file = file
        self.counted = 0
        """Readings, when `count` was last asked."""
        self._last = 0
        connection = open_database(file)
        connection.executescript(_NOTE)
        connection.close()

    def count(self) -> int:
        """Return how many readings were taken so far."""
        with self._open() as database:
            rows = database.execute("SELECT id, data FROM taken WHERE id > ?", (self._last,))
            for number, data in rows:
                self.counted += len(_TIMES.decode(data).times_ns)
                self._last = number
        return self.counted

    def devices(self) -> list[str]:
        """Return the devices that were ever read."""
        with self._open() as database:
            return [d for (d,) in database.execute("SELECT DISTINCT device FROM taken ORDER BY 1")]

    def taken(self, device: str) -> Readings:
        """Return all readings of a device."""
        return self._readings("taken", device)

    def held(self, device: str) -> set[int]:
        """Return the times of a device's readings that the agent still keeps."""
        return set(self._readings("batch", device))

    def waiting(self) -> int:
        """Return how many batches the agent still keeps."""
        with self._open() as database:
            return int(database.execute("SELECT count(*) FROM batch").fetchone()[0])

    def _readings(self, table: str, device: str) -> Readings:
        query = f"SELECT data FROM {table} WHERE device = ?"  # noqa: S608 - two names of ours
        with self._open() as database:
            rows = database.execute(query, (device,)).fetchall()
        return {
            reading.time_ns: {
                name: value
                for name, value in reading.values.items()
                if value is not None and reading.quality[name] < Quality.BAD
            }
            for (data,) in rows
            for reading in readings(codec.decode(data, TelemetryBatch))
        }

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        database = sqlite3.connect(f"file:{self._file}?mode=ro", uri=True, timeout=WAIT_S)
        try:
            yield database
        finally:
            database.close()
