"""Service levels: what is promised to whom, until when, and whether it was kept.

A level belongs to a tier. It promises a response and a running machine within hours of service,
which its calendar counts at the machine's site; a visit takes hours of on-site work, counted in a
calendar of its own. The promise is written into the plan of a case when it is made: later edits of
the file do not reach it.
"""

from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta, Struct, structs

from cloud.core import service_hours
from cloud.core.events import (
    Approved,
    Dismissed,
    EscalationAsked,
    Event,
    PauseAsked,
    Rejected,
    TryAsked,
)
from cloud.core.evidence import NS
from cloud.core.service_hours import DAYS, HOUR_NS, Calendar, Clock
from cloud.core.states import Case, Phase, Plan, Terms
from cloud.core.wording import listed, moment
from contract.errors import Refused
from contract.faults import Severity

ROUND_THE_CLOCK = "round_the_clock"
"""Name of the calendar that needs no table."""
PAUSE_MAX_H = 24 * 30
PAUSES_MAX = 20
"""In one life of a case."""
PROMISE_MAX_DAYS = 400
MONDAY_NS = 599_702_400 * NS
"""Midnight before some Monday: from there on `problems` looks at a week hour by hour."""

DECISIONS = (Approved, Rejected, EscalationAsked, Dismissed, TryAsked, PauseAsked)

Hours = Annotated[float, Meta(gt=0, le=24 * 90)]
Reason = Annotated[str, Meta(min_length=1, max_length=100)]


