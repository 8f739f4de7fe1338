"""The spool keeps what was committed, forgets what was acknowledged, and drops only openly."""

import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract import codec
from contract.commands import Answer, AnswerStatus, Command
from contract.errors import Unreachable
from contract.telemetry import Quality, Reading, TelemetryBatch
from edge.adapters.memory import Memory
from edge.adapters.spool import (
    Acked,
    Batch,
    Bounds,
    Loss,
    Spool,
    Waiting,
    Want,
    open_database,
    outgoing,
)
from edge.core import batcher

MANY = 10**6


def ticks(at: int, width: int = 1) -> tuple[Reading, ...]:
    names = [f"signal_{i}" for i in range(width)]
    return (Reading(at, dict.fromkeys(names, 1.5), dict.fromkeys(names, Quality.GOOD)),)


def spool_in(folder: Path, max_bytes: int = MANY, max_age_s: float = 1e6) -> Spool:
    return Spool(open_database(folder / "edge.db"), Bounds(max_bytes, max_age_s))


def waiting(spool: Spool, device: str, boot: str, after: int = 0) -> list[Waiting]:
    return spool.take([Want(device, boot, after, MANY)])[0]


def sequences(spool: Spool, device: str = "a", boot: str = "x") -> list[int]:
    return [row.sequence for row in waiting(spool, device, boot)]


Steps = st.lists(
    st.one_of(
        st.tuples(st.just("keep"), st.sampled_from("ab"), st.integers(1, 60)),
        st.tuples(st.just("ack"), st.sampled_from("ab"), st.integers(0, 40)),
        st.tuples(st.just("renumber"), st.sampled_from("ab"), st.just(0)),
        st.tuples(st.just("restart"), st.just("a"), st.just(0)),
    ),
    max_size=40,
)


@settings(max_examples=40, deadline=None)
@given(Steps)
def test_acks_delete_what_they_cover_and_the_bound_drops_the_oldest(
    steps: list[tuple[str, str, int]],
) -> None:
    bound = 8000
    with tempfile.TemporaryDirectory() as folder:
        connection = open_database(Path(folder) / "edge.db")
        spool = Spool(connection, Bounds(bound))
        expected: list[tuple[str, str, int]] = []
        boots, last, dropped = {"a": "a-1", "b": "b-1"}, Counter[str](), 0
        for at, (what, device, number) in enumerate(steps, 1):
            boot = boots[device]
            match what:
                case "keep":
                    last[boot] += 1
                    expected.append((device, boot, last[boot]))
                    written = spool.commit([Batch(device, boot, ticks(at, number))])
                    assert written == {(device, boot): last[boot]}
                case "ack":
                    spool.commit([], [Acked(device, boot, number)])
                    expected = [e for e in expected if e[1] != boot or e[2] > number]
                case "renumber":
                    boots[device] = f"{device}-{at}"
                case "restart":
                    spool = Spool(connection, Bounds(bound))
                    boots = {"a": f"a-{at}", "b": f"b-{at}"}
            newly_dropped = spool.dropped[Loss.BYTES] - dropped
            dropped += newly_dropped
            expected = expected[newly_dropped:]
            found = [
                (name, kept, number)
                for name, kept, _ in spool.held()
                for number in sequences(spool, name, kept)
            ]
            assert sorted(found) == sorted(expected)
            assert spool.held_bytes <= bound
            assert not newly_dropped or what == "keep"
        connection.close()


