"""The rules of a case, one function for each event and the phases in which it means the same.

Each takes the case, the event and the plant's time, and returns the case and its effects. What
does not fit returns the case as it is. `cloud.core.case` holds the table that calls them.
"""

from msgspec import structs

from cloud.core import course, evidence, levels
from cloud.core.course import Picture
from cloud.core.events import (
    Approved,
    CommandFinished,
    Diagnosed,
    Evidence,
    Note,
    Rejected,
    Tick,
    Topic,
)
from cloud.core.evidence import NS, Streak
from cloud.core.moves import (
    DEAF,
    Outcome,
    decide,
    enter,
    escalate,
    next_remedy,
    outlook,
    overdue,
    recover,
    unsafe,
    with_attempt,
)
from cloud.core.states import ACTED, Case, Mode, Phase, Proof, Reply, Step
from cloud.core.wording import span
from contract.tickets import EscalationReason

AHEAD_MAX_NS = 300 * NS
"""A measurement from further in the future is not believed."""
SHARPENED_MAX = 20
"""After so many changes the diagnosis stays: causes that take turns shall not fill a timeline."""


# Evidence.


def watch(case: Case, event: Evidence, now_ns: int) -> Outcome:
    """Nothing is under way: a healthy run ends the case."""
    case, fresh = see(case, event, now_ns)
    timing = case.plan.timing
    if fresh and evidence.proven(case.seen, timing.dwell_s, timing.min_samples):
        return recover(case, now_ns)
    return case, ()


def keep(case: Case, event: Evidence, now_ns: int) -> Outcome:
    """A command is out: remember what is seen; it is judged when the command has ended."""
    return see(case, event, now_ns)[0], ()


def verify(case: Case, event: Evidence, now_ns: int) -> Outcome:
    """After a remedy only what was measured after it has settled counts.

    The fault seen once more after the time for verification is a failure. It does not matter when
    that is heard, so a gateway that was held up judges as one that was not.
    """
    case, fresh = see(case, event, now_ns)
    if not fresh or event.measured_ns <= _counts_from_ns(case):
        return case, ()
    timing = case.plan.timing
    proof = evidence.add(case.proof, event.measured_ns, timing.dwell_s, healthy=event.healthy)
    case = structs.replace(case, proof=proof)
    if not event.healthy and event.measured_ns >= _end_ns(case):
        return _in_vain(case, "fresh evidence still shows the fault", now_ns)
    if evidence.proven(proof, timing.dwell_s, timing.min_samples) and not _awaited(case, now_ns):
        return recover(case, now_ns)
    return case, ()


def _awaited(case: Case, now_ns: int) -> bool:
    """Tell whether an answer may still be on its way, as when both were held up on the way here.

    What decides about merit is when things happened, not in which order they were heard.
    """
    grace_ns = int(case.plan.timing.answer_grace_s * NS)
    return case.attempt.reply is Reply.NO_ANSWER and now_ns < case.entered_ns + grace_ns


def see(case: Case, event: Evidence, now_ns: int) -> tuple[Case, bool]:
    """Take evidence in, if it is newer than all before it and than the case.

    What telemetry cannot tell of is neither proven nor ended by it.
    """
    if case.fault in DEAF or (event.healthy and case.untold):
        return case, False
    newest_ns = max(case.opened_ns, case.seen.last_ns)
    if not newest_ns < event.measured_ns <= now_ns + AHEAD_MAX_NS:
        return case, False
    seen = evidence.add(
        case.seen, event.measured_ns, case.plan.timing.dwell_s, healthy=event.healthy
    )
    picture = Picture(at_ns=event.measured_ns, score=event.score, deviations=event.deviations)
    case = structs.replace(case, seen=seen, picture=picture)
    if case.phase is Phase.VERIFYING and event.measured_ns > (case.attempt.executed_ns or now_ns):
        case = with_attempt(case, course=course.follow(case.attempt.course, picture))
    return case, True


# Time.


def observed(case: Case, event: Tick, now_ns: int) -> Outcome:
    """Leave the fault the time to clear by itself."""
    late = overdue(case, now_ns)
    if late is not None:
        return late
    if now_ns < case.opened_ns + int(case.plan.observe_s * NS):
        return case, ()
    return decide(case, event.fleet, now_ns)


