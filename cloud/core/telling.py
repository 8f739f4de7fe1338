"""What other systems are told: it follows from a case before and after one step."""

from enum import StrEnum

import msgspec
from msgspec import Struct

from cloud.core.states import Case


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


def events(before: Case | None, after: Case) -> list[EventType]:
    """Return what the step from one case to the next is called for others."""
    del before, after
    return []
