"""A stored case as people read it. Pure, apart from decoding."""

from collections.abc import Callable

import msgspec

from cloud.adapters.store import CaseRow, TimelineRow
from cloud.core import case as rules
from cloud.core import sensors
from cloud.core.course import Picture
from cloud.core.events import Approved, Dismissed, EscalationAsked, Event, Rejected, ReportReceived
from cloud.core.states import Attempt, Case, Phase, Step
from cloud.web import words
from cloud.web.schemas import (
    AttemptView,
    CaseBrief,
    CaseDetail,
    DeviationView,
    EvidenceView,
    HypothesisView,
    StepView,
    TimelineEntry,
)
from contract.faults import FIRMWARE_UNCLEAR, NO_DATA, UNKNOWN, Deviation
from contract.machines import MachineType
from contract.tickets import ClosingReport, Finding
from models.diagnose import NOTABLE_SIGMAS

NS = words.NS
_EVENTS: dict[str, Event] = {
    "approve": Approved(by="?"),
    "reject": Rejected(by="?"),
    "escalate": EscalationAsked(by="?"),
    "dismiss": Dismissed(by="?"),
}


def decode(row: CaseRow) -> Case:
    """Return the case of a row."""
    return rules.decode_case(row.data)


def brief(row: CaseRow) -> CaseBrief:
    """Return one line about a case."""
    case = decode(row)
    likely = next((h.probability for h in case.hypotheses if h.fault == case.fault), 0.0)
    return CaseBrief(
        case_id=row.case_id,
        device=row.device,
        fault=case.fault,
        title=case.title,
        probability=likely,
        severity=case.severity,
        phase=case.phase,
        phase_text=words.PHASE[case.phase],
        open=row.open,
        opened_ns=row.opened_ns,
        updated_ns=row.updated_ns,
        remedies_ns=[a.executed_ns or a.sent_ns for a in case.attempts],
    )


def detail(
    row: CaseRow,
    timeline: list[TimelineRow],
    machine: MachineType | None,
    *,
    machine_title: str,
    ticket_key: str | None,
    now_ns: int,
) -> CaseDetail:
    """Return the whole story of a case."""
    case = decode(row)
    return CaseDetail(
        **dict(brief(row)),
        machine_title=machine_title,
        machine_type=case.machine_type,
        site=case.site,
        safety=case.safety,
        playbook=case.plan.playbook,
        mode=case.plan.mode,
        due_ns=case.plan.due_ns,
        next_text=next_text(case),
        actions=actions(case, now_ns),
        reportable=reportable(case, now_ns),
        findings=findings(machine),
        hypotheses=[
            HypothesisView(
                fault=h.fault,
                title=case.title if h.fault == case.fault else fault_title(machine, h.fault),
                probability=h.probability,
                evidence=h.evidence,
            )
            for h in case.hypotheses
        ],
        deviations=[_deviation(machine, d) for d in case.deviations],
        checks=[sensors.sentence(machine, c) for c in case.checks] if machine else [],
        steps=[
            StepView(remedy=s.remedy, title=s.title, command=s.command, argument=s.argument)
            for s in _left(case)
        ],
        attempts=[_attempt(a) for a in case.attempts],
        evidence=_evidence(case),
        timeline=[_entry(machine, row) for row in timeline],
        ticket_key=ticket_key,
    )


def _left(case: Case) -> list[Step]:
    """Return the planned remedies that were not tried yet."""
    under_way = case.phase in (Phase.FIXING, Phase.VERIFYING)
    return case.plan.steps[case.next_step + under_way :]


def actions(case: Case, now_ns: int) -> list[str]:
    """Return what a person may decide now: the decisions that would move the case."""
    return [name for name, event in _EVENTS.items() if _moves(case, event, now_ns)]


def reportable(case: Case, now_ns: int) -> bool:
    """Tell whether a closing report may be handed in now."""
    return _moves(case, ReportReceived(ClosingReport(finding=Finding.OTHER)), now_ns)


def _moves(case: Case, event: Event, now_ns: int) -> bool:
    after, _ = rules.step(case, event, now_ns)
    return after != case


def findings(machine: MachineType | None) -> dict[str, str]:
    """Return what a closing report may say, by code: the type's faults, then the general ones."""
    known = {fault.code: fault.title for fault in machine.faults} if machine else {}
    return known | {str(code): title for code, title in words.FINDING.items()}


def fault_title(machine: MachineType | None, code: str) -> str:
    """Return a fault's name for people."""
    if code == UNKNOWN:
        return "Unknown fault"
    if code == NO_DATA:
        return "No data from the machine"
    if code == FIRMWARE_UNCLEAR:
        return "A firmware update ended unclear"
    if code in words.FINDING:
        return words.FINDING[Finding(code)]
    fault = machine.fault(code) if machine else None
    return fault.title if fault else words.phrase(code)


def next_text(case: Case) -> str:
    """Say what happens next, or how it ended."""
    return _NEXT.get(case.phase, _end_text)(case)


