"""The hand that breaks the simulated machines: JSON lines to the simulator's control port."""

import socket

import msgspec
from msgspec import Struct

from contract.errors import Malformed, Refused, Unreachable
from farfix.demo.script import Catalogue

TIMEOUT_S = 10.0


class Broken(Struct, frozen=True):
    """A fault as the simulator knows it: the truth that the gateway has to find out."""

    device: str
    fault: str
    injected_ns: int
    ended_ns: int | None = None
    ended_by: str | None = None


class Simulator:
    """The simulator's control port; one connection for each request."""

    def __init__(self, port: int) -> None:
        self._port = port

    def ready(self) -> bool:
        """Tell whether the control port answers."""
        try:
            self._ask({"do": "faults"})
        except Unreachable:
            return False
        return True

    def catalogue(self) -> Catalogue:
        """Return what can be broken, and what ends it."""
        return msgspec.convert(self._ask({"do": "natures"}), Catalogue)

    def inject(self, device: str, fault: str) -> int:
        """Break a machine; return when, in plant time."""
        answer = msgspec.convert(
            self._ask({"do": "inject", "device": device, "fault": fault}), dict[str, object]
        )
        return msgspec.convert(answer["at_ns"], int)

    def repair(self, device: str, fault: str) -> None:
        """End a fault as a visit does."""
        self._ask({"do": "repair", "device": device, "fault": fault})

    def faults(self) -> list[Broken]:
        """Return every fault that was injected so far."""
        return msgspec.convert(self._ask({"do": "faults"}), list[Broken])

    def _ask(self, request: dict[str, str]) -> object:
        try:
            with socket.create_connection(("127.0.0.1", self._port), TIMEOUT_S) as connection:
                connection.sendall(msgspec.json.encode(request) + b"\n")
                line = connection.makefile("rb").readline()
        except OSError as error:
            raise Unreachable(f"the simulator does not answer: {error}") from error
        try:
            answer = msgspec.json.decode(line)
        except msgspec.DecodeError as error:
            raise Malformed(f"the simulator answered {line[:200]!r}: {error}") from error
        if isinstance(answer, dict) and answer.get("ok") is False:
            raise Refused(f"the simulator refused {request}: {answer.get('error')}")
        return answer
