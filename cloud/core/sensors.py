"""Failing data-quality checks as people read them, and what they change in a diagnosis.

A check blames a sensor, or all that stands between us and the sensors. Where no entry of the fault
table names it, the machine must not be suspected in its place.
"""

import math

from msgspec import structs

from contract.faults import NO_DATA, UNKNOWN, Deviation, Hypothesis
from contract.machines import CheckKind, MachineType
from contract.tickets import FailedCheck
from models.diagnose import CHECK_WEIGHT, NOTABLE_SIGMAS

_BLAMED = math.exp(CHECK_WEIGHT)
"""What a check blames is so many times likelier than a fault that nothing speaks for."""
_WHAT: dict[str, str] = {
    CheckKind.STUCK: "stands still",
    CheckKind.RANGE: "gives no plausible value",
    CheckKind.DRIFTED: "has drifted",
    CheckKind.LOOSE: "jumps as with a loose contact",
    CheckKind.STALE: "repeats old numbers",
}
_HANDS_ON = (CheckKind.DRIFTED, CheckKind.LOOSE)
"""The sensor itself or its wire: no restart of a controller cures that."""


def stale(checks: list[FailedCheck]) -> bool:
    """Tell whether the device as a whole repeats old numbers."""
    return any(c.kind == CheckKind.STALE for c in checks)


def alone(deviations: list[Deviation], checks: list[FailedCheck]) -> bool:
    """Tell whether checks fail and nothing else is notable: then nothing speaks for the machine."""
    if stale(checks):
        return True  # deviations of old numbers say nothing
    blamed = {c.signal for c in checks}
    notable = [d for d in deviations if d.signal not in blamed and d.sigmas >= NOTABLE_SIGMAS]
    return bool(checks) and not notable


def hands_on(checks: list[FailedCheck]) -> bool:
    """Tell whether only a hand at the sensor or its wire can help."""
    return bool(checks) and all(c.kind in _HANDS_ON for c in checks)


def explained(
    machine: MachineType,
    ranked: list[Hypothesis],
    deviations: list[Deviation],
    checks: list[FailedCheck],
) -> list[Hypothesis]:
    """Return the hypotheses with what the checks blame in its place, likeliest first.

    A device that repeats itself is one that sends no data. A sensor that is blamed alone, and by
    no entry of the fault table or earlier case, is an unknown fault that is no machine's.
    """
    weights = {h.fault: h.probability for h in ranked}
    said = [sentence(machine, c) for c in checks]
    found = list(ranked)
    if stale(checks):
        weights[NO_DATA] = _BLAMED * weights.get(UNKNOWN, 0.0)
        found.append(Hypothesis(NO_DATA, 0.0, said))
    elif alone(deviations, checks) and ranked and ranked[0].fault == UNKNOWN:
        weights[UNKNOWN] *= _BLAMED
        found[0] = structs.replace(ranked[0], evidence=[*said, *ranked[0].evidence])
    else:
        return ranked
    total = sum(weights.values())
    found = [structs.replace(h, probability=min(1.0, weights[h.fault] / total)) for h in found]
    return sorted(found, key=lambda h: -h.probability)


def title(machine: MachineType, checks: list[FailedCheck]) -> str:
    """Return a title for a fault that is only the sensors'."""
    if stale(checks):
        return f"The machine {_WHAT[CheckKind.STALE]}"
    return "Sensor fault: " + ", ".join(
        f"{_name(machine, c)} {_WHAT.get(c.kind, 'is wrong')}" for c in checks[:2]
    )


def sentence(machine: MachineType, check: FailedCheck) -> str:
    """Return a check as a sentence."""
    return f"{_name(machine, check)}: {check.detail}."


def _name(machine: MachineType, check: FailedCheck) -> str:
    signal = machine.signal(check.signal)
    return signal.title if signal else check.signal or "The device"