def test_a_batch_leaves_with_its_number_and_the_oldest_one_held(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    for at in range(1, 5):
        spool.commit([Batch("a", "x", ticks(at))])
    spool.commit([], [Acked("a", "x", 2)])
    third, fourth = waiting(spool, "a", "x")
    batch = codec.decode(outgoing(fourth, historical=True), TelemetryBatch)
    assert (batch.boot, batch.sequence, batch.oldest) == ("x", 4, 3)
    assert batch.historical
    assert batch.times_ns == [4]
    assert not codec.decode(outgoing(third, historical=False), TelemetryBatch).historical
    assert [row.sequence for row in waiting(spool, "a", "x", after=3)] == [4]


@given(
    st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=9),
    st.integers(1, 2**40),
    st.booleans(),
)
def test_what_leaves_are_the_bytes_of_the_whole_message(
    values: list[float | None], oldest: int, historical: bool
) -> None:
    names = [f"s{i}" for i in range(len(values))]
    quality = dict.fromkeys(names, Quality.UNCERTAIN if historical else Quality.GOOD)
    reading = Reading(7, dict(zip(names, values, strict=True)), quality)
    batch = batcher.message([reading], "x", 5)
    spliced = outgoing(Waiting(5, 7, codec.encode(batch), oldest), historical=historical)
    whole = msgspec.structs.replace(batch, oldest=oldest, historical=historical)
    assert spliced == codec.encode(whole)


def test_a_numbering_goes_on_where_it_was(tmp_path: Path) -> None:
    spool_in(tmp_path).commit([Batch("a", "x", ticks(at)) for at in (1, 2)])
    again = spool_in(tmp_path)
    assert again.held() == [("a", "x", 2)]
    again.commit([Batch("a", "x", ticks(3)), Batch("b", "y", ticks(3))])
    assert again.held() == [("a", "x", 3), ("b", "y", 1)]


def test_numberings_are_told_oldest_first(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    for boot in ("z", "m", "a"):
        spool.commit([Batch("a", boot, ticks(1))])
    assert [boot for _, boot, _ in spool.held()] == ["z", "m", "a"]


def test_what_is_too_old_goes_and_is_counted_by_its_reason(tmp_path: Path) -> None:
    spool = spool_in(tmp_path, max_age_s=10)
    for at_s in range(20):
        spool.commit([Batch("a", "x", ticks(int(at_s * 1e9)))], now_ns=int(at_s * 1e9))
    assert spool.dropped == Counter({Loss.AGE: 9})
    assert sequences(spool)[0] == 10
    assert spool.oldest_ns == 9_000_000_000
    spool.commit([], [Acked("a", "x", 99)])
    assert spool.oldest_ns == 0


def test_the_file_stays_near_its_bound(tmp_path: Path) -> None:
    bound = 2_000_000
    spool = spool_in(tmp_path, bound)
    for start in range(0, 8000, 200):
        spool.commit([Batch("a", "x", ticks(at, 20)) for at in range(start, start + 200)])
    assert spool.dropped[Loss.BYTES] > 3000
    assert 0.95 * bound < spool.held_bytes <= bound
    assert (tmp_path / "edge.db").stat().st_size < 1.3 * bound


def test_losses_are_remembered_over_a_restart(tmp_path: Path) -> None:
    spool = spool_in(tmp_path, 5000)
    spool.commit([Batch("a", "x", ticks(at, 50)) for at in range(10)], lost=3)
    assert spool.dropped[Loss.BYTES] > 0
    assert spool.dropped[Loss.DISK] == 3
    again = spool_in(tmp_path, 5000)
    assert (again.dropped, again.held_bytes) == (spool.dropped, spool.held_bytes)
    assert again.oldest_ns == spool.oldest_ns


WRITER = """
import sys
from pathlib import Path
from contract.telemetry import Quality, Reading
from edge.adapters.spool import Batch, Bounds, Spool, open_database
spool = Spool(open_database(Path(sys.argv[1])), Bounds(10**9))
for at in range(10**9):
    tick = Reading(at, {"a": 1.0}, {"a": Quality.GOOD})
    spool.commit([Batch("pump", "x", (tick,)), Batch("chiller", "y", (tick,))])
    sys.stdout.write(f"{at + 1}\\n")
    sys.stdout.flush()
"""


@pytest.mark.parametrize("lines", [1, 57, 200])
def test_kill_minus_nine_loses_nothing_that_was_committed(tmp_path: Path, lines: int) -> None:
    path = tmp_path / "edge.db"
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        committed = [writer.stdout.readline() for _ in range(lines)]
        os.kill(writer.pid, signal.SIGKILL)
        committed += writer.stdout.readlines()
    promised = int([line for line in committed if line.endswith("\n")][-1])
    spool = spool_in(tmp_path, 10**9)
    for device, boot in (("pump", "x"), ("chiller", "y")):
        found = sequences(spool, device, boot)
        assert found == list(range(1, len(found) + 1))
        assert len(found) >= promised


def test_a_damaged_file_is_put_aside_and_the_agent_goes_on(tmp_path: Path) -> None:
    (tmp_path / "edge.db").write_bytes(b"this is no database" * 1000)
    spool_in(tmp_path).commit([Batch("a", "x", ticks(1))])
    assert len(list(tmp_path.glob("edge.db.damaged-*"))) == 1


def test_a_directory_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unreachable, match=r"edge\.db cannot be opened"):
        open_database(tmp_path / "file" / "edge.db")


