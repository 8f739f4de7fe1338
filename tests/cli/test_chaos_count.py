"""What a drill counts: readings known from the spool's own file, against what is stored."""

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from contract import codec
from contract.telemetry import Quality, TelemetryBatch
from edge.adapters.spool import open_database
from farfix.chaos.taken import Readings, Spool
from farfix.chaos.tally import Stored, Tally, compare

S = 10**9
readings = st.dictionaries(
    st.integers(0, 30), st.dictionaries(st.sampled_from("ab"), st.floats(0, 1)), max_size=12
)

WRITER = """
import sys; from pathlib import Path; from edge.adapters.spool import open_database
database = open_database(Path(sys.argv[1]))
for i in range(10**6):
    data = b'{"signals":["x"],"times_ns":[%d],"values":[[1.0]]}' % i
    database.execute('INSERT INTO batch (device, boot, sequence, at_ns, data)'
        ' VALUES (?, ?, ?, ?, ?)', ('a', 'b', i, i, data))
    print(i, flush=True)
"""


def batch(second: int, sequence: int, **values: float | None) -> TelemetryBatch:
    return TelemetryBatch(
        signals=list(values),
        times_ns=[second * S],
        values=[list(values.values())],
        boot="b",
        sequence=sequence,
    )


def keep(database: sqlite3.Connection, device: str, message: TelemetryBatch) -> None:
    """Write a batch as the agent does."""
    row = (device, message.boot, message.sequence, message.times_ns[-1], codec.encode(message))
    database.execute(
        "INSERT INTO batch (device, boot, sequence, at_ns, data) VALUES (?, ?, ?, ?, ?)", row
    )


def test_what_an_agent_took_is_known_whatever_it_deletes(tmp_path: Path) -> None:
    file = tmp_path / "edge" / "edge.db"
    spool = Spool(file)
    assert (spool.count(), spool.waiting(), spool.devices()) == (0, 0, [])
    its = open_database(file)
    keep(its, "a", batch(1, 1, x=1.5, y=None))
    keep(its, "b", batch(1, 1, x=7.0))
    assert spool.count() == 2
    keep(its, "a", batch(2, 2, x=2.5, y=0.1))
    its.execute("DELETE FROM batch WHERE sequence = 1")
    assert (spool.count(), spool.waiting(), spool.counted) == (3, 1, 3)
    assert spool.devices() == ["a", "b"]
    assert spool.taken("a") == {S: {"x": 1.5}, 2 * S: {"x": 2.5, "y": 0.1}}
    assert spool.held("a") == {2 * S}
    its.close()
    open_database(file).close()  # the agent's next start leaves our table alone
    assert spool.count() == 3


def test_a_bad_value_is_none_worth_keeping(tmp_path: Path) -> None:
    file = tmp_path / "edge.db"
    spool = Spool(file)
    marked = replace(batch(1, 1, x=1.0, y=2.0), quality=[[Quality.BAD, Quality.UNCERTAIN]])
    keep(open_database(file), "a", marked)
    assert spool.taken("a") == {S: {"y": 2.0}}


def test_a_kill_cannot_part_the_spool_from_what_we_noted(tmp_path: Path) -> None:
    file = tmp_path / "edge.db"
    spool = Spool(file)
    child = subprocess.Popen(
        [sys.executable, "-P", "-c", WRITER, str(file)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    said = [int(child.stdout.readline()) for _ in range(50)]
    os.kill(child.pid, signal.SIGKILL)
    said += [int(line) for line in child.stdout.read().split()]
    child.wait()
    assert set(said) <= set(spool.taken("a"))
    assert set(spool.taken("a")) == spool.held("a")


@given(readings, readings, st.sets(st.integers(0, 30)), st.sets(st.integers(0, 30)))
def test_numbers_add_up(
    taken: Readings, stored: Readings, held: set[int], scored: set[int]
) -> None:
    outcome = compare("a", taken, held, Stored(stored, scored & stored.keys()))
    told = outcome.tally
    same = {at for at in taken if stored.get(at) == taken[at]}
    assert told.lost == len(set(taken) - set(stored))
    assert told.lost + told.phantom == len((set(taken) | set(stored)) - same)
    assert told.taken - told.lost <= told.stored == told.scored + told.unscored
    assert told.acknowledged == len(set(taken) - held)
    if not outcome.findings:
        assert taken == stored
        assert scored >= taken.keys()
        assert not held & taken.keys()


def wrong(taken: Readings, held: set[int], stored: Stored, judged: int | None = None) -> list[str]:
    findings = compare("a", taken, held, stored, judged).findings
    return [finding.text(began_ns=0, speed=10) for finding in findings]


def test_each_thing_that_can_go_wrong_is_told_with_its_time() -> None:
    taken = {1 * S: {"x": 1.0}, 20 * S: {"x": 2.0}, 30 * S: {"x": 3.0}}
    well = Stored(taken, set(taken))
    assert wrong(taken, set(), well, 3) == []
    assert wrong(taken, {30 * S}, well) == ["a: 1 readings never left, measured from 3.0 to 3.0 s"]
    assert wrong(taken, set(), well, 5) == [
        "a: 2 readings scored twice, measured from 0.1 to 3.0 s"
    ]
    assert wrong(taken, set(), Stored(taken, {S})) == [
        "a: 2 readings unscored, measured from 2.0 to 3.0 s"
    ]
    less = Stored({S: {"x": 1.0}}, {S})
    assert wrong(taken, set(), less) == ["a: 2 readings lost, measured from 2.0 to 3.0 s"]
    more = Stored(taken | {40 * S: {"x": 4.0}, S: {"x": 1.5}}, {*taken, 40 * S})
    assert wrong(taken, set(), more) == ["a: 2 readings phantom, measured from 0.1 to 4.0 s"]


@pytest.mark.parametrize("name", Tally.__struct_fields__)
def test_tallies_of_devices_are_added(name: str) -> None:
    one, two = Tally(**{name: 2}), Tally(**{name: 3})
    assert getattr(one + two, name) == 5
