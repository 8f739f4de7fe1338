"""One ticket: what the technician needs on one printed page, and how the visit stands."""

from urllib.parse import quote

from msgspec import Struct
from nicegui import ui

from cloud.web import words
from cloud.web.console import case_story, report, ticket_parts
from cloud.web.console.case_style import style
from cloud.web.console.frame import frame, live, load, not_found, page_at
from cloud.web.console.parts import SEVERITY_TONE, Section, Text, box, link, pill
from cloud.web.console.tongue import t, told, utc
from cloud.web.faces import Faces
from cloud.web.hook_ports import Delivery, Endpoint
from cloud.web.schemas import CaseDetail
from cloud.web.ticket_schemas import CauseView, TicketDetail
from cloud.web.views import Views

EVERY_S = 3.0
DELIVERIES = 20


class _Seen(Struct, frozen=True):
    """All that the page shows."""

    ticket: TicketDetail
    case: CaseDetail | None
    deliveries: list[Delivery]
    endpoints: list[Endpoint]


def install(faces: Faces, views: Views) -> None:
    """Register the page."""

    def read(key: str) -> _Seen | None:
        ticket = views.ticket(key)
        if ticket is None:
            return None
        sent = faces.hooks.deliveries(subject=key, limit=DELIVERIES)
        return _Seen(ticket, views.case(ticket.case_id), sent, faces.hooks.endpoints())

    @page_at("/tickets/{key}")
    async def ticket_page(key: str) -> None:
        with frame(faces.desk, "/tickets", t("Ticket")):
            style()
            seen = await load(lambda: read(key))
            if seen is None:
                not_found(t("There is no ticket {key} here.", key=repr(key)))
                return
            ui.page_title(f"{seen.ticket.title} · Farfix")
            host = box("host")
            sheet = Section(box("sheet"))

            def show(found: _Seen) -> None:
                content = repr((found.ticket, found.deliveries, found.case and found.case.report))
                sheet.show(content, lambda: _Sheet(faces, found, host).build())

            show(seen)

            async def refresh() -> None:
                again = await load(lambda: read(key))
                if again is not None:
                    show(again)

            live(refresh, EVERY_S)


class _Sheet(Struct, frozen=True):
    """The page's content."""

    faces: Faces
    seen: _Seen
    host: ui.element

    def build(self) -> None:
        """Build it from top to bottom."""
        ticket = self.seen.ticket
        self._head()
        with box("card stack stack-l"):
            if ticket.visit is not None:
                with box("stack stack-s no-print"):
                    ticket_parts.stepper(ticket.visit)
            with box("facts"):
                ticket_parts.due(ticket, self.faces.desk.now_ns())
                ticket_parts.handed_over(ticket)
            ticket_parts.facts_of(_asset(ticket))
            if ticket.service_level:
                Text(told(ticket.service_level), "small muted wrap")
        if ticket.safety_notes:
            with box("card safety"):
                Text(t("Safety first"), tag="h2", classes="card-head")
                _lines(ticket.safety_notes)
        with box("sheet-two"):
            with box("stack stack-xl"):
                self._why()
                self._needs()
            with box("stack stack-xl"):
                _causes(ticket.causes)
        self._after()

    def _head(self) -> None:
        ticket = self.seen.ticket
        with box("stack"):
            with box("crumbs", tag="nav"):
                link(t("Tickets"), "/tickets", "")
                Text("/", tag="span")
                Text(ticket.key, tag="span")
            with box("head"):
                with box("stack stack-s"):
                    Text(f"{ticket.machine_title}: {told(ticket.fault_title)}", "wrap", tag="h1")
                    opened = t("Work order {key}, written {time}", key=ticket.key,
                               time=utc(ticket.opened_ns))  # fmt: skip
                    Text(opened, "muted small wrap num")
                with box("abreast"):
                    ticket_parts.state_pill(ticket)
                    tone, icon = SEVERITY_TONE[ticket.severity]
                    severity = told(ticket.severity.capitalize())
                    pill(tone, icon, t("{severity} severity", severity=severity))
            with box("actions no-print"):
                link(t("See the evidence"), evidence(ticket.case_id), "btn-link")
                with ui.button(t("Print"), icon="print", color=None) as printing:
                    printing.props("unelevated no-caps").classes("btn btn-side")
                    printing.on("click", js_handler="() => window.print()")
                if self.seen.case is not None:
                    report.button(self.faces.desk, self.seen.case, self.host)

    def _why(self) -> None:
        ticket = self.seen.ticket
        with box("card stack stack-l"):
            Text(t("Why a visit"), tag="h2")
            ticket_parts.reason(ticket)
            _named(t("What is seen"), ticket.seen)
            _named(t("Tried remotely"), ticket.tried or [t("Nothing")])

    def _needs(self) -> None:
        ticket = self.seen.ticket
        if ticket.parts or ticket.skills:
            with box("card stack stack-l"):
                Text(t("What to bring"), tag="h2")
                _named(t("Parts"), ticket.parts)
                _named(t("Skills"), ticket.skills)

    def _after(self) -> None:
        found = self.seen.case.report if self.seen.case else None
        if found is not None:
            with box("card"):
                Text(t("What the technician found"), tag="h2", classes="card-head")
                case_story.report(found, self.seen.ticket.key)
        with box("card no-print"):
            Text(t("What was sent about it"), tag="h2", classes="card-head")
            ticket_parts.deliveries(self.seen.deliveries, self.seen.endpoints)


def evidence(case_id: str) -> str:
    """Return the address of a case's evidence."""
    return f"/cases/{quote(case_id)}#evidence"


def _asset(ticket: TicketDetail) -> dict[str, str]:
    return {
        t("Machine"): ticket.device,
        t("Type"): told(ticket.machine_type_title),
        t("Site"): ticket.site,
        t("Address"): ticket.address,
        t("Serial"): ticket.serial,
        t("Firmware"): ticket.firmware,
        t("First seen"): utc(ticket.first_seen_ns),
    }


def _named(title: str, lines: list[str]) -> None:
    if lines:
        with box("stack stack-s"):
            Text(title, "fact-label")
            _lines(lines)


def _lines(lines: list[str]) -> None:
    with box("plain", tag="ul"):
        for line in lines:
            Text(told(line), tag="li", classes="wrap")


def _causes(causes: list[CauseView]) -> None:
    with box("card stack"):
        Text(t("Likely causes, and what to do"), tag="h2")
        for cause in causes:
            with box("hypothesis"):
                with box("chart-head flush"):
                    Text(told(cause.title), tag="h3")
                    Text(words.percent(cause.probability), "chart-value")
                with box("evidence", tag="ul"):
                    for sentence in cause.evidence[:4]:
                        Text(told(sentence), tag="li")
                if cause.to_do:
                    with box("tick", tag="ul"):
                        for step in cause.to_do:
                            Text(told(step), tag="li", classes="wrap")
