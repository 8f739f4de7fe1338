"""Moves that several rules share: change the phase, send a remedy, end well, or send a person.

Every move returns the case and its effects, among them a sentence for the timeline that says what
happened, what was tried, or what comes next.
"""

from msgspec import structs

from cloud.core.course import Course, told
from cloud.core.events import Announce, Effect, Note, OpenTicket, SaveLabel, SendCommand, Topic
from cloud.core.evidence import NS, promising, sick
from cloud.core.limits import Fleet, Permission, Verdict, permit, start, untouched
from cloud.core.states import (
    ACTED,
    MAY_HAVE_ACTED,
    Attempt,
    Case,
    Escalation,
    Mode,
    Phase,
    Plan,
    Proof,
    Reply,
    Step,
    Visit,
)
from cloud.core.wording import listed, moment, span
from contract.faults import FIRMWARE_UNCLEAR, NO_DATA, REPORTED, UNKNOWN
from contract.tickets import EscalationReason, Label

Outcome = tuple[Case, tuple[Effect, ...]]

DEAF = (FIRMWARE_UNCLEAR, REPORTED)
"""Faults that telemetry alone neither confirms nor ends."""
PAUSED = "paused"
"""The rule that holds remedies back while the clock of the promise stands still."""
EXPIRY_MIN_S = 60.0
"""A command with less time than this before its expiry is not worth sending."""


def enter(case: Case, phase: Phase, note: Note, now_ns: int, **changes: object) -> Outcome:
    """Go to a phase, announce it and say why."""
    count = case.changes + 1
    changed = structs.replace(case, phase=phase, entered_ns=now_ns, changes=count, **changes)
    return changed, (Announce(key=f"{case.case_id}/announce/{count}"), note)


def escalate(case: Case, reason: EscalationReason, detail: str, now_ns: int) -> Outcome:
    """Open a ticket, the case's only open one; nothing is tried remotely any more."""
    number = case.tickets + 1
    key = case.case_id if number == 1 else f"{case.case_id}~{number}"
    said = f"Sends a technician, due by {moment(case.plan.due_ns)}: {detail}{in_flight(case)}"
    moved, effects = enter(
        case,
        Phase.DISPATCHED,
        Note(Topic.TICKET, said),
        now_ns,
        escalation=Escalation(reason=reason, detail=detail, at_ns=now_ns),
        visit=Visit(key=key, at_ns=now_ns),
        tickets=number,
    )
    return moved, (OpenTicket(key=f"{key}/ticket", reason=reason, detail=detail), *effects)


def unsafe(case: Case, now_ns: int) -> Outcome:
    """Send a person at once: nothing is tried remotely on a dangerous machine."""
    detail = f"{case.title}: dangerous to people or plant, so nothing is tried remotely."
    return escalate(case, EscalationReason.UNSAFE, detail, now_ns)


def outlook(plan: Plan) -> str:
    """Say what the plan will do."""
    if not plan.steps:
        return f"If it does not clear within {span(plan.observe_s)}, a technician is sent."
    titles = listed([f"'{step.title}'" for step in plan.steps])
    return (
        f"If it does not clear within {span(plan.observe_s)}, plans {titles} "
        f"(mode {plan.mode.value})."
    )


def in_flight(case: Case) -> str:
    """Warn of a command that is out and cannot be called back."""
    if case.phase is not Phase.FIXING:
        return ""
    last = case.attempt
    return f" Beware: '{last.step.title}' may still act until {moment(last.expires_ns)}."


def overdue(case: Case, now_ns: int) -> Outcome | None:
    """Send a person when only a visit that starts now can still keep the promise."""
    if case.paused_ns is not None or now_ns < case.plan.escalate_at_ns:
        return None
    detail = (
        f"The machine must run again by {moment(case.plan.due_ns)}; "
        "only a visit that is ordered now can keep that."
    )
    return escalate(case, EscalationReason.SLA_DEADLINE, detail, now_ns)


def exhausted(case: Case, now_ns: int) -> Outcome:
    """Send a person because no remedy is left, and say what became of those there were."""
    tried = [f"'{a.step.title}': {a.result.replace('_', ' ')}" for a in case.attempts]
    told = f" Tried: {'; '.join(tried)}." if tried else ""
    if any(a.reply in ACTED for a in case.attempts):
        reason = EscalationReason.VERIFICATION_FAILED
        detail = "Remedies were carried out, but the machine did not recover." + told
    elif case.plan.no_remote is not None:
        reason, detail = case.plan.no_remote, case.plan.no_remote_detail
    elif case.rejected and not case.attempts:
        reason = EscalationReason.CUSTOMER_REQUEST
        detail = f"A person turned down every remedy ({listed(case.rejected)})."
    else:
        reason = EscalationReason.ATTEMPTS_EXHAUSTED
        detail = "No remedy is left that could be carried out." + told
    return escalate(case, reason, detail, now_ns)


