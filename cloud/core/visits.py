"""The rules of a visit: ordered, told by dispatch, called off, cancelled, and closed by a report.

Dispatch's words come late, twice and in any order: an id makes each act once, and the time at the
dispatch system says which is newer. The gateway calls a visit off only while nobody has left.
"""

from msgspec import structs

from cloud.core import evidence
from cloud.core.events import (
    Dismissed,
    EscalationAsked,
    Evidence,
    Note,
    ReportReceived,
    Topic,
    VisitUpdated,
)
from cloud.core.evidence import NS
from cloud.core.moves import Outcome, enter, escalate, in_flight, label
from cloud.core.rules import see
from cloud.core.states import Case, Phase, Visit
from cloud.core.wording import moment
from contract.faults import REPORTED
from contract.tickets import EscalationReason, Finding, VisitState, VisitUpdate

LEFT = (VisitState.ON_THE_WAY, VisitState.ON_SITE, VisitState.DONE)
FINAL = (VisitState.DONE, VisitState.CANCELLED, VisitState.WITHDRAWN)
LOOK_ANYWAY = (EscalationReason.UNSAFE, EscalationReason.CUSTOMER_REQUEST)
"""For these reasons a person looks at the machine even if it is well again."""
SEEN_MAX = 50
WORDS_MAX = 500
"""About one visit; more than that is no dispatch but a loop."""
TICKETS_MAX = 20
"""Of one case."""

_STATES = list(VisitState)


# People order and end visits.


def ask_visit(case: Case, event: EscalationAsked, now_ns: int) -> Outcome:
    """A person wants a visit, and gets it."""
    why = f": {event.why}" if event.why else ""
    detail = f"{event.by} asked for a visit{why}."
    return escalate(case, EscalationReason.CUSTOMER_REQUEST, detail, now_ns)


def ask_again(case: Case, event: EscalationAsked, now_ns: int) -> Outcome:
    """A person wants another visit instead of one that dispatch has cancelled."""
    visit, first = case.visit, case.escalation
    if visit is None or first is None or visit.state is not VisitState.CANCELLED:
        return case, ()
    if case.tickets >= TICKETS_MAX:
        return case, ()
    why = f": {event.why}" if event.why else ""
    again = f"{event.by} ordered another visit, as dispatch had cancelled {visit.key}{why}."
    return escalate(case, first.reason, f"{again} {first.detail}", now_ns)


def dismiss(case: Case, event: Dismissed, now_ns: int) -> Outcome:
    """A wrong alarm ends the case and teaches the models."""
    why = f": {event.why}" if event.why else ""
    note = Note(Topic.PERSON, f"{event.by} called it a wrong alarm{why}.{in_flight(case)}")
    moved, effects = enter(case, Phase.DISMISSED, note, now_ns, ended_ns=now_ns)
    return moved, (*effects, label(case, Finding.NO_FAULT_FOUND, now_ns, "dismissed"))


def dismiss_cancelled(case: Case, event: Dismissed, now_ns: int) -> Outcome:
    """A wrong alarm ends a dispatched case only when nobody comes any more."""
    if case.visit is None or case.visit.state is not VisitState.CANCELLED:
        return case, ()
    return dismiss(case, event, now_ns)


def close(case: Case, event: ReportReceived, now_ns: int) -> Outcome:
    """The technician's word closes the case and becomes a label, however the visit stood."""
    report, visit = event.report, case.visit
    who = report.technician or "The technician"
    state = "resolved" if report.resolved else "not resolved"
    note = Note(Topic.END, f"{who} reported {report.finding}, {state}. {report.notes}".strip())
    if visit is not None and visit.state not in FINAL:
        visit = structs.replace(visit, state=VisitState.DONE, left=True)
    moved, effects = enter(
        case, Phase.CLOSED, note, now_ns, ended_ns=now_ns, report=report, visit=visit
    )
    to_ns = case.recovered_since_ns or now_ns
    return moved, (*effects, label(moved, report.finding, to_ns, "closing_report"))


# The machine meanwhile.


def follow(case: Case, event: Evidence, now_ns: int) -> Outcome:
    """A visit is ordered: say what the machine does meanwhile, and call it off in time."""
    case, fresh = see(case, event, now_ns)
    if not fresh:
        return case, ()
    if _stays_well(case) and may_withdraw(case):
        return withdraw(case, case.seen.since_ns, now_ns)
    timing = case.plan.timing
    well = evidence.proven(case.seen, timing.dwell_s, timing.min_samples)
    if well == (case.recovered_since_ns is not None):
        return case, ()
    if well:
        since_ns = case.seen.since_ns
        off_ns = since_ns + int(timing.withdraw_dwell_s * NS)
        off = f"if that lasts until {moment(off_ns)}, the visit is called off"
        tail = off if may_withdraw(case) else "the visit stands"
        said = f"The machine has been healthy since {moment(since_ns)}; {tail}."
    elif case.seen.healthy:
        return case, ()  # a gap in the run is no relapse
    else:
        since_ns, said = None, "The machine shows the fault again."
    return structs.replace(case, recovered_since_ns=since_ns), (Note(Topic.EVIDENCE, said),)


def _stays_well(case: Case) -> bool:
    timing = case.plan.timing
    return evidence.proven(case.seen, timing.withdraw_dwell_s, timing.min_samples)


def may_withdraw(case: Case) -> bool:
    """Tell whether a visit may be called off: nobody has left, and nobody must look anyway."""
    visit, facts = case.visit, case.escalation
    if visit is None or facts is None or case.safety or facts.reason in LOOK_ANYWAY:
        return False
    return visit.state is VisitState.CANCELLED or not visit.left


