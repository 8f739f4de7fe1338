"""From a case to the work order: everything a technician needs to solve it in one visit."""

from cloud.core import sensors
from cloud.core.states import Attempt, Case
from cloud.core.wording import foreseen, moment
from contract import tickets
from contract.faults import FIRMWARE_UNCLEAR, NO_DATA, Deviation
from contract.machines import FaultSpec, MachineType
from contract.tickets import Asset, Forecast, Part, Ticket

LIKELY_SHARE = 0.2
"""Parts and skills are listed for the first hypothesis and all that are at least so probable."""

_NO_DATA_ACTION = "Find out why nothing is heard: power, network, edge agent, controller."
_STALE_ACTION = "Find out what plays old numbers again: controller, gateway, edge agent."
_SENSOR_ACTION = "Check the sensor and its wire; the machine itself shows nothing unusual."
_FIRMWARE_ACTION = (
    "Read the running version on site, install the intended one by service cable, and see that it "
    "stays."
)
_UNKNOWN_ACTION = "Inspect the machine: no known fault explains what is seen."


def build(
    case: Case, machine: MachineType, asset: Asset, forecast: Forecast | None = None
) -> Ticket:
    """Write the ticket of an escalated case. The same case always gives the same ticket.

    Raises:
        ValueError: the case has not been escalated; asking for its ticket is a bug.
    """
    facts = case.escalation
    if facts is None or case.visit is None:
        raise ValueError(f"case {case.case_id} has no ticket: it is {case.phase.value}")
    likely = _likely(case, machine)
    return Ticket(
        key=case.visit.key,
        title=f"{asset.title or asset.device}: {case.title}"[:200],
        description=_description(case, machine, likely, forecast),
        severity=case.severity,
        reason=facts.reason,
        reason_detail=facts.detail,
        asset=asset,
        fault=case.fault,
        hypotheses=case.hypotheses,
        first_seen_ns=case.first_opened_ns or case.opened_ns,
        seen=case.deviations,
        tried=[_tried(attempt) for attempt in [*case.earlier, *case.attempts]],
        parts=_parts(likely),
        skills=_unique([skill for spec in likely for skill in spec.skills]),
        safety_notes=_unique([note for spec in likely for note in spec.safety_notes]),
        opened_ns=facts.at_ns,
        due_ns=case.plan.due_ns,
        forecast=forecast,
        service_level=case.plan.service_level,
    )


def _likely(case: Case, machine: MachineType) -> list[FaultSpec]:
    named = [
        machine.fault(h.fault)
        for i, h in enumerate(case.hypotheses)
        if i == 0 or h.probability >= LIKELY_SHARE
    ]
    # A dangerous hypothesis that made the case unsafe comes first, whatever its rank.
    return sorted([spec for spec in named if spec], key=lambda spec: not spec.safety)


def _tried(attempt: Attempt) -> tickets.Attempt:
    return tickets.Attempt(
        remedy=attempt.step.remedy,
        title=attempt.step.title,
        at_ns=attempt.sent_ns,
        result=attempt.result,
        detail=attempt.detail,
    )


def _parts(likely: list[FaultSpec]) -> list[Part]:
    found: dict[str, Part] = {}
    for part in [part for spec in likely for part in spec.parts]:
        known = found.get(part.number)
        if known is None or known.quantity < part.quantity:
            found[part.number] = part
    return list(found.values())


def _unique(items: list[str]) -> list[str]:
    return list(dict.fromkeys(items))


def _description(
    case: Case, machine: MachineType, likely: list[FaultSpec], forecast: Forecast | None
) -> str:
    first_seen, due = moment(case.opened_ns), moment(case.plan.due_ns)
    paragraphs = [
        f"{case.title}. First seen {first_seen}, to be running again by {due}.",
        _returned(case),
        case.plan.service_level,
        f"Why a visit: {case.escalation.detail}" if case.escalation else "",
        foreseen(forecast) if forecast else "",
        _lines(
            "What is seen:",
            [sensors.sentence(machine, c) for c in case.checks]
            + [_seen(d, machine) for d in case.deviations],
        ),
        _lines("Tried remotely:", [_told(attempt) for attempt in case.attempts])
        or "Nothing was tried remotely.",
        _lines("Tried before the fault came back:", [_told(a) for a in case.earlier]),
        _lines("Likely causes:", _causes(case, machine)),
        _lines("What to do:", [f"{s.title}: {s.action}" for s in likely] or [_action(case)]),
    ]
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph)


def _returned(case: Case) -> str:
    """Say that the fault is an old one, so that nobody repairs it as before."""
    if not case.reopened:
        return ""
    times = "once" if case.reopened == 1 else f"{case.reopened} times"
    return (
        f"The same fault was seen first on {moment(case.first_opened_ns)}, ended well and has come "
        f"back {times}: what was done then did not last."
    )


def _lines(heading: str, items: list[str]) -> str:
    return "\n".join([heading, *(f"- {item}" for item in items)]) if items else ""


def _seen(d: Deviation, machine: MachineType) -> str:
    signal = machine.signal(d.signal)
    title, unit = (signal.title, f" {signal.unit}") if signal else (d.signal, "")
    said = f"{title} is {d.direction.value} what is expected ({d.sigmas:.1f} sigmas)"
    if d.value is None:
        return said
    expected = "" if d.expected is None else f", expected {d.expected:.4g}{unit}"
    return f"{said}: {d.value:.4g}{unit}{expected}"


def _told(attempt: Attempt) -> str:
    result = attempt.result.replace("_", " ")
    why = f" ({attempt.detail})" if attempt.detail else ""
    return f"{attempt.step.title}, {moment(attempt.sent_ns)}: {result}{why}"


def _causes(case: Case, machine: MachineType) -> list[str]:
    named = []
    for h in case.hypotheses:
        spec = machine.fault(h.fault)
        title = spec.title if spec else _outside(case, h.fault)
        evidence = f": {' '.join(h.evidence)}" if h.evidence else ""
        named.append(f"{title}, {h.probability:.0%}{evidence}")
    return named


def _outside(case: Case, code: str) -> str:
    """Name what the fault table does not have."""
    return case.title if code == case.fault else code.replace("_", " ")


def _action(case: Case) -> str:
    if case.fault == NO_DATA:
        return _STALE_ACTION if sensors.stale(case.checks) else _NO_DATA_ACTION
    if case.fault == FIRMWARE_UNCLEAR:
        return _FIRMWARE_ACTION
    return _SENSOR_ACTION if sensors.alone(case.deviations, case.checks) else _UNKNOWN_ACTION
