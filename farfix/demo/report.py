"""What became of every fault: the simulator's truth against the gateway's cases."""

from collections.abc import Sequence
from datetime import UTC, datetime

from msgspec import Struct

from farfix.api import Attempt, Detail
from farfix.demo.machines import Broken
from farfix.demo.script import EXPECTED, Injection, Nature

BAIT_WATCH_S = 1500.0
"""So long nothing may be opened for a false-alarm bait."""
_OUTCOMES = {"recovered": "recovered", "self_cleared": "self_cleared", "dispatched": "ticket"}


class Remedy(Struct, frozen=True):
    """One remote attempt and its result."""

    name: str
    result: str
    sent_at: str
    ended_at: str | None


class FaultReport(Struct, frozen=True, kw_only=True):
    """One injected fault, from its beginning to its outcome."""

    device: str
    fault: str
    nature: Nature
    injected_at: str
    detected_at: str | None
    detected_after_s: float | None
    """Plant seconds; a fault that grows slowly is seen when it shows."""
    diagnosed_as: list[str]
    """Likeliest first."""
    named_right: bool
    """Whether the likeliest diagnosis of the first case is one that fits the fault."""
    leading_signals: list[str]
    remedies: list[Remedy]
    outcome: str | None
    expected: str
    settled_after_s: float | None
    """Plant seconds from detection to the outcome."""
    ended_by: str | None
    """What really ended the fault, as the simulator knows."""
    cases: list[str]
    ticket: dict[str, object] | None


class BaitReport(Struct, frozen=True, kw_only=True):
    """One thing that looks like a fault to the careless and is none."""

    device: str
    bait: str
    injected_at: str
    cases: list[str]
    """Must be empty."""


class Telemetry(Struct, frozen=True, kw_only=True):
    """Where every reading went. A reading is one instant of one device."""

    published: int
    """Different readings heard on the wire by a listener of the demo's own."""
    stored: int
    """Different readings in the time series store."""
    lost: int
    """Published but neither stored nor in a spool, and numbered batches that nobody ever heard."""
    duplicates: int
    """Judged more than once."""
    in_spool: int = 0
    """Taken by a stopped agent that waits for its next start to send them."""
    redelivered_batches: int = 0
    """Batches that came again and were dropped."""


class Report(Struct, frozen=True, kw_only=True):
    """The whole run."""

    seed: int
    speed: float
    machines: int
    minutes: float
    faults: list[FaultReport]
    baits: list[BaitReport]
    false_cases: int
    """Cases of machines with nothing wrong, false-alarm baits among them."""
    false_case_ids: list[str]
    false_recoveries: int
    """Cases that ended as recovered or cleared while the fault went on."""
    telemetry: Telemetry
    deliveries: dict[str, int]
    """Webhook deliveries by ticket."""
    problems: list[str]
    """Why the run did not go as it should; empty when it did."""
    peak_rss_mb: dict[str, float]