def withdraw(case: Case, since_ns: int, now_ns: int) -> Outcome:
    """End the case: the machine is well and nobody needs to come."""
    visit = case.visit
    healthy = f"The machine has been well since {moment(since_ns)}"
    if visit is not None and visit.state is not VisitState.CANCELLED:
        visit = structs.replace(visit, state=VisitState.WITHDRAWN, at_ns=now_ns)
        said = f"{healthy} and nobody had left: the visit is called off."
    else:
        said = f"{healthy}, and its visit had been cancelled: nothing is left to do."
    return enter(
        case,
        Phase.WITHDRAWN,
        Note(Topic.END, said, case.picture),
        now_ns,
        ended_ns=now_ns,
        recovered_since_ns=since_ns,
        visit=visit,
    )


# What dispatch says.


def hear(case: Case, event: VisitUpdated, now_ns: int) -> Outcome:
    """Take dispatch's word; an older one never undoes a newer one, and what is final stays."""
    visit, word = case.visit, event.update
    if visit is None or word.id in visit.seen or word.state is VisitState.WITHDRAWN:
        return case, ()
    if visit.words >= WORDS_MAX or contradicts(visit, word):
        return case, ()
    known = structs.replace(
        visit,
        seen=[*visit.seen, word.id][-SEEN_MAX:],
        words=visit.words + 1,
        left=visit.left or word.state in LEFT,
    )
    if _older(visit, word):
        said = f"Dispatch said late: {_told(known, word)} ({moment(word.at_ns)})."
        return structs.replace(case, visit=known), (Note(Topic.TICKET, said),)
    changed = structs.replace(
        known,
        state=word.state,
        at_ns=word.at_ns,
        expected_ns=visit.expected_ns if word.expected_ns is None else word.expected_ns,
        technician=word.technician or visit.technician,
    )
    if _same(visit, changed) and not word.note:
        return structs.replace(case, visit=changed), ()
    moved = structs.replace(case, visit=changed)
    remark = f" {word.note}" if word.note else ""
    note = Note(Topic.TICKET, f"Dispatch: {_told(changed, word)}.{remark}")
    return _settled(moved, note, now_ns)


def _settled(case: Case, note: Note, now_ns: int) -> Outcome:
    """Let a visit that was cancelled end the case, if the machine is well by now."""
    visit, since_ns = case.visit, case.recovered_since_ns
    if visit is None or visit.state is not VisitState.CANCELLED or since_ns is None:
        return case, (note,)
    fresh = evidence.promising(case.seen, now_ns, case.plan.timing.dwell_s)
    well = case.fault == REPORTED or (fresh and _stays_well(case))
    if not well or not may_withdraw(case):
        return case, (note,)
    ended, effects = withdraw(case, since_ns, now_ns)
    return ended, (note, *effects)


def contradicts(visit: Visit, word: VisitUpdate) -> bool:
    """Tell whether a newer word would change a visit that is over."""
    return visit.state in FINAL and word.state is not visit.state and not _older(visit, word)


def _older(visit: Visit, word: VisitUpdate) -> bool:
    if not visit.words:
        return False  # what the gateway's own clock says is no measure for theirs
    rank = _STATES.index
    return (word.at_ns, rank(word.state)) < (visit.at_ns, rank(visit.state))


def _same(visit: Visit, changed: Visit) -> bool:
    return (visit.state, visit.expected_ns, visit.technician) == (
        changed.state,
        changed.expected_ns,
        changed.technician,
    )


def _told(visit: Visit, word: VisitUpdate) -> str:
    who = word.technician or visit.technician or "a technician"
    expected = f", expected {moment(visit.expected_ns)}" if visit.expected_ns else ""
    return {
        VisitState.ORDERED: "the visit is on its list",
        VisitState.ACCEPTED: f"the visit is accepted{expected}",
        VisitState.SCHEDULED: f"the visit is planned for {who}{expected}",
        VisitState.ON_THE_WAY: f"{who} is on the way{expected}",
        VisitState.ON_SITE: f"{who} is at the machine",
        VisitState.DONE: "the visit is done; the case waits for the closing report",
        VisitState.CANCELLED: (
            "the visit is cancelled; a person must decide whether to order another one"
        ),
        VisitState.WITHDRAWN: "the visit was called off",
    }[word.state]


def refusal(case: Case, key: str, word: VisitUpdate) -> str:
    """Say why a word about a ticket cannot be taken; empty: it can, or was, or is no news."""
    visit = case.visit
    if word.state is VisitState.WITHDRAWN:
        return "only the gateway withdraws a visit; if nobody comes, say that it is cancelled"
    if visit is not None and visit.key == key and word.id in visit.seen:
        return ""
    if not case.open or visit is None or visit.key != key:
        reported = case.phase is Phase.CLOSED and visit is not None and visit.key == key
        done = reported or word.state in (VisitState.CANCELLED, VisitState.DONE)
        over = "withdrawn" if case.phase is Phase.WITHDRAWN else "over"
        recall = f"ticket {key} is {over}: nobody is needed there any more, call them back"
        return "" if done else recall
    if visit.words >= WORDS_MAX:
        return f"more than {WORDS_MAX} updates came for ticket {key}; the report still closes it"
    if contradicts(visit, word):
        return f"the visit of ticket {key} is {visit.state.value}, and that is final"
    return ""


def case_of(key: str) -> str:
    """Return the case of a ticket: further visits of it have ``~2`` and so on behind."""
    return key.partition("~")[0]


def number(key: str) -> int:
    """Return which ticket of its case a key is, from 1; 0: it is no key."""
    _, again, text = key.partition("~")
    if not again:
        return 1
    whole = text.isascii() and text.isdigit() and len(text) < 4 and text[0] != "0"
    return int(text) if whole and text != "1" else 0
