"""Which fault explains what is seen: the machine type's fault table against the deviations.

Every entry of the table predicts how each response deviates; so does "unknown", which predicts
nothing in particular. Bayes' rule with equal priors ranks them. Deviations enter saturated, so the
pattern counts and not its size, and no single signal may decide alone.
"""

import math

from contract.faults import UNKNOWN, Deviation, Direction, Hypothesis
from contract.machines import CheckKind, FaultSpec, MachineType, Role, Symptom
from models.checks import CheckResult

SATURATION_SIGMAS = 6.0
"""About the alarm level: below it a deviation counts in proportion, far above it as full."""
NOTABLE_SIGMAS = 3.0
"""From here on a deviation is named as evidence."""
MAX_SIGMAS = 1000.0
"""Beyond this, more makes no difference."""
_TOLERANCE = 0.35
"""Standard deviation of a saturated deviation around what a fault predicts."""
_SURPRISE = 0.05
"""Density that a symptom keeps wherever it is seen: no table is perfect."""
_ANYTHING = 0.5
"""Density of a saturated deviation that nothing is known of: even between -1 and 1."""
_SIDE_EFFECT = 0.75
"""Chance that a response which a fault's entry does not name deviates all the same, a little. A
side effect as large as the fault's largest symptom has half of it, a much larger one none."""
_CHECK_WEIGHT = math.log(1000.0)
"""A failing check that names the fault is worth a thousand to one."""


def rank(
    machine: MachineType, deviations: list[Deviation], checks: list[CheckResult]
) -> list[Hypothesis]:
    """Rank the faults of the table, and ``unknown``, by how well they explain what is seen.

    Args:
        machine: whose fault table to use.
        deviations: as the monitor gave them; responses it could not judge are not in it.
        checks: the data-quality checks that fail.

    Returns:
        Every fault and ``unknown``, likeliest first; the probabilities sum to 1.
    """
    seen = _signed(machine, deviations, checks)
    scores = {f.code: _fault_score(f, seen, checks) for f in machine.faults}
    scores[UNKNOWN] = len(seen) * math.log(_ANYTHING)
    top = max(scores.values())
    weights = {code: math.exp(value - top) for code, value in scores.items()}
    total = sum(weights.values())
    sigmas = {d.signal: d for d in deviations}
    evidence = {f.code: _evidence(machine, f, sigmas, checks) for f in machine.faults}
    evidence[UNKNOWN] = _unknown_evidence(machine, deviations)
    order = sorted(weights, key=lambda code: (-weights[code], code))
    return [Hypothesis(code, min(1.0, weights[code] / total), evidence[code]) for code in order]


def _signed(
    machine: MachineType, deviations: list[Deviation], checks: list[CheckResult]
) -> dict[str, float]:
    """Return signed deviations of the responses whose sensors are not to blame."""
    blamed = {c.signal for c in checks}
    known = {s.name for s in machine.with_role(Role.RESPONSE)} - blamed
    return {
        d.signal: min(d.sigmas, MAX_SIGMAS) * _sign(d.direction)
        for d in deviations
        if d.signal in known and math.isfinite(d.sigmas)
    }


def _sign(direction: Direction) -> float:
    return 1.0 if direction is Direction.ABOVE else -1.0


def _fault_score(fault: FaultSpec, seen: dict[str, float], checks: list[CheckResult]) -> float:
    """Return the log likelihood of what is seen under one fault.

    A symptom is expected about as far out as the largest deviation, and counts by its weight as
    that many observations.
    """
    size = math.tanh(max(map(abs, seen.values()), default=0.0) / SATURATION_SIGMAS)
    symptoms = {s.signal: s for s in fault.symptoms if s.signal in seen}
    largest = max((abs(seen[name]) for name in symptoms), default=0.0)
    total = 0.0
    for name, sigmas in seen.items():
        share = math.tanh(sigmas / SATURATION_SIGMAS)
        symptom = symptoms.get(name)
        if symptom is None:
            ratio = abs(sigmas) / max(largest, NOTABLE_SIGMAS)
            chance = _SIDE_EFFECT / (1 + ratio**4)
            total += math.log((1 - chance) * _bell(share) + chance * _ANYTHING)
        else:
            fit = _bell(share - size * _sign(symptom.direction))
            ratio = (_SURPRISE + (1 - _SURPRISE) * fit) / _ANYTHING
            total += math.log(_ANYTHING) + symptom.weight * math.log(ratio)
    if fault.check is not None:
        failing = {(c.kind, c.signal) for c in checks}
        hit = (fault.check.kind, fault.check.signal) in failing
        total += _CHECK_WEIGHT if hit else -_CHECK_WEIGHT
    return total


def _bell(error: float) -> float:
    spread = _TOLERANCE * math.sqrt(2 * math.pi)
    return math.exp(-0.5 * (error / _TOLERANCE) ** 2) / spread


def _title(machine: MachineType, signal: str) -> str:
    found = machine.signal(signal)
    return found.title if found else signal


def _evidence(
    machine: MachineType,
    fault: FaultSpec,
    seen: dict[str, Deviation],
    checks: list[CheckResult],
) -> list[str]:
    """Return sentences for and against one fault, for people."""
    lines = _check_evidence(machine, fault, checks)
    blamed = {c.signal for c in checks}
    lines += [
        _symptom_evidence(machine, fault, s, seen.get(s.signal))
        for s in sorted(fault.symptoms, key=lambda s: -s.weight)
        if s.signal not in blamed
    ]
    predicted = {s.signal for s in fault.symptoms} | blamed
    lines += [
        f"{_size(machine, d)}, which {fault.title} does not explain."
        for d in seen.values()
        if d.signal not in predicted and d.sigmas >= 2 * NOTABLE_SIGMAS
    ]
    return lines


def _check_evidence(machine: MachineType, fault: FaultSpec, checks: list[CheckResult]) -> list[str]:
    if fault.check is None:
        return []
    title = _title(machine, fault.check.signal)
    for c in checks:
        if (c.kind, c.signal) == (fault.check.kind, fault.check.signal):
            return [f"{title}: {c.detail}, as {fault.title} predicts."]
    wrong = "still" if fault.check.kind is CheckKind.STUCK else "out of range"
    return [f"{title} is not {wrong}, which speaks against {fault.title}."]


def _symptom_evidence(
    machine: MachineType, fault: FaultSpec, symptom: Symptom, d: Deviation | None
) -> str:
    if d is None:
        return f"{_title(machine, symptom.signal)} could not be judged."
    if d.sigmas < NOTABLE_SIGMAS:
        return f"{_title(machine, d.signal)} is normal, which speaks against {fault.title}."
    if d.direction is symptom.direction:
        return f"{_size(machine, d)}, as {fault.title} predicts."
    return f"{_size(machine, d)}, which contradicts {fault.title}."


def _size(machine: MachineType, d: Deviation) -> str:
    return f"{_title(machine, d.signal)} is {d.sigmas:.1f} sigma {d.direction} its reference"


def _unknown_evidence(machine: MachineType, deviations: list[Deviation]) -> list[str]:
    return [f"{_size(machine, d)}." for d in deviations if d.sigmas >= NOTABLE_SIGMAS][:4]
