"""What people wish beyond yes and no: this remedy next, or the promise's clock to stand still."""

from collections.abc import Callable

from msgspec import structs

from cloud.core import levels, playbook
from cloud.core.events import Event, Note, PauseAsked, ResumeAsked, Tick, Topic, TryAsked
from cloud.core.evidence import NS
from cloud.core.limits import DAY_S
from cloud.core.moves import PAUSED, Outcome, enter
from cloud.core.states import REMOTE, Case, Phase, Step
from cloud.core.wording import moment
from contract.faults import FIRMWARE_UNCLEAR, UNKNOWN
from contract.machines import MachineType

PAUSE_MAX_NS = int(30 * DAY_S) * NS
"""For so long at most the clock stands still at a time."""
STEPS_MAX = 30
"""Remedies in one plan, those that people asked for among them."""


def offered(case: Case, machine: MachineType) -> list[Step]:
    """Return the remedies that a person may have tried next, each with what it would cure.

    Of an update that ended unclear no reading tells whether a remedy has helped: none is offered.
    """
    if case.safety or case.phase not in REMOTE or case.phase is Phase.FIXING:
        return []
    if case.fault == FIRMWARE_UNCLEAR:
        return []
    ranked = [case.fault, *(h.fault for h in case.hypotheses)]
    found = []
    for remedy in machine.remedies:
        cures = [spec.code for spec in machine.faults if remedy.name in spec.remedies]
        fault = next((code for code in ranked if code in cures), UNKNOWN)
        found.append(playbook.step_for(machine, remedy.name, fault))
    return found


def try_next(case: Case, event: TryAsked, now_ns: int) -> Outcome:
    """A person wants a remedy tried next and thereby agrees; the limits still hold."""
    step, steps = event.step, case.plan.steps
    at = case.next_step + (case.phase is Phase.VERIFYING)
    if case.safety or at >= STEPS_MAX or (case.asked and case.asked == step.remedy):
        return case, ()
    later = [other for other in steps[at:] if other.remedy != step.remedy]
    plan = structs.replace(case.plan, steps=[*steps[:at], step, *later][:STEPS_MAX])
    note = Note(Topic.PERSON, f"{event.by} wants '{step.title}' tried next.")
    return enter(
        case,
        Phase.HOLDING,
        note,
        now_ns,
        plan=plan,
        next_step=at,
        step_approved=True,
        asked=step.remedy,
        rejected=[name for name in case.rejected if name != step.remedy],
        held_by="",
    )


def pause(case: Case, event: PauseAsked, now_ns: int) -> Outcome:
    """The customer asked to wait: until then nothing is sent and no deadline comes nearer."""
    ahead = now_ns < event.until_ns <= now_ns + PAUSE_MAX_NS
    if case.paused_ns is not None or not ahead:
        return case, ()
    why = f": {event.why}" if event.why else ""
    said = f"{event.by} stopped the clock of the promise until {moment(event.until_ns)}{why}."
    paused = structs.replace(case, paused_ns=now_ns, paused_until_ns=event.until_ns)
    return paused, (Note(Topic.PERSON, said),)


def resume(case: Case, event: ResumeAsked, now_ns: int) -> Outcome:
    """The wait is over: the deadlines move by the service time that has passed."""
    if case.paused_ns is None:
        return case, ()
    return _running(case, f"{event.by} let the clock run again", now_ns)


def awake(handle: Callable[[Case, Tick, int], Outcome]) -> Callable[[Case, Tick, int], Outcome]:
    """Let the clock run again when the wait that was asked for is over; then let time pass."""

    def handled(case: Case, event: Tick, now_ns: int) -> Outcome:
        until_ns = case.paused_until_ns
        if case.paused_ns is None or until_ns is None or now_ns < until_ns:
            return handle(case, event, now_ns)
        case, resumed = _running(case, "The wait is over and the clock runs again", until_ns)
        moved, effects = handle(case, event, now_ns)
        return moved, (*resumed, *effects)

    return handled


def stand(case: Case, event: Event, now_ns: int) -> Outcome:
    """Time alone changes nothing about a visit."""
    del event, now_ns
    return case, ()


def _running(case: Case, said: str, at_ns: int) -> Outcome:
    plan = case.plan if case.paused_ns is None else levels.moved(case.plan, case.paused_ns, at_ns)
    held_by = "" if case.held_by == PAUSED else case.held_by
    changed = structs.replace(
        case, plan=plan, paused_ns=None, paused_until_ns=None, held_by=held_by
    )
    note = Note(Topic.PERSON, f"{said}; the machine must run again by {moment(plan.due_ns)}.")
    return changed, (note,)
