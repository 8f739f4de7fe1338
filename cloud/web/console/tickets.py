"""Tickets: what could not be fixed remotely, why, by when, and how the visit stands."""

from urllib.parse import quote, urlencode

from msgspec import Struct, structs
from nicegui import ui

from cloud.web.console import ticket, ticket_parts
from cloud.web.console.case_style import style
from cloud.web.console.frame import frame, live, load, page_at
from cloud.web.console.parts import SEVERITY_TONE, Section, Text, box, empty, link, pill, set_prop
from cloud.web.console.tongue import ago, later, t, told, utc
from cloud.web.faces import Faces
from cloud.web.ticket_schemas import TicketBrief
from cloud.web.views import Views
from contract.tickets import TicketState

EVERY_S = 3.0
STATES = {
    "open": later("Open"),
    "late": later("Late"),
    "withdrawn": later("Withdrawn"),
    "closed": later("Closed"),
    "all": later("All"),
}
TICKETS_MAX = 200


class Pick(Struct, frozen=True):
    """Which tickets are asked for."""

    state: str = "open"
    reason: str = ""
    site: str = ""

    def fits(self, found: TicketBrief) -> bool:
        """Tell whether a ticket is one of them."""
        stands = {"all": True, "late": found.late}.get(self.state, found.state == self.state)
        reason = self.reason in ("", found.reason)
        return stands and reason and self.site in ("", found.site)

    def address(self) -> str:
        """Return where the page shows them."""
        given = {name: value for name, value in structs.asdict(self).items() if value}
        return f"/tickets?{urlencode(given)}"


def install(faces: Faces, views: Views) -> None:
    """Register the page."""

    @page_at("/tickets")
    async def tickets_page(state: str = "open", reason: str = "", site: str = "") -> None:
        with frame(faces.desk, "/tickets", t("Tickets")):
            style()
            with box("stack stack-s"):
                Text(t("Tickets"), tag="h1")
                Text(t("What could not be fixed remotely, and why."), "muted")
            found = await load(views.tickets)
            page = _Page(faces, found, Pick(state if state in STATES else "open", reason, site))

            async def refresh() -> None:
                page.show(await load(views.tickets))

            live(refresh, EVERY_S)


class _Page:
    """Filters on top, then one row for each ticket."""

    def __init__(self, faces: Faces, found: list[TicketBrief], pick: Pick) -> None:
        self._desk, self._found, self._pick = faces.desk, found, pick
        self._chips: dict[str, Text] = {}
        with box("picks"):
            for state in STATES:
                self._chips[state] = self._chip(state)
            reasons = {"": t("Every reason")} | {x.reason: told(x.reason_text) for x in found}
            sites = {"": t("Every site")} | {x.site: x.site for x in found}
            self._select(t("Reason"), "reason", reasons)
            self._select(t("Site"), "site", sites)
        self._rows = Section(box("stack"))
        self.show(found)

    def _chip(self, state: str) -> Text:
        chip = Text("", "chip", tag="button").props('type="button"')
        chip.on("click", lambda: self._choose(state=state))
        return chip

    def _select(self, label: str, name: str, options: dict[str, str]) -> None:
        chosen = getattr(self._pick, name)
        made = ui.select(options, label=label, value=chosen if chosen in options else "")
        made.props("outlined dense options-dense")
        made.on_value_change(lambda event: self._choose(**{name: event.value or ""}))

    def _choose(self, **changed: str) -> None:
        self._pick = structs.replace(self._pick, **changed)
        ui.navigate.history.replace(self._pick.address())
        self.show(self._found)

    def show(self, found: list[TicketBrief]) -> None:
        """Set what is known now, and how many there are behind each filter."""
        self._found = found
        for state, chip in self._chips.items():
            pick = structs.replace(self._pick, state=state)
            chip.text = f"{told(STATES[state])} {sum(map(pick.fits, found))}"
            set_prop(chip, "aria-pressed", "true" if state == self._pick.state else "false")
        shown = sorted(filter(self._pick.fits, found), key=_urgency)
        minute = self._desk.now_ns() // (60 * 10**9)
        self._rows.show((repr(shown), minute), lambda: self._build(shown))

    def _build(self, shown: list[TicketBrief]) -> None:
        if not self._found:
            empty("inventory_2", t("No tickets"), t("Everything so far was dealt with remotely."))
        elif not shown:
            empty("filter_alt_off", t("No ticket fits"), t("Choose another state, reason or site."))
        else:
            with box("card"):
                for one in shown:
                    _row(one, self._desk.now_ns())
        if len(self._found) >= TICKETS_MAX:
            Text(t("Only the newest {count} tickets are listed.", count=TICKETS_MAX), "muted small")


def _urgency(found: TicketBrief) -> tuple[bool, int]:
    """Sort open tickets by when they are due, then the others, the latest first."""
    ended = found.state is not TicketState.OPEN
    return ended, -found.opened_ns if ended else found.due_ns


def _row(found: TicketBrief, now_ns: int) -> None:
    with box("ticket-row"):
        with box("stack stack-s"):
            link(_title(found), f"/tickets/{quote(found.key)}", "machine-title wrap")
            with box("abreast small muted"):
                link(found.machine_title, f"/machines/{quote(found.device)}", "link wrap")
                Text(found.site, tag="span", classes="wrap")
                tone, icon = SEVERITY_TONE[found.severity]
                severity = told(found.severity.capitalize())
                pill(tone, icon, t("{severity} severity", severity=severity))
        with box("stack stack-s"):
            Text(told(found.reason_text), "wrap")
            _visit(found)
        with box("stack stack-s"):
            _due(found, now_ns)
        with box("ticket-links"):
            seen = link(t("Evidence"), ticket.evidence(found.case_id), "link")
            set_prop(seen, "aria-label", t("Evidence of {title}", title=_title(found)))
            link(t("Work order"), f"/tickets/{quote(found.key)}", "link")


def _title(found: TicketBrief) -> str:
    """Return the ticket's title: the machine's, as people call it, and the fault's."""
    machine = f"{found.machine_title}: "
    return f"{machine}{told(found.title.removeprefix(machine))}"


def _visit(found: TicketBrief) -> None:
    with box("abreast"):
        ticket_parts.state_pill(found)
        if found.visit is not None and found.state is TicketState.OPEN:
            state = told(ticket_parts.VISIT[found.visit.state])
            Text(t("Visit: {state}", state=state), "small", tag="span")


def _due(found: TicketBrief, now_ns: int) -> None:
    Text(t("Due {time}", time=utc(found.due_ns)), "num small" + " tone-bad" * found.late)
    if found.late:
        pill("bad", "alarm", t("late"))
    elif found.state is TicketState.OPEN:
        Text(ago(found.due_ns, now_ns), "small muted num")
