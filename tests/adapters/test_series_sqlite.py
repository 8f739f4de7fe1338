"""The embedded series store: its file, its limits, and what becomes too old."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from cloud.adapters.series import Row
from cloud.adapters.series_sqlite import DAY_NS, SqliteSeries
from contract.errors import Refused, Unreachable

START_NS = 1_795_000_000 * 10**9


class Clock:
    def __init__(self) -> None:
        self.ns = START_NS

    def now_ns(self) -> int:
        return self.ns


def row(at_ns: int, device: str = "pump-1", *, measurement: str = "pump", **fields: float) -> Row:
    return Row(measurement, {"device": device}, fields, at_ns)


def wide(names: Iterable[str], at_ns: int = START_NS) -> Row:
    return Row("pump", {"device": "pump-1"}, dict.fromkeys(names, 1.0), at_ns)


def times(series: SqliteSeries, device: str = "pump-1") -> list[int]:
    return series.read("pump", device, ["flow"], 0, 2**62, 1000).times_ns


def test_reopening_finds_everything_and_goes_on(tmp_path: Path) -> None:
    for i in range(3):
        series = SqliteSeries(tmp_path / "t.db", 30, lambda: START_NS)
        assert series.write([wide(["flow", f"new{i}"], START_NS + i)]) == []
        assert len(times(series)) == i + 1
        series.close()


def test_what_is_too_old_goes_from_every_table_and_device(tmp_path: Path) -> None:
    clock = Clock()
    series = SqliteSeries(tmp_path / "t.db", 2, clock.now_ns)
    series.write([row(START_NS, f"pump-{i}", flow=1.0) for i in range(5)])
    series.write([row(START_NS + DAY_NS, f"pump-{i}", flow=1.0) for i in range(3)])
    series.write([row(START_NS, measurement="score", score=0.5)])
    clock.ns = START_NS + 2 * DAY_NS + 1
    series.write([row(clock.ns, "pump-9", flow=1.0)])
    assert [times(series, f"pump-{i}") for i in range(5)] == [[START_NS + DAY_NS]] * 3 + [[]] * 2
    assert series.last("score", "pump-1") == {}
    assert times(series, "pump-9") == [clock.ns]
    series.close()


def test_names_that_sqlite_cannot_tell_apart_are_refused(tmp_path: Path) -> None:
    series = SqliteSeries(tmp_path / "t.db", 30, lambda: START_NS)
    bad = [
        row(START_NS, Flow=2.0, power=1.0),
        row(START_NS, Device=1.0),
        row(START_NS, time_ns=1.0),
        row(START_NS, measurement="PUMP", flow=1.0),
        row(START_NS, measurement="sqlite_master", flow=1.0),
    ]
    rejected = series.write([row(START_NS, flow=1.0), *bad])
    assert [r for r, _ in rejected] == bad
    assert series.last("pump", "pump-1") == {"flow": 1.0}
    series.close()


def test_a_table_does_not_widen_for_ever(tmp_path: Path) -> None:
    series = SqliteSeries(tmp_path / "t.db", 30, lambda: START_NS)
    for start in (0, 500):
        assert series.write([wide(f"f{start + i}" for i in range(500))]) == []
    [(_, reason)] = series.write([row(START_NS + 1, one_more=1.0)])
    assert "fields already" in reason
    series.close()


def test_a_locked_file_loses_nothing(tmp_path: Path) -> None:
    series = SqliteSeries(tmp_path / "t.db", 30, lambda: START_NS)
    series.write([row(START_NS, flow=1.0)])
    series._writer.execute("PRAGMA busy_timeout = 10")
    other = sqlite3.connect(tmp_path / "t.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unreachable, match="locked"):
        series.write([row(START_NS + 1, power=2.0)])
    other.execute("ROLLBACK")
    other.close()
    assert series.last("pump", "pump-1") == {"flow": 1.0}
    assert series.write([row(START_NS + 1, power=2.0)]) == []
    assert series.last("pump", "pump-1") == {"power": 2.0}
    series.close()


def test_columns_added_in_a_write_that_failed_are_added_again(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    series = SqliteSeries(path, 30, lambda: START_NS)
    series._writer.execute("PRAGMA max_page_count = 8")
    rows = [wide((f"f{k}" for k in range(40)), START_NS + i) for i in range(1000)]
    with pytest.raises(Unreachable, match="full"):
        series.write(rows)
    series._writer.execute("PRAGMA max_page_count = 100000")
    assert series.write(rows) == []
    assert series.last("pump", "pump-1") == rows[-1].fields
    series.close()


def test_another_file_is_not_taken_for_the_store(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    path.write_text("this is a text and certainly no database, since it says so " * 50)
    with pytest.raises(Refused, match="not a database"):
        SqliteSeries(path, 30, lambda: START_NS)
    assert path.read_text().startswith("this is a text")


WRITER = """
import sys
from pathlib import Path
from cloud.adapters.series import Row
from cloud.adapters.series_sqlite import SqliteSeries
series = SqliteSeries(Path(sys.argv[1]), 30, lambda: 0)
for i in range(10**9):
    series.write([Row("pump", {"device": f"d{k}"}, {"flow": float(i)}, i) for k in range(20)])
    print(i, flush=True)
"""


def test_what_was_written_survives_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    command = [sys.executable, "-c", WRITER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path.cwd()) as child:
        assert child.stdout is not None
        for _ in range(100):
            written = int(child.stdout.readline())
        os.kill(child.pid, signal.SIGKILL)
        written = int((child.stdout.read().split() or [str(written)])[-1])
    series = SqliteSeries(path, 30, lambda: 0)
    counts = {
        len(series.read("pump", f"d{k}", ["flow"], 0, 2**62, 10**9).times_ns) for k in range(20)
    }
    assert len(counts) == 1, "a write was kept in part"
    assert counts.pop() >= written + 1
    series.close()
