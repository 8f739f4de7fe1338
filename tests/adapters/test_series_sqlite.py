"""The embedded series store: its file, its limits, and what becomes too old."""

import math
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cloud.adapters import series_file, series_files, series_pieces, series_sqlite
from cloud.adapters.series import Frame, Row
from cloud.adapters.series_files import DAY_NS, Files, count, everything, instants
from cloud.adapters.series_pieces import FANOUT
from cloud.adapters.series_sqlite import COMPACT_NS, SqliteSeries
from contract.errors import Refused, Unreachable
from tests.frames import frame, frames

S = 10**9
START_NS = 1_795_000_000 * S


class Clock:
    def __init__(self) -> None:
        self.ns = START_NS

    def now_ns(self) -> int:
        return self.ns


def row(at_ns: int, device: str = "pump-1", *, measurement: str = "pump", **fields: float) -> Row:
    return Row(measurement, {"device": device, "site": "north"}, fields, at_ns)


def write(series: SqliteSeries, *rows: Row) -> list[tuple[Row, str]]:
    return series.write(frames(rows))


def compact(series: SqliteSeries, clock: Clock) -> None:
    clock.ns += COMPACT_NS
    series.write([])
    assert series._writer.execute("SELECT count(*) FROM recent").fetchone() == (0,)


def times(series: SqliteSeries | Files, device: str = "pump-1") -> list[int]:
    return series.read("pump", device, ["flow"], 0, 2**62, 1000).times_ns


def block_of(n: int, devices: int = 10) -> Frame:
    """Rows of several devices, one a second, with values of every kind."""
    k = np.arange(n)
    values = np.array([k * 0.01, np.round(np.sin(k), 3), np.sin(k), k % 2 * 1.0, np.ones(n)])
    return Frame(
        "pump",
        ("flow", "power", "noise", "alarm", "quality"),
        [f"pump-{i % devices}" for i in range(n)],
        ["north"] * n,
        START_NS + k // devices * S,
        values.T,
    )


def test_reopening_finds_everything_and_goes_on(tmp_path: Path) -> None:
    clock = Clock()
    for i in range(6):
        series = SqliteSeries(tmp_path / "t.db", 30, clock.now_ns)
        new = frame("pump-1", START_NS + i, {"flow": 1.0, f"new{i}": 1.0})
        assert series.write([new]) == []
        assert len(times(series)) == i + 1
        if i % 2:
            compact(series, clock)
        series.close()


def test_packing_changes_nothing(tmp_path: Path) -> None:
    clock = Clock()
    series = SqliteSeries(tmp_path / "t.db", 30, clock.now_ns)
    sent = block_of(1000)
    series.write([sent._replace(measurement="other"), sent])
    before = list(everything(tmp_path / "t.db"))
    compact(series, clock)
    after = list(everything(tmp_path / "t.db"))
    assert len(before) == len(after) == 20
    for old, new in zip(before, after, strict=True):
        assert old[:3] == new[:3]
        assert (old.times_ns == new.times_ns).all()
        assert (old.values == new.values).all()
    series.close()


def test_packing_is_due_by_age_by_numbers_and_by_blobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    series = SqliteSeries(tmp_path / "t.db", 30, clock.now_ns)

    def blobs() -> int:
        return int(series._writer.execute("SELECT count(*) FROM recent").fetchone()[0])

    write(series, row(START_NS, flow=1.0))
    clock.ns += COMPACT_NS - 1
    write(series, row(START_NS + 1, flow=1.0))
    assert blobs() == 2
    clock.ns += 1
    write(series, row(START_NS + 2, flow=1.0))
    assert blobs() == 0
    monkeypatch.setattr(series_sqlite, "BLOBS_MAX", 3)
    for i in range(2):
        write(series, row(START_NS + 3 + i, flow=1.0))
    assert blobs() == 2
    write(series, row(START_NS + 5, flow=1.0))
    assert blobs() == 0
    monkeypatch.setattr(series_sqlite, "CELLS_MAX", 20)
    write(series, *[row(START_NS + 6 + i, flow=1.0) for i in range(9)])
    assert blobs() == 1
    series.close()
    series = SqliteSeries(tmp_path / "t.db", 30, clock.now_ns)  # it counts what is there
    write(series, row(START_NS + 15, flow=1.0))
    assert blobs() == 0
    write(series, *[row(START_NS + 16 + i, flow=1.0) for i in range(100)])
    assert times(series) == [START_NS + i for i in range(116)]
    series.close()