def next_remedy(case: Case, note: Note, now_ns: int) -> Outcome:
    """Leave the present remedy behind and hold the next one, if there is one."""
    phase = Phase.OBSERVING if case.phase is Phase.OBSERVING else Phase.HOLDING
    left = {"next_step": case.next_step + 1, "step_approved": False, "held_by": "", "asked": ""}
    return enter(case, phase, note, now_ns, **left)


def decide(case: Case, fleet: Fleet, now_ns: int) -> Outcome:
    """Send the next remedy if everything allows it; else wait, ask, skip or give up.

    A machine on its way back is not disturbed, nor a customer who asked to wait.
    """
    if now_ns < case.not_before_ns or promising(case.seen, now_ns, case.plan.timing.dwell_s):
        return case, ()
    if case.paused_ns is not None:
        why = "the clock of the promise stands still, so nothing is tried"
        return _hold(case, Verdict(Permission.WAIT, PAUSED, why), now_ns)
    alone = untouched(fleet)
    if alone.permission is Permission.WAIT:
        return _hold(case, alone, now_ns)
    return _next(case, fleet, now_ns)


def _next(case: Case, fleet: Fleet, now_ns: int) -> Outcome:
    """Send the next remedy if the limits and people allow it."""
    step = case.step
    if step is None:
        return _give_up(case, now_ns)
    barred = _barred(case, step, fleet, now_ns)
    if barred is not None:
        return barred
    if _needs_person(case, step):
        return _ask(case, step, now_ns)
    verdict = start(fleet, person_agreed=case.step_approved)
    if verdict.permission is Permission.WAIT:
        return _hold(case, verdict, now_ns)
    return _send(case, step, now_ns)


def _give_up(case: Case, now_ns: int) -> Outcome:
    """Send a person to a machine that is seen sick; wait for a silent one for a while."""
    timing = case.plan.timing
    waited = now_ns >= case.entered_ns + int((timing.observe_s + timing.silence_limit_s) * NS)
    blind = case.fault in (NO_DATA, *DEAF) or case.untold  # no evidence will come
    if blind or waited or sick(case.seen, now_ns, timing.dwell_s):
        return exhausted(case, now_ns)
    return case, ()


def _barred(case: Case, step: Step, fleet: Fleet, now_ns: int) -> Outcome | None:
    """Leave out a remedy that may not be used, or give up when none may or time is short."""
    verdict = permit(step.remedy, step.fault, fleet, now_ns)
    if verdict.permission is Permission.STOP:
        detail = f"No more remedies today: {verdict.why}."
        return escalate(case, EscalationReason.ATTEMPTS_EXHAUSTED, detail, now_ns)
    if verdict.permission is Permission.SKIP:
        note = Note(Topic.HOLD, f"Leaves out '{step.title}': {verdict.why}.")
        return next_remedy(case, note, now_ns)
    if _latest_ns(case, step) < now_ns + int(EXPIRY_MIN_S * NS):
        detail = (
            f"'{step.title}' could not be carried out and verified before a visit must be "
            f"ordered to be there by {moment(case.plan.due_ns)}."
        )
        return escalate(case, EscalationReason.SLA_DEADLINE, detail, now_ns)
    return None


def _latest_ns(case: Case, step: Step) -> int:
    """Return until when the command may act, so that its verification ends in time."""
    return case.plan.escalate_at_ns - int((step.settle_s + step.verify_s) * NS)


def _needs_person(case: Case, step: Step) -> bool:
    if case.plan.mode is Mode.AUTO or case.step_approved:
        return False
    return case.plan.mode is Mode.SUGGEST or step.high_risk or not case.plan_approved


def _ask(case: Case, step: Step, now_ns: int) -> Outcome:
    risk = " It is a high-risk command." if step.high_risk else ""
    said = (
        f"Suggests '{step.title}' and waits for a person's yes.{risk} Without an answer a "
        f"technician is sent at {moment(case.plan.escalate_at_ns)}."
    )
    return enter(case, Phase.AWAITING_APPROVAL, Note(Topic.PERSON, said), now_ns)


def _hold(case: Case, verdict: Verdict, now_ns: int) -> Outcome:
    if case.phase is Phase.HOLDING and case.held_by == verdict.rule:
        return case, ()
    note = Note(Topic.HOLD, f"Holds back: {verdict.why}.")
    return enter(case, Phase.HOLDING, note, now_ns, held_by=verdict.rule)