def wait(case: Case, event: Tick, now_ns: int) -> Outcome:
    """Only the deadline ends the wait for a person."""
    del event
    return overdue(case, now_ns) or (case, ())


def release(case: Case, event: Tick, now_ns: int) -> Outcome:
    """Ask the limits again."""
    return overdue(case, now_ns) or decide(case, event.fleet, now_ns)


def expire(case: Case, event: Tick, now_ns: int) -> Outcome:
    """No answer is not a no: the command may have acted, so look at the machine."""
    del event
    late = overdue(case, now_ns)
    if late is not None:
        return late
    attempt, timing = case.attempt, case.plan.timing
    if now_ns < attempt.expires_ns + int(timing.answer_grace_s * NS):
        return case, ()
    case = with_attempt(case, reply=Reply.NO_ANSWER, executed_ns=attempt.expires_ns)
    said = (
        f"No answer to '{attempt.step.title}', and it can no longer act. It may have acted: "
        "fresh evidence decides."
    )
    return _look(case, Note(Topic.ANSWER, said), now_ns)


def judge(case: Case, event: Tick, now_ns: int) -> Outcome:
    """End the wait for evidence: an alert that stands is a failure, silence is neither."""
    del event
    timing, attempt = case.plan.timing, case.attempt
    if evidence.proven(case.proof, timing.dwell_s, timing.min_samples):
        return (case, ()) if _awaited(case, now_ns) else recover(case, now_ns)
    late = overdue(case, now_ns)
    if late is not None:
        return late
    end_ns = _end_ns(case)
    if now_ns < end_ns:
        return case, ()
    if case.untold:
        return _in_vain(case, "the alert still stands", now_ns)
    if now_ns < end_ns + int(timing.silence_limit_s * NS):
        return case, ()
    case = with_attempt(case, proof=Proof.UNHEARD)
    detail = (
        f"Too little was heard from the machine after '{attempt.step.title}' to tell whether it "
        f"recovered, although {span(timing.silence_limit_s)} more were waited."
    )
    return escalate(case, EscalationReason.DEVICE_UNREACHABLE, detail, now_ns)


def _counts_from_ns(case: Case) -> int:
    attempt = case.attempt
    return (attempt.executed_ns or attempt.sent_ns) + int(attempt.step.settle_s * NS)


def _end_ns(case: Case) -> int:
    return _counts_from_ns(case) + int(case.attempt.step.verify_s * NS)


def _in_vain(case: Case, shows: str, now_ns: int) -> Outcome:
    case = with_attempt(case, proof=Proof.NOT_RECOVERED)
    said = f"'{case.attempt.step.title}' did not help: {shows}."
    said += course.told(case.attempt.course, case.attempt.executed_ns)
    return next_remedy(case, Note(Topic.EVIDENCE, said, case.picture), now_ns)


# Answers.


def answer(case: Case, event: CommandFinished, now_ns: int) -> Outcome:
    """Take the first answer to the present command; any other changes nothing."""
    attempt = case.attempt
    unanswered = attempt.reply in (Reply.WAITING, Reply.NO_ANSWER)
    if event.command_id != attempt.command_id or not unanswered:
        return case, ()
    reply = Reply(event.status)
    case = with_attempt(case, reply=reply, detail=event.reason)
    why = f" ({event.reason})" if event.reason else ""
    if reply in ACTED:
        # Device clocks may be off: never before it was sent, never in the future.
        executed_ns = min(max(event.at_ns, attempt.sent_ns), now_ns)
        case = with_attempt(case, executed_ns=executed_ns)
        how = "was carried out" if reply is Reply.DONE else f"failed{why} but may have acted"
        said = (
            f"'{attempt.step.title}' {how}. Evidence counts from {span(attempt.step.settle_s)} "
            f"after it, for up to {span(attempt.step.verify_s)}."
        )
        return _look(case, Note(Topic.ANSWER, said), now_ns)
    if reply is Reply.UNREACHABLE:
        return _unreachable(case, why, now_ns)
    said = f"'{attempt.step.title}' was not carried out: {reply.value}{why}."
    return next_remedy(case, Note(Topic.ANSWER, said), now_ns)


