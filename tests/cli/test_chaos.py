"""The drill itself: a short one with everything, Ctrl-C, and what it refuses."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from cloud.adapters.broker import mosquitto_program
from contract.errors import Malformed, Refused
from farfix.chaos import influxd
from farfix.chaos.plan import Network, Program
from farfix.chaos.report import Report
from farfix.chaos.run import main, options

ROOT = Path(__file__).resolve().parents[2]
needs_broker = pytest.mark.skipif(
    not mosquitto_program() and not os.environ.get("CI"), reason="apt-get install mosquitto"
)


def drill(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            *("env", "--default-signal=INT"),  # what runs in the background is born deaf to Ctrl-C
            *(sys.executable, "-P", "-m", "farfix", "chaos", *arguments),
        ],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def left_over(folder: Path) -> list[str]:
    """Return the processes that still speak of a folder or work in it.

    ``ps`` would cut their lines at COLUMNS, which readline sets without being asked.
    """
    done = subprocess.run(
        ["ps", "-wwaxo", "pid=,args="], capture_output=True, text=True, check=True
    )
    found = [line for line in done.stdout.splitlines() if str(folder) in line]
    for place in Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):  # another one that ended meanwhile
            if place.readlink() == folder:
                found.append(place.parent.name)
    return found


@needs_broker
@pytest.mark.journey
@pytest.mark.timeout(900)
def test_a_short_drill_loses_nothing(tmp_path: Path) -> None:
    kill = [p for p in Program if p is not Program.STORE or influxd.program()]
    running = drill(tmp_path, "--samples", "4000", "--kill", ",".join(kill), "--report", "r.json")
    said, _ = running.communicate()
    told = msgspec.json.decode((tmp_path / "r.json").read_bytes(), type=Report)
    # A detector that is wrong about a healthy machine has lost nothing; other tests count that.
    wrong = [p for p in told.problems if not p.endswith(": nothing was wrong")]
    assert not wrong, said
    assert running.returncode == bool(told.problems), said
    assert told.under_faults >= 4000
    assert told.sigkills >= len(kill)
    assert set(told.fired) == set(told.planned)
    assert told.total.taken == told.total.acknowledged == told.total.stored == told.total.scored
    assert told.cases
    assert left_over(tmp_path) == []


@needs_broker
@pytest.mark.journey
@pytest.mark.timeout(300)
def test_ctrl_c_ends_every_process(tmp_path: Path) -> None:
    running = drill(tmp_path, "--samples", "4000", "--kill", "edge")
    log = tmp_path / "var" / "chaos-1" / "logs" / "edge-south.log"
    while not log.exists() and running.poll() is None:
        time.sleep(0.1)
    assert left_over(tmp_path)
    running.send_signal(signal.SIGINT)
    said, _ = running.communicate()
    assert running.returncode == 1
    assert "everything is stopped" in said
    while left_over(tmp_path):  # who was being started is ended by the kernel, a moment later
        time.sleep(0.1)


def test_what_was_written_is_read() -> None:
    chosen = options(5000, "edge,cloud", "slow", 3)
    assert chosen.kill == frozenset({Program.EDGE, Program.CLOUD})
    assert chosen.network == frozenset({Network.SLOW})
    assert options(5000, "", "", 3).kill == frozenset()
    with pytest.raises(Malformed, match="--kill takes edge, broker, cloud, store"):
        options(5000, "gateway", "", 3)
    with pytest.raises(Malformed, match="--network takes lossy, partition, slow"):
        options(5000, "edge", "noisy", 3)


def test_the_embedded_store_cannot_be_killed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Refused, match="leave `store` out"):
        main(options(5000, "store", "", 3), None)


def test_a_report_needs_a_folder(tmp_path: Path) -> None:
    with pytest.raises(Malformed, match="no such folder"):
        main(options(5000, "edge", "", 3), tmp_path / "none" / "report.json")
