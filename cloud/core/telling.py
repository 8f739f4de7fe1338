"""What other systems are told: it follows from a case before and after one step."""

from collections.abc import Iterable
from enum import StrEnum

import msgspec
from msgspec import Struct, structs

from cloud.core.states import Case, Phase, Visit
from contract.tickets import TicketState, VisitState


class EventType(StrEnum):
    """Events that an endpoint may subscribe to."""

    CASE_OPENED = "farfix.case.opened"
    CASE_REOPENED = "farfix.case.reopened"
    CASE_ENDED = "farfix.case.ended"
    TICKET_OPENED = "farfix.ticket.opened"
    TICKET_UPDATED = "farfix.ticket.updated"
    TICKET_WITHDRAWN = "farfix.ticket.withdrawn"
    TICKET_CLOSED = "farfix.ticket.closed"
    TEST = "farfix.test"


ABOUT_TICKETS = {
    EventType.TICKET_OPENED: TicketState.OPEN,
    EventType.TICKET_UPDATED: TicketState.OPEN,
    EventType.TICKET_WITHDRAWN: TicketState.WITHDRAWN,
    EventType.TICKET_CLOSED: TicketState.CLOSED,
}
"""Events about a ticket, and what has become of it then."""


ENDS = (EventType.TICKET_WITHDRAWN, EventType.TICKET_CLOSED)


class Telling(Struct, frozen=True, kw_only=True):
    """One event, before it is put into the form that an endpoint wants."""

    id: str
    """The same over all attempts and endpoints; receivers drop what they know."""
    type: EventType
    subject: str
    """Key of the ticket, or the case. Events of one subject arrive in their order."""
    device: str
    at_ns: int
    data: msgspec.Raw
    """`contract.tickets.TicketNews` about tickets, `contract.faults.Fault` about cases."""


def about_tickets(told: Iterable[bytes]) -> list[Telling]:
    """Return the events about tickets among encoded ones, in their order."""
    found = (msgspec.json.decode(event, type=Telling) for event in told)
    return [event for event in found if event.type in ABOUT_TICKETS]


def events(before: Case | None, after: Case) -> list[EventType]:
    """Return what the step from one case to the next is called for others.

    A ticket is opened once and ends once: withdrawn by the gateway, or closed by the report, by a
    person's word, or by dispatch that cancelled it. After its end nothing is told of it.
    """
    found = []
    if before is None:
        found.append(EventType.CASE_OPENED)
    elif after.open and not before.open:
        found.append(EventType.CASE_REOPENED)
    ticket = _ticket(before, after)
    if ticket is not None:
        found.append(ticket)
    if not after.open and (before is None or before.open):
        found.append(EventType.CASE_ENDED)
    return found


def _ticket(before: Case | None, after: Case) -> EventType | None:
    visit = after.visit
    if visit is None:
        return None
    known = before.visit if before is not None else None
    if before is None or known is None or known.key != visit.key:
        return EventType.TICKET_OPENED
    if not before.open or known.state is VisitState.CANCELLED:
        return None
    if after.phase is Phase.WITHDRAWN and visit.state is VisitState.WITHDRAWN:
        return EventType.TICKET_WITHDRAWN
    if not after.open or visit.state is VisitState.CANCELLED:
        return EventType.TICKET_CLOSED
    news = _news(known, before) != _news(visit, after)
    return EventType.TICKET_UPDATED if news else None


def _news(visit: Visit, case: Case) -> tuple[Visit, bool, bool]:
    """Return what a receiver of the ticket should know, as soon as it changes."""
    told = structs.replace(visit, at_ns=0, left=False, seen=[], words=0)
    return told, case.recovered_since_ns is not None, case.paused_ns is not None
