"""The story of one case, from the first symptom to the verified fix."""

from collections.abc import Hashable

from nicegui import ui
from nicegui.element import Element

from cloud.web import words
from cloud.web.console import charts, decisions
from cloud.web.console.charts import Area, Mark, Point, Track
from cloud.web.console.frame import frame, live, load, not_found
from cloud.web.console.parts import (
    PHASE_TONE,
    SEVERITY_TONE,
    Pill,
    Section,
    Text,
    box,
    dot,
    link,
)
from cloud.web.console.tickets import ticket_body
from cloud.web.ports import Desk
from cloud.web.schemas import (
    AttemptView,
    CaseDetail,
    DeviationView,
    EvidenceView,
    HypothesisView,
    TimelineEntry,
)
from cloud.web.ticket_schemas import TicketBrief
from cloud.web.views import Views
from contract.faults import Direction

CHART_EVERY_S = 5.0
BEFORE_NS = 900 * words.NS
AFTER_NS = 600 * words.NS
LEADING = 3
POINTS = 400
HYPOTHESES, LIKELY, EVIDENCE = 4, 0.02, 5
"""So many explanations are shown, if at least so probable, each with so much evidence."""
KIND_TONE = {
    "fault": ("warn", "warning_amber"),
    "person": ("ask", "person"),
    "hold": ("calm", "pause_circle"),
    "command": ("info", "build_circle"),
    "answer": ("info", "reply"),
    "evidence": ("calm", "troubleshoot"),
    "ticket": ("bad", "engineering"),
    "end": ("ok", "verified"),
}
RESULT_TONE = {
    "recovered": ("ok", "verified"),
    "not_recovered": ("warn", "do_not_disturb_on"),
    "failed": ("bad", "error_outline"),
    "refused": ("bad", "block"),
    "waiting": ("info", "schedule_send"),
    "done": ("info", "troubleshoot"),
}


def install(desk: Desk, views: Views) -> None:
    """Register the page."""

    @ui.page("/cases/{case_id}")
    async def case_page(case_id: str) -> None:
        with frame(desk, "", "Case"):
            case = await load(lambda: views.case(case_id))
            if case is None:
                not_found(f"There is no case {case_id!r} here.")
                return
            ui.page_title(f"{case.title} · Farfix")
            ticket = await load(lambda: views.ticket(case_id))
            page = _Page(desk, views, case)
            page.show(case, ticket)

            async def refresh() -> None:
                seen = await load(lambda: views.case(case_id))
                if seen is not None:
                    page.show(seen, await load(lambda: views.ticket(case_id)))

            live(refresh)
            live(page.draw, CHART_EVERY_S, at_once=True)