def test_what_is_too_old_goes_of_every_measurement_and_device(tmp_path: Path) -> None:
    clock = Clock()
    path = tmp_path / "t.db"
    series = SqliteSeries(path, 2, clock.now_ns)
    write(series, *[row(START_NS, f"pump-{i}", flow=1.0) for i in range(5)])
    write(series, row(START_NS, measurement="fan", speed=0.5))
    compact(series, clock)
    write(series, *[row(START_NS + DAY_NS, f"pump-{i}", flow=1.0) for i in range(3)])
    compact(series, clock)
    clock.ns = START_NS + 2 * DAY_NS + 1
    assert [times(series, f"pump-{i}") for i in range(5)] == [[START_NS + DAY_NS]] * 3 + [[]] * 2
    assert series.last("fan", "pump-1") == {}
    assert len(instants(path)) == 8, "it is not shown but still there"
    write(series, row(clock.ns, "pump-9", flow=1.0))
    compact(series, clock)
    assert len(instants(path)) == 4
    assert times(series, "pump-9") == [clock.ns - COMPACT_NS]
    series.close()


def test_a_file_that_loses_as_much_as_it_gains_does_not_grow(tmp_path: Path) -> None:
    clock = Clock()
    path = tmp_path / "t.db"
    series = SqliteSeries(path, 0.01, clock.now_ns)
    sizes = []
    for i in range(60):
        sent = block_of(600)
        series.write([sent._replace(times_ns=sent.times_ns + i * COMPACT_NS)])
        compact(series, clock)
        sizes.append(series._writer.execute("PRAGMA page_count").fetchone()[0])
    assert sizes[-1] == sizes[40] <= 1.05 * sizes[20]
    series.close()


def test_small_pieces_become_larger_ones_and_large_ones_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    path = tmp_path / "t.db"
    series = SqliteSeries(path, 30, clock.now_ns)
    pieces: list[list[int]] = []

    def some(n: int) -> None:
        for i in range(n):
            write(series, row(clock.ns, flow=float(i)), row(clock.ns, "pump-2", power=1.0))
            compact(series, clock)
            levels = series._writer.execute("SELECT level FROM piece ORDER BY id").fetchall()
            pieces.append([level for (level,) in levels])

    some(FANOUT**2 + FANOUT + 3)
    assert pieces[FANOUT - 2 : FANOUT] == [[0] * (FANOUT - 1), [1]]
    assert pieces[-1] == [2, 1, 0, 0, 0]
    before = list(everything(path))
    monkeypatch.setattr(series_pieces, "CELLS_MAX", 3 * 2 * FANOUT - 1)
    some(3 * FANOUT)
    assert len(pieces[-1]) > 3 * FANOUT, "too large to become one"
    blocks = series._writer.execute("SELECT count(*) FROM block").fetchone()[0]
    assert blocks == 2 * len(pieces[-1]), "blocks go with their pieces"
    after = list(everything(path))
    assert len(after[0].times_ns) == len(before[0].times_ns) + 3 * FANOUT
    series.close()


def test_names_that_differ_only_in_case_are_different(tmp_path: Path) -> None:
    series = SqliteSeries(tmp_path / "t.db", 30, lambda: START_NS)
    write(series, row(START_NS, flow=1.0, Flow=2.0), row(START_NS, measurement="PUMP", flow=3.0))
    assert series.last("pump", "pump-1") == {"flow": 1.0, "Flow": 2.0}
    assert series.last("PUMP", "pump-1") == {"flow": 3.0}
    series.close()


