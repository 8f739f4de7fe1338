"""The spool keeps what was committed, forgets what was acknowledged, and drops only openly."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract import codec
from contract.commands import Answer, AnswerStatus, Command
from contract.errors import Unreachable
from contract.telemetry import Quality, Reading, TelemetryBatch
from edge.adapters.memory import Memory
from edge.adapters.spool import Acked, Spool, open_database, outgoing

MANY = 10**6


def ticks(at: int, width: int = 1) -> tuple[Reading, ...]:
    names = [f"signal_{i}" for i in range(width)]
    return (Reading(at, dict.fromkeys(names, 1.5), dict.fromkeys(names, Quality.GOOD)),)


def held(spool: Spool, device: str) -> list[tuple[str, int]]:
    return [(row.boot, row.sequence) for row in spool.waiting(device, 0, MANY)]


Steps = st.lists(
    st.one_of(
        st.tuples(st.just("keep"), st.sampled_from("ab"), st.integers(1, 60)),
        st.tuples(st.just("ack"), st.sampled_from("ab"), st.integers(0, 40)),
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
        spool = Spool(connection, bound)
        expected: list[tuple[str, str, int]] = []
        counts = {"a": 0, "b": 0}
        kept = dropped = 0
        for what, device, number in steps:
            match what:
                case "keep":
                    counts[device] += 1
                    kept += 1
                    expected.append((device, spool.boot, counts[device]))
                    spool.commit([(device, ticks(kept, number))])
                case "ack":
                    spool.commit([], [Acked(device, spool.boot, number, MANY)])
                    expected = [
                        e for e in expected if e[:2] != (device, spool.boot) or e[2] > number
                    ]
                case "restart":
                    spool = Spool(connection, bound)
                    counts = {"a": 0, "b": 0}
            newly_dropped = spool.dropped - dropped
            dropped = spool.dropped
            expected = expected[newly_dropped:]
            for name in "ab":
                assert held(spool, name) == [e[1:] for e in expected if e[0] == name]
            assert spool.held_bytes <= bound
            assert not newly_dropped or what == "keep"
        connection.close()


def test_an_ack_cannot_cover_what_was_never_sent(tmp_path: Path) -> None:
    spool = Spool(open_database(tmp_path / "edge.db"), MANY)
    first = spool.commit([("a", ticks(1))])["a"]
    spool.commit([("a", ticks(2))])
    spool.commit([], [Acked("a", spool.boot, 99, highest_id=first)])
    assert [sequence for _, sequence in held(spool, "a")] == [2]


def test_a_batch_leaves_with_its_number_and_the_oldest_one_held(tmp_path: Path) -> None:
    spool = Spool(open_database(tmp_path / "edge.db"), MANY)
    for at in range(1, 5):
        spool.commit([("a", ticks(at))])
    spool.commit([], [Acked("a", spool.boot, 2, MANY)])
    (third, fourth) = spool.waiting("a", 0, 10)
    batch = codec.decode(outgoing(fourth, historical=True), TelemetryBatch)
    assert (batch.boot, batch.sequence, batch.oldest) == (spool.boot, 4, 3)
    assert batch.historical
    assert batch.times_ns == [4]
    assert not codec.decode(outgoing(third, historical=False), TelemetryBatch).historical


def test_the_file_stays_near_its_bound(tmp_path: Path) -> None:
    bound = 2_000_000
    spool = Spool(open_database(tmp_path / "edge.db"), bound)
    for start in range(0, 8000, 200):
        spool.commit([("a", ticks(at, 20)) for at in range(start, start + 200)])
    assert spool.dropped > 3000
    assert 0.95 * bound < spool.held_bytes <= bound
    assert (tmp_path / "edge.db").stat().st_size < 1.3 * bound


def test_dropped_batches_are_remembered_over_a_restart(tmp_path: Path) -> None:
    spool = Spool(open_database(tmp_path / "edge.db"), 5000)
    spool.commit([("a", ticks(at, 50)) for at in range(10)])
    assert spool.dropped > 0
    again = Spool(open_database(tmp_path / "edge.db"), 5000)
    assert (again.dropped, again.held_bytes) == (spool.dropped, spool.held_bytes)
    assert again.boot != spool.boot


WRITER = """
import sys
from pathlib import Path
from contract.telemetry import Quality, Reading
from edge.adapters.spool import Spool, open_database
spool = Spool(open_database(Path(sys.argv[1])), 10**9)
for at in range(10**9):
    tick = Reading(at, {"a": 1.0}, {"a": Quality.GOOD})
    spool.commit([("pump", (tick,)), ("chiller", (tick,))])
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
    spool = Spool(open_database(path), 10**9)
    for device in ("pump", "chiller"):
        sequences = [sequence for _, sequence in held(spool, device)]
        assert sequences == list(range(1, len(sequences) + 1))
        assert len(sequences) >= promised


def test_a_damaged_file_is_put_aside_and_the_agent_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "edge.db"
    path.write_bytes(b"this is no database" * 1000)
    spool = Spool(open_database(path), MANY)
    spool.commit([("a", ticks(1))])
    assert len(list(tmp_path.glob("edge.db.damaged-*"))) == 1


def test_a_directory_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unreachable, match=r"edge\.db cannot be opened"):
        open_database(tmp_path / "file" / "edge.db")


def test_a_full_disk_changes_nothing(tmp_path: Path) -> None:
    connection = open_database(tmp_path / "edge.db")
    spool = Spool(connection, MANY)
    spool.commit([("a", ticks(1))])
    before = spool.held_bytes
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(Unreachable, match="full"):
        spool.commit([("a", ticks(at, 200)) for at in range(2, 20)])
    assert spool.held_bytes == before
    connection.execute("PRAGMA max_page_count = 100000")
    spool.commit([("a", ticks(30))])
    assert [sequence for _, sequence in held(spool, "a")] == [1, 2], "no number was used up"


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
