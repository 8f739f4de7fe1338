"""Tickets: why a visit is needed, by when, what was tried, and the technician's closing report."""

from nicegui import ui
from nicegui.element import Element

from cloud.web import words
from cloud.web.console.decisions import attempt
from cloud.web.console.frame import frame, live, load
from cloud.web.console.parts import (
    PHASE_TONE,
    SEVERITY_TONE,
    Section,
    Text,
    box,
    empty,
    link,
    pill,
)
from cloud.web.ports import Desk
from cloud.web.schemas import CaseDetail
from cloud.web.ticket_schemas import TicketBrief
from cloud.web.views import Views
from contract.tickets import ClosingReport, Part

DELIVERY_TONE = {
    "delivered": ("ok", "mark_email_read", "Handed to dispatch"),
    "waiting": ("warn", "schedule_send", "Not handed over yet"),
    "failed": ("bad", "error_outline", "Dispatch did not take it"),
}
NOTES_MAX = 4000
EVERY_S = 3.0


def install(desk: Desk, views: Views) -> None:
    """Register the page."""

    def read() -> list[tuple[TicketBrief, CaseDetail | None]]:
        return [
            (ticket, views.case(ticket.key) if ticket.case and ticket.case.open else None)
            for ticket in views.tickets()
        ]

    @ui.page("/tickets")
    async def tickets_page() -> None:
        with frame(desk, "/tickets", "Tickets"):
            with box("stack stack-s"):
                Text("Tickets", tag="h1")
                Text("What could not be fixed remotely, and why.", "muted")
            first = await load(read)
            host = box("host")
            listed = Section(box("stack stack-l"))
            listed.show(repr(first), lambda: _tickets(desk, first, host))

            async def refresh() -> None:
                seen = await load(read)
                listed.show(repr(seen), lambda: _tickets(desk, seen, host))

            live(refresh, EVERY_S)


def _tickets(
    desk: Desk, tickets: list[tuple[TicketBrief, CaseDetail | None]], host: Element
) -> None:
    if not tickets:
        empty("inventory_2", "No tickets", "Everything so far was dealt with remotely.")
    for ticket, case in tickets:
        with box("card"):
            with box("head").style("margin-bottom: 14px"):
                with box("stack stack-s"):
                    link(ticket.title, f"/cases/{ticket.key}", "machine-title wrap")
                    with box("row small muted"):
                        link(ticket.machine_title, f"/machines/{ticket.device}")
                        Text(f"{ticket.site} · opened {words.utc(ticket.opened_ns)}", tag="span")
                with box("row"):
                    tone, icon = SEVERITY_TONE[ticket.severity]
                    pill(tone, icon, f"{ticket.severity.capitalize()} severity")
                    if ticket.case is not None:
                        pill(*PHASE_TONE[ticket.case.phase], ticket.case.phase_text)
            ticket_body(desk, ticket, case, host)


def ticket_body(desk: Desk, ticket: TicketBrief, case: CaseDetail | None, host: Element) -> None:
    """Show why, by when, with what; and offer the closing report if it may be handed in."""
    now_ns = desk.now_ns()
    with box("stack stack-l"):
        with box("stack stack-s"):
            Text(ticket.reason_text, tag="h3")
            Text(ticket.reason_detail, "wrap")
            if ticket.forecast:
                Text(ticket.forecast, "wrap")
        with box("facts"):
            with box("stack").style("gap: 0"):
                Text("Due", "fact-label")
                late = ticket.due_ns < now_ns and case is not None
                due = f"{words.utc(ticket.due_ns)} ({words.ago(ticket.due_ns, now_ns)})"
                Text(due + (", late" if late else ""), "due num" + (" tone-bad" if late else ""))
            with box("stack").style("gap: 0"):
                Text("Dispatch", "fact-label")
                tone, icon, text = DELIVERY_TONE[ticket.delivery]
                with box("row").style("gap: 4px"):
                    ui.icon(icon).classes(f"tone-{tone}")
                    Text(text, tag="span")
        with box("facts facts-wide"):
            for title, lines in (
                ("Tried remotely", ticket.tried or ["Nothing"]),
                ("Parts", ticket.parts),
                ("Skills", ticket.skills),
                ("Safety", ticket.safety_notes),
            ):
                if lines:
                    _list(title, lines)
        if case is not None and case.reportable:
            button = ui.button(
                "Write the closing report",
                icon="assignment_turned_in",
                color=None,
                on_click=lambda: _report(desk, case, host),
            )
            button.props("unelevated no-caps").classes("btn btn-side").style("align-self: start")


def _list(title: str, lines: list[str]) -> None:
    with box("stack stack-s"):
        Text(title, "fact-label")
        with box("plain", tag="ul"):
            for line in lines:
                Text(line, tag="li", classes="wrap")


def _suggested(case: CaseDetail) -> str | None:
    return case.fault if case.fault in case.findings else None


def _parts(desk: Desk, case: CaseDetail) -> dict[str, Part]:
    """Return all parts that the machine type's faults may need, by number."""
    machine = desk.machines.get(case.machine_type)
    specs = machine.faults if machine else []
    return {part.number: part for spec in specs for part in spec.parts}


def _report(desk: Desk, case: CaseDetail, host: Element) -> None:
    with host, ui.dialog(value=True) as dialog, ui.card().classes("dialog"):
        Text("Closing report", tag="h2")
        Text("Closes the case. What was found is kept, so that diagnosis gets better.", "muted")
        finding = ui.select(case.findings, label="What was it?", value=_suggested(case))
        finding.props("outlined dense options-dense")
        parts = _parts(desk, case)
        used = ui.select(
            {number: f"{part.name} ({number})" for number, part in parts.items()},
            label="Parts replaced",
            multiple=True,
        ).props("outlined dense options-dense")
        notes = ui.textarea("What was done").props(f"outlined dense maxlength={NOTES_MAX}")
        resolved = ui.checkbox("The machine works again", value=True)
        name = ui.input("Technician").props("outlined dense maxlength=80")

        async def hand_in() -> None:
            if not finding.value or not str(name.value or "").strip():
                ui.notify("Please say what it was, and who found it.")
                return
            report = ClosingReport(
                finding=str(finding.value),
                notes=str(notes.value or "").strip(),
                parts_used=[parts[number] for number in used.value or []],
                resolved=bool(resolved.value),
                technician=str(name.value).strip(),
            )
            if await attempt(lambda: desk.report(case.case_id, report)):
                dialog.close()

        with box("right-row"):
            back = ui.button("Back", color=None, on_click=dialog.close).props("unelevated no-caps")
            back.classes("btn btn-side")
            go = ui.button("Close the case", color=None, on_click=hand_in).props(
                "unelevated no-caps"
            )
            go.classes("btn btn-main")
    dialog.on("hide", dialog.delete)