def test_a_later_value_wins_and_a_gap_erases_nothing(tmp_path: Path) -> None:
    clock = Clock()
    series = SqliteSeries(tmp_path / "t.db", 30, clock.now_ns)
    for i in range(3 * FANOUT):
        series.write([frame("pump-1", START_NS, {"flow": i, "power": None})])
        series.write([frame("pump-1", START_NS, {"power": -i, "flow": math.nan})])
        if i % 3:
            compact(series, clock)
        assert series.last("pump", "pump-1") == {"flow": i, "power": -i}
    levels = series._writer.execute("SELECT level FROM piece ORDER BY id").fetchall()
    assert levels == [(1,), (1,)], "values were packed and packed again"
    assert times(series) == [START_NS]
    series.close()


def test_averages_of_slices_are_averages_of_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    series = SqliteSeries(tmp_path / "t.db", 30, clock.now_ns)
    series.write([block_of(5000, devices=1)])
    compact(series, clock)
    span = (START_NS + 7 * S, START_NS + 4000 * S, 13)
    whole = series.read("pump", "pump-0", ["flow", "noise"], *span)
    monkeypatch.setattr(series_files, "SLICE_ROWS", 100)
    parts = series.read("pump", "pump-0", ["flow", "noise"], *span)
    assert parts.times_ns == whole.times_ns
    assert len(parts.times_ns) == 13
    for field in ("flow", "noise"):
        assert parts.columns[field] == pytest.approx(whole.columns[field], rel=1e-12)
    all_ = series.read("pump", "pump-0", ["flow"], START_NS, START_NS + 5000 * S, 5000)
    assert all_.columns["flow"] == [i * 0.01 for i in range(5000)]
    series.close()


def test_large_values_have_an_average(tmp_path: Path) -> None:
    series = SqliteSeries(tmp_path / "t.db", 30, lambda: START_NS)
    write(series, *[row(START_NS + i, flow=1.7e308) for i in range(100)])
    found = series.read("pump", "pump-1", ["flow"], START_NS, START_NS + 100, 2)
    assert found.columns["flow"] == pytest.approx([1.7e308, 1.7e308])
    series.close()


