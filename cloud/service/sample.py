"""An event by which people see whether an endpoint works."""

import msgspec

from cloud.core.telling import EventType, Telling
from contract.faults import Severity
from contract.tickets import Asset, EscalationReason, Ticket, TicketNews, TicketState, VisitState

KEY = "farfix-test-"


def telling(name: str, now_ns: int, base_url: str) -> Telling:
    """Return a test event about a ticket that does not exist.

    Args:
        name: makes it another one than those before.
        now_ns: plant time.
        base_url: of the gateway.
    """
    said = "This is a test of the webhook. No machine is concerned and nobody needs to go."
    ticket = Ticket(
        key=KEY + name,
        title="Test of the webhook",
        description=said,
        severity=Severity.LOW,
        reason=EscalationReason.CUSTOMER_REQUEST,
        reason_detail=said,
        asset=Asset(device="test", machine_type="test", title="Test", site="test"),
        fault="other",
        hypotheses=[],
        first_seen_ns=now_ns,
        seen=[],
        tried=[],
        parts=[],
        skills=[],
        safety_notes=[],
        opened_ns=now_ns,
        due_ns=now_ns,
    )
    news = TicketNews(
        ticket=ticket,
        state=TicketState.WITHDRAWN,
        visit=VisitState.WITHDRAWN,
        detail=said,
        url=base_url,
    )
    return Telling(
        id=f"test/{name}",
        type=EventType.TEST,
        subject=ticket.key,
        device="test",
        at_ns=now_ns,
        data=msgspec.Raw(msgspec.json.encode(news)),
    )
