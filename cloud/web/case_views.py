"""A stored case as people read it. Pure, apart from decoding."""

from collections.abc import Mapping

import msgspec

from cloud.adapters.store import CaseRow, TimelineRow
from cloud.core import case as rules
from cloud.core import levels, sensors
from cloud.core.course import Picture
from cloud.core.events import (
    Approved,
    Dismissed,
    EscalationAsked,
    Event,
    PauseAsked,
    Rejected,
    ReportReceived,
    ResumeAsked,
    TryAsked,
)
from cloud.core.states import Attempt, Case, Phase, Proof, Step, Visit
from cloud.web import words
from cloud.web.case_sentences import next_saying
from cloud.web.schemas import (
    AttemptView,
    CaseBrief,
    CaseDetail,
    DeviationView,
    EvidenceView,
    HypothesisView,
    PromiseView,
    ReportView,
    StepView,
    TimelineEntry,
    VisitView,
)
from contract.errors import Malformed, Refused
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
    "try": TryAsked(
        by="?",
        step=Step(
            remedy="?", title="?", command="?", argument=None, settle_s=0, verify_s=1, fault="?"
        ),
    ),
    "resume": ResumeAsked(by="?"),
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
    said = next_saying(case)
    return CaseDetail(
        **dict(brief(row)),
        machine_title=machine_title,
        machine_type=case.machine_type,
        site=case.site,
        safety=case.safety,
        playbook=case.plan.playbook,
        mode=case.plan.mode,
        due_ns=case.plan.due_ns,
        next_text=said.english,
        next_template=said.template,
        next_values=said.values,
        actions=actions(case, now_ns),
        promise=_promise(case),
        visit=visit(case.visit) if case.visit else None,
        reopened=case.reopened,
        first_opened_ns=case.first_opened_ns if case.reopened else None,
        earlier=[_attempt(a) for a in case.earlier],
        report=_report(machine, case.report) if case.report else None,
        reportable=reportable(case, now_ns),
        findings=findings(machine),
        hypotheses=_hypotheses(case, machine),
        deviations=[deviation(machine, d) for d in case.deviations],
        checks=[sensors.sentence(machine, c) for c in case.checks] if machine else [],
        steps=[
            StepView(remedy=s.remedy, title=s.title, command=s.command, argument=s.argument)
            for s in _left(case)
        ],
        attempts=[_attempt(a, case.ended_ns) for a in case.attempts],
        evidence=_evidence(case),
        timeline=[_entry(machine, row) for row in timeline],
        ticket_key=ticket_key,
    )


def _hypotheses(case: Case, machine: MachineType | None) -> list[HypothesisView]:
    return [
        HypothesisView(
            fault=h.fault,
            title=case.title if h.fault == case.fault else fault_title(machine, h.fault),
            probability=h.probability,
            evidence=h.evidence,
        )
        for h in case.hypotheses
    ]


def _left(case: Case) -> list[Step]:
    """Return the planned remedies that were not tried yet."""
    under_way = case.phase in (Phase.FIXING, Phase.VERIFYING)
    return case.plan.steps[case.next_step + under_way :]


def actions(case: Case, now_ns: int) -> list[str]:
    """Return what a person may decide now: the decisions that would move the case."""
    why = next(iter(case.plan.terms.pause_reasons), "?")
    asked = {**_EVENTS, "pause": PauseAsked(by="?", why=why, until_ns=now_ns + 3600 * NS)}
    return [name for name, event in asked.items() if _moves(case, event, now_ns)]


def reportable(case: Case, now_ns: int) -> bool:
    """Tell whether a closing report may be handed in now."""
    return _moves(case, ReportReceived(ClosingReport(finding=Finding.OTHER)), now_ns)


def _moves(case: Case, event: Event, now_ns: int) -> bool:
    try:
        after, _ = rules.step(case, event, now_ns)
    except Refused:
        return False
    return after != case


def findings(machine: MachineType | None) -> dict[str, str]:
    """Return what a closing report may say, by code: the type's faults, then the general ones."""
    known = {fault.code: fault.title for fault in machine.faults} if machine else {}
    return known | {str(code): title for code, title in words.FINDING.items()}


def check_finding(report: ClosingReport, known: Mapping[str, str]) -> None:
    """Refuse a report whose finding is none of those that `findings` gives.

    Raises:
        Malformed: so it is.
    """
    if report.finding not in known:
        raise Malformed(
            f"finding {report.finding!r} is not known for this machine: {', '.join(known)}"
        )


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


def deviation(machine: MachineType | None, d: Deviation) -> DeviationView:
    """Return one signal's share in the alarm."""
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
        deviations=[deviation(machine, d) for d in seen.deviations if d.sigmas >= NOTABLE_SIGMAS],
    )


def _attempt(attempt: Attempt, ended_ns: int | None = None) -> AttemptView:
    course, step, acted_ns = attempt.course, attempt.step, attempt.executed_ns
    proven = attempt.proof is Proof.RECOVERED
    return AttemptView(
        remedy=step.remedy,
        title=step.title,
        command_id=attempt.command_id,
        sent_ns=attempt.sent_ns,
        ended_ns=acted_ns,
        result=attempt.result,
        result_text=words.RESULT.get(attempt.result, words.phrase(attempt.result)),
        detail=attempt.detail,
        score_before=course.before,
        score_lowest=course.lowest,
        score_lowest_ns=course.lowest_ns,
        score_latest=course.latest,
        below_alarm_since_ns=course.back_ns,
        settled_ns=None if acted_ns is None else acted_ns + int(step.settle_s * NS),
        judged_by_ns=None
        if acted_ns is None
        else acted_ns + int((step.settle_s + step.verify_s) * NS),
        verified_ns=ended_ns if proven else None,
        high_risk=step.high_risk,
    )


def visit(found: Visit) -> VisitView:
    """Return how a visit stands."""
    return VisitView(
        key=found.key,
        state=found.state,
        at_ns=found.at_ns,
        expected_ns=found.expected_ns,
        technician=found.technician,
    )


def _promise(case: Case) -> PromiseView:
    kept, terms = levels.kept(case), case.plan.terms
    stood_ns = sum(to_ns - from_ns for from_ns, to_ns in terms.stood)
    return PromiseView(
        service_level=case.plan.service_level,
        respond_by_ns=case.plan.respond_by_ns,
        response_kept=kept.response,
        restore_by_ns=case.plan.due_ns,
        restore_kept=kept.restore,
        visit_by_ns=case.plan.escalate_at_ns,
        paused_ns=case.paused_ns,
        paused_until_ns=case.paused_until_ns,
        pause_reasons=terms.pause_reasons,
        pause_left_h=max(terms.pause_max_h - stood_ns / 3600 / NS, 0),
    )


def _report(machine: MachineType | None, report: ClosingReport) -> ReportView:
    return ReportView(
        finding=report.finding,
        finding_text=fault_title(machine, report.finding),
        notes=report.notes,
        parts=[f"{part.quantity} x {part.name} ({part.number})" for part in report.parts_used],
        technician=report.technician,
        resolved=report.resolved,
        cause_code=report.cause_code,
        checklist=[f"{line.question} {line.answer}" for line in report.checklist],
        photos=report.photos,
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
