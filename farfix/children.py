"""Other programs of ours as child processes: started, watched, measured, and always ended."""

import ctypes
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from contract.errors import Unreachable

STOP_TIMEOUT_S = 15.0
_PR_SET_PDEATHSIG = 1


class Children:
    """Child processes that end, last started first, when the ``with`` block does."""

    def __init__(self, log_dir: Path) -> None:
        self._log_dir = log_dir
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self.peak_rss_mb: dict[str, float] = {}
        """Largest resident memory seen of each child."""
        log_dir.mkdir(parents=True, exist_ok=True)

    def start(self, name: str, module: str, *arguments: str) -> None:
        """Start ``python -m module`` in a session of its own, so that Ctrl-C reaches only us."""
        command = [sys.executable, "-P", "-m", module, *arguments]
        with self.log(name).open("ab") as log:
            self._running[name] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_end_with_parent(),  # noqa: PLW1509 - one C call, made ready before
            )

    def log(self, name: str) -> Path:
        """Return the file that holds what a child prints."""
        return self._log_dir / f"{name}.log"

    def check(self) -> None:
        """Measure every child.

        Raises:
            Unreachable: one has ended although nobody asked it to; the text holds its last words.
        """
        for name, process in self._running.items():
            if process.poll() is not None:
                raise Unreachable(
                    f"{name} ended with code {process.returncode}; its last words, from "
                    f"{self.log(name)}:\n{tail(self.log(name))}"
                )
            self.note_rss(name, process.pid)

    def note_rss(self, name: str, pid: int) -> None:
        """Remember the memory of a process, if it is the largest so far."""
        self.peak_rss_mb[name] = max(self.peak_rss_mb.get(name, 0.0), rss_mb(pid))

    def await_ready(self, what: str, ready: Callable[[], bool], timeout_s: float) -> None:
        """Wait until something is ready, as long as all children live.

        Raises:
            Unreachable: it did not become ready in time.
        """
        deadline_s = time.monotonic() + timeout_s
        while not ready():
            self.check()
            if time.monotonic() > deadline_s:
                raise Unreachable(f"{what} was not ready within {timeout_s:g} s")
            time.sleep(0.1)

    def stop(self, name: str) -> int:
        """End one child politely, then firmly; return its exit code."""
        process = self._running.pop(name)
        process.terminate()
        try:
            return process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def names(self) -> list[str]:
        """Return the children that run, in the order of their start."""
        return list(self._running)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        for name in reversed(self.names()):
            self.stop(name)


def end_like_ctrl_c() -> None:
    """Let a kill, or a terminal that goes away, end us as Ctrl-C does: children first."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)


def tail(log: Path) -> str:
    """Return the end of a log."""
    return log.read_text(errors="replace")[-1500:].strip() or "(nothing)"


def free_port() -> int:
    """Return a TCP port of the loopback that nobody listens on at the moment.

    It lies below the range from which systems take ports for outgoing connections (from 32768 on
    Linux), so that none of those is in the way when a program listens there a second later.
    """
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue  # taken; try another
            return port


def rss_mb(pid: int) -> float:
    """Return the resident memory of a process in MB; 0 when it is gone."""
    if Path("/proc/self").exists():
        try:
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        except (FileNotFoundError, ProcessLookupError):
            return 0.0
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
    done = subprocess.run(
        ["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return int(done.stdout or 0) * 1024 / 1e6


def _end_with_parent() -> Callable[[], None] | None:
    """Let Linux end the child even when we are killed and cannot."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    parent = os.getpid()

    def ask() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)

    return ask