class Level(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one tier is promised."""

    calendar: str = ROUND_THE_CLOCK
    """Counts the hours of the promise."""
    respond_h: dict[Severity, Hours]
    """Until something is done about a fault: a remedy is sent, a person decides, or a visit is
    ordered."""
    restore_h: dict[Severity, Hours]
    """Until the machine runs again."""
    on_site_lead_h: Hours
    """What a visit takes from its order to the running machine."""
    on_site_calendar: str = ROUND_THE_CLOCK
    """Counts the hours of on-site work."""
    pause_max_h: Annotated[float, Meta(ge=0, le=PAUSE_MAX_H)] = 0.0
    """Wall hours for which the clock of one case may stand still in all; 0: it may not."""
    pause_reasons: Annotated[list[Reason], Meta(max_length=10)] = []
    """For what it may stand still."""


class Kept(Struct, frozen=True):
    """Whether a promise was kept; None where that is not known yet, or nothing was promised."""

    response: bool | None
    restore: bool | None


class Promise(Struct, frozen=True, kw_only=True):
    """The fields of a `Plan` that are about deadlines."""

    respond_by_ns: int
    due_ns: int
    escalate_at_ns: int
    service_level: str
    terms: Terms


def promise(
    tier: str,
    level: Level,
    calendars: Mapping[str, Calendar],
    found: tuple[Severity, int],
    zone: str,
) -> Promise:
    """Return what is promised for a fault.

    Args:
        tier: of the machine's customer.
        level: of the tier.
        calendars: by name; those of the level are among them.
        found: the fault's severity, and when it was first seen, in plant time.
        zone: time zone of the site.
    """
    severity, now_ns = found
    terms = Terms(
        tier=tier,
        clock=Clock(calendars.get(level.calendar), zone),
        on_site=Clock(calendars.get(level.on_site_calendar), zone),
        on_site_lead_h=level.on_site_lead_h,
        pause_max_h=level.pause_max_h,
        pause_reasons=level.pause_reasons,
    )
    due_ns = service_hours.after(terms.clock, now_ns, _ns(level.restore_h[severity]))
    return Promise(
        respond_by_ns=service_hours.after(terms.clock, now_ns, _ns(level.respond_h[severity])),
        due_ns=due_ns,
        escalate_at_ns=_escalate_at_ns(terms, due_ns),
        service_level=_sentence(level, terms, severity),
        terms=terms,
    )


def _escalate_at_ns(terms: Terms, due_ns: int) -> int:
    return service_hours.before(terms.on_site, due_ns, _ns(terms.on_site_lead_h))


def _ns(hours: float) -> int:
    return int(hours * HOUR_NS)


def _sentence(level: Level, terms: Terms, severity: Severity) -> str:
    counted = _counted(level.calendar, terms.clock)
    on_site = _counted(level.on_site_calendar, terms.on_site)
    visit = f"{level.on_site_lead_h:g} h"
    return (
        f"Level {terms.tier}, severity {severity.value}: response within "
        f"{level.respond_h[severity]:g} h and running again within "
        f"{level.restore_h[severity]:g} h, counted {counted}; a visit takes {visit}"
        + ("." if on_site == counted else f", counted {on_site}.")
    )


def _counted(name: str, clock: Clock) -> str:
    calendar = clock.calendar
    if calendar is None:
        return "round the clock"
    weeks: dict[str, list[str]] = {}
    for day in DAYS:
        hours = ", ".join(getattr(calendar, day))
        if hours:
            weeks.setdefault(hours, []).append(day)
    opened = "; ".join(f"{_days(days)} {hours}" for hours, days in weeks.items())
    closed = ", without holidays" if calendar.holidays else ""
    return f"in {name.replace('_', ' ')} ({opened}{closed}; {clock.zone})"


def _days(days: list[str]) -> str:
    first, last = DAYS.index(days[0]), DAYS.index(days[-1])
    whole = last - first + 1 == len(days) > 2
    return f"{days[0]} to {days[-1]}" if whole else listed(days)


# The clock stands still.


def moved(plan: Plan, from_ns: int, to_ns: int) -> Plan:
    """Return the plan after its clock stood still between two moments.

    What had been due before the clock stopped stays as it was.
    """
    if to_ns <= from_ns:
        return plan
    stood = service_hours.between(plan.terms.clock, from_ns, to_ns)
    terms = structs.replace(plan.terms, stood=[*plan.terms.stood, (from_ns, to_ns)])
    due_ns = _later(plan.due_ns, plan.terms.clock, from_ns, stood)
    late = due_ns == plan.due_ns
    return structs.replace(
        plan,
        respond_by_ns=_later(plan.respond_by_ns, plan.terms.clock, from_ns, stood),
        due_ns=due_ns,
        escalate_at_ns=plan.escalate_at_ns if late else _escalate_at_ns(terms, due_ns),
        terms=terms,
    )


def _later(deadline_ns: int, clock: Clock, from_ns: int, stood: int) -> int:
    return deadline_ns if deadline_ns < from_ns else service_hours.after(clock, deadline_ns, stood)


def sharpened(offered: Plan, present: Plan) -> Plan:
    """Return a newly offered plan under the promise that was given already.

    The hours for which the clock stood still count for it too; it never buys time.
    """
    for from_ns, to_ns in present.terms.stood:
        offered = moved(offered, from_ns, to_ns)
    return structs.replace(
        offered,
        respond_by_ns=min(offered.respond_by_ns, present.respond_by_ns),
        due_ns=min(offered.due_ns, present.due_ns),
        escalate_at_ns=min(offered.escalate_at_ns, present.escalate_at_ns),
    )


def pause_until(plan: Plan, why: str, now_ns: int, until_ns: int) -> int:
    """Return until when the clock may stand still: what was asked for, or less.

    Args:
        plan: of the case.
        why: one of the level's reasons; more may follow it after a colon.
        now_ns: plant time.
        until_ns: until when it is asked for.

    Raises:
        Refused: the level allows no pause, not for this reason, or no longer.
    """
    terms = plan.terms
    if not terms.pause_reasons or not terms.pause_max_h:
        raise Refused(f"service level {terms.tier}: its clock never stands still")
    if why.partition(":")[0].strip() not in terms.pause_reasons:
        allowed = listed([f"'{reason}'" for reason in terms.pause_reasons])
        raise Refused(f"service level {terms.tier} may wait only for {allowed}, not for '{why}'")
    if until_ns <= now_ns:
        raise Refused(f"a wait must end in the future, not on {moment(until_ns)}")
    used_ns = sum(to_ns - from_ns for from_ns, to_ns in terms.stood)
    left_ns = _ns(terms.pause_max_h) - used_ns
    if left_ns <= 0 or len(terms.stood) >= PAUSES_MAX:
        raise Refused(
            f"service level {terms.tier} may wait {terms.pause_max_h:g} h and {PAUSES_MAX} times "
            "in one case, and that is used up"
        )
    return min(until_ns, now_ns + left_ns)


# Was it kept?


def decided(before: Case, after: Case, event: Event, now_ns: int) -> Case:
    """Return the case with the moment of a person's first decision, if the step was it."""
    if after.decided_ns is None and after != before and isinstance(event, DECISIONS):
        return structs.replace(after, decided_ns=now_ns)
    return after


def responded_ns(case: Case) -> int | None:
    """Return when the first remedy was sent, a person decided, or a visit was ordered."""
    moments = [a.sent_ns for a in case.attempts[:1]]
    moments += [case.decided_ns] if case.decided_ns is not None else []
    moments += [case.escalation.at_ns] if case.escalation else []
    return min(moments, default=None)


def kept(case: Case) -> Kept:
    """Tell whether the promise of a case was kept.

    A fault that went away before a response was due asked for none. A wrong alarm was no fault:
    there was nothing to restore. A visit that left the machine broken has not restored it.
    """
    plan = _stopped(case)
    first_ns, ended_ns = responded_ns(case), case.ended_ns
    if first_ns is not None:
        response: bool | None = first_ns <= plan.respond_by_ns
    elif ended_ns is not None and ended_ns > plan.respond_by_ns:
        response = False
    else:
        response = None
    if ended_ns is None or case.phase is Phase.DISMISSED:
        return Kept(response, restore=None)
    if case.report is not None and not case.report.resolved:
        return Kept(response, restore=False)
    again_ns = ended_ns if case.recovered_since_ns is None else case.recovered_since_ns
    return Kept(response, restore=again_ns <= plan.due_ns)


def _stopped(case: Case) -> Plan:
    """Return the plan as if a pause under way had ended with the case."""
    if case.paused_ns is None or case.ended_ns is None:
        return case.plan
    until_ns = case.ended_ns if case.paused_until_ns is None else case.paused_until_ns
    return moved(case.plan, case.paused_ns, min(until_ns, case.ended_ns))


# What is wrong with a level.


def problems(level: Level, calendars: Mapping[str, Calendar]) -> list[str]:
    """Say what is wrong with a level, each with its field."""
    found = []
    for field in ("respond_h", "restore_h"):
        hours: dict[Severity, float] = getattr(level, field)
        missing = [severity.value for severity in Severity if severity not in hours]
        if missing:
            found.append(f"{field}: hours for {', '.join(missing)} are missing")
    for field in ("calendar", "on_site_calendar"):
        name: str = getattr(level, field)
        if name != ROUND_THE_CLOCK and name not in calendars:
            known = ", ".join([ROUND_THE_CLOCK, *calendars])
            found.append(f"{field} {name!r} is unknown; known: {known}")
    if bool(level.pause_max_h) != bool(level.pause_reasons):
        found.append("pause_max_h and pause_reasons belong together: one of them is missing")
    return found or _impossible(level, calendars)


def _impossible(level: Level, calendars: Mapping[str, Calendar]) -> list[str]:
    """Find promises that nobody can keep, or that run for years."""
    found = []
    clock = Clock(calendars.get(level.calendar))
    on_site = Clock(calendars.get(level.on_site_calendar))
    for severity, restore_h in level.restore_h.items():
        if level.respond_h[severity] > restore_h:
            found.append(f"respond_h.{severity.value} is longer than restore_h.{severity.value}")
        days = restore_h / service_hours.weekly_h(clock.calendar) * 7
        if days > PROMISE_MAX_DAYS:
            said = f"takes {days:.0f} days in calendar {level.calendar}: at most {PROMISE_MAX_DAYS}"
            found.append(f"restore_h.{severity.value} {said}")
    shortest_h = min(level.restore_h.values())
    if level.on_site_lead_h > shortest_h:
        found.append("on_site_lead_h is longer than the shortest of restore_h")
    elif not found and level.calendar != level.on_site_calendar:
        found += _untimely(level, clock, on_site, shortest_h)
    return found


def _untimely(level: Level, clock: Clock, on_site: Clock, restore_h: float) -> list[str]:
    """Find an hour of the week from which a visit cannot be in time, even if ordered at once."""
    clock, on_site = (
        structs.replace(c, calendar=_without_holidays(c.calendar)) for c in (clock, on_site)
    )
    for hour in range(7 * 24):
        from_ns = MONDAY_NS + hour * HOUR_NS
        due_ns = service_hours.after(clock, from_ns, _ns(restore_h))
        if service_hours.between(on_site, from_ns, due_ns) < _ns(level.on_site_lead_h):
            day = DAYS[hour // 24]
            said = (
                f"for a fault on {day} at {moment(from_ns)[11:16]} no visit of "
                f"{level.on_site_lead_h:g} h fits into the {restore_h:g} h of restore_h"
            )
            return [f"on_site_calendar {level.on_site_calendar}: {said}"]
    return []


def _without_holidays(calendar: Calendar | None) -> Calendar | None:
    return calendar and structs.replace(calendar, holidays=[])
