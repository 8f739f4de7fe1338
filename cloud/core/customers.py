"""What a customer is told about a case, and when: it follows from the case before and after."""

from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from msgspec import Struct

from cloud.core.evidence import NS
from cloud.core.states import TERMINAL, Case, Phase
from contract.tickets import VisitState


class Moment(StrEnum):
    """What has happened, as far as a customer cares."""

    RECEIVED = "received"
    FIXING = "fixing"
    FIXED = "fixed"
    """Remotely, or by itself."""
    FALSE_ALARM = "false_alarm"
    VISIT_ORDERED = "visit_ordered"
    VISIT_PLANNED = "visit_planned"
    """A technician comes, and when."""
    ON_THE_WAY = "on_the_way"
    VISIT_WITHDRAWN = "visit_withdrawn"
    CLOSED = "closed"
    """Repaired on site; please rate."""


URGENT = frozenset({Moment.VISIT_PLANNED, Moment.ON_THE_WAY})
"""Somebody comes: quiet hours do not hold this back."""
RATED = frozenset({Moment.FIXED, Moment.CLOSED})
"""After these the customer is asked how it went."""


class Rating(Struct, frozen=True, kw_only=True):
    """What a customer said afterwards."""

    case_id: str
    customer: str
    stars: int
    """1 to 5."""
    text: str
    at_ns: int


class Word(Struct, frozen=True, kw_only=True):
    """One message to one customer, before it is written in a language."""

    key: str
    case_id: str
    device: str
    moment: Moment
    at_ns: int
    title: str
    """The fault's."""
    expected_ns: int | None = None


_ENDS = {
    Phase.RECOVERED: Moment.FIXED,
    Phase.SELF_CLEARED: Moment.FIXED,
    Phase.DISMISSED: Moment.FALSE_ALARM,
    Phase.WITHDRAWN: Moment.VISIT_WITHDRAWN,
    Phase.CLOSED: Moment.CLOSED,
}


def moments(before: Case | None, after: Case) -> list[Moment]:
    """Return what the customer should hear of this step, the oldest first.

    While a fault is only being watched nothing is told: most of what clears by itself clears then,
    and who was never told of a fault does not hear of its end.
    """
    told = _told(before)
    if not told:
        return [] if _silent(after) else [Moment.RECEIVED, *_course(None, after)]
    return _course(before, after)


def _told(case: Case | None) -> bool:
    """Tell whether the customer knows of this life of the case."""
    return case is not None and case.phase not in TERMINAL and case.phase is not Phase.OBSERVING


def _silent(case: Case) -> bool:
    return case.phase is Phase.OBSERVING or case.phase in TERMINAL


def _course(before: Case | None, after: Case) -> list[Moment]:
    found = []
    entered = before is None or before.phase is not after.phase
    if entered and after.phase in _ENDS:
        if after.phase is Phase.CLOSED and after.report and not after.report.resolved:
            return []  # somebody will have to come again
        return [_ENDS[after.phase]]
    if len(after.attempts) == 1 and (before is None or not before.attempts):
        found.append(Moment.FIXING)
    return found + _visit(before, after)


def _visit(before: Case | None, after: Case) -> list[Moment]:
    now, was = after.visit, before.visit if before else None
    if now is None or after.phase is not Phase.DISPATCHED:
        return []
    if was is None or was.key != now.key:
        return [Moment.VISIT_ORDERED]
    if now.state is VisitState.ON_THE_WAY and was.state is not VisitState.ON_THE_WAY:
        return [Moment.ON_THE_WAY]
    planned = now.state in (VisitState.SCHEDULED, VisitState.ON_THE_WAY)
    if planned and now.expected_ns is not None and now.expected_ns != was.expected_ns:
        return [Moment.VISIT_PLANNED]
    return []


def allowed_ns(
    moment: Moment, at_ns: int, quiet_from: str | None, quiet_until: str | None, zone: ZoneInfo
) -> int:
    """Return when a message may be sent: at once, or when the customer's quiet hours are over.

    Args:
        moment: what it is about; that somebody comes is told at any hour.
        at_ns: plant time.
        quiet_from: local time as ``22:00``, or None; a span over midnight is meant as such.
        quiet_until: its end; None as well if there are no quiet hours.
        zone: the customer's.
    """
    if moment in URGENT or not quiet_from or not quiet_until or quiet_from == quiet_until:
        return at_ns
    begin, end = time.fromisoformat(quiet_from), time.fromisoformat(quiet_until)
    local = datetime.fromtimestamp(at_ns // NS, UTC).astimezone(zone)
    clock = local.time()
    quiet = begin <= clock < end if begin < end else clock >= begin or clock < end
    if not quiet:
        return at_ns
    day = local.date() + timedelta(days=1 if clock >= end else 0)
    over = datetime.combine(day, end, zone).astimezone(UTC)
    return max(at_ns, int(over.timestamp()) * NS)
