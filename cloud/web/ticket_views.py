"""A stored ticket as people read it."""

from cloud.adapters.store import OutboxState, Store, TicketRow
from cloud.core.wording import foreseen
from cloud.web import case_views, words
from cloud.web.schemas import TicketBrief
from contract import codec
from contract.tickets import Ticket

_DELIVERY = {
    OutboxState.PENDING: "waiting",
    OutboxState.DONE: "delivered",
    OutboxState.DEAD: "failed",
}


def brief(store: Store, row: TicketRow) -> TicketBrief:
    """Return a ticket with its delivery and its case."""
    ticket = codec.decode(row.body, Ticket)
    case = store.case(row.key)
    return TicketBrief(
        key=ticket.key,
        title=ticket.title,
        device=ticket.asset.device,
        machine_title=ticket.asset.title or ticket.asset.device,
        site=ticket.asset.site,
        severity=ticket.severity,
        reason=ticket.reason,
        reason_text=words.REASON[ticket.reason],
        reason_detail=ticket.reason_detail,
        opened_ns=ticket.opened_ns,
        due_ns=ticket.due_ns,
        tried=[f"{a.title}: {words.RESULT.get(a.result, a.result)}" for a in ticket.tried],
        parts=[f"{part.quantity} x {part.name} ({part.number})" for part in ticket.parts],
        skills=ticket.skills,
        safety_notes=ticket.safety_notes,
        forecast=foreseen(ticket.forecast) if ticket.forecast else "",
        delivery=delivery(store, row.key),
        case=case_views.brief(case) if case else None,
    )


def delivery(store: Store, case_id: str) -> str:
    """Say whether dispatch has the ticket: waiting, delivered or failed."""
    states = [row.state for row in store.outbox(case_id) if row.kind == "ticket"]
    return _DELIVERY[states[-1]] if states else "waiting"
