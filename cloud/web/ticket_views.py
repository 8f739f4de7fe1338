"""A stored ticket as people read it."""

import re

from cloud.adapters.store import CaseRow, Store, TicketRow
from cloud.core import visits
from cloud.core.delivery import DeliveryState
from cloud.core.states import Case, Phase
from cloud.core.wording import foreseen
from cloud.web import case_views, words
from cloud.web.schemas import VisitView
from cloud.web.ticket_schemas import CauseView, TicketBrief, TicketDetail
from contract import codec
from contract.machines import MachineType
from contract.tickets import Ticket, TicketState, VisitState

LIKELY = 0.05
"""Causes below are left to the case's page."""
_SENTENCE = re.compile(r"(?<=\.)\s+(?=[A-Z])")


def brief(row: TicketRow, found: CaseRow | None, now_ns: int) -> TicketBrief:
    """Return a ticket with its visit and its case."""
    ticket = codec.decode(row.body, Ticket)
    case = case_views.decode(found) if found else None
    stands = state(case, row.key)
    return TicketBrief(
        key=ticket.key,
        case_id=visits.case_of(ticket.key),
        title=ticket.title,
        state=stands,
        late=stands is TicketState.OPEN and ticket.due_ns < now_ns,
        visit=_visit(case, row.key),
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
        service_level=ticket.service_level,
        case=case_views.brief(found) if found else None,
    )


def detail(store: Store, row: TicketRow, machine: MachineType | None, now_ns: int) -> TicketDetail:
    """Return a ticket as the technician needs it."""
    ticket = codec.decode(row.body, Ticket)
    return TicketDetail(
        **dict(brief(row, store.case(visits.case_of(row.key)), now_ns)),
        delivery=delivery(store, row.key),
        machine_type_title=machine.title if machine else ticket.asset.machine_type,
        serial=ticket.asset.serial,
        address=ticket.asset.address,
        firmware=ticket.asset.firmware,
        fault_title=case_views.fault_title(machine, ticket.fault),
        first_seen_ns=ticket.first_seen_ns,
        seen=[words.deviation(case_views.deviation(machine, d)) for d in ticket.seen],
        causes=[
            CauseView(
                title=case_views.fault_title(machine, h.fault),
                probability=h.probability,
                evidence=h.evidence,
                to_do=to_do(machine, h.fault),
            )
            for i, h in enumerate(ticket.hypotheses)
            if i == 0 or h.probability >= LIKELY
        ],
    )


def state(case: Case | None, key: str) -> TicketState:
    """Tell what has become of a ticket: a later ticket of its case closes it."""
    if case is None or case.visit is None or case.visit.key != key:
        return TicketState.CLOSED
    if case.visit.state is VisitState.WITHDRAWN:
        return TicketState.WITHDRAWN
    return TicketState.OPEN if case.phase is Phase.DISPATCHED else TicketState.CLOSED


def to_do(machine: MachineType | None, fault: str) -> list[str]:
    """Return what a technician does about a fault, one sentence at a time."""
    found = machine.fault(fault) if machine else None
    return _SENTENCE.split(found.action) if found else []


def delivery(store: Store, key: str) -> str:
    """Say whether all who are told of a ticket know it: nobody, waiting, delivered or failed."""
    states = {row.state for row in store.hooks.deliveries(subject=key)}
    if not states:
        return "nobody"
    if states & {DeliveryState.DEAD, DeliveryState.DROPPED}:
        return "failed"
    return "waiting" if DeliveryState.WAITING in states else "delivered"


def _visit(case: Case | None, key: str) -> VisitView | None:
    if case is None or case.visit is None or case.visit.key != key:
        return None
    return case_views.visit(case.visit)