class _Page:
    """All parts of the page. A part is built anew only when what it shows has changed."""

    def __init__(self, desk: Desk, views: Views, case: CaseDetail) -> None:
        self._desk, self._views, self._case = desk, views, case
        with box("stack"):
            _crumbs(case)
            with box("head"):
                with box("stack stack-s"):
                    self._title = Text(tag="h1", classes="wrap")
                    self._since = Text("", "muted small num")
                with box("row"):
                    self._pill, self._severity = Pill(), Pill()
        self._host = box("host")
        self._next = Section(box("card next"))
        with box("card chart-card"):
            Text("Leading signals around the fault", tag="h2").style("padding: 4px 4px 8px")
            self._chart = ui.echart({"series": []}).classes("case-chart")
            self._chart.style(f"height: {charts.height_px(1 + len(_leading(case)), 1)}px")
        with box("two"):
            with box("stack stack-l"):
                with box("card"):
                    Text("What happened", tag="h2").style("margin-bottom: 16px")
                    self._story = Section(box("story", tag="ol"))
                with box("card"):
                    Text("Remote attempts", tag="h2").style("margin-bottom: 12px")
                    self._attempts = Section(box())
            with box("stack stack-l"):
                self._ticket = Section(box("stack"))
                with box("card"):
                    Text("What it may be", tag="h2").style("margin-bottom: 12px")
                    self._hypotheses = Section(box())

    def show(self, case: CaseDetail, ticket: TicketBrief | None) -> None:
        """Set what is known now."""
        self._case = case
        now_ns = self._desk.now_ns()
        self._title.text = case.title
        self._pill.set(*PHASE_TONE[case.phase], case.phase_text)
        tone, icon = SEVERITY_TONE[case.severity]
        self._severity.set(tone, icon, f"{case.severity.capitalize()} severity")
        opened = f"Opened {words.utc(case.opened_ns)} ({words.ago(case.opened_ns, now_ns)})"
        self._since.text = f"{opened} · case {case.case_id}"
        self._next.show(_next_content(case), lambda: _next(self._desk, case, self._host))
        self._story.show(tuple(case.timeline), lambda: _story(case.timeline, case.opened_ns))
        shown = repr((case.hypotheses, case.checks))
        self._hypotheses.show(shown, lambda: _hypotheses(case.hypotheses, case.checks))
        tried = repr((case.attempts, case.steps, case.evidence))
        self._attempts.show(tried, lambda: _attempts(case, now_ns))
        self._ticket.show(repr(ticket), lambda: self._build_ticket(ticket))

    def _build_ticket(self, ticket: TicketBrief | None) -> None:
        if ticket is not None:
            with box("card"):
                Text("Ticket", tag="h2").style("margin-bottom: 12px")
                ticket_body(self._desk, ticket, self._case, self._host)

    async def draw(self) -> None:
        """Read the signals around the fault anew and set the chart."""
        case, now_ns = self._case, self._desk.now_ns()
        end_ns = now_ns if case.open else min(case.updated_ns + AFTER_NS, now_ns)
        span = Area(case.opened_ns - BEFORE_NS, max(end_ns, case.opened_ns + words.NS))
        leading = _leading(case)
        found = await load(
            lambda: self._views.telemetry(case.device, leading, span.from_ns, span.to_ns, POINTS)
        )
        if found is None:
            return
        score = Track(
            title="Deviation from healthy running",
            times_ns=found.times_ns,
            values=found.score,
            color=charts.SCORE,
            level=1.0,
            level_label="alarm level",
            points=_score_points(case),
        )
        tracks = [score]
        for name in leading:
            d = next(d for d in case.deviations if d.signal == name)
            tracks.append(
                Track(
                    title=words.with_unit(d.title, d.unit),
                    times_ns=found.times_ns,
                    values=found.signals[name],
                    level=d.expected,
                    level_label=f"expected {words.number(d.expected)}",
                    points=_signal_points(case.timeline, name),
                )
            )
        fault = Area(case.opened_ns, end_ns if case.open else case.updated_ns)
        marks = _marks(case)
        height_px = charts.height_px(len(tracks), charts.lane_count(marks, span))
        self._chart.style(f"height: {height_px}px")
        self._chart.options.update(charts.chart(tracks, span, [fault], marks))
        self._chart.update()


def _leading(case: CaseDetail) -> list[str]:
    return [d.signal for d in case.deviations[:LEADING]]


def _crumbs(case: CaseDetail) -> None:
    with box("crumbs"):
        link("Fleet", "/", "")
        Text("/", tag="span")
        link(case.machine_title, f"/machines/{case.device}", "")
        Text("/", tag="span")
        Text("Case", tag="span")


def _marks(case: CaseDetail) -> list[Mark]:
    found = [Mark(case.opened_ns, "Detected", "bad")]
    for i, attempt in enumerate(case.attempts, 1):
        found.append(Mark(attempt.ended_ns or attempt.sent_ns, f"Remedy {i}", "info"))
        if attempt.below_alarm_since_ns is not None:
            found.append(Mark(attempt.below_alarm_since_ns, "Below alarm", "ok"))
    if not case.open:
        good = case.phase in ("recovered", "self_cleared", "closed")
        found.append(Mark(case.updated_ns, case.phase_text, "ok" if good else "calm"))
    return found


def _score_points(case: CaseDetail) -> list[Point]:
    """Return the score before each remedy and at its lowest after it."""
    found = []
    for attempt in case.attempts:
        if attempt.score_before is not None:
            before = attempt.score_before
            found.append(Point(attempt.sent_ns, before, f"{before:.2f} before", "info"))
        if attempt.score_lowest is not None and attempt.score_lowest_ns is not None:
            lowest = attempt.score_lowest
            tone = "ok" if lowest < 1 else "bad"
            found.append(Point(attempt.score_lowest_ns, lowest, f"{lowest:.2f} lowest", tone))
    return found


def _signal_points(timeline: list[TimelineEntry], name: str) -> list[Point]:
    """Return what the signal measured whenever the deviations were noted."""
    return [
        Point(entry.seen_ns, d.value, _signed(d), "bad")
        for entry in timeline
        for d in entry.deviations
        if d.signal == name and d.value is not None and entry.seen_ns is not None
    ]


def _signed(d: DeviationView) -> str:
    return f"{'+' if d.direction == Direction.ABOVE else '-'}{d.sigmas:.1f} σ"  # noqa: RUF001 (sigma)


def _next_content(case: CaseDetail) -> Hashable:
    return (case.next_text, tuple(case.actions), case.phase)


def _next(desk: Desk, case: CaseDetail, host: Element) -> None:
    with box("next-text"):
        Text("What happens next" if case.open else "How it ended", tag="h2")
        Text(case.next_text, "wrap")
    decisions.buttons(desk, case, host)