def moment(at_ns: int) -> str:
    """Write a time as ISO 8601, UTC, to the second."""
    return datetime.fromtimestamp(at_ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def own_cases(injected: Broken, details: Sequence[Detail]) -> list[Detail]:
    """Return the cases that a fault explains: the first since it began, others while it lasts."""
    later = sorted(
        (d for d in details if d.device == injected.device and d.opened_ns >= injected.injected_ns),
        key=lambda d: d.opened_ns,
    )
    return [
        d
        for i, d in enumerate(later)
        if i == 0 or injected.ended_ns is None or d.opened_ns <= injected.ended_ns
    ]


def outcome(cases: Sequence[Detail]) -> str | None:
    """Return how the last of a fault's cases ended, in the report's words."""
    if not cases:
        return None
    last = cases[-1]
    if last.phase == "closed" and last.ticket_key is not None:
        return "ticket"
    return _OUTCOMES.get(last.phase)


def false_recoveries(truth: Sequence[Broken], details: Sequence[Detail]) -> list[str]:
    """Return the cases that were called well before the fault had ended."""
    return [
        detail.case_id
        for broken in truth
        for detail in own_cases(broken, details)
        if detail.phase in ("recovered", "self_cleared")
        and (broken.ended_ns is None or detail.updated_ns < broken.ended_ns)
    ]


def false_cases(
    script: Sequence[Injection], truth: Sequence[Broken], details: Sequence[Detail]
) -> list[str]:
    """Return the cases that no real fault explains."""
    baits = {i.device for i in script if i.nature is Nature.BAIT}
    explained = {
        detail.case_id
        for broken in truth
        if broken.device not in baits
        for detail in own_cases(broken, details)
    }
    return sorted(detail.case_id for detail in details if detail.case_id not in explained)


def settled(
    script: Sequence[Injection], truth: Sequence[Broken], details: Sequence[Detail], now_ns: int
) -> bool:
    """Tell whether every fault has its outcome and every bait was watched long enough."""
    by_device = {broken.device: broken for broken in truth}
    for injection in script:
        broken = by_device.get(injection.device)
        if broken is None:
            return False
        if injection.nature is Nature.BAIT:
            if now_ns < broken.injected_ns + BAIT_WATCH_S * 1e9:
                return False
        elif outcome(own_cases(broken, details)) is None:
            return False
    return True


def fault_report(
    injection: Injection,
    broken: Broken,
    details: Sequence[Detail],
    tickets: dict[str, dict[str, object]],
) -> FaultReport:
    """Tell the story of one fault."""
    cases = own_cases(broken, details)
    story = cases[-1] if cases else None
    named = [h.fault for h in story.hypotheses] if story else []
    ended = outcome(cases)
    return FaultReport(
        device=broken.device,
        fault=broken.fault,
        nature=injection.nature,
        injected_at=moment(broken.injected_ns),
        detected_at=moment(cases[0].opened_ns) if cases else None,
        detected_after_s=round((cases[0].opened_ns - broken.injected_ns) / 1e9) if cases else None,
        diagnosed_as=named,
        named_right=bool(named) and named[0] in injection.diagnosable_as,
        leading_signals=[f"{d.signal} {d.direction}" for d in story.deviations] if story else [],
        remedies=[_remedy(attempt) for case in cases for attempt in case.attempts],
        outcome=ended,
        expected=EXPECTED[injection.nature],
        settled_after_s=(
            round((story.updated_ns - cases[0].opened_ns) / 1e9) if story and ended else None
        ),
        ended_by=broken.ended_by,
        cases=[case.case_id for case in cases],
        ticket=tickets.get(story.ticket_key) if story and story.ticket_key else None,
    )


def bait_report(broken: Broken, details: Sequence[Detail]) -> BaitReport:
    """Tell what was made of a bait."""
    return BaitReport(
        device=broken.device,
        bait=broken.fault,
        injected_at=moment(broken.injected_ns),
        cases=[case.case_id for case in own_cases(broken, details)],
    )


def _remedy(attempt: Attempt) -> Remedy:
    return Remedy(
        attempt.remedy,
        attempt.result,
        moment(attempt.sent_ns),
        None if attempt.ended_ns is None else moment(attempt.ended_ns),
    )


def problems(report: Report) -> list[str]:
    """Return in sentences what did not go as it should."""
    found = [
        f"{f.device}: {f.fault} ended as {f.outcome or 'nothing'}, expected {f.expected}"
        for f in report.faults
        if f.outcome != f.expected
    ]
    found += [f"case {case_id}: nothing was wrong" for case_id in report.false_case_ids]
    if report.false_recoveries:
        found.append(f"{report.false_recoveries} case(s) called well while the fault went on")
    if report.telemetry.lost:
        found.append(f"{report.telemetry.lost} readings were lost")
    if report.telemetry.duplicates:
        found.append(f"{report.telemetry.duplicates} readings were judged twice")
    found += [
        f"{f.device}: its ticket did not reach dispatch"
        for f in report.faults
        if f.outcome == "ticket" and f.ticket is None
    ]
    return found
