"""Processes under measurement: what they cost, and what they hold."""

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from contract.errors import Unreachable
from tests.bench.path_load import Done, Order, Setup

ROOT = Path(__file__).resolve().parents[2]
ANSWER_S = 600.0


class Cost(NamedTuple):
    """What a group of processes has used so far."""

    cpu_s: dict[int, float]
    rss_mib: float

    def since(self, before: "Cost") -> float:
        """Return the CPU seconds between two looks."""
        return sum(now - before.cpu_s.get(pid, 0.0) for pid, now in self.cpu_s.items())


def cost(pids: list[int]) -> Cost:
    """Measure processes that run."""
    return Cost({pid: cpu_s(pid) for pid in pids}, sum(rss_mib(pid) for pid in pids))


def cpu_s(pid: int) -> float:
    """Return the CPU time of a process with all its threads, also those that have ended.

    Linux tells it by a clock of every process, finer than /proc does.
    """
    return time.clock_gettime(~pid << 3 | 2)


def rss_mib(pid: int) -> float:
    """Return the resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def family(pid: int) -> list[int]:
    """Return a process and all that it started, itself first."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            parents.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(entry.name))
    found = [pid]
    for member in found:
        found += parents.get(member, [])
    return found


@contextmanager
def child(
    command: list[str], log: Path, environment: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a child that is spoken to by lines, and end it."""
    with log.open("ab") as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=os.environ | (environment or {}),
        )
    try:
        yield process
    finally:
        end(process)


def end(process: subprocess.Popen[bytes], timeout_s: float = 20.0) -> None:
    """End a child, firmly if it does not follow, and wait for it."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


def line(process: subprocess.Popen[bytes], log: Path, timeout_s: float = ANSWER_S) -> bytes:
    """Return the next line that a child prints.

    Raises:
        Unreachable: it ended, or says nothing; the text holds its last words.
    """
    assert process.stdout
    if select.select([process.stdout], [], [], timeout_s)[0]:
        text = process.stdout.readline()
        if text:
            return text
    raise Unreachable(f"{log.stem} gave no answer: {log.read_text()[-2000:]}")


def tell(process: subprocess.Popen[bytes], message: object) -> None:
    """Write a line to a child; secrets, too, which others could see among its arguments."""
    assert process.stdin
    process.stdin.write(msgspec.json.encode(message) + b"\n")
    process.stdin.flush()


class Generator:
    """The load generator's process."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process, self._log = process, log

    def begin(self, order: Order) -> None:
        """Let it send."""
        tell(self._process, order)

    def done(self) -> Done:
        """Wait until it has sent all, and all came through or nothing does any more."""
        return msgspec.json.decode(line(self._process, self._log), type=Done)

    def run(self, order: Order) -> Done:
        """Send and wait."""
        self.begin(order)
        return self.done()


@contextmanager
def generator(setup: Setup, folder: Path) -> Iterator[Generator]:
    """Run a load generator."""
    log = folder / "load.log"
    program = ROOT / "tests" / "bench" / "path_load.py"
    with child([sys.executable, str(program)], log) as process:
        tell(process, setup)
        yield Generator(process, log)


def report(text: bytes) -> dict[str, list[float]]:
    """Read what a receiver reports."""
    found: dict[str, list[float]] = json.loads(text)
    return found
