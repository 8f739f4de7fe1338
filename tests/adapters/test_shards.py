"""Another number of workers: what is known of the devices moves, or nothing does."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cloud.adapters.board import Board
from cloud.adapters.journal import Checkpoint, Journal
from cloud.adapters.shards import board_path, journal_path, reshard
from contract.errors import Refused
from contract.topics import partition

DEVICES = [f"pump-{i:02}" for i in range(40)]


def opened(folder: Path, worker: int, workers: int) -> Journal:
    return Journal(journal_path(folder, worker, workers), 10**6, 10**6)


def move(folder: Path, workers: int) -> None:
    reshard(folder, workers, lambda device: partition(device) % workers)


def work(folder: Path, workers: int, *, leave_group: bool = False) -> None:
    """Let workers take something, save, and leave an empty journal."""
    for worker in range(workers):
        journal = opened(folder, worker, workers)
        for i in range(worker + 3):
            journal.append(b"packets", 1, i)
        mine = [device for device in DEVICES if partition(device) % workers == worker]
        states = [Checkpoint(device, 2, device.encode()) for device in mine]
        newest = journal.newest()
        snapshot = f"snapshot {worker} of {workers}".encode()
        to = newest - 1 if leave_group and worker == 1 else newest
        journal.save(states, fed=newest, positions=(newest, snapshot), prune_to=to)
        journal.append(b"", 0, 5, [(f"topic {worker}", b"payload", "reason")])
        journal.close()
        Board.create(board_path(folder, worker, workers), mine, 3)


def check(folder: Path, workers: int, snapshots: list[bytes], topics: list[str], at: int) -> None:
    """See that the workers of today have everything, and nobody else anything."""
    here = {journal_path(folder, worker, workers).parent for worker in range(workers)}
    assert set(folder.iterdir()) == here
    found = []
    for worker in range(workers):
        journal = opened(folder, worker, workers)
        for device, state in journal.checkpoints().items():
            assert partition(device) % workers == worker
            assert state == Checkpoint(device, at, device.encode())
            found.append(device)
        assert journal.inherited() == snapshots
        assert journal.positions() is None
        assert (journal.newest(), journal.fed(), journal.read(0, 10**6)) == (at, at, [])
        waiting = [(at_ns, topic) for _, at_ns, topic, _, _ in journal.quarantined(99)]
        assert waiting == ([] if worker else [(5, topic) for topic in topics])
        journal.close()
    assert sorted(found) == DEVICES


OF_TWO = [b"snapshot 0 of 2", b"snapshot 1 of 2"]
TOPICS = ["topic 0", "topic 1"]


@pytest.mark.parametrize("workers", [1, 3, 5])
def test_the_state_of_the_devices_moves_to_their_new_workers(tmp_path: Path, workers: int) -> None:
    work(tmp_path, 2)
    move(tmp_path, workers)
    check(tmp_path, workers, OF_TWO, TOPICS, at=4)
    move(tmp_path, workers)
    check(tmp_path, workers, OF_TWO, TOPICS, at=4)


def test_the_first_save_ends_the_inheritance(tmp_path: Path) -> None:
    work(tmp_path, 2)
    move(tmp_path, 1)
    journal = opened(tmp_path, 0, 1)
    assert journal.append(b"packets", 1, 1) == 5, "numbers are never used again"
    journal.save([], fed=5, positions=(5, b"all of it"), prune_to=4)
    assert journal.inherited() == []
    assert sorted(journal.checkpoints()) == DEVICES
    journal.close()
    journal = opened(tmp_path, 0, 1)
    assert journal.inherited() == []
    journal.close()


def test_what_was_never_taken_up_is_passed_on(tmp_path: Path) -> None:
    work(tmp_path, 2)
    move(tmp_path, 3)
    move(tmp_path, 2)
    check(tmp_path, 2, OF_TWO, TOPICS, at=4)


def test_nothing_happens_without_need(tmp_path: Path) -> None:
    move(tmp_path / "new", 2)
    assert list((tmp_path / "new").iterdir()) == []
    work(tmp_path / "same", 2)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "same").rglob("*")}
    move(tmp_path / "same", 2)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "same").rglob("*")} == before


def test_waiting_telemetry_is_written_first(tmp_path: Path) -> None:
    work(tmp_path, 2, leave_group=True)
    for _ in range(2):
        with pytest.raises(Refused, match=r"worker-1-of-2.*start with workers = 2 once more"):
            move(tmp_path, 3)
    journal = opened(tmp_path, 1, 2)
    assert len(journal.read(0, 10**6)) == 1
    newest = journal.newest()
    journal.save([], fed=newest, positions=(newest, OF_TWO[1]), prune_to=newest)
    journal.close()
    move(tmp_path, 3)
    check(tmp_path, 3, OF_TWO, TOPICS, at=4)


def test_workers_that_still_run_keep_their_journals(tmp_path: Path) -> None:
    work(tmp_path, 2)
    journal = opened(tmp_path, 1, 2)
    with pytest.raises(Refused, match="stop the other gateway"):
        move(tmp_path, 3)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "resharding") == [
        "worker-0-of-2",
        "worker-1-of-2",
    ]
    journal.close()


def test_journals_of_two_gateways_are_not_mixed(tmp_path: Path) -> None:
    work(tmp_path, 2)
    work(tmp_path, 3)
    with pytest.raises(Refused, match="journals of 2 and of 3 workers"):
        move(tmp_path, 2)


def test_other_files_beside_a_journal_stay(tmp_path: Path) -> None:
    work(tmp_path, 2)
    (tmp_path / "worker-1-of-2" / "notes.txt").write_text("mine")
    move(tmp_path, 1)
    assert (tmp_path / "worker-1-of-2" / "notes.txt").read_text() == "mine"
    assert not (tmp_path / "worker-1-of-2" / "journal.db").exists()
    move(tmp_path, 2)
    (tmp_path / "worker-1-of-2" / "notes.txt").unlink()
    check(tmp_path, 2, OF_TWO, TOPICS, at=4)


KILLED = """
import os, signal, sys
from pathlib import Path
from cloud.adapters.shards import reshard
from contract.topics import partition
EVENTS = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree", "sqlite3.connect"}
left = int(sys.argv[2])
def hook(event, args):
    global left
    if event in EVENTS:
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
sys.addaudithook(hook)
reshard(Path(sys.argv[1]), 3, lambda device: partition(device) % 3)
"""


def test_a_kill_at_any_step_loses_nothing(tmp_path: Path) -> None:
    work(tmp_path / "first", 2)
    unchanged = 0
    for steps in range(100):
        folder = tmp_path / str(steps)
        shutil.copytree(tmp_path / "first", folder)
        command = [sys.executable, "-c", KILLED, str(folder), str(steps)]
        killed = subprocess.run(command, check=False).returncode
        assert killed in (0, -signal.SIGKILL)
        for then in (2, 3, 4):  # the number that the next start finds in its configuration
            again = tmp_path / f"{steps}-{then}"
            shutil.copytree(folder, again)
            move(again, then)
            if then == 2 and first_is_there(again):
                unchanged += 1
            else:
                check(again, then, OF_TWO, TOPICS, at=4)
        if killed == 0:
            break
    assert 5 < unchanged < steps - 5, "the kills did not happen before and after the decision"


def first_is_there(folder: Path) -> bool:
    """Tell that the number of workers never changed: all is as `work` left it."""
    found = []
    for worker in range(2):
        journal = opened(folder, worker, 2)
        found.append(journal.positions())
        journal.close()
    assert found in ([(3, OF_TWO[0]), (4, OF_TWO[1])], [None, None])
    return found[0] is not None
