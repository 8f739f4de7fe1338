"""An acknowledgement is a promise, and the promise survives a kill."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cloud.adapters import journal as module
from cloud.adapters.journal import Journal
from cloud.adapters.journal_schema import GROUP_OVERHEAD_BYTES


def opened(path: Path) -> Journal:
    return Journal(path / "worker-0-of-1" / "journal.db", 10**9, 86_400)


WORKER = """
import sys
from pathlib import Path
from cloud.adapters.journal import Checkpoint, Journal
journal = Journal(Path(sys.argv[1]) / "worker-0-of-1" / "journal.db", 10**9, 10**9)
for i in range(1, 10**9):
    number = journal.append(b"%d " % i * 60, 1, i, [(str(i), b"", "reason")])
    assert number == i
    print("appended", i, flush=True)
    journal.note_scores(number, b"%d" % i)
    if i % 5 == 0:
        state = Checkpoint("pump-1", i, b"%d" % i)
        journal.save([state], fed=i, positions=(i, b"%d" % i), prune_to=i - 7 if i > 7 else 0)
        print("saved", i, flush=True)
"""


@pytest.mark.parametrize("wait_lines", [1, 37, 150, 301])
def test_what_was_acknowledged_survives_a_kill(tmp_path: Path, wait_lines: int) -> None:
    command = [sys.executable, "-c", WORKER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        heard = [child.stdout.readline() for _ in range(wait_lines)]
        os.kill(child.pid, signal.SIGKILL)
        rest = child.stdout.read()
    told = {"saved": 0}
    for line in "".join([*heard, rest[: rest.rfind("\n") + 1]]).splitlines():
        word, number = line.split()
        told[word] = int(number)
    journal = opened(tmp_path)
    newest, fed = journal.newest(), journal.fed()
    assert newest >= told["appended"]
    assert told["saved"] <= fed <= told["saved"] + 5
    groups = journal.read(0, 10**9)
    assert [group.id for group in groups] == list(range(max(1, fed - 6), newest + 1))
    assert all(group.packets == b"%d " % group.id * 60 for group in groups)
    assert all(group.scores == b"%d" % group.id for group in groups if group.id < newest)
    assert [int(row[2]) for row in journal.quarantined(10**6)] == list(range(1, newest + 1))
    if fed:
        state = journal.checkpoints()["pump-1"]
        assert (state.position, state.data, journal.positions()) == (
            fed,
            b"%d" % fed,
            (fed, b"%d" % fed),
        )
    assert journal.append(b"next", 1, newest) == newest + 1
    journal.close()


PRUNER = """
import sys
from pathlib import Path
from cloud.adapters import journal as module
module.time.sleep = lambda _: print("pausing", flush=True) or sys.stdin.read()
path = Path(sys.argv[1]) / "worker-0-of-1" / "journal.db"
journal = module.Journal(path, 10**9, 10**9)
for i in range(10):
    journal.append(bytes(module.SLICE_BYTES), 1, i)
journal.save([], fed=9, positions=(9, b"snapshot"), prune_to=9)
"""


def test_groups_are_dropped_at_once_even_if_their_space_is_not(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PRUNER, str(tmp_path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "pausing\n", "after the first slice"
        os.kill(child.pid, signal.SIGKILL)
    journal = opened(tmp_path)
    assert [group.id for group in journal.read(0, 10**9)] == [10]
    assert journal.fill(0).oldest_ns == 9
    assert journal.fill(0).bytes == 9 * (module.SLICE_BYTES + GROUP_OVERHEAD_BYTES)
    journal.save([], fed=9, positions=(9, b"snapshot"), prune_to=9)
    assert journal.fill(0).bytes == module.SLICE_BYTES + GROUP_OVERHEAD_BYTES
    journal.close()
