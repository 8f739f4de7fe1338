"""The rules of other systems' alerts: one may open a case and end it, any other is noted in it."""

from msgspec import structs

from cloud.core import evidence, playbook
from cloud.core.events import Alerted, AlertEnded, Note, Topic
from cloud.core.moves import Outcome, enter, in_flight
from cloud.core.playbook import Policy
from cloud.core.states import MAY_HAVE_ACTED, Case, Diagnosis, Phase, Plan
from cloud.core.visits import may_withdraw, withdraw
from cloud.core.wording import moment
from contract.faults import REPORTED, Hypothesis, Severity
from contract.machines import MachineType
from contract.tickets import EscalationReason

ALERTS_MAX = 50
"""So many other alerts are told of in one case."""
TITLE_MAX = 200
TEXT_MAX = 1000


def diagnosis(
    machine: MachineType,
    policy: Policy,
    alert: tuple[str, str, Severity],
    fault: str = "",
) -> Diagnosis:
    """Return what an alert says is wrong.

    Args:
        machine: the machine's type.
        policy: of the service.
        alert: its title, what else it says, and how bad it is.
        fault: a code of the machine type's table, if the alert names one.
    """
    title, detail, severity = alert
    spec = machine.fault(fault)
    said = f"Another system reports: {title}. {detail}".strip()[:TEXT_MAX]
    ranked = [Hypothesis(spec.code if spec else REPORTED, 1.0, [said])]
    found = playbook.diagnosis(machine, ranked, [], [], policy)
    if spec is None:
        return structs.replace(found, title=title[:TITLE_MAX], severity=severity)
    worse = max(spec.severity, severity, key=list(Severity).index)
    return structs.replace(found, severity=worse, safety=spec.safety)


def described(plan: Plan, found: Diagnosis) -> Plan:
    """Return the plan for what only an alert tells of, with the reason for a visit."""
    if found.fault != REPORTED:
        return plan
    detail = found.hypotheses[0].evidence[0]
    return structs.replace(plan, no_remote=EscalationReason.NOT_REMOTABLE, no_remote_detail=detail)


def noted(case: Case, event: Alerted, now_ns: int) -> Outcome:
    """Tell of an alert once; the one that opened the case may come back."""
    del now_ns
    if event.id == case.alert:
        return _again(case, event)
    if event.id in case.alerts or len(case.alerts) >= ALERTS_MAX:
        return case, ()
    note = Note(Topic.FAULT, f"Another system reports: {event.text}")
    return structs.replace(case, alerts=[*case.alerts, event.id]), (note,)


def _again(case: Case, event: Alerted) -> Outcome:
    if event.at_ns <= case.alert_ns or case.recovered_since_ns is None:
        return case, ()
    if case.fault != REPORTED:
        return structs.replace(case, alert_ns=event.at_ns), ()  # telemetry decides
    note = Note(Topic.FAULT, "It is reported again.")
    return structs.replace(case, alert_ns=event.at_ns, recovered_since_ns=None), (note,)


def ended(case: Case, event: AlertEnded, now_ns: int) -> Outcome:
    """The alert that opened the case is over, and so is the case, unless telemetry disagrees."""
    if not case.alert or event.at_ns < case.alert_ns:
        return case, ()
    if evidence.sick(case.seen, now_ns, case.plan.timing.dwell_s):
        return _disagree(case)
    over = f"The alert is over since {moment(event.at_ns)}"
    if case.phase is Phase.DISPATCHED:
        return _dispatched(case, over, event.at_ns, now_ns)
    acted = [a for a in case.attempts if a.reply in MAY_HAVE_ACTED]
    if not acted:
        note = Note(Topic.END, f"{over}; no remedy of this case did it.")
        return enter(case, Phase.SELF_CLEARED, note, now_ns, ended_ns=now_ns)
    said = (
        f"{over}. '{acted[-1].step.title}' may have done it, but that is not certain, so no "
        f"remedy is credited.{in_flight(case)}"
    )
    return enter(case, Phase.RECOVERED, Note(Topic.END, said), now_ns, ended_ns=now_ns)


def _disagree(case: Case) -> Outcome:
    key = f"{case.alert} is over"
    if key in case.alerts or len(case.alerts) >= ALERTS_MAX:
        return case, ()
    said = "The alert is over, but telemetry still shows the fault: telemetry decides."
    note = Note(Topic.EVIDENCE, said)
    return structs.replace(case, alerts=[*case.alerts, key]), (note,)


def _dispatched(case: Case, over: str, at_ns: int, now_ns: int) -> Outcome:
    if may_withdraw(case):
        return withdraw(case, at_ns, now_ns)
    if case.recovered_since_ns is not None:
        return case, ()
    note = Note(Topic.EVIDENCE, f"{over}; the visit stands.")
    return structs.replace(case, recovered_since_ns=at_ns), (note,)