def test_a_locked_file_loses_nothing(tmp_path: Path) -> None:
    series = SqliteSeries(tmp_path / "t.db", 30, lambda: START_NS)
    write(series, row(START_NS, flow=1.0))
    series._writer.execute("PRAGMA busy_timeout = 10")
    other = sqlite3.connect(tmp_path / "t.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unreachable, match="locked"):
        write(series, row(START_NS + 1, power=2.0))
    assert series.last("pump", "pump-1") == {"flow": 1.0}
    other.execute("ROLLBACK")
    other.close()
    assert write(series, row(START_NS + 1, power=2.0)) == []
    assert series.last("pump", "pump-1") == {"power": 2.0}
    series.close()


def test_a_full_disk_keeps_nothing_of_a_write_and_its_repetition_all(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    series = SqliteSeries(path, 30, lambda: START_NS)
    series._writer.execute("PRAGMA max_page_count = 12")
    sent = block_of(1000)
    with pytest.raises(Unreachable, match="full"):
        series.write([sent])
    assert instants(path) == set()
    series._writer.execute("PRAGMA max_page_count = 100000")
    assert series.write([sent]) == []
    assert len(instants(path)) == 1000
    assert instants(path, "flow") == instants(path)
    assert instants(path, "no_such_field") == set()
    assert (count(path), count(path, "flow"), count(path, "none")) == (1000, 1000, 0)
    series.close()


def test_another_file_is_not_taken_for_the_store(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    path.write_text("this is a text and certainly no database, since it says so " * 50)
    with pytest.raises(Refused, match="not a database"):
        SqliteSeries(path, 30, lambda: START_NS)
    with pytest.raises(Unreachable, match="not a database"):
        instants(path)
    assert path.read_text().startswith("this is a text")


def test_a_file_of_another_layout_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    old = sqlite3.connect(path)
    old.execute("CREATE TABLE centrifugal_pump (device, time_ns)")
    old.close()
    with pytest.raises(Refused, match="put the file aside"):
        SqliteSeries(path, 30, lambda: START_NS)
    newer = sqlite3.connect(path)
    newer.execute(f"PRAGMA user_version = {series_file.VERSION + 1}")
    newer.close()
    with pytest.raises(Unreachable, match="layout"):
        instants(path)


def test_several_files_are_read_as_one(tmp_path: Path) -> None:
    clock = Clock()
    paths = [tmp_path / "old.db", tmp_path / "new.db", tmp_path / "none.db"]
    files = Files(lambda _: paths, 30, clock.now_ns)
    assert times(files) == []
    assert files.last("pump", "pump-1") == {}
    old, new = (SqliteSeries(path, 30, clock.now_ns) for path in paths[:2])
    write(old, row(START_NS, flow=1.0), row(START_NS + 1, flow=1.0, power=1.0))
    write(new, row(START_NS + 1, flow=2.0), row(START_NS + 2, "pump-2", flow=9.0))
    assert times(files) == [START_NS, START_NS + 1]
    assert files.last("pump", "pump-1") == {"flow": 2.0, "power": 1.0}
    assert files.last("pump", "pump-2") == {"flow": 9.0}
    compact(new, clock)
    write(new, row(START_NS + 3, flow=3.0))
    assert times(files) == [START_NS, START_NS + 1, START_NS + 3]
    for part in (old, new, files):
        part.close()


WRITER = """
import sys
from pathlib import Path
import numpy as np
from cloud.adapters import series_pieces, series_sqlite
from cloud.adapters.series import Frame
series_sqlite.BLOBS_MAX, series_pieces.FANOUT = 3, 3
series = series_sqlite.SqliteSeries(Path(sys.argv[1]), 30, lambda: 0)
i = len(series.read("pump", "d0", ["flow"], 0, 2**62, 10**9).times_ns)
names, sites = [f"d{k}" for k in range(20)], ["north"] * 20
while True:
    times, values = np.full(20, i), np.full((20, 1), float(i))
    series.write([Frame("pump", ("flow",), names, sites, times, values)])
    print(i, flush=True)
    i += 1
"""


def test_what_was_written_survives_kills(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    command = [sys.executable, "-c", WRITER, str(path)]
    for kill in range(6):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path.cwd()) as child:
            assert child.stdout is not None
            for _ in range(40 + 7 * kill):
                written = int(child.stdout.readline())
            os.kill(child.pid, signal.SIGKILL)
            written = int((child.stdout.read().split() or [str(written)])[-1])
        found = list(everything(path))
        assert len(found) == 20
        lengths = {len(device.times_ns) for device in found}
        assert len(lengths) == 1, "a write was kept in part"
        assert lengths.pop() >= written + 1
        for device in found:
            assert (device.values[:, 0] == device.times_ns).all()
            assert (np.diff(device.times_ns) == 1).all()


def test_a_reader_sees_every_row_while_another_process_writes_and_packs(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    command = [sys.executable, "-c", WRITER, str(path)]
    files = Files(lambda _: [path], 30, lambda: 0)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path.cwd()) as child:
        assert child.stdout is not None
        for _ in range(100):
            written = int(child.stdout.readline())
            found = files.read("pump", "d7", ["flow"], 0, 2**62, 10**6)
            assert found.times_ns[: written + 1] == list(range(written + 1))
            assert files.last("pump", "d7")["flow"] >= written
        child.kill()
    files.close()
