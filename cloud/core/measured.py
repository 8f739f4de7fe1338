"""The measurements that a gateway writes beside telemetry: their names, and what a case says there.

Tags take few values and are always all there; a field never changes its type; a name is never both.
Times follow from what happened, so that the same again, after a crash, is the same point again.
"""

from collections.abc import Mapping
from types import MappingProxyType

from msgspec import Struct

from cloud.core import ledger, levels
from cloud.core.evidence import NS
from cloud.core.states import Case, Phase
from contract.tickets import VisitState

NONE = "none"
"""What a tag says where there is nothing to say: every point has all its tags."""
TEXT_MAX = 300

NUMBER, TEXT = "number", "text"


class Measurement(Struct, frozen=True):
    """One measurement: tags, and fields with their unit (``text`` for texts)."""

    about: str
    tags: tuple[str, ...]
    fields: Mapping[str, str]
    for_good: bool = False
    """Whether it outlives telemetry: what cases did is little, and asked for after years."""


_MACHINE = ("device", "site", "machine_type", "tier")

MEASUREMENTS: Mapping[str, Measurement] = MappingProxyType(
    {
        "farfix_case": Measurement(
            "One point for each end of a case, at its time.",
            (*_MACHINE, "outcome", "fault", "reason", "severity"),
            {
                "case": "text",
                "title": "text",
                "time_to_detect_s": "s",
                "time_to_fix_s": "s",
                "remote_fix": "share",
                "first_time_fix": "share",
                "kept_response": "share",
                "kept_restore": "share",
                "credited": "count",
                "attempts": "count",
                "tickets": "count",
                "reopened": "count",
            },
            for_good=True,
        ),
        "farfix_note": Measurement(
            "One point for each line of a case's timeline.",
            (*_MACHINE, "kind"),
            {"case": "text", "title": "text", "text": "text"},
            for_good=True,
        ),
        "farfix_visit": Measurement(
            "One point for each ticket, and for each state that its visit was seen in.",
            (*_MACHINE, "reason", "state"),
            {"case": "text", "ticket": "text", "ordered": "count", "since_ordered_s": "s"},
            for_good=True,
        ),
        "farfix_machine": Measurement(
            "Every machine, once a minute.",
            _MACHINE,
            {
                "status": "status",
                "in_alarm": "count",
                "silent": "count",
                "score": "score",
                "online": "count",
                "case_open": "count",
                "alarm_without_case": "count",
                "case": "text",
                "restore_left_s": "s",
                "life_expected_h": "h",
                "life_earliest_h": "h",
            },
        ),
        "farfix_gateway": Measurement(
            "The gateway's own load, every ten seconds.",
            ("gateway",),
            {
                "readings_per_s": "per second",
                "batches_per_s": "per second",
                "rows_per_s": "per second",
                "lag_s": "s",
                "journal_bytes": "bytes",
                "spool_bytes": "bytes",
                "spool_oldest_s": "s",
                "agents_losing": "count",
                "quarantined": "count",
                "rejected": "count",
                "outbox_waiting": "count",
                "outbox_dead": "count",
                "deliveries_waiting": "count",
                "deliveries_dead": "count",
                "measures_waiting": "count",
            },
        ),
    }
)

STATUS: Mapping[str, int] = MappingProxyType(
    {"no_data": 0, "commissioning": 1, "healthy": 2, "unjudged": 3, "alarm": 4}
)
"""What ``status`` of ``farfix_machine`` means; the higher, the more it needs somebody."""


class Point(Struct, frozen=True):
    """One point. What is None is left out of it."""

    measurement: str
    tags: Mapping[str, str]
    fields: Mapping[str, float | str | None]
    time_ns: int


class Note(Struct, frozen=True):
    """A line of the timeline with its number, which tells it from others of the same instant."""

    number: int
    case_id: str
    at_ns: int
    kind: str
    text: str


def note(line: Note, case: Case) -> Point:
    """Return a line of the timeline as a point."""
    return Point(
        "farfix_note",
        {**_machine(case), "kind": line.kind},
        {"case": case.case_id, "title": case.title, "text": line.text},
        line.at_ns + line.number % 1000,  # two lines of the same instant are two points
    )


def visits(case: Case) -> list[Point]:
    """Return the ticket's order, and where its visit stands if that is no longer its order."""
    escalation, visit = case.escalation, case.visit
    if escalation is None:
        return []
    ordered_ns = escalation.at_ns
    key = visit.key if visit else case.case_id
    seen = [(VisitState.ORDERED, ordered_ns, 1.0)]
    if visit is not None and visit.state is not VisitState.ORDERED:
        seen.append((visit.state, visit.at_ns or ordered_ns, 0.0))
    return [
        Point(
            "farfix_visit",
            {**_machine(case), "reason": escalation.reason.value, "state": state.value},
            {
                "case": case.case_id,
                "ticket": key,
                "ordered": ordered,
                "since_ordered_s": max(0.0, (at_ns - ordered_ns) / NS),
            },
            at_ns,
        )
        for state, at_ns, ordered in seen
    ]


def end(case: Case, alarm_since_ns: int | None) -> Point:
    """Return how a case ended.

    Args:
        case: it has ended.
        alarm_since_ns: since when, unbroken, the stored score had been at the alarm level when the
            case was opened; None where that is not known.
    """
    ended_ns = case.ended_ns or case.entered_ns
    kept = levels.kept(case)
    detect_s = None if alarm_since_ns is None else (case.opened_ns - alarm_since_ns) / NS
    return Point(
        "farfix_case",
        {
            **_machine(case),
            "outcome": case.phase.value,
            "fault": case.fault,
            "reason": case.escalation.reason.value if case.escalation else NONE,
            "severity": case.severity.value,
        },
        {
            "case": case.case_id,
            "title": case.title,
            "time_to_detect_s": detect_s,
            "time_to_fix_s": (ended_ns - case.opened_ns) / NS if _fixed(case) else None,
            "remote_fix": _remote_fix(case),
            "first_time_fix": _first_time_fix(case),
            "kept_response": _number(kept.response),
            "kept_restore": _number(kept.restore),
            "credited": float(case.credited),
            "attempts": float(len(case.attempts)),
            "tickets": float(case.tickets or case.escalation is not None),
            "reopened": float(case.reopened),
        },
        ended_ns,
    )


def _machine(case: Case) -> dict[str, str]:
    return {
        "device": case.device,
        "site": case.site,
        "machine_type": case.machine_type,
        "tier": case.plan.terms.tier or NONE,
    }


def _fixed(case: Case) -> bool:
    """Whether the machine was repaired, so that the time it took says anything."""
    by_visit = case.phase is Phase.CLOSED and case.report is not None and case.report.resolved
    return case.phase is Phase.RECOVERED or by_visit


def _remote_fix(case: Case) -> float | None:
    """Tell a fix that a remedy is credited with from every other end of a case that needed one."""
    if case.phase in (Phase.SELF_CLEARED, Phase.DISMISSED, Phase.WITHDRAWN):
        return None  # nothing was repaired, from afar or otherwise
    return float(case.credited)


def _first_time_fix(case: Case) -> float | None:
    if case.phase is not Phase.CLOSED or case.report is None:
        return None
    return float(ledger.first_time_fix(case))


def _number(answer: bool | None) -> float | None:  # noqa: FBT001 (an answer, not an option)
    return None if answer is None else float(answer)