def _look(case: Case, note: Note, now_ns: int) -> Outcome:
    """Begin, or go on, to verify; a run that began after the remedy had settled counts at once."""
    seen = case.seen
    begun_ns = seen.since_ns if seen.healthy else seen.last_ns
    if begun_ns > _counts_from_ns(case):
        case = structs.replace(case, proof=seen)
    elif case.phase is Phase.FIXING:
        case = structs.replace(case, proof=Streak())
    if case.phase is Phase.VERIFYING:
        return case, (note,)
    return enter(case, Phase.VERIFYING, note, now_ns)


def _unreachable(case: Case, why: str, now_ns: int) -> Outcome:
    """Ask again after a pause, a few times; the command did not act."""
    timing, step = case.plan.timing, case.attempt.step
    asked = sum(a.step == step and a.reply is Reply.UNREACHABLE for a in case.attempts)
    if asked >= timing.unreachable_max:
        detail = f"The device could not be reached for '{step.title}', {asked} times{why}."
        return escalate(case, EscalationReason.DEVICE_UNREACHABLE, detail, now_ns)
    said = f"The device could not be reached{why}; asks again in {span(timing.retry_s)}."
    not_before_ns = now_ns + int(timing.retry_s * NS)
    note = Note(Topic.ANSWER, said)
    return enter(case, Phase.HOLDING, note, now_ns, not_before_ns=not_before_ns)


# The models look again.


def sharpen(case: Case, event: Diagnosed, now_ns: int) -> Outcome:
    """Follow a sharper diagnosis while nothing has been sent; it never buys time."""
    if case.attempts:
        return case, ()
    found, offered = event.diagnosis, event.plan
    believed = structs.replace(case, **structs.asdict(found))
    if found.safety:
        return unsafe(believed, now_ns)
    if case.asked:
        return case, ()
    steps = _left(case, offered.steps)
    if found.fault == case.fault and steps == _left(case, case.plan.steps):
        return structs.replace(believed, plan=case.plan), ()
    if case.sharpened >= SHARPENED_MAX:
        return case, ()
    plan = structs.replace(levels.sharpened(offered, case.plan), steps=steps)
    phase = Phase.OBSERVING if case.phase is Phase.OBSERVING else Phase.HOLDING
    picture = Picture(at_ns=now_ns, deviations=found.deviations)
    return enter(
        believed,
        phase,
        Note(Topic.FAULT, f"Looked again: {found.title}. {outlook(plan)}", picture),
        now_ns,
        plan=plan,
        sharpened=case.sharpened + 1,
        next_step=0,
        step_approved=False,
        plan_approved=False,
        held_by="",
    )


def _left(case: Case, steps: list[Step]) -> list[Step]:
    return [step for step in steps if step.remedy not in (*case.rejected, *case.spent)]


# People.


def approve(case: Case, event: Approved, now_ns: int) -> Outcome:
    """A person's yes ends the observation and stands for this remedy or for the plan."""
    if case.step is None or case.step_approved:
        return case, ()
    whole = case.plan.mode is Mode.APPROVE
    note = Note(Topic.PERSON, f"{event.by} approved '{case.step.title}'.")
    approvals = {"step_approved": True, "plan_approved": whole or case.plan_approved}
    return enter(case, Phase.HOLDING, note, now_ns, **approvals)


def reject(case: Case, event: Rejected, now_ns: int) -> Outcome:
    """A person's no leaves the remedy out, or ends the remote way as a whole."""
    why = f": {event.why}" if event.why else ""
    if event.whole:
        detail = f"{event.by} turned down remote remedies{why}."
        return escalate(case, EscalationReason.CUSTOMER_REQUEST, detail, now_ns)
    if case.step is None:
        return case, ()
    note = Note(Topic.PERSON, f"{event.by} turned down '{case.step.title}'{why}.")
    case = structs.replace(case, rejected=[*case.rejected, case.step.remedy])
    return next_remedy(case, note, now_ns)
