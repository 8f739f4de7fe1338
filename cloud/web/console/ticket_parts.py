"""What the pages of a case and of a ticket both show of a ticket."""

from nicegui import ui

from cloud.core.people import Role
from cloud.web import words
from cloud.web.console import viewer
from cloud.web.console.parts import Text, box, link, pill
from cloud.web.console.tongue import ago, later, t, told, utc
from cloud.web.hook_ports import Delivery, Endpoint
from cloud.web.schemas import VisitView
from cloud.web.ticket_schemas import TicketBrief, TicketDetail
from contract.tickets import TicketState, VisitState

STEPS = (
    VisitState.ORDERED,
    VisitState.ACCEPTED,
    VisitState.SCHEDULED,
    VisitState.ON_THE_WAY,
    VisitState.ON_SITE,
    VisitState.DONE,
)
VISIT = {
    VisitState.ORDERED: later("Ordered"),
    VisitState.ACCEPTED: later("Accepted"),
    VisitState.SCHEDULED: later("Scheduled"),
    VisitState.ON_THE_WAY: later("On the way"),
    VisitState.ON_SITE: later("On site"),
    VisitState.DONE: later("Done"),
    VisitState.CANCELLED: later("Cancelled by dispatch"),
    VisitState.WITHDRAWN: later("Called off: healthy again"),
}
STATE_TONE = {
    TicketState.OPEN: ("bad", "engineering", later("Open")),
    TicketState.WITHDRAWN: ("ok", "undo", later("Withdrawn")),
    TicketState.CLOSED: ("calm", "task_alt", later("Closed")),
}
DELIVERY_TONE = {
    "nobody": ("calm", "link_off", later("No system is told")),
    "delivered": ("ok", "mark_email_read", later("Handed to dispatch")),
    "waiting": ("warn", "schedule_send", later("Not handed over yet")),
    "failed": ("bad", "error_outline", later("Dispatch did not take it")),
    "dead": ("bad", "error_outline", later("Given up")),
    "dropped": ("calm", "block", later("Not sent")),
}


def state_pill(ticket: TicketBrief) -> None:
    """Show what has become of a ticket."""
    tone, icon, text = STATE_TONE[ticket.state]
    pill(tone, icon, told(text))


def stepper(visit: VisitView) -> None:
    """Show where the visit stands, in the order of a good day."""
    off = visit.state in (VisitState.CANCELLED, VisitState.WITHDRAWN)
    steps = (VisitState.ORDERED, visit.state) if off else STEPS
    reached = steps.index(visit.state)
    with box("steps", tag="ol"):
        for i, step in enumerate(steps):
            passed = "passed" if i < reached or visit.state is VisitState.DONE else ""
            with box(f"step {passed} {'off' if off and i else ''}", tag="li") as item:
                if i == reached:
                    item.classes("present")
                    item.props["aria-current"] = "step"
                ui.icon("close" if off and i else "check" if passed else "circle")
                Text(told(VISIT[step]), tag="span")
    said = [t("since {time}", time=utc(visit.at_ns))] if visit.at_ns else []
    if visit.expected_ns is not None and not off:
        said.append(t("expected at the machine {time}", time=utc(visit.expected_ns)))
    if visit.technician:
        said.append(t("technician: {name}", name=visit.technician))
    if said:
        Text(" · ".join(said), "small muted wrap")


def due(ticket: TicketBrief, now_ns: int) -> None:
    """Show until when the machine must run again."""
    with box("stack").style("gap: 0"):
        Text(t("Due"), "fact-label")
        tone = " tone-bad" if ticket.late else ""
        with box("abreast"):
            Text(utc(ticket.due_ns), "due num" + tone)
            if ticket.late:
                pill("bad", "alarm", t("late"))
        if ticket.state is TicketState.OPEN:
            Text(ago(ticket.due_ns, now_ns), "small muted num")


def handed_over(ticket: TicketDetail) -> None:
    """Show whether dispatch has it."""
    with box("stack").style("gap: 0"):
        Text(t("Dispatch"), "fact-label")
        tone, icon, text = DELIVERY_TONE[ticket.delivery]
        with box("abreast").style("gap: 4px"):
            ui.icon(icon).classes(f"tone-{tone}")
            Text(told(text), tag="span")


def lists(ticket: TicketBrief) -> None:
    """Show what was tried, and what the visit needs."""
    with box("facts facts-wide"):
        for title, lines in (
            (t("Tried remotely"), ticket.tried or [t("Nothing")]),
            (t("Parts"), ticket.parts),
            (t("Skills"), ticket.skills),
            (t("Safety"), ticket.safety_notes),
        ):
            if lines:
                with box("stack stack-s"):
                    Text(title, "fact-label")
                    with box("plain", tag="ul"):
                        for line in lines:
                            Text(told(line), tag="li", classes="wrap")


def deliveries(found: list[Delivery], endpoints: list[Endpoint]) -> None:
    """Show what was sent about the ticket to whom, and what came of it."""
    if not endpoints:
        Text(t("No system is told about tickets: no webhook endpoint is set up."), "muted")
    elif not found:
        Text(t("Nothing was sent about this ticket so far."), "muted")
    names = {endpoint.id: endpoint.order.name for endpoint in endpoints}
    for delivery in found:
        tone, icon, text = DELIVERY_TONE[delivery.state]
        with box("delivery"):
            with box("stack").style("gap: 0"):
                Text(names.get(delivery.endpoint, delivery.endpoint), "wrap")
                Text(delivery.type, "mono muted wrap")
                if delivery.error and delivery.state != "delivered":
                    Text(told(delivery.error), "small tone-bad wrap")
            pill(tone, icon, told(text))
            times = t("{count} requests", count=delivery.attempts)
            at = utc(delivery.ended_ns or delivery.created_ns)
            Text(f"{at} · {times}", "small muted num")
    if viewer.allowed(Role.ADMIN):
        link(t("All deliveries"), "/webhooks", "link small")


def reason(ticket: TicketBrief) -> None:
    """Say why a visit is needed."""
    with box("stack stack-s"):
        Text(told(ticket.reason_text), tag="h3")
        Text(told(ticket.reason_detail), "wrap")
        if ticket.forecast:
            Text(told(ticket.forecast), "wrap")


def facts_of(lines: dict[str, str]) -> None:
    """Show names with their values, leaving out what is not known."""
    with box("facts"):
        for name, text in lines.items():
            if text and text != words.NONE:
                with box("stack").style("gap: 0"):
                    Text(name, "fact-label")
                    Text(text, "fact-value wrap")
