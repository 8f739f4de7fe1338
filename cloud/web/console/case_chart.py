"""The chart of a case: its leading signals around the fault, with what was done marked."""

from cloud.web import words
from cloud.web.console import charts
from cloud.web.console.charts import Area, Mark, Options, Point, Track
from cloud.web.console.tongue import t, told
from cloud.web.schemas import CaseDetail, DeviationView, Telemetry, TimelineEntry
from contract.faults import Direction

BEFORE_NS, AFTER_NS = 900 * words.NS, 600 * words.NS
LEADING, POINTS = 3, 400
GOOD_ENDS = ("recovered", "self_cleared", "closed", "withdrawn")


def leading(case: CaseDetail) -> list[str]:
    """Return the signals that deviate most."""
    return [d.signal for d in case.deviations[:LEADING]]


def span(case: CaseDetail, now_ns: int) -> Area:
    """Return which time the chart shows."""
    end_ns = now_ns if case.open else min(case.updated_ns + AFTER_NS, now_ns)
    return Area(case.opened_ns - BEFORE_NS, max(end_ns, case.opened_ns + words.NS))


def options(case: CaseDetail, found: Telemetry, shown: Area) -> tuple[Options, int]:
    """Return the chart and its height, px."""
    score = Track(
        title=t("Deviation from healthy running"),
        times_ns=found.times_ns,
        values=found.score,
        color=charts.SCORE,
        level=1.0,
        level_label=t("dashed: alarm level"),
        points=_score_points(case),
    )
    tracks = [score]
    for d in case.deviations[:LEADING]:
        tracks.append(
            Track(
                title=words.with_unit(told(d.title), d.unit),
                times_ns=found.times_ns,
                values=found.signals[d.signal],
                level=d.expected,
                level_label=t("dashed: expected {value}", value=words.number(d.expected)),
                points=_signal_points(case.timeline, d.signal),
            )
        )
    fault = Area(case.opened_ns, shown.to_ns if case.open else case.updated_ns)
    marks = _marks(case)
    height_px = charts.height_px(len(tracks), charts.lane_count(marks, shown))
    return charts.chart(tracks, shown, [fault], marks), height_px


def _marks(case: CaseDetail) -> list[Mark]:
    found = [Mark(case.opened_ns, t("Detected"), "bad")]
    for i, attempt in enumerate(case.attempts, 1):
        at_ns = attempt.ended_ns or attempt.sent_ns
        found.append(Mark(at_ns, t("Remedy {number}", number=i), "info"))
        if attempt.below_alarm_since_ns is not None:
            found.append(Mark(attempt.below_alarm_since_ns, t("Below alarm"), "ok"))
    if not case.open:
        tone = "ok" if case.phase in GOOD_ENDS else "calm"
        found.append(Mark(case.updated_ns, told(case.phase_text), tone))
    return found


def _score_points(case: CaseDetail) -> list[Point]:
    """Return the score before each remedy and at its lowest after it."""
    found = []
    for attempt in case.attempts:
        if attempt.score_before is not None:
            before = attempt.score_before
            label = t("{score} before", score=f"{before:.2f}")
            found.append(Point(attempt.sent_ns, before, label, "info"))
        if attempt.score_lowest is not None and attempt.score_lowest_ns is not None:
            lowest = attempt.score_lowest
            label = t("{score} lowest", score=f"{lowest:.2f}")
            tone = "ok" if lowest < 1 else "bad"
            found.append(Point(attempt.score_lowest_ns, lowest, label, tone))
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
