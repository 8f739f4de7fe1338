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
TOLERANCE = 0.35
"""Standard deviation of a saturated deviation around what a fault predicts."""
SURPRISE = 0.05
"""Density that a symptom keeps wherever it is seen: no table is perfect."""
ANYTHING = 0.5
"""Density of a saturated deviation that nothing is known of: even between -1 and 1."""
_PEAK = 1 / (TOLERANCE * math.sqrt(2 * math.pi)) / ANYTHING
_SIDE_EFFECT = 0.75
"""Chance that a response which a fault's entry does not name deviates all the same, a little. A
side effect as large as the fault's largest symptom has half of it, a much larger one none."""
CHECK_WEIGHT = math.log(1000.0)
"""A failing check that names the fault is worth a thousand to one."""
_WRONG = {
    CheckKind.STUCK: "still",
    CheckKind.RANGE: "out of range",
    CheckKind.DRIFTED: "drifted",
    CheckKind.LOOSE: "loose",
    CheckKind.STALE: "repeating itself",
}


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
    return hypotheses(machine, deviations, checks, likelihoods(machine, deviations, checks))


def likelihoods(
    machine: MachineType, deviations: list[Deviation], checks: list[CheckResult]
) -> dict[str, float]:
    """Return the log likelihood of what is seen under every fault of the table, by its code.

    They are relative to ``unknown``, which is always 0. Where no deviation is notable there is no
    pattern, and only checks count.
    """
    seen = signed(machine, deviations, checks)
    if all(abs(sigmas) < NOTABLE_SIGMAS for sigmas in seen.values()):
        seen = {}
    shares = {name: math.tanh(sigmas / SATURATION_SIGMAS) for name, sigmas in seen.items()}
    found = {f.code: _fault_score(f, seen, shares, checks) for f in machine.faults}
    return {**found, UNKNOWN: 0.0}


def hypotheses(
    machine: MachineType,
    deviations: list[Deviation],
    checks: list[CheckResult],
    scores: dict[str, float],
) -> list[Hypothesis]:
    """Return one hypothesis for every score, likeliest first, with the table's evidence.

    Of equals ``unknown`` comes first: nothing speaks for the others.

    Args:
        machine: whose fault table to use.
        deviations: as the monitor gave them.
        checks: the data-quality checks that fail.
        scores: logarithms of what the probabilities are in proportion to; `UNKNOWN` is one.
    """
    top = max(scores.values())
    weights = {code: math.exp(value - top) for code, value in scores.items()}
    total = sum(weights.values())
    titles = {s.name: s.title for s in machine.signals}
    sigmas = {d.signal: d for d in deviations if math.isfinite(d.sigmas)}
    evidence = {f.code: _evidence(f, titles, sigmas, checks) for f in machine.faults}
    evidence[UNKNOWN] = [f"{_size(titles, d)}." for d in deviations if d.sigmas >= NOTABLE_SIGMAS][
        :4
    ]
    order = sorted(weights, key=lambda code: (-weights[code], code != UNKNOWN, code))
    return [
        Hypothesis(code, min(1.0, weights[code] / total), evidence.get(code, [])) for code in order
    ]


def signed(
    machine: MachineType, deviations: list[Deviation], checks: list[CheckResult]
) -> dict[str, float]:
    """Return signed deviations, in sigmas, of the responses whose sensors are not to blame."""
    blamed = {c.signal for c in checks}
    if any(c.kind is CheckKind.STALE for c in checks):
        return {}
    known = {s.name for s in machine.with_role(Role.RESPONSE)} - blamed
    return {
        d.signal: min(d.sigmas, MAX_SIGMAS) * (1.0 if d.direction is Direction.ABOVE else -1.0)
        for d in deviations
        if d.signal in known and math.isfinite(d.sigmas)
    }


