"""The remedies of a case: what each was, what came of it, and its signal before and after."""

from collections.abc import Sequence
from statistics import median

from nicegui import ui

from cloud.web import words
from cloud.web.console import charts
from cloud.web.console.charts import Area, Mark, Track
from cloud.web.console.frame import load
from cloud.web.console.parts import Section, Text, box, dot
from cloud.web.console.tongue import span, t, told
from cloud.web.ports import Desk
from cloud.web.schemas import AttemptView, CaseDetail, DeviationView, EvidenceView, Telemetry
from cloud.web.views import Views

BEFORE_NS, AFTER_NS = 900 * words.NS, 300 * words.NS
UNANSWERED_NS = 1800 * words.NS
"""So much is shown after a command that never acted."""
AROUND_NS = 600 * words.NS
"""What is measured so close before a remedy counts as before it, and so close to the end of its
time as after it."""
POINTS, SHOWN_MAX = 160, 8
RESULT_TONE = {
    "recovered": ("ok", "verified"),
    "not_recovered": ("warn", "do_not_disturb_on"),
    "failed": ("bad", "error_outline"),
    "refused": ("bad", "block"),
    "waiting": ("info", "schedule_send"),
    "done": ("info", "troubleshoot"),
}


class Attempts:
    """The part of the case's page; its charts are read anew while they can still change."""

    def __init__(self, desk: Desk, views: Views) -> None:
        self._desk, self._views = desk, views
        self._section = Section(box())
        self._case: CaseDetail | None = None
        self._plots: dict[str, tuple[ui.echart, Text]] = {}
        self._done: set[str] = set()

    def show(self, case: CaseDetail) -> None:
        """Set what is known now."""
        self._case = case
        content = repr((case.attempts, case.steps, case.evidence, case.earlier, case.ticket_key))
        self._section.show(content, lambda: self._build(case))

    def _build(self, case: CaseDetail) -> None:
        self._plots, self._done = {}, set()
        if not case.attempts and not case.steps:
            Text(t("Nothing remote is planned for this fault."), "muted")
        for number, attempt in enumerate(case.attempts[-SHOWN_MAX:], 1):
            self._attempt(case, attempt, t("Remedy {number}", number=number))
        if case.evidence is not None:
            _evidence(case.evidence, self._desk.now_ns())
        if case.open and case.ticket_key is None:
            _planned(case)
        if case.earlier:
            with ui.expansion(t("Before it came back ({count})", count=len(case.earlier))) as fold:
                fold.classes("full fold more")
                for number, attempt in enumerate(case.earlier[-SHOWN_MAX:], 1):
                    self._attempt(case, attempt, t("Earlier remedy {number}", number=number))

    def _attempt(self, case: CaseDetail, attempt: AttemptView, name: str) -> None:
        with box("attempt"):
            dot(*RESULT_TONE.get(attempt.result, ("calm", "help_outline")))
            with box("stack stack-s"):
                Text(f"{name}: {told(attempt.title)}", tag="h3", classes="wrap")
                Text(told(attempt.result_text))
                if attempt.detail:
                    Text(told(attempt.detail), "muted small wrap")
                moved = _moved(attempt)
                if moved:
                    Text(moved, "small num wrap")
                changed = Text("", "small num wrap")
                sent = t("Sent {time} UTC", time=words.clock(attempt.sent_ns))
                Text(f"{sent}, {attempt.command_id}", "story-time wrap")
                plot = ui.echart({"series": []}).classes("case-chart")
                height_px = charts.height_px(1 + bool(case.deviations), 1)
                plot.style(f"height: {height_px}px")
                self._plots[attempt.command_id] = plot, changed

    async def draw(self) -> None:
        """Read what was measured around the remedies, and set the charts."""
        case = self._case
        for attempt in [*case.attempts, *case.earlier] if case else []:
            key = attempt.command_id
            if case is None or key not in self._plots or key in self._done:
                continue
            area = around(attempt, self._desk.now_ns())
            found = await load(
                lambda area=area: self._views.telemetry(  # type: ignore[misc]  # mypy and defaults
                    case.device,
                    [d.signal for d in case.deviations[:1]],
                    area.from_ns,
                    area.to_ns,
                    POINTS,
                )
            )
            if found is None or key not in self._plots:
                continue
            self._set(case, attempt, found, area)
            if area.to_ns < self._desk.now_ns() - AFTER_NS:
                self._done.add(key)

    def _set(self, case: CaseDetail, attempt: AttemptView, found: Telemetry, area: Area) -> None:
        plot, changed = self._plots[attempt.command_id]
        tracks, marks = _tracks(case, found), _marks(attempt)
        lanes = charts.lane_count(marks, area)
        plot.style(f"height: {charts.height_px(len(tracks), lanes)}px")
        plot.options.update(charts.chart(tracks, area, [], marks))
        plot.update()
        if case.deviations:
            lead = case.deviations[0]
            changed.text = _changed(lead, before_after(found, lead.signal, attempt))