def test_a_full_disk_changes_nothing(tmp_path: Path) -> None:
    connection = open_database(tmp_path / "edge.db")
    spool = Spool(connection, Bounds(MANY))
    spool.commit([Batch("a", "x", ticks(1))])
    before = spool.held_bytes, spool.oldest_ns, spool.dropped
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(Unreachable, match="full"):
        spool.commit([Batch("a", "x", ticks(at, 200)) for at in range(2, 20)], lost=7)
    assert (spool.held_bytes, spool.oldest_ns, spool.dropped) == before
    connection.execute("PRAGMA max_page_count = 100000")
    spool.commit([Batch("a", "x", ticks(30))])
    assert sequences(spool) == [1, 2], "no number was used up"


def order(command_id: str = "c1", expires_ns: int = 100) -> Command:
    return Command(id=command_id, name="restart", issued_ns=0, expires_ns=expires_ns)


def test_an_answer_waits_until_the_broker_has_it(tmp_path: Path) -> None:
    memory = Memory(open_database(tmp_path / "edge.db"))
    answer = Answer(id="c1", status=AnswerStatus.DONE, at_ns=5)
    assert memory.recall("a", "c1") is None
    memory.start("a", order())
    assert memory.recall("a", "c1") is None
    assert memory.owed(10) == []
    memory.finish("a", order(), answer)
    assert memory.recall("a", "c1") == answer
    assert memory.recall("b", "c1") is None
    assert memory.owed(10) == [("a", "c1", codec.encode(answer))]
    memory.published("a", "c1")
    assert memory.owed(10) == []
    memory.repeat("a", "c1")
    memory.repeat("a", "c1")
    memory.published("a", "c1")
    assert len(memory.owed(10)) == 1, "asked for again while it was on its way"


def test_what_a_crash_interrupted_is_answered_and_never_started_again(tmp_path: Path) -> None:
    Memory(open_database(tmp_path / "edge.db")).start("a", order())
    memory = Memory(open_database(tmp_path / "edge.db"))
    assert memory.after_restart(now_ns=50) == 1
    answer = memory.recall("a", "c1")
    assert answer is not None
    assert answer.status is AnswerStatus.FAILED
    assert "interrupted" in answer.reason
    assert len(memory.owed(10)) == 1
    assert memory.after_restart(now_ns=60) == 0


def test_ids_are_kept_as_long_as_they_could_act(tmp_path: Path) -> None:
    memory = Memory(open_database(tmp_path / "edge.db"))
    week = 7 * 86400 * 10**9
    answer = Answer(id="c1", status=AnswerStatus.DONE, at_ns=5)
    memory.finish("a", order(expires_ns=100), answer)
    memory.published("a", "c1")
    memory.after_restart(now_ns=100 + week)
    assert memory.recall("a", "c1") == answer
    memory.after_restart(now_ns=101 + week)
    assert memory.recall("a", "c1") is None
