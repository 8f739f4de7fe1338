"""Looks at the gateway's API all the time, as a person at the console would."""

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import msgspec
from msgspec import Struct

from contract.errors import Refused, Unreachable
from farfix.api import Gateway
from farfix.chaos.cases import History

LOOK_EVERY_S = 0.5
END_TIMEOUT_S = 60.0
REFUSED_MAX = 20
BACKWARDS_MAX = 1000


class Machine(Struct, frozen=True):
    """What of a machine matters here."""

    device: str
    status: str
    last_ns: int | None
    scored: int | None = None
    """How many readings the gateway has scored since the beginning; None: it does not say."""


class Fleet(Struct, frozen=True):
    """All machines."""

    now_ns: int
    machines: list[Machine]


class Backwards(Struct, frozen=True):
    """A machine's newest reading was older than it had been."""

    device: str
    from_ns: int
    to_ns: int


class Console(Gateway):
    """The gateway's API, and more of each machine than the demo needs."""

    def machines(self) -> list[Machine]:
        """Return all machines."""
        return msgspec.json.decode(self._get("/api/fleet"), type=Fleet).machines


def scored_counts(machines: list[Machine]) -> dict[str, int | None]:
    """Return how often the gateway says it scored a reading of each device, over all its lives."""
    return {machine.device: machine.scored for machine in machines}


class Watcher:
    """A thread that asks until its ``with`` block ends."""

    def __init__(self, base_url: str, token: str, life: Callable[[], int | None]) -> None:
        """Name the gateway.

        Args:
            base_url: of its API.
            token: for it.
            life: a number that changes whenever a process of the gateway was hit; None until
                it works again.
        """
        self.history = History()
        self.machines: list[Machine] = []
        self.answered_s = 0.0
        """When the newest complete answer was asked for, on the monotonic clock."""
        self.ready_s = 0.0
        """The same for the newest answer that said that all of the gateway works."""
        self.looks = 0
        self.unanswered = 0
        self.refused: list[str] = []
        """Answers that were errors; a gateway that is hit does not answer at all."""
        self.backwards: list[Backwards] = []
        """When a machine's newest reading went backwards within one life of the gateway."""
        self._console = Console(base_url, token)
        self._life = life
        self._seen_life: int | None = None
        self._ending = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def look(self) -> None:
        """Ask everything once.

        Raises:
            Unreachable: the gateway does not answer.
            Refused: it answers with an error.
        """
        began_s, life = time.monotonic(), self._life()
        machines = self._console.machines()
        details = [self._console.case(case.case_id) for case in self._console.cases()]
        if life is not None and life == self._life() == self._seen_life:
            self._note_newest(machines)
        self._seen_life = life
        self.machines = machines
        self.history.note(details)
        self.answered_s = began_s
        if self._console.healthy():
            self.ready_s = began_s
        self.looks += 1

    def await_look(self) -> None:
        """Wait until everything was asked that can be asked from now on.

        Raises:
            Unreachable: the gateway does not answer.
        """
        since_s = time.monotonic()
        while self.answered_s < since_s:
            self.check()
            if time.monotonic() > since_s + END_TIMEOUT_S:
                raise Unreachable(f"the gateway has not answered for {END_TIMEOUT_S:g} s")
            time.sleep(LOOK_EVERY_S)

    def check(self) -> None:
        """Raise what ended the thread, if something did."""
        if self._error is not None:
            raise self._error

    def _note_newest(self, machines: list[Machine]) -> None:
        before = {m.device: m.last_ns for m in self.machines if m.last_ns is not None}
        for machine in machines:
            known, now_ns = before.get(machine.device), machine.last_ns or 0
            if known is not None and now_ns < known and len(self.backwards) < BACKWARDS_MAX:
                self.backwards.append(Backwards(machine.device, known, now_ns))

    def _run(self) -> None:
        while not self._ending.wait(LOOK_EVERY_S):
            try:
                self.look()
            except Unreachable:
                self.unanswered += 1  # it was hit; that is what drills are for
            except Refused as error:
                self.unanswered += 1
                if len(self.refused) < REFUSED_MAX:
                    self.refused.append(str(error))
            except Exception as error:  # noqa: BLE001 - raised where somebody looks
                self._error = error
                return

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._ending.set()
        self._thread.join(END_TIMEOUT_S)
        self._console.close()