def _story(timeline: list[TimelineEntry], opened_ns: int) -> None:
    for entry in timeline:
        with box(tag="li"):
            dot(*KIND_TONE.get(entry.kind, ("calm", "circle")))
            with box():
                Text(entry.text, "story-text wrap")
                _seen(entry)
                offset = words.span((entry.at_ns - opened_ns) / words.NS)
                after = f" · {offset} after detection" if entry.at_ns > opened_ns else ""
                Text(f"{words.clock(entry.at_ns)} UTC{after}", "story-time")


def _seen(entry: TimelineEntry) -> None:
    """Say which signals deviated then, and the score."""
    if entry.score is None and not entry.deviations:
        return
    with box("seen num"):
        if entry.score is not None:
            Text(f"Deviation {entry.score:.2f} (alarm at 1)")
        for d in entry.deviations[:LEADING]:
            Text(words.deviation(d), "wrap")
        more = len(entry.deviations) - LEADING
        if more > 0:
            Text(f"and {more} more")


def _hypotheses(hypotheses: list[HypothesisView], checks: list[str]) -> None:
    told = hypotheses[0].evidence if hypotheses else []
    for check in [check for check in checks if check not in told]:
        with box("attempt").style("margin-bottom: 12px"):
            dot("warn", "sensors_off")
            with box():
                Text("The sensor or the link is to blame", tag="h3")
                Text(check, "wrap")
    shown = [h for h in hypotheses[:HYPOTHESES] if h.probability >= LIKELY] or hypotheses[:1]
    for hypothesis in shown:
        with box("hypothesis"):
            with box("chart-head flush"):
                Text(hypothesis.title, tag="h3")
                Text(words.percent(hypothesis.probability), "chart-value")
            with box("meter tone-info"):
                box("meter-fill").style(f"width: {hypothesis.probability * 100:.0f}%")
            with box("evidence", tag="ul"):
                for sentence in hypothesis.evidence[:EVIDENCE]:
                    Text(sentence, tag="li")
    if len(hypotheses) > len(shown):
        rest = len(hypotheses) - len(shown)
        Text(
            f"{rest} other explanations are less likely than {words.percent(LIKELY)}.",
            "muted small more",
        )


def _attempts(case: CaseDetail, now_ns: int) -> None:
    if not case.attempts and not case.steps:
        Text("Nothing remote is planned for this fault.", "muted")
    for attempt in case.attempts:
        with box("attempt"):
            dot(*RESULT_TONE.get(attempt.result, ("calm", "help_outline")))
            with box():
                Text(attempt.title, tag="h3")
                Text(attempt.result_text)
                if attempt.detail:
                    Text(attempt.detail, "muted small wrap")
                moved = _moved(attempt)
                if moved:
                    Text(moved, "small num wrap")
                sent = f"Sent {words.clock(attempt.sent_ns)} UTC, {attempt.command_id}"
                Text(sent, "story-time wrap")
    if case.evidence is not None:
        _evidence(case.evidence, now_ns)
    if case.open and case.ticket_key is None:
        for i, step in enumerate(case.steps):
            with box("attempt"):
                dot("calm", "radio_button_unchecked")
                with box():
                    Text(step.title, tag="h3")
                    Text("Next, if it is needed" if i == 0 else "After that", "muted small")


def _moved(attempt: AttemptView) -> str:
    """Say how the score moved."""
    if attempt.score_lowest is None:
        return ""
    before = words.NONE if attempt.score_before is None else f"{attempt.score_before:.2f}"
    said = f"Deviation {before} before, {attempt.score_lowest:.2f} at the lowest after"
    back_ns = attempt.below_alarm_since_ns
    if back_ns is None:
        return f"{said}; not below the alarm level"
    since = words.clock(back_ns)
    if attempt.ended_ns is None:
        return f"{said}; below the alarm level since {since} UTC"
    after = words.span((back_ns - attempt.ended_ns) / words.NS)
    return f"{said}; below the alarm level since {since} UTC, {after} after it"


def _evidence(evidence: EvidenceView, now_ns: int) -> None:
    with box("attempt"):
        dot("info", "monitor_heart")
        with box():
            Text("Evidence of recovery", tag="h3")
            if evidence.counts_from_ns is not None and evidence.counts_from_ns > now_ns:
                Text(f"Settling; counts from {words.clock(evidence.counts_from_ns)} UTC")
            elif evidence.healthy_since_ns is None:
                Text("Nothing healthy measured yet.")
            else:
                since = words.clock(evidence.healthy_since_ns)
                Text(f"Healthy since {since} UTC, {evidence.healthy_samples} measurements")
            need = f"{words.span(evidence.dwell_s)} and {evidence.needed_samples} measurements"
            Text(f"Proof needs {need} of unbroken health.", "muted small")
