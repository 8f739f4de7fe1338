"""The intake log: an acknowledgement is a promise, and the promise survives a kill."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cloud.adapters.journal import BOOTS_PER_DEVICE_MAX, ENTRY_OVERHEAD_BYTES, Entry, Journal
from cloud.core.intake import Position
from contract.errors import Refused


def entry(sequence: int, device: str = "pump-1", payload: bytes = b"{}") -> Entry:
    return Entry(device, "north", "boot-1", sequence, 5, payload)


def test_entries_come_back_byte_for_byte_and_in_order(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    sent = [entry(i, payload=bytes([i, 0, 255, 10])) for i in range(1, 8)]
    journal.append(sent[:3])
    journal.append(sent[3:])
    found = journal.read(0, 100)
    assert [e for _, e in found] == sent
    assert [number for number, _ in found] == sorted({number for number, _ in found})
    assert journal.read(found[2][0], 2) == found[3:5]
    assert journal.read(found[-1][0], 5) == []
    journal.close()


def test_positions_are_kept_with_the_entries(tmp_path: Path) -> None:
    position = Position(4, frozenset({7, 9}))
    journal = Journal(tmp_path / "journal.db")
    assert journal.position("pump-1", "boot-1") == Position()
    journal.append([entry(4)], {("pump-1", "boot-1"): position})
    journal.close()
    journal = Journal(tmp_path / "journal.db")
    assert journal.position("pump-1", "boot-1") == position
    assert journal.position("pump-1", "boot-2") == Position()
    assert journal.position("pump-2", "boot-1") == Position()
    journal.close()


def test_numbers_are_never_used_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    journal.append([entry(1), entry(2)])
    last = journal.read(0, 9)[-1][0]
    journal.prune(last)
    assert journal.read(0, 9) == []
    journal.close()
    journal = Journal(tmp_path / "journal.db")
    journal.append([entry(3)])
    assert journal.read(last, 9)[0][1] == entry(3)
    journal.close()


def test_a_full_journal_refuses_whole_groups_until_it_is_pruned(tmp_path: Path) -> None:
    size = 1000 + ENTRY_OVERHEAD_BYTES
    journal = Journal(tmp_path / "journal.db", max_bytes=3 * size)
    journal.append([entry(i, payload=bytes(1000)) for i in (1, 2)])
    group = [entry(i, payload=bytes(1000)) for i in (3, 4)]
    with pytest.raises(Refused, match=f"{2 * size} of {3 * size} bytes"):
        journal.append(group, {("pump-1", "boot-1"): Position(4)})
    assert len(journal.read(0, 9)) == 2
    assert journal.position("pump-1", "boot-1") == Position(), "nothing may be acknowledged"
    journal.prune(journal.read(0, 1)[0][0])
    assert journal.waiting_bytes == size
    journal.append(group)
    journal.close()
    journal = Journal(tmp_path / "journal.db", max_bytes=3 * size)
    assert journal.waiting_bytes == 3 * size
    with pytest.raises(Refused):
        journal.append([entry(5)])
    journal.close()


def test_a_full_disk_is_refused_and_leaves_the_journal_whole(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    journal.append([entry(1)], {("pump-1", "boot-1"): Position(1)})
    journal._connection.execute("PRAGMA max_page_count = 12")
    with pytest.raises(Refused, match="full"):
        journal.append([entry(2, payload=bytes(100_000))], {("pump-1", "boot-1"): Position(2)})
    assert [e for _, e in journal.read(0, 9)] == [entry(1)]
    assert journal.position("pump-1", "boot-1") == Position(1)
    waiting = journal.waiting_bytes
    journal._connection.execute("PRAGMA max_page_count = 100000")
    journal.append([entry(2)])
    assert journal.waiting_bytes == waiting * 2
    journal.close()


def test_a_sender_that_restarts_for_ever_fills_no_disk(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    journal.append([], {("pump-2", "only"): Position(3)})
    for i in range(100):
        journal.append([], {("pump-1", f"boot-{i}"): Position(i + 1)})
        journal.append([], {("pump-1", "long-lived"): Position(i + 1)})
    kept = [i for i in range(100) if journal.position("pump-1", f"boot-{i}") != Position()]
    assert kept == list(range(100 - BOOTS_PER_DEVICE_MAX + 1, 100))
    assert journal.position("pump-1", "long-lived") == Position(100)
    assert journal.position("pump-2", "only") == Position(3)
    journal.close()


def test_a_second_gateway_is_kept_out(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    with pytest.raises(Refused, match="stop the other gateway"):
        Journal(tmp_path / "journal.db")
    journal.close()
    Journal(tmp_path / "journal.db").close()


def test_another_file_is_not_taken_for_a_journal(tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_bytes(b"not a database " * 1000)
    with pytest.raises(Refused, match="restore it from a backup"):
        Journal(tmp_path / "journal.db")


ACKNOWLEDGER = """
import sys
from pathlib import Path
from cloud.adapters.journal import Entry, Journal
from cloud.core.intake import Position
journal = Journal(Path(sys.argv[1]))
for i in range(1, 10**9):
    entries = [Entry(f"pump-{k}", "north", "b", i, 0, b"x" * 300) for k in range(5)]
    journal.append(entries, {(e.device, "b"): Position(i) for e in entries})
    print(i, flush=True)
"""


@pytest.mark.parametrize("wait_lines", [1, 37, 150])
def test_what_was_acknowledged_survives_a_kill(tmp_path: Path, wait_lines: int) -> None:
    path = tmp_path / "journal.db"
    command = [sys.executable, "-c", ACKNOWLEDGER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        heard = [child.stdout.readline() for _ in range(wait_lines)]
        os.kill(child.pid, signal.SIGKILL)
        rest = child.stdout.read()
    acknowledged = int("".join([*heard, rest[: rest.rfind("\n") + 1]]).split()[-1])
    journal = Journal(path)
    for k in range(5):
        sequences = [e.sequence for _, e in journal.read(0, 10**9) if e.device == f"pump-{k}"]
        contiguous = journal.position(f"pump-{k}", "b").contiguous
        assert contiguous >= acknowledged
        assert sequences == list(range(1, contiguous + 1)), "positions and entries disagree"
    journal.close()
