"""What is tried for which fault, as it is in force, and what each remedy has shown so far."""

from nicegui import ui

from cloud.core.levels import ROUND_THE_CLOCK, Level
from cloud.core.playbook import Policy
from cloud.core.states import Mode
from cloud.web.console.case_style import style
from cloud.web.console.frame import frame, load, page_at
from cloud.web.console.parts import (
    SEVERITY_TONE,
    Text,
    box,
    empty,
    link,
    pill,
    set_prop,
    table,
)
from cloud.web.console.tongue import later, span, t, told
from cloud.web.faces import Faces
from cloud.web.playbook_views import CASES_MAX, Book, FaultLine, PlaybookViews, RemedyLine
from contract.faults import Severity

MODES = {
    Mode.SUGGEST: ("ask", "back_hand", later("Suggest: every remedy waits for a yes")),
    Mode.APPROVE: ("info", "done", later("Approve: one yes starts the plan")),
    Mode.AUTO: ("ok", "bolt", later("Auto: nobody is asked")),
}
SHORT = {
    Mode.SUGGEST: later("suggest"),
    Mode.APPROVE: later("approve"),
    Mode.AUTO: later("auto"),
}


def install(faces: Faces) -> None:
    """Register the page."""
    views = PlaybookViews(faces.desk)

    @page_at("/playbooks")
    async def playbooks_page() -> None:
        with frame(faces.desk, "/playbooks", t("Playbooks")):
            style()
            with box("stack stack-s"):
                Text(t("Playbooks"), tag="h1")
                Text(
                    t("What is tried for which fault, in which order, and how much without a yes."),
                    "muted",
                )
            books = await load(views.books)
            if not books:
                empty("menu_book", t("No playbooks"), t("No type of machine is known here."))
                return
            with box("abreast", tag="nav"):
                for book in books:
                    link(told(book.title), f"#{book.machine_type}", "chip")
            for book in books:
                _book(book)
            said = t(
                "Counted over the newest {count} cases. Tried: it acted, or may have. Proven: "
                "fresh telemetry showed the recovery.",
                count=CASES_MAX,
            )
            Text(said, "small muted")
            _policy(faces.desk.playbooks.policy)


def _book(book: Book) -> None:
    with box("card", tag="section"):
        with box("head").style("margin-bottom: 8px"):
            head = Text(told(book.title), tag="h2", classes="card-head wrap")
            set_prop(head, "id", book.machine_type)
            tone, icon, text = MODES[book.mode]
            pill(tone, icon, told(text))
        remedied = [fault for fault in book.faults if fault.remedies]
        for fault in remedied:
            _fault(fault, book.mode)
        if not remedied:
            Text(t("Nothing is tried remotely for this type: every fault needs a visit."), "muted")
        visits = [fault for fault in book.faults if not fault.remedies]
        if visits:
            title = t("Faults that need a visit ({count})", count=len(visits))
            with ui.expansion(title).classes("full fold more"):
                for fault in visits:
                    _fault(fault, book.mode)


def _fault(fault: FaultLine, mode: Mode) -> None:
    with box("book-row"):
        with box("stack stack-s"):
            Text(told(fault.title), tag="h3", classes="wrap")
            with box("abreast"):
                if fault.severity is not None:
                    tone, icon = SEVERITY_TONE[fault.severity]
                    severity = told(fault.severity.capitalize())
                    pill(tone, icon, t("{severity} severity", severity=severity))
                if fault.safety:
                    pill("bad", "dangerous", t("a person first"))
        with box("stack stack-s"):
            for number, remedy in enumerate(fault.remedies, 1):
                _remedy(number, remedy, mode)
            if not fault.remedies:
                Text(t("Nothing remote: a visit is ordered."), "muted")
        with box("stack stack-s"):
            for title, items in ((t("Parts"), fault.parts), (t("Skills"), fault.skills)):
                if items:
                    Text(title, "fact-label")
                    Text(", ".join(map(told, items)), "small wrap")


def _remedy(number: int, remedy: RemedyLine, mode: Mode) -> None:
    with box("remedy-line"):
        Text(f"{number}. {told(remedy.title)}", tag="span", classes="wrap")
        if remedy.high_risk:
            pill("bad", "warning", t("high risk"))
        if remedy.mode is not mode:
            Text(t("mode: {mode}", mode=told(SHORT[remedy.mode])), "small muted", tag="span")
        Text(_shown(remedy), "track num", tag="span")


def _shown(remedy: RemedyLine) -> str:
    record = remedy.record
    if not record.tried:
        return t("not tried so far")
    said = t("tried {tried}, proven {verified}", tried=record.tried, verified=record.verified)
    if record.returned:
        return f"{said}, {t('came back {count}', count=record.returned)}"
    return said


def _policy(policy: Policy) -> None:
    with box("card stack stack-l", tag="section"):
        Text(t("Service levels"), tag="h2")
        with box("scroll").props("tabindex=0"):
            table(
                [t("Tier"), t("Promise"), *(told(s.capitalize()) for s in Severity), t("Visit")],
                [row for tier, level in policy.levels.items() for row in _level(tier, level)],
                mono=set(),
            )
    limits, timing = policy.limits, policy.timing
    with box("two"):
        _facts(
            t("Limits"),
            {
                t("Remedies for one machine in 24 h"): str(limits.attempts_per_day),
                t("The same remedy again after"): span(limits.cooldown_s),
                t("Remedies at one site at a time"): str(limits.in_flight_per_site),
                t("Storm: machines of a type falling ill together"): t(
                    "more than {count} and {percent} %, within {span}",
                    count=limits.storm_machines,
                    percent=f"{limits.storm_percent:g}",
                    span=span(limits.storm_window_s),
                ),
                t("A fault that returns is the same case for"): t(
                    "{count} days", count=f"{limits.returns_days:g}"
                ),
            },
        )
        _facts(
            t("Timing"),
            {
                t("A fault may clear by itself for"): span(timing.observe_s),
                t("Where only a visit is left"): span(timing.visit_observe_s),
                t("A silent machine may come back for"): span(timing.silent_observe_s),
                t("Proof of recovery: healthy for"): t(
                    "{span} and {count} measurements",
                    span=span(timing.dwell_s),
                    count=timing.min_samples,
                ),
                t("A command expires after"): span(timing.command_expiry_s),
                t("Remedies in one plan"): str(timing.attempts_max),
            },
        )


def _level(tier: str, level: Level) -> list[tuple[str, ...]]:
    """Return two rows: the response, and the running machine."""
    respond = tuple(f"{level.respond_h[severity]:g} h" for severity in Severity)
    restore = tuple(f"{level.restore_h[severity]:g} h" for severity in Severity)
    lead = f"{level.on_site_lead_h:g} h"
    name = told(level.calendar.replace("_", " "))
    if level.calendar == ROUND_THE_CLOCK:
        name = t("round the clock")
    return [
        (f"{tier} · {name}", t("Response"), *respond, ""),
        ("", t("Runs again"), *restore, lead),
    ]


def _facts(title: str, lines: dict[str, str]) -> None:
    with box("card", tag="section"):
        Text(title, tag="h2", classes="card-head")
        for name, text in lines.items():
            with box("ledger-row"):
                Text(name, "wrap")
                Text(text, "chart-value").style("white-space: normal; text-align: right")
