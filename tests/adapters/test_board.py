"""The live board: one process writes, another reads."""

import os
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.adapters.board import (
    COUNTERS,
    DELAY_BOUNDS_S,
    NO_STATE,
    Board,
)
from contract.errors import Unreachable
from contract.telemetry import Quality

DEVICES = ["pump-1", "pump-2", "kühler-3"]


def test_a_new_board_says_that_nothing_is_known(tmp_path: Path) -> None:
    Board.create(tmp_path / "deep" / "live.board", DEVICES, 4)
    board = Board.open(tmp_path / "deep" / "live.board")
    assert board.devices == DEVICES
    assert board.index == {"pump-1": 0, "pump-2": 1, "kühler-3": 2}
    assert board.last_ns.tolist() == board.scored.tolist() == [0, 0, 0]
    assert board.progress.tolist() == [0, 0, 0]
    assert board.state.tolist() == [NO_STATE] * 3
    assert np.isnan(board.score).all()
    assert board.values.shape == board.quality.shape == (3, 4)
    assert np.isnan(board.values).all()
    assert (board.quality == Quality.MISSING).all()
    assert [board.counted(name) for name in COUNTERS] == [0] * len(COUNTERS)
    assert (board.fed, board.newest, board.journal_bytes) == (0, 0, 0)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["live.board"]


WORKER = """
import sys
from pathlib import Path
import numpy as np
from cloud.adapters.board import Board
board = Board.create(Path(sys.argv[1]), ["pump-1", "pump-2", "k\\u00fchler-3"], 4)
print("made", flush=True)
for line in sys.stdin:
    n = int(line)
    some = np.array([2, 0])
    board.last_ns[some], board.scored[some] = 2**62 + n, n
    board.score[some], board.progress[some], board.state[some] = n + 0.5, 0.25, n
    board.values[some] = np.arange(8).reshape(2, 4) + n
    board.quality[some] = 1
    board.count("accepted", n)
    board.count("refused")
    board.delays(np.array([0.001 * n, 5000.0]))
    board.show_journal(fed=20 * n, newest=30 * n, journal_bytes=2**40 + n)
    print("written", flush=True)
"""


def test_what_the_worker_writes_the_main_process_reads(tmp_path: Path) -> None:
    path, pipe = tmp_path / "live.board", subprocess.PIPE
    command = [sys.executable, "-c", WORKER, str(path)]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as worker:
        assert worker.stdin is not None
        assert worker.stdout is not None
        assert worker.stdout.readline() == "made\n"
        board = Board.open(path)
        accepted = 0
        for n in (1, 2, 3):
            worker.stdin.write(f"{n}\n")
            worker.stdin.flush()
            assert worker.stdout.readline() == "written\n"
            accepted += n
            assert board.last_ns.tolist() == [2**62 + n, 0, 2**62 + n]
            assert board.scored.tolist() == [n, 0, n]
            assert board.score.tolist()[::2] == [n + 0.5, n + 0.5]
            assert np.isnan(board.score[1])
            assert board.progress.tolist() == [0.25, 0, 0.25]
            assert board.state.tolist() == [n, NO_STATE, n]
            assert board.values[2].tolist() == [n, n + 1, n + 2, n + 3]
            assert board.values[0].tolist() == [n + 4, n + 5, n + 6, n + 7]
            assert np.isnan(board.values[1]).all()
            assert board.quality.tolist() == [[1] * 4, [3] * 4, [1] * 4]
            assert (board.counted("accepted"), board.counted("refused")) == (accepted, n)
            assert (board.fed, board.newest) == (20 * n, 30 * n)
            assert board.journal_bytes == 2**40 + n
        assert (board.counted("delay_count"), board.delay_buckets[-1]) == (6, 3)
        os.kill(worker.pid, signal.SIGKILL)
    assert board.counted("accepted") == 6, "a board outlives its worker"
    assert Board.open(path).counted("accepted") == 6


