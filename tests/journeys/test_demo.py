"""One journey for each outcome: the whole product as separate processes, on real faults."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from farfix.demo.report import FaultReport, Report
from farfix.demo.run import Options, run
from farfix.demo.screen import Screen
from farfix.demo.script import Nature

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.journey, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Report]:
    """Run three machines with three faults: one to cure, one to visit, one that passes."""
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("demo"))
    try:
        natures = [Nature.REMOTE, Nature.ON_SITE, Nature.SELF]
        with Screen(live=False) as screen:
            yield run(Options(minutes=3, machines=3, seed=3, natures=natures), screen)
    finally:
        os.chdir(before)


def story(told: Report, nature: Nature) -> FaultReport:
    return next(fault for fault in told.faults if fault.nature is nature)


def test_a_fault_is_cured_remotely_and_verified(told: Report) -> None:
    fault = story(told, Nature.REMOTE)
    assert fault.outcome == "recovered"
    assert fault.remedies
    assert fault.ended_by in {remedy.name for remedy in fault.remedies}
    assert fault.ticket is None


def test_a_fault_that_needs_hands_becomes_one_signed_ticket(told: Report) -> None:
    fault = story(told, Nature.ON_SITE)
    assert fault.outcome == "ticket"
    assert fault.ticket is not None
    assert fault.ticket["reason"] in {
        "attempts_exhausted", "device_unreachable", "not_remotable", "unsafe",
        "verification_failed",
    }  # fmt: skip
    key = str(fault.ticket["key"])
    assert told.deliveries == {key: told.deliveries[key]}
    assert told.deliveries[key] >= 1


def test_a_fault_that_clears_by_itself_is_credited_to_nobody(told: Report) -> None:
    fault = story(told, Nature.SELF)
    assert fault.outcome == "self_cleared"
    assert fault.remedies == []
    assert fault.ticket is None


def test_nothing_was_lost_on_the_way(told: Report) -> None:
    assert told.telemetry.published > 1000
    assert told.telemetry.lost == 0
    assert told.telemetry.duplicates == 0
    assert told.problems == []


def test_ctrl_c_ends_every_process(tmp_path: Path) -> None:
    demo = subprocess.Popen(
        [
            *("env", "--default-signal=INT"),  # what runs in the background is born deaf to Ctrl-C
            *(sys.executable, "-P", "-m", "farfix", "demo", "--headless", "--machines", "3"),
        ],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    log = tmp_path / "var" / "demo-7" / "logs" / "edge-south.log"
    while not log.exists() and demo.poll() is None:
        time.sleep(0.1)
    assert left_over(str(tmp_path))
    demo.send_signal(signal.SIGINT)
    _, errors = demo.communicate()
    assert demo.returncode == 1
    assert "everything is stopped" in errors
    while left_over(str(tmp_path)):  # who was being started is ended by the kernel, a moment later
        time.sleep(0.1)


def left_over(folder: str) -> list[str]:
    """Return the command lines of processes that still speak of a folder.

    ``ps`` would cut them at COLUMNS, which readline sets without being asked.
    """
    done = subprocess.run(["ps", "-wweo", "args="], capture_output=True, text=True, check=True)
    return [line for line in done.stdout.splitlines() if folder in line]