def _observing(case: Case) -> str:
    until = words.clock(case.opened_ns + int(case.plan.observe_s * NS))
    then = f"the first remedy is: {case.step.title}" if case.step else "a visit is ordered"
    return f"Watching until {until} UTC whether it clears by itself; after that {then}."


def _awaiting(case: Case) -> str:
    remedy = case.step.title if case.step else "the next remedy"
    last = words.utc(case.plan.escalate_at_ns)
    return f"Waiting for a yes to: {remedy}. Without it, a visit is ordered on {last}."


def _holding(case: Case) -> str:
    if case.step is None:
        return "No remedy is left. A visit is ordered if fresh telemetry still shows the fault."
    return f"On hold: {case.step.title}. It is sent as soon as the limits allow it."


def _fixing(case: Case) -> str:
    until = words.clock(case.attempt.expires_ns)
    title = case.attempt.step.title
    return f"Sent to the device: {title}. It answers by {until} UTC or the command expires."


def _verifying(case: Case) -> str:
    dwell = words.span(case.plan.timing.dwell_s)
    return (
        "Only what is measured after the remedy counts. "
        f"{dwell} of unbroken health prove the recovery."
    )


def _dispatched(case: Case) -> str:
    healthy = ""
    if case.recovered_since_ns is not None:
        healthy = f" The machine has been healthy since {words.utc(case.recovered_since_ns)}."
    return f"A visit is ordered; the technician's closing report ends the case.{healthy}"


_NEXT: dict[Phase, Callable[[Case], str]] = {
    Phase.OBSERVING: _observing,
    Phase.AWAITING_APPROVAL: _awaiting,
    Phase.HOLDING: _holding,
    Phase.FIXING: _fixing,
    Phase.VERIFYING: _verifying,
    Phase.DISPATCHED: _dispatched,
}


def _end_text(case: Case) -> str:
    ended = f" on {words.utc(case.ended_ns)}" if case.ended_ns is not None else ""
    if case.phase is Phase.RECOVERED:
        if case.credited:
            worked = case.attempt.step.title
            return f"Recovered{ended}, verified on fresh telemetry. What worked: {worked}."
        return f"Recovered{ended}. It is not certain by what, so no remedy is credited."
    if case.phase is Phase.SELF_CLEARED:
        return f"Cleared by itself{ended}. No remedy is credited."
    if case.phase is Phase.DISMISSED:
        return f"A person called it a wrong alarm{ended}."
    if case.report is None:
        return f"Closed{ended}."
    finding = words.phrase(case.report.finding)
    notes = f" {case.report.notes}" if case.report.notes else ""
    return f"Closed by the technician's report{ended}. Found: {finding}.{notes}"


def _deviation(machine: MachineType | None, d: Deviation) -> DeviationView:
    signal = machine.signal(d.signal) if machine else None
    return DeviationView(
        signal=d.signal,
        title=signal.title if signal else words.phrase(d.signal),
        unit=signal.unit if signal else "",
        direction=d.direction,
        sigmas=d.sigmas,
        value=d.value,
        expected=d.expected,
    )


def _entry(machine: MachineType | None, row: TimelineRow) -> TimelineEntry:
    seen = msgspec.json.decode(row.data, type=Picture) if row.data else Picture()
    return TimelineEntry(
        at_ns=row.at_ns,
        kind=row.kind,
        text=row.text,
        seen_ns=seen.at_ns or None,
        score=seen.score,
        deviations=[_deviation(machine, d) for d in seen.deviations if d.sigmas >= NOTABLE_SIGMAS],
    )


def _attempt(attempt: Attempt) -> AttemptView:
    course = attempt.course
    return AttemptView(
        remedy=attempt.step.remedy,
        title=attempt.step.title,
        command_id=attempt.command_id,
        sent_ns=attempt.sent_ns,
        ended_ns=attempt.executed_ns,
        result=attempt.result,
        result_text=words.RESULT.get(attempt.result, words.phrase(attempt.result)),
        detail=attempt.detail,
        score_before=course.before,
        score_lowest=course.lowest,
        score_lowest_ns=course.lowest_ns,
        score_latest=course.latest,
        below_alarm_since_ns=course.back_ns,
    )


def _evidence(case: Case) -> EvidenceView | None:
    if case.phase not in (Phase.OBSERVING, Phase.VERIFYING):
        return None
    verifying = case.phase is Phase.VERIFYING
    streak = case.proof if verifying else case.seen
    from_ns = None
    if verifying and case.attempt.executed_ns is not None:
        from_ns = case.attempt.executed_ns + int(case.attempt.step.settle_s * NS)
    return EvidenceView(
        healthy_samples=streak.samples if streak.healthy else 0,
        needed_samples=case.plan.timing.min_samples,
        healthy_since_ns=streak.since_ns if streak.healthy else None,
        dwell_s=case.plan.timing.dwell_s,
        counts_from_ns=from_ns,
    )