def around(attempt: AttemptView, now_ns: int) -> Area:
    """Return the span of time in which a remedy is shown."""
    end_ns = attempt.verified_ns or attempt.judged_by_ns or attempt.sent_ns + UNANSWERED_NS
    to_ns = max(min(end_ns + AFTER_NS, now_ns), attempt.sent_ns + words.NS)
    return Area(attempt.sent_ns - BEFORE_NS, to_ns)


def before_after(
    found: Telemetry, signal: str, attempt: AttemptView
) -> tuple[float | None, float | None]:
    """Return a signal's medians before a remedy was sent and at the end of its time."""
    values = found.signals.get(signal, [])
    end_ns = attempt.verified_ns or attempt.judged_by_ns or found.to_ns
    after_ns = max(attempt.settled_ns or found.to_ns, min(end_ns, found.to_ns) - AROUND_NS)
    sent_ns = attempt.sent_ns
    before = _median(found.times_ns, values, sent_ns - AROUND_NS, sent_ns)
    return before, _median(found.times_ns, values, after_ns, end_ns)


def _median(
    times_ns: Sequence[int], values: Sequence[float | None], from_ns: int, to_ns: int
) -> float | None:
    within = [
        value
        for time_ns, value in zip(times_ns, values, strict=False)
        if value is not None and from_ns <= time_ns <= to_ns
    ]
    return median(within) if within else None


def _changed(lead: DeviationView, moved: tuple[float | None, float | None]) -> str:
    before, after = moved
    if before is None or after is None:
        return ""
    return t(
        "{signal}: {before} before, {after} after; {expected} is expected",
        signal=words.with_unit(told(lead.title), lead.unit),
        before=words.number(before),
        after=words.number(after),
        expected=words.number(lead.expected),
    )


def _tracks(case: CaseDetail, found: Telemetry) -> list[Track]:
    tracks = [
        Track(
            title=t("Deviation from healthy running"),
            times_ns=found.times_ns,
            values=found.score,
            color=charts.SCORE,
            level=1.0,
            level_label=t("dashed: alarm level"),
        )
    ]
    for lead in case.deviations[:1]:
        tracks.append(
            Track(
                title=words.with_unit(told(lead.title), lead.unit),
                times_ns=found.times_ns,
                values=found.signals[lead.signal],
                level=lead.expected,
                level_label=t("dashed: expected {value}", value=words.number(lead.expected)),
            )
        )
    return tracks


def _marks(attempt: AttemptView) -> list[Mark]:
    marks = [Mark(attempt.sent_ns, t("Sent"), "info")]
    if attempt.settled_ns is not None:
        marks.append(Mark(attempt.settled_ns, t("Settled"), "calm"))
    if attempt.verified_ns is not None:
        marks.append(Mark(attempt.verified_ns, t("Verified"), "ok"))
    return marks


def _moved(attempt: AttemptView) -> str:
    """Say how the score moved."""
    if attempt.score_lowest is None:
        return ""
    before = words.NONE if attempt.score_before is None else f"{attempt.score_before:.2f}"
    lowest = f"{attempt.score_lowest:.2f}"
    said = t(
        "Deviation {before} before, {lowest} at the lowest after", before=before, lowest=lowest
    )
    back_ns = attempt.below_alarm_since_ns
    if back_ns is None:
        return f"{said}; {t('not below the alarm level')}"
    since = t("below the alarm level since {time} UTC", time=words.clock(back_ns))
    if attempt.ended_ns is None:
        return f"{said}; {since}"
    after = t("{span} after it", span=span((back_ns - attempt.ended_ns) / words.NS))
    return f"{said}; {since}, {after}"


def _planned(case: CaseDetail) -> None:
    for i, step in enumerate(case.steps):
        with box("attempt"):
            dot("calm", "radio_button_unchecked")
            with box():
                Text(told(step.title), tag="h3")
                Text(t("Next, if it is needed") if i == 0 else t("After that"), "muted small")


def _evidence(evidence: EvidenceView, now_ns: int) -> None:
    with box("attempt"):
        dot("info", "monitor_heart")
        with box():
            Text(t("Evidence of recovery"), tag="h3")
            if evidence.counts_from_ns is not None and evidence.counts_from_ns > now_ns:
                time = words.clock(evidence.counts_from_ns)
                Text(t("Settling; counts from {time} UTC", time=time))
            elif evidence.healthy_since_ns is None:
                Text(t("Nothing healthy measured yet."))
            else:
                Text(
                    t(
                        "Healthy since {time} UTC, {count} measurements",
                        time=words.clock(evidence.healthy_since_ns),
                        count=evidence.healthy_samples,
                    )
                )
            Text(
                t(
                    "Proof needs {span} and {count} measurements of unbroken health.",
                    span=span(evidence.dwell_s),
                    count=evidence.needed_samples,
                ),
                "muted small",
            )