def _fault_score(
    fault: FaultSpec,
    seen: dict[str, float],
    shares: dict[str, float],
    checks: list[CheckResult],
) -> float:
    """Return the log likelihood of what is seen under one fault, relative to knowing nothing.

    A symptom is expected about as far out as the largest deviation, and counts by its weight as
    that many observations.
    """
    size = max(map(abs, shares.values()), default=0.0)
    symptoms = {s.signal: s for s in fault.symptoms if s.signal in seen}
    largest = max((abs(seen[name]) for name in symptoms), default=0.0)
    total = 0.0
    for name, share in shares.items():
        symptom = symptoms.get(name)
        if symptom is None:
            far = abs(seen[name]) / max(largest, NOTABLE_SIGMAS)
            chance = _SIDE_EFFECT / (1 + far**4)
            total += math.log((1 - chance) * likeness(share) + chance)
        else:
            predicted = size if symptom.direction is Direction.ABOVE else -size
            fit = likeness(share - predicted)
            total += symptom.weight * math.log(SURPRISE / ANYTHING + (1 - SURPRISE) * fit)
    if _named_by(fault, checks) is not None:
        return total + CHECK_WEIGHT
    return total if fault.check is None else total - CHECK_WEIGHT


def _named_by(fault: FaultSpec, checks: list[CheckResult]) -> CheckResult | None:
    """Return the failing check that names a fault: its own, or the drift of its only signal."""
    signals = {s.signal for s in fault.symptoms}
    for c in checks:
        if fault.check is None:
            hit = c.kind is CheckKind.DRIFTED and signals == {c.signal}
        else:
            hit = (c.kind, c.signal) == (fault.check.kind, fault.check.signal)
        if hit:
            return c
    return None


def likeness(error: float) -> float:
    """Return the density of an error in a saturated deviation, relative to knowing nothing."""
    return _PEAK * math.exp(-0.5 * (error / TOLERANCE) ** 2)


def _evidence(
    fault: FaultSpec,
    titles: dict[str, str],
    seen: dict[str, Deviation],
    checks: list[CheckResult],
) -> list[str]:
    """Return sentences for and against one fault, for people."""
    lines = _check_evidence(fault, titles, checks)
    blamed = {c.signal for c in checks}
    lines += [
        _symptom_evidence(fault, titles, s, seen.get(s.signal))
        for s in sorted(fault.symptoms, key=lambda s: -s.weight)
        if s.signal not in blamed
    ]
    predicted = {s.signal for s in fault.symptoms} | blamed
    lines += [
        f"{_size(titles, d)}, which {fault.title} does not explain."
        for d in seen.values()
        if d.signal not in predicted and d.sigmas >= 2 * NOTABLE_SIGMAS
    ]
    return lines


def _check_evidence(
    fault: FaultSpec, titles: dict[str, str], checks: list[CheckResult]
) -> list[str]:
    named_by = _named_by(fault, checks)
    if named_by is not None:
        name = titles.get(named_by.signal, named_by.signal) or "The device"
        return [f"{name}: {named_by.detail}, as {fault.title} predicts."]
    if fault.check is None:
        return []
    name = titles.get(fault.check.signal, fault.check.signal) or "The device"
    return [f"{name} is not {_WRONG[fault.check.kind]}, which speaks against {fault.title}."]


def _symptom_evidence(
    fault: FaultSpec, titles: dict[str, str], symptom: Symptom, d: Deviation | None
) -> str:
    if d is None:
        return f"{titles[symptom.signal]} could not be judged."
    if d.sigmas < NOTABLE_SIGMAS:
        return f"{titles[d.signal]} is normal, which speaks against {fault.title}."
    if d.direction is symptom.direction:
        return f"{_size(titles, d)}, as {fault.title} predicts."
    return f"{_size(titles, d)}, which contradicts {fault.title}."


def _size(titles: dict[str, str], d: Deviation) -> str:
    title = titles.get(d.signal, d.signal)
    return f"{title} is {d.sigmas:.1f} sigma {d.direction} its reference"
