"""The same fault again: soon after a good end it is the same case, which then was no good end."""

from collections.abc import Iterable

from msgspec import structs

from cloud.core.evidence import NS
from cloud.core.limits import DAY_S, Limits
from cloud.core.states import Case, Diagnosis, Phase, Plan
from contract.faults import REPORTED
from contract.tickets import EscalationReason

GOOD_ENDS = (Phase.RECOVERED, Phase.WITHDRAWN, Phase.CLOSED)
"""From these a case reopens; from the last one only if the machine was repaired."""
REOPENED_MAX = 10
"""After so many returns the next one is a case of its own."""
EARLIER_MAX = 30
"""Attempts that are remembered from before."""


def of(
    cases: Iterable[Case], device: str, found: Diagnosis, limits: Limits, now_ns: int
) -> Case | None:
    """Return the ended case that a fault is a return of; None if it is a new one.

    Args:
        cases: of the device, in any order.
        device: where the fault is.
        found: what is believed to be wrong now.
        limits: say for how long a fault counts as come back.
        now_ns: plant time.
    """
    same = [case for case in cases if case.device == device and _same(case, found)]
    last = max(same, key=lambda case: case.opened_ns, default=None)
    if last is None or last.ended_ns is None or last.reopened >= REOPENED_MAX:
        return None
    recent = now_ns - last.ended_ns <= limits.returns_days * DAY_S * NS
    return last if recent and _ended_well(last) else None


def _same(case: Case, found: Diagnosis) -> bool:
    if found.fault == REPORTED:
        return (case.fault, case.title) == (found.fault, found.title)
    confirmed = case.report.finding if case.report is not None else case.fault
    return found.fault in (case.fault, confirmed)


def _ended_well(case: Case) -> bool:
    if case.phase is Phase.CLOSED:
        return case.report is not None and case.report.resolved
    return case.phase in GOOD_ENDS


def again(case: Case, found: Diagnosis, plan: Plan, now_ns: int) -> Case:
    """Return the case reopened: it knows what was tried before and does not trust it again."""
    spent = case.spent
    if case.credited and case.attempt.step.remedy not in spent:
        spent = [*spent, case.attempt.step.remedy]
    return Case(
        case_id=case.case_id,
        device=case.device,
        site=case.site,
        machine_type=case.machine_type,
        phase=Phase.OBSERVING,
        opened_ns=now_ns,
        entered_ns=now_ns,
        plan=_without(plan, spent),
        changes=case.changes + 1,
        spent=spent,
        sent=case.sent,
        tickets=case.tickets,
        reopened=case.reopened + 1,
        first_opened_ns=case.first_opened_ns or case.opened_ns,
        earlier=[*case.earlier, *case.attempts][-EARLIER_MAX:],
        **structs.asdict(found),
    )


def _without(plan: Plan, spent: list[str]) -> Plan:
    """Leave out remedies whose cure did not last."""
    steps = [step for step in plan.steps if step.remedy not in spent]
    if steps or not plan.steps:
        return structs.replace(plan, steps=steps)
    titles = " and ".join(f"'{step.title}'" for step in plan.steps)
    return structs.replace(
        plan,
        steps=[],
        no_remote=EscalationReason.ATTEMPTS_EXHAUSTED,
        no_remote_detail=f"The fault is back: the cure by {titles} did not last.",
    )