def _send(case: Case, step: Step, now_ns: int) -> Outcome:
    number = case.sent + 1
    expires_ns = min(now_ns + int(case.plan.timing.command_expiry_s * NS), _latest_ns(case, step))
    attempt = Attempt(
        command_id=f"{case.case_id}.{number}",
        step=step,
        sent_ns=now_ns,
        expires_ns=expires_ns,
        course=Course(before=case.picture.score),
    )
    command = SendCommand(
        key=f"{case.case_id}/command/{number}",
        command_id=attempt.command_id,
        remedy=step.remedy,
        command=step.command,
        argument=step.argument,
        issued_ns=now_ns,
        expires_ns=expires_ns,
    )
    said = (
        f"Sends '{step.title}' (remedy {case.next_step + 1} of {len(case.plan.steps)}); it may "
        f"act within {span((expires_ns - now_ns) / NS)}, then only fresh evidence counts."
    )
    moved, effects = enter(
        case,
        Phase.FIXING,
        Note(Topic.COMMAND, said, case.picture),
        now_ns,
        attempts=[*case.attempts, attempt],
        sent=number,
        held_by="",
        asked="",
    )
    return moved, (command, *effects)


def with_attempt(case: Case, **changes: object) -> Case:
    """Return the case with the latest attempt changed."""
    changed = structs.replace(case.attempt, **changes)
    return structs.replace(case, attempts=[*case.attempts[:-1], changed])


def recover(case: Case, now_ns: int) -> Outcome:
    """End well, and give credit only where it is due.

    A healthy run that began before any command can have acted is nobody's merit. A remedy is
    credited only if it was confirmed as done, the run began after that, and the fault was seen
    after it had been sent, within a dwell before it was done, and not after its time was over.
    Without all of this the machine may have been well before, or something else helped.
    """
    since_ns = case.seen.since_ns
    acted = [a for a in case.attempts if a.reply in MAY_HAVE_ACTED and a.sent_ns < since_ns]
    if not acted:
        said = f"The machine has been healthy since {moment(since_ns)}; no remedy of this case did."
        return enter(case, Phase.SELF_CLEARED, Note(Topic.END, said), now_ns, ended_ns=now_ns)
    last = case.attempt
    if case.phase is Phase.VERIFYING and last is acted[-1]:
        case = with_attempt(case, proof=Proof.RECOVERED)
        if _earned(case, last):
            return _credit(case, last, now_ns)
    said = (
        f"Recovered: healthy since {moment(since_ns)}. '{acted[-1].step.title}' may have done it, "
        "but that is not certain, so no remedy is credited."
    ) + told(acted[-1].course, acted[-1].executed_ns)
    note = Note(Topic.END, said, case.picture)
    return enter(case, Phase.RECOVERED, note, now_ns, ended_ns=now_ns)


def _earned(case: Case, last: Attempt) -> bool:
    done_ns, sick_ns = last.executed_ns, case.seen.sick_ns
    if last.reply is not Reply.DONE or done_ns is None or case.seen.since_ns <= done_ns:
        return False
    from_ns = max(last.sent_ns + 1, done_ns - int(case.plan.timing.dwell_s * NS))
    return from_ns <= sick_ns < done_ns + int((last.step.settle_s + last.step.verify_s) * NS)


def _credit(case: Case, last: Attempt, now_ns: int) -> Outcome:
    healthy_s = (case.proof.last_ns - case.proof.since_ns) / NS
    said = (
        f"Recovered: '{last.step.title}' worked. Fresh evidence after it has been healthy for "
        f"{span(healthy_s)}, {case.proof.samples} measurements."
    ) + told(last.course, last.executed_ns)
    note = Note(Topic.END, said, case.picture)
    moved, effects = enter(case, Phase.RECOVERED, note, now_ns, ended_ns=now_ns, credited=True)
    if last.step.fault == UNKNOWN:
        return moved, effects  # teaches nothing about what it was
    return moved, (*effects, label(case, last.step.fault, last.sent_ns, "verified_remedy"))


def label(case: Case, fault: str, to_ns: int, source: str) -> SaveLabel:
    """Make the label of the case's present life: what it was, in which window."""
    life = f"{case.case_id}+{case.reopened}" if case.reopened else case.case_id
    return SaveLabel(
        key=f"{life}/label",
        label=Label(
            case=life,
            device=case.device,
            machine_type=case.machine_type,
            fault=fault,
            diagnosed=case.fault,
            from_ns=case.opened_ns,
            to_ns=to_ns,
            source=source,
            deviations=case.deviations,
            checks=case.checks,
            parts_used=case.report.parts_used if case.report else [],
            resolved=case.report.resolved if case.report else True,
        ),
    )
