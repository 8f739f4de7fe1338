"""The life of a case, from fault to closed: one pure function, `step`, driven by one table.

House rules of the core:

- A function of (case, event, now) returns the case after it and what must be done about it. It
  never waits, reads a clock or performs anything; the shell saves case and effects in one
  transaction, performs the effects, and feeds back what happened.
- ``TABLE`` says which event means something in which phase, which rule handles it and where the
  rule may lead. An event that is not in the table changes nothing; that is decided in `step` and
  nowhere else. A rule that leads elsewhere than the table says is a bug and fails at once.
- Every way ends: recovered, cleared by itself, dismissed, or with a ticket; one is open at a time.
- Recovery needs positive evidence, measured after the remedy, for a dwell time. Silence is
  neither failure nor success. An old answer or old evidence changes nothing.

This module is the door to all of it: the words come from `cloud.core.states`, the rules from
`cloud.core.rules` and `cloud.core.moves`. The diagram in the documentation is drawn from the table.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeVar

import msgspec

from cloud.core import alerts, levels, returns, rules, visits, wishes
from cloud.core.course import Course, Picture
from cloud.core.events import (
    Alerted,
    AlertEnded,
    Announce,
    Approved,
    CommandFinished,
    Diagnosed,
    Dismissed,
    Effect,
    EscalationAsked,
    Event,
    Evidence,
    Note,
    OpenTicket,
    PauseAsked,
    Rejected,
    ReportReceived,
    ResumeAsked,
    SaveLabel,
    SendCommand,
    Tick,
    Topic,
    TryAsked,
    VisitUpdated,
)
from cloud.core.evidence import NS
from cloud.core.moves import Outcome, outlook, unsafe
from cloud.core.states import (
    REMOTE,
    TERMINAL,
    Attempt,
    Case,
    Diagnosis,
    Mode,
    Phase,
    Plan,
    Step,
    Timing,
)
from cloud.core.wording import span
from contract.errors import Malformed

__all__ = [
    "REMOTE",
    "TABLE",
    "TERMINAL",
    "AlertEnded",
    "Alerted",
    "Announce",
    "Approved",
    "Attempt",
    "Case",
    "CommandFinished",
    "Course",
    "Diagnosed",
    "Diagnosis",
    "Dismissed",
    "Effect",
    "EscalationAsked",
    "Event",
    "Evidence",
    "Mode",
    "Note",
    "OpenTicket",
    "PauseAsked",
    "Phase",
    "Picture",
    "Plan",
    "Rejected",
    "ReportReceived",
    "ResumeAsked",
    "Rule",
    "SaveLabel",
    "SendCommand",
    "Step",
    "Tick",
    "Timing",
    "Topic",
    "TryAsked",
    "VisitUpdated",
    "decode_case",
    "decode_event",
    "encode_case",
    "encode_event",
    "open_case",
    "reopen",
    "step",
]

E = TypeVar("E", bound=Event)


@dataclass(frozen=True, slots=True)
class Rule:
    """A handler, and the phases besides the present one that it may lead to."""

    handle: Callable[[Case, Event, int], Outcome]
    to: frozenset[Phase]


def _on(
    kind: type[E], handler: Callable[[Case, E, int], Outcome], *to: Phase
) -> tuple[type[msgspec.Struct], Rule]:
    def handle(case: Case, event: Event, now_ns: int) -> Outcome:
        if not isinstance(event, kind):
            raise TypeError(f"the table hands a {type(event).__name__} to a rule for {kind}")
        return handler(case, event, now_ns)

    return kind, Rule(handle, frozenset(to))


P = Phase
_OPEN = (
    _on(PauseAsked, wishes.pause),
    _on(ResumeAsked, wishes.resume),
    _on(Alerted, alerts.noted),
)
"""What means the same as long as anything can happen."""
_REMOTE = (
    *_OPEN,
    _on(EscalationAsked, visits.ask_visit, P.DISPATCHED),
    _on(Dismissed, visits.dismiss, P.DISMISSED),
    _on(AlertEnded, alerts.ended, P.SELF_CLEARED, P.RECOVERED),
)
"""What means the same in every phase before dispatch."""
_TRY = _on(TryAsked, wishes.try_next, P.HOLDING)


def _time(
    handler: Callable[[Case, Tick, int], Outcome], *to: Phase
) -> tuple[type[msgspec.Struct], Rule]:
    return _on(Tick, wishes.awake(handler), *to)


TABLE: Mapping[Phase, Mapping[type[msgspec.Struct], Rule]] = MappingProxyType(
    {
        P.OBSERVING: dict(
            [
                _on(Evidence, rules.watch, P.SELF_CLEARED),
                _on(Diagnosed, rules.sharpen, P.DISPATCHED),
                _time(rules.observed, P.AWAITING_APPROVAL, P.HOLDING, P.FIXING, P.DISPATCHED),
                _on(Approved, rules.approve, P.HOLDING),
                _on(Rejected, rules.reject, P.DISPATCHED),
                _TRY,
                *_REMOTE,
            ]
        ),
        P.AWAITING_APPROVAL: dict(
            [
                _on(Evidence, rules.watch, P.SELF_CLEARED, P.RECOVERED),
                _on(Diagnosed, rules.sharpen, P.HOLDING, P.DISPATCHED),
                _time(rules.wait, P.DISPATCHED),
                _on(Approved, rules.approve, P.HOLDING),
                _on(Rejected, rules.reject, P.HOLDING, P.DISPATCHED),
                _TRY,
                *_REMOTE,
            ]
        ),
        P.HOLDING: dict(
            [
                _on(Evidence, rules.watch, P.SELF_CLEARED, P.RECOVERED),
                _on(Diagnosed, rules.sharpen, P.DISPATCHED),
                _time(rules.release, P.AWAITING_APPROVAL, P.FIXING, P.DISPATCHED),
                _on(Approved, rules.approve),
                _on(Rejected, rules.reject, P.DISPATCHED),
                _TRY,
                *_REMOTE,
            ]
        ),
        P.FIXING: dict(
            [
                _on(Evidence, rules.keep),
                _on(CommandFinished, rules.answer, P.VERIFYING, P.HOLDING, P.DISPATCHED),
                _time(rules.expire, P.VERIFYING, P.DISPATCHED),
                *_REMOTE,
            ]
        ),
        P.VERIFYING: dict(
            [
                _on(Evidence, rules.verify, P.RECOVERED, P.SELF_CLEARED, P.HOLDING),
                _on(CommandFinished, rules.answer, P.HOLDING, P.DISPATCHED),
                _time(rules.judge, P.RECOVERED, P.SELF_CLEARED, P.HOLDING, P.DISPATCHED),
                _TRY,
                *_REMOTE,
            ]
        ),
        P.DISPATCHED: dict(
            [
                _on(Evidence, visits.follow, P.WITHDRAWN),
                _time(wishes.stand),
                _on(VisitUpdated, visits.hear, P.WITHDRAWN),
                _on(ReportReceived, visits.close, P.CLOSED),
                _on(EscalationAsked, visits.ask_again),
                _on(Dismissed, visits.dismiss_cancelled, P.DISMISSED),
                _on(AlertEnded, alerts.ended, P.WITHDRAWN),
                *_OPEN,
            ]
        ),
        **{phase: {} for phase in TERMINAL},
    }
)
"""Every event that means something in a phase. Escalation comes from any phase before dispatch."""


def open_case(
    *,
    case_id: str,
    device: str,
    site: str,
    machine_type: str,
    diagnosis: Diagnosis,
    plan: Plan,
    now_ns: int,
    alert: str = "",
    alert_ns: int = 0,
) -> Outcome:
    """Begin a case: observe the machine, or send a person at once if it is dangerous.

    Args:
        case_id: must be new.
        device: the machine.
        site: where it is.
        machine_type: what it is.
        diagnosis: what is believed to be wrong.
        plan: what to try about it.
        now_ns: plant time.
        alert: id of another system's alert, if that is why.
        alert_ns: when that alert began.
    """
    case = Case(
        case_id=case_id,
        device=device,
        site=site,
        machine_type=machine_type,
        phase=Phase.OBSERVING,
        opened_ns=now_ns,
        entered_ns=now_ns,
        plan=plan,
        alert=alert,
        alert_ns=alert_ns,
        **msgspec.structs.asdict(diagnosis),
    )
    who = "Reported by another system" if alert else "Fault detected"
    return _begun(case, f"{who}: {case.title} (severity {case.severity.value}).", now_ns)


def reopen(
    case: Case,
    diagnosis: Diagnosis,
    plan: Plan,
    now_ns: int,
    *,
    alert: str = "",
    alert_ns: int = 0,
) -> Outcome:
    """Begin an ended case anew, because its fault is back (see `cloud.core.returns.of`).

    Whatever it was credited with did not last: it is not tried again.
    """
    ago = span((now_ns - (case.ended_ns or case.opened_ns)) / NS)
    back = returns.again(case, diagnosis, plan, now_ns)
    back = msgspec.structs.replace(back, alert=alert, alert_ns=alert_ns)
    said = f"The fault is back {ago} after the case had ended ({case.phase.value}): {back.title}."
    return _begun(back, said, now_ns)


def _begun(case: Case, said: str, now_ns: int) -> Outcome:
    announce = Announce(key=f"{case.case_id}/announce/{case.changes}")
    seen = Picture(at_ns=now_ns, deviations=case.deviations)
    if case.safety:
        moved, effects = unsafe(case, now_ns)
        return moved, (announce, Note(Topic.FAULT, said, seen), *effects)
    return case, (announce, Note(Topic.FAULT, f"{said} {outlook(case.plan)}", seen))


def step(case: Case, event: Event, now_ns: int) -> Outcome:
    """Return the case after the event, and what must be done about it."""
    rule = TABLE[case.phase].get(type(event))
    if rule is None:
        return case, ()  # late, repeated or out of place: nothing changes
    moved, effects = rule.handle(case, event, now_ns)
    if moved.phase is not case.phase and moved.phase not in rule.to:
        raise AssertionError(
            f"{type(event).__name__} led {case.case_id} from {case.phase} to {moved.phase}, "
            "which the table does not declare"
        )
    return levels.decided(case, moved, event, now_ns), effects


_case_decoder = msgspec.json.Decoder(Case)
_event_decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)


def encode_case(case: Case) -> bytes:
    """Return the case as JSON, for the store."""
    return msgspec.json.encode(case)


def decode_case(data: bytes) -> Case:
    """Read a stored case back.

    Raises:
        Malformed: not written by `encode_case` of a compatible version.
    """
    try:
        return _case_decoder.decode(data)
    except msgspec.DecodeError as error:
        raise Malformed(f"stored case cannot be read: {error}") from error


def encode_event(event: Event) -> bytes:
    """Return the event as JSON with its type."""
    return msgspec.json.encode(event)


def decode_event(data: bytes) -> Event:
    """Read an event back.

    Raises:
        Malformed: not written by `encode_event` of a compatible version.
    """
    try:
        return _event_decoder.decode(data)
    except msgspec.DecodeError as error:
        raise Malformed(f"stored event cannot be read: {error}") from error
