"""The demo's technician: takes tickets on, goes there, repairs, and hands in what was found."""

from collections.abc import Callable

import msgspec
from msgspec import Struct

from contract.errors import Refused
from contract.tickets import ClosingReport, Part, VisitState, VisitUpdate
from farfix.api import Gateway

NAME = "J. Doe"
STEP_S = 180.0
"""Plant time from one word about a visit to the next."""
COURSE = (
    VisitState.ACCEPTED,
    VisitState.SCHEDULED,
    VisitState.ON_THE_WAY,
    VisitState.ON_SITE,
    VisitState.DONE,
)


class _Machine(Struct, frozen=True):
    device: str


class _Order(Struct, frozen=True):
    """What a technician looks at in a ticket."""

    key: str
    asset: _Machine
    parts: list[Part]


class Technician:
    """Speaks the gateway's back-channel, as a dispatch system does."""

    def __init__(
        self, gateway: Gateway, now_ns: Callable[[], int], repair: Callable[[str], str]
    ) -> None:
        """Take what ends a device's fault on site and says what it was: the report's finding."""
        self._gateway, self._now_ns, self._repair = gateway, now_ns, repair
        self._said: dict[str, tuple[int, int]] = {}
        """How many words were said of a ticket, and when the next is due."""
        self._found: dict[str, str] = {}

    def go_on(self, tickets: list[dict[str, object]]) -> list[str]:
        """Say what is due about tickets; return sentences about visits that are over."""
        now_ns, over = self._now_ns(), []
        for order in msgspec.convert(tickets, list[_Order]):
            said, due_ns = self._said.get(order.key, (0, now_ns))
            if said == len(COURSE) or now_ns < due_ns:
                continue
            try:
                over += self._say(order, COURSE[said], now_ns)
            except Refused as error:  # withdrawn meanwhile, or closed at the console
                said, over = len(COURSE) - 1, [*over, f"{order.asset.device}: {error}"]
            self._said[order.key] = (said + 1, now_ns + int(STEP_S * 1e9))
        return over

    def _say(self, order: _Order, state: VisitState, now_ns: int) -> list[str]:
        ahead_ns = int(STEP_S * 2e9) if state is VisitState.SCHEDULED else None
        update = VisitUpdate(
            id=f"{order.key}/{state.value}",
            state=state,
            at_ns=now_ns,
            expected_ns=None if ahead_ns is None else now_ns + ahead_ns,
            technician=NAME,
        )
        self._gateway.visit(order.key, update)
        if state is VisitState.ON_SITE:
            self._found[order.key] = self._repair(order.asset.device)
        if state is not VisitState.DONE:
            return []
        found = self._found[order.key]
        report = ClosingReport(
            finding=found,
            notes="Repaired on site; it runs as it should.",
            technician=NAME,
            cause_code="M-12",
            parts_used=order.parts,
        )
        self._gateway.report(order.key, report)
        return [f"{order.asset.device}: visited; found {found}, ticket {order.key} is closed"]
