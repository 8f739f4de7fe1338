"""The story of one case, from the first symptom to the verified fix."""

from collections.abc import Hashable

from msgspec import Struct
from nicegui import ui
from nicegui.element import Element

from cloud.core.ledger import Entry
from cloud.core.people import Role
from cloud.web import words
from cloud.web.console import (
    case_chart,
    case_story,
    charts,
    decisions,
    promise,
    report,
    ticket_parts,
    trying,
    viewer,
)
from cloud.web.console.case_attempts import Attempts
from cloud.web.console.case_style import style
from cloud.web.console.frame import frame, live, load, not_found, page_at
from cloud.web.console.parts import (
    PHASE_TONE,
    SEVERITY_TONE,
    Pill,
    Section,
    Text,
    box,
    link,
)
from cloud.web.console.tongue import ago, span, t, told, utc
from cloud.web.faces import Faces
from cloud.web.hook_ports import Delivery, Endpoint
from cloud.web.schemas import CaseDetail
from cloud.web.ticket_schemas import TicketDetail
from cloud.web.views import Views

CHART_EVERY_S = 5.0
DELIVERIES = 20
ANCHOR = """
const spot = location.hash && document.getElementById(location.hash.slice(1));
if (spot) { spot.scrollIntoView(); spot.focus({preventScroll: true}); }
"""
"""What an address points at is built only after the browser has looked for it."""


class _Seen(Struct, frozen=True, kw_only=True):
    """All that the page shows, as it was read at once."""

    case: CaseDetail
    ticket: TicketDetail | None
    deliveries: list[Delivery]
    endpoints: list[Endpoint]
    entries: list[Entry]


def install(faces: Faces, views: Views) -> None:
    """Register the page."""

    def read(case_id: str) -> _Seen | None:
        case = views.case(case_id)
        if case is None:
            return None
        key = case.ticket_key
        return _Seen(
            case=case,
            ticket=views.ticket(key) if key else None,
            deliveries=faces.hooks.deliveries(subject=key, limit=DELIVERIES) if key else [],
            endpoints=faces.hooks.endpoints() if key else [],
            entries=faces.value.case_entries(case_id),
        )

    @page_at("/cases/{case_id}")
    async def case_page(case_id: str) -> None:
        with frame(faces.desk, "", t("Case")):
            style()
            seen = await load(lambda: read(case_id))
            if seen is None:
                not_found(t("There is no case {case} here.", case=repr(case_id)))
                return
            ui.page_title(f"{told(seen.case.title)} · Farfix")
            page = _Page(faces, views, seen)
            page.show(seen)

            async def refresh() -> None:
                again = await load(lambda: read(case_id))
                if again is not None:
                    page.show(again)

            live(refresh)
            live(page.draw, CHART_EVERY_S, at_once=True)
            ui.timer(0, lambda: ui.run_javascript(ANCHOR), once=True)