def test_a_new_worker_does_not_pull_the_board_from_under_its_readers(tmp_path: Path) -> None:
    first = Board.create(tmp_path / "live.board", DEVICES, 4)
    first.count("accepted")
    reader = Board.open(tmp_path / "live.board")
    second = Board.create(tmp_path / "live.board", DEVICES[:1], 2)
    second.count("accepted", 5)
    assert (reader.devices, reader.counted("accepted")) == (DEVICES, 1)
    reader = Board.open(tmp_path / "live.board")
    assert (reader.devices, reader.counted("accepted")) == (DEVICES[:1], 5)


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    Board.create(tmp_path / "live.board", DEVICES, 4)
    with pytest.raises(ValueError, match="read-only"):
        Board.open(tmp_path / "live.board").count("accepted")


def test_a_worker_without_devices_has_a_board_too(tmp_path: Path) -> None:
    Board.create(tmp_path / "live.board", [], 0).count("quarantined")
    board = Board.open(tmp_path / "live.board")
    assert (board.devices, board.counted("quarantined")) == ([], 1)


def test_no_board_is_told_from_a_damaged_one(tmp_path: Path) -> None:
    path = tmp_path / "live.board"
    with pytest.raises(Unreachable, match="No such file"):
        Board.open(path)
    Board.create(path, DEVICES, 4)
    whole = path.read_bytes()
    for damaged, why in [
        (b"", "cannot be read"),
        (whole[:20], "cannot be read"),
        (b"farfix00" + whole[8:], "another version"),
        (whole[:16] + b"\1" + whole[17:], "another version"),
        (whole[:-1], "damaged"),
        (whole + b"\0", "damaged"),
        (whole[:8] + b"\xff\xff\xff\xff" + whole[12:], "damaged"),
        (whole[:28] + b"\xff\xff\xff\xff" + whole[32:], "damaged"),
        (whole.replace(b'"pump-1"', b"[pump-1]"), "cannot be read"),
        (whole.replace(b'"pump-1","pump-2"', b'"pump-1 , pump-2"'), "cannot be read|damaged"),
    ]:
        path.write_bytes(damaged)
        with pytest.raises(Unreachable, match=why):
            Board.open(path)


FULL = """
import resource, signal, sys
from pathlib import Path
from cloud.adapters.board import Board
from contract.errors import Refused
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    Board.create(Path(sys.argv[1]), [f"pump-{i}" for i in range(1000)], 10)
except Refused as error:
    print(error)
"""


def test_a_board_that_finds_no_room_is_refused_and_the_old_one_stays(tmp_path: Path) -> None:
    Board.create(tmp_path / "live.board", DEVICES, 4)
    command = [sys.executable, "-c", FULL, str(tmp_path / "live.board")]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "cannot be made" in told
    assert [path.name for path in tmp_path.iterdir()] == ["live.board"]
    assert Board.open(tmp_path / "live.board").devices == DEVICES


delays_s = st.floats(-10, 2000) | st.sampled_from(DELAY_BOUNDS_S)


@given(st.lists(delays_s, min_size=1))
def test_delays_are_counted_in_their_buckets(
    tmp_path_factory: pytest.TempPathFactory, delays: list[float]
) -> None:
    board = Board.create(tmp_path_factory.getbasetemp() / "delays.board", [], 0)
    board.delays(np.array(delays))
    below = np.cumsum(board.delay_buckets)
    for i, bound in enumerate(DELAY_BOUNDS_S):
        assert below[i] == sum(delay <= bound for delay in delays)
    assert below[-1] == len(delays) == board.counted("delay_count")
    assert board.counted("delay_sum_s") == pytest.approx(sum(delays))


def test_bounds_are_fine_where_the_target_is() -> None:
    assert 0.1 in DELAY_BOUNDS_S
    assert all(1.2 < b / a < 1.3 for a, b in pairwise(DELAY_BOUNDS_S))
    assert (DELAY_BOUNDS_S[0], DELAY_BOUNDS_S[-1]) == (0.001, 800)
