"""The programs of a drill as processes that can be killed, stopped and started again."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from cloud.adapters import broker
from cloud.adapters.broker import Broker, User
from contract.errors import Refused
from farfix.chaos.plan import Act, Program, Strike
from farfix.children import STOP_TIMEOUT_S, Children

ORPHANS_S = 10.0
"""Workers whose main process was killed must have ended by then."""
SETTLE_S = 5.0
"""A signal shows in the process table by then."""
MAIN, WORKER, GROUP = "main", "worker", "group"
"""What of the gateway is hit: one process, or all of them at once."""


class Command(Struct, frozen=True):
    """How a child was started."""

    module: str
    arguments: tuple[str, ...]


class Programs(Children):
    """Children of ours that may be hit, and the broker, which is started by its own adapter."""

    def __init__(self, folder: Path, users: list[User]) -> None:
        super().__init__(folder / "logs")
        self.broker: Broker = broker.start(folder / "broker", users, kind=broker.Kind.MOSQUITTO)
        self.problems: list[str] = []
        self._folder, self._users = folder / "broker", users
        self._commands: dict[str, Command] = {}
        self.life: int | None = 0
        """Changes whenever the gateway is hit; None until it works again."""
        self._lives = 0
        self._families: dict[str, list[int]] = {}
        """The workers that a program had when it was hit."""
        self._stopped: list[int] = []
        """Processes that are stopped at the moment."""

    def start(self, name: str, module: str, *arguments: str) -> None:
        """See `Children.start`; remembers how, so that it can be started again."""
        self._commands[name] = Command(module, arguments)
        super().start(name, module, *arguments)

    def pid(self, name: str) -> int:
        """Return the process id of a child, or of the broker."""
        return self.broker.pid if name == Program.BROKER else self._running[name].pid

    def workers(self, name: str) -> list[int]:
        """Return the processes that a child has started."""
        done = subprocess.run(
            ["ps", "-axo", "pid=,ppid="], capture_output=True, text=True, check=True
        )
        pairs = [line.split() for line in done.stdout.splitlines()]
        parent = str(self.pid(name))
        return sorted(int(pid) for pid, its_parent in pairs if its_parent == parent)

    def alive(self, name: str) -> bool:
        """Tell whether a child, or the broker, runs."""
        if name == Program.BROKER:
            return self.broker.running()
        return name in self._running and self._running[name].poll() is None

    def hit(self, strike: Strike) -> str:
        """Do to a program what is planned; return what really happened.

        Raises:
            Refused: it did not happen.
        """
        name = name_of(strike)
        self._families[name] = self.workers(name)
        pids = self._pids(strike)
        if name == Program.CLOUD:
            self.life = None
        match strike.act:
            case Act.KILL:
                _signal(pids, signal.SIGKILL)
                _await(lambda: not any(state(pid) for pid in pids), f"{name} does not die")
            case Act.PAUSE:
                _signal(pids, signal.SIGSTOP)
                self._stopped = pids
                _await(lambda: all(state(p) == "T" for p in pids), f"{name} does not stop")
            case Act.RESTART:
                _signal(pids[:1], signal.SIGTERM)
        part = "" if strike.part == name else f" {strike.part}"
        return f"{strike.act} {name}{part} ({', '.join(map(str, pids))})"

    def over(self, strike: Strike) -> bool:
        """Tell whether what was done has had its effect, so that it can be undone."""
        return strike.act is not Act.RESTART or not self.alive(name_of(strike))

    def undo(self, strike: Strike) -> None:
        """Let a stopped program go on; start a dead one again."""
        name = name_of(strike)
        self.resume()
        if strike.act is Act.RESTART and self.alive(name):
            self.problems.append(f"{name} did not end within {STOP_TIMEOUT_S:g} s of SIGTERM")
        if strike.act is not Act.PAUSE and strike.part != WORKER:
            self.revive(name)

    def settled(self, strike: Strike) -> None:
        """Note that a program that was hit works again."""
        if strike.program is Program.CLOUD:
            self._lives += 1
            self.life = self._lives

    def resume(self) -> None:
        """Let everything that is stopped go on."""
        _signal(self._stopped, signal.SIGCONT)
        self._stopped = []

    def revive(self, name: str) -> None:
        """Start a program again, after the last of its processes has gone."""
        if name == Program.BROKER:
            self.broker.stop()
            self.broker = broker.start(
                self._folder, self._users, self.broker.port, broker.Kind.MOSQUITTO
            )
            return
        process = self._running.pop(name)
        if process.poll() is None:
            process.kill()
        process.wait()
        self._end_orphans(name)
        command = self._commands[name]
        self.start(name, command.module, *command.arguments)

    def __exit__(self, *args: object) -> None:
        self.resume()
        try:
            super().__exit__(None, None, None)
        finally:
            self.broker.stop()

    def _pids(self, strike: Strike) -> list[int]:
        name = name_of(strike)
        if strike.part == WORKER:
            workers = self.workers(name)
            if not workers:
                raise Refused(f"{name} has no worker process to {strike.act}")
            return [workers[strike.at_sample % len(workers)]]
        pid = self.pid(name)
        return [pid, *self.workers(name)] if strike.part == GROUP else [pid]

    def _end_orphans(self, name: str) -> None:
        """Workers end with their main process; whoever does not is noted and killed."""
        family = self._families.pop(name, [])
        deadline_s = time.monotonic() + ORPHANS_S
        while any(state(pid) for pid in family):
            if time.monotonic() > deadline_s:
                self.problems.append(f"workers of {name} outlived it by {ORPHANS_S:g} s")
                _signal(family, signal.SIGKILL)
                return
            time.sleep(0.05)


def name_of(strike: Strike) -> str:
    """Return under which name the program runs: each agent has its own."""
    return strike.part if strike.program is Program.EDGE else strike.program


def state(pid: int) -> str:
    """Return the letter that the process table has for a process; empty when it is dead."""
    done = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    letter = done.stdout.strip()[:1]
    return "" if letter == "Z" else letter


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue  # it went before we came; whoever needs it dead has it


def _await(true: Callable[[], bool], otherwise: str) -> None:
    deadline_s = time.monotonic() + SETTLE_S
    while not true():
        if time.monotonic() > deadline_s:
            raise Refused(otherwise)
        time.sleep(0.02)