class _Page:
    """All parts of the page. A part is built anew only when what it shows has changed."""

    def __init__(self, faces: Faces, views: Views, seen: _Seen) -> None:
        self._desk, self._views, self._case = faces.desk, views, seen.case
        with box("stack"):
            case_story.crumbs(seen.case)
            with box("head"):
                with box("stack stack-s"):
                    self._title = Text(tag="h1", classes="wrap")
                    self._since = Text("", "muted small num wrap")
                with box("abreast"):
                    self._pill, self._severity = Pill(), Pill()
        self._host = box("host")
        self._next = Section(box("card next"))
        self._promise = Section(box("card stack stack-l"))
        with _card(t("Leading signals around the fault"), "evidence", "card chart-card"):
            self._chart = ui.echart({"series": []}).classes("case-chart")
            height_px = charts.height_px(1 + len(case_chart.leading(seen.case)), 1)
            self._chart.style(f"height: {height_px}px")
        with box("two"):
            with box("stack stack-l"):
                with _card(t("What it may be")):
                    self._hypotheses = Section(box())
                with _card(t("Remote attempts")):
                    self._attempts = Attempts(self._desk, views)
                self._entries = Section(box("stack"))
            with box("stack stack-l"):
                self._ticket = Section(box("stack stack-l"))
                with _card(t("What happened")):
                    self._story = Section(box("story", tag="ol"))

    def show(self, seen: _Seen) -> None:
        """Set what is known now."""
        case = self._case = seen.case
        now_ns = self._desk.now_ns()
        self._title.text = told(case.title)
        self._pill.set(*PHASE_TONE[case.phase], told(case.phase_text))
        tone, icon = SEVERITY_TONE[case.severity]
        severity = told(case.severity.capitalize())
        self._severity.set(tone, icon, t("{severity} severity", severity=severity))
        self._since.text = _since(case, now_ns)
        self._next.show((_rights(), _next_content(case)), lambda: self._build_next(case))
        late = tuple(now_ns > ns for ns in (case.promise.respond_by_ns, case.promise.restore_by_ns))
        promised = (_rights(), repr(case.promise), late, tuple(case.actions))
        self._promise.show(promised, lambda: self._build_promise(case))
        self._story.show(
            tuple(case.timeline), lambda: case_story.timeline(case.timeline, case.opened_ns)
        )
        self._hypotheses.show(
            repr((case.hypotheses, case.checks)),
            lambda: case_story.hypotheses(case.hypotheses, case.checks),
        )
        self._attempts.show(case)
        told_of = repr((_rights(), seen.ticket, seen.deliveries, case.report))
        self._ticket.show(told_of, lambda: self._build_ticket(seen))
        self._entries.show(repr(seen.entries), lambda: _entries(seen.entries))

    def _build_next(self, case: CaseDetail) -> None:
        with box("next-text"):
            Text(t("What happens next") if case.open else t("How it ended"), tag="h2")
            Text(_next_text(case), "wrap")
            if case.reopened:
                came_back = t(
                    "The same fault came back {count} times; it was first seen {time}.",
                    count=case.reopened,
                    time=utc(case.first_opened_ns or case.opened_ns),
                )
                Text(came_back, "muted wrap")
        with box("actions"):
            decisions.buttons(self._desk, case, self._host)
            trying.button(self._desk, case, self._host)
            report.button(self._desk, case, self._host)

    def _build_promise(self, case: CaseDetail) -> None:
        Text(t("What is promised"), tag="h2")
        promise.build(self._desk, case, self._host)

    def _build_ticket(self, seen: _Seen) -> None:
        ticket, case = seen.ticket, seen.case
        if case.report is not None:
            with _card(t("What the technician found")):
                case_story.report(case.report, case.ticket_key)
        if ticket is None:
            return
        with _card(t("Ticket")), box("stack stack-l"):
            with box("abreast between"):
                link(ticket.key, f"/tickets/{ticket.key}", "link mono wrap")
                ticket_parts.state_pill(ticket)
            if ticket.visit is not None:
                with box("stack stack-s"):
                    ticket_parts.stepper(ticket.visit)
            ticket_parts.reason(ticket)
            with box("facts"):
                ticket_parts.due(ticket, self._desk.now_ns())
                ticket_parts.handed_over(ticket)
            ticket_parts.lists(ticket)
            with ui.expansion(t("What was sent about it")).classes("full fold"):
                ticket_parts.deliveries(seen.deliveries, seen.endpoints)

    async def draw(self) -> None:
        """Read the signals around the fault anew and set the charts."""
        case, now_ns = self._case, self._desk.now_ns()
        span, leading = case_chart.span(case, now_ns), case_chart.leading(case)
        found = await load(
            lambda: self._views.telemetry(
                case.device, leading, span.from_ns, span.to_ns, case_chart.POINTS
            )
        )
        if found is not None:
            options, height_px = case_chart.options(case, found, span)
            self._chart.style(f"height: {height_px}px")
            self._chart.options.update(options)
            self._chart.update()
        await self._attempts.draw()


def _card(title: str, anchor: str = "", classes: str = "card") -> Element:
    """Return a card with its heading, which an address may point at."""
    card = box(classes, tag="section")
    with card:
        head = Text(title, tag="h2", classes="card-head")
        if anchor:
            head.props["id"] = anchor
            head.props["tabindex"] = "-1"
    return card


def _rights() -> tuple[bool, ...]:
    """Return what the viewer may do: buttons come and go with it."""
    return tuple(map(viewer.allowed, (Role.OPERATOR, Role.ENGINEER, Role.ADMIN)))


def _since(case: CaseDetail, now_ns: int) -> str:
    opened = t("Opened {time} ({ago})", time=utc(case.opened_ns), ago=ago(case.opened_ns, now_ns))
    return f"{opened} · {t('case {case}', case=case.case_id)}"


def _next_content(case: CaseDetail) -> Hashable:
    return (case.next_text, tuple(case.actions), case.phase, case.reportable, case.reopened)


def _next_text(case: CaseDetail) -> str:
    values = {
        name: value if name == "notes" else told(value) for name, value in case.next_values.items()
    }
    if case.evidence is not None and "dwell" in values:
        values["dwell"] = span(case.evidence.dwell_s)
    return told(case.next_template).format(**values)


def _entries(found: list[Entry]) -> None:
    """Show what the case counts as in the value ledger."""
    if not found:
        return
    with _card(t("What it was worth")):
        for entry in found:
            with box("ledger-row"):
                Text(told(entry.text), "wrap")
                amount = "" if entry.amount is None else f"{entry.amount:,.2f} {entry.currency}"
                Text(amount or words.number(entry.count), "chart-value")
        link(t("How it is counted"), "/value", "link small")
